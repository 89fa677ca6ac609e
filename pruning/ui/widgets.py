"""Pieces that pages share: a chart with its twin, columns as parts of a chart, class and slice shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator

from pruning.analysis import slices
from pruning.analysis.frontier import cost_in_words
from pruning.analysis.slices import Shares
from pruning.export.text_values import csv_text
from pruning.reports import composition
from pruning.reports.browse import View
from pruning.reports.conditions import LABEL
from pruning.ui import theme

STAYS = "kept or pruned"
MOST_PARTS = 4
"""Values of a column that get a colour of their own; the rest are "other"."""


def number(place: DeltaGenerator, label: str, value: str, below: str) -> None:
    """Draw a number in a box, with a line of words below it."""
    place.metric(label, value, below, border=True, delta_color="off", delta_arrow="off", width="stretch", height="stretch")


def columns(key: str, spec: int | Sequence[int] = 2) -> list[DeltaGenerator]:
    """Columns of a page's charts and tables; one above the other where a tablet is too narrow for them."""
    with st.container(key=f"{theme.WIDE}{key}"):
        return st.columns(spec, gap="medium")


def chart(
    figure: go.Figure,
    table: pd.DataFrame | None,
    *,
    key: str,
    alt: str,
    on_select: Callable[[], None] | None = None,
    mode: Literal["points", "box", "lasso"] = "points",
    index: bool = False,
    columns: Mapping[str, Any] | None = None,
) -> None:
    """A chart, and below it what makes it readable without eyes on it: the table it was drawn from, and that table as CSV.

    The camera above the chart saves a picture, PNG or (chosen in the expander) SVG. Without a `table` the page has one of its own.
    """
    picture = st.session_state.get(f"{key}-picture") or "png"
    st.plotly_chart(
        figure,
        key=key,
        alt=alt,
        on_select=on_select or "ignore",
        selection_mode=mode,
        config={"displaylogo": False, "toImageButtonOptions": {"format": picture, "filename": f"winnow-{key}"}},
    )
    if table is None:
        return
    with st.expander("As a table, and to download", icon=":material/table:"):
        st.dataframe(table, hide_index=not index, column_config=columns, alt=alt)
        saved, picked = st.columns(2, vertical_alignment="bottom")
        _csv(saved, table.reset_index() if index else table, key)
        picked.segmented_control(
            "The chart's camera saves",
            ["png", "svg"],
            default="png",
            key=f"{key}-picture",
            help="Point at the chart; the camera appears at its top right.",
        )


def numbers(table: pd.DataFrame, key: str, title: str) -> None:
    """All columns of a table, folded, and as CSV; for a page that shows the first ones."""
    with st.expander(title, icon=":material/table:"):
        st.dataframe(table, hide_index=True, alt=title)
        _csv(st.container(), table, key)


def _csv(place: DeltaGenerator, table: pd.DataFrame, key: str) -> None:
    place.download_button("CSV", partial(csv_text, table), f"{key}.csv", "text/csv", key=f"{key}-csv")


def parts(view: View, kept: NDArray[np.bool_], column: str) -> tuple[pd.Series, dict[str, str]]:
    """A categorical [N]: the part of a stacked chart that each example belongs to; and the parts' colours."""
    if column == STAYS:
        return composition.sides(kept), {composition.PRUNED: theme.PRUNED, composition.KEPT: theme.KEPT}
    found = composition.folded(view.slices(column)[1], MOST_PARTS)
    return found, dict(zip(map(str, found.cat.categories), theme.CATEGORIES, strict=False))


def shares(view: View, column: str, kept: NDArray[np.bool_]) -> Shares:
    """How evenly the kept examples cover a column (numbers in four parts)."""
    return slices.kept_shares(*view.slices(column), kept, classes=column == LABEL)


def estimate(view: View, name: str, size: int) -> str:
    """Where on the frontier a subset lies, in a sentence: measured, or between the subsets that were."""
    return cost_in_words(view.frontier("epochs"), name, size)
