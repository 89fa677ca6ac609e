"""Two experiments compared, on the Overview: what they agree on, H against H, and the examples that changed most."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import isnan

import pandas as pd
import streamlit as st

from pruning.analysis.comparison import Comparison
from pruning.errors import WinnowError
from pruning.reports import comparison
from pruning.reports.browse import View
from pruning.ui import address, escaping, heat, widgets

COLUMNS = {"id": st.column_config.NumberColumn("id", format="%d", width=60), "text": st.column_config.TextColumn("text", width=320)}


def show(view: View, names: Sequence[str]) -> None:
    """The experiment of this view against another of the same folder; nothing until one is chosen."""
    others = [name for name in names if name != view.experiment.name]
    address.among(address.OTHER, others, "experiment")
    other = st.selectbox(
        f"Compare {escaping.markdown(view.experiment.name)} with",
        others,
        index=None,
        key=address.OTHER,
        placeholder="another experiment",
        width=320,
    )
    if not other:
        return
    try:
        found = view.compared(other)
    except WinnowError as error:
        st.error(escaping.markdown(error), icon=":material/error:")
        return
    _numbers(found)
    left, right = st.columns(2, gap="medium")
    with left:
        _against(found)
    with right:
        _changed(view, found)


def _numbers(found: Comparison) -> None:
    columns = st.columns(3)
    sizes = f"of {len(found.first.h):,} and {len(found.second.h):,}"
    ranks = "-" if isnan(found.rank_agreement) else f"{found.rank_agreement:.2f}"
    overlap = "-" if isnan(found.overlap) else f"{found.overlap:.0%}"
    for column, label, value, below in (
        (columns[0], "Examples in both", f"{len(found.change):,}", sizes),
        (columns[1], "Rank agreement (Spearman)", ranks, "of H, 1 = the same order"),
        (columns[2], "Winning-ticket overlap (Jaccard)", overlap, "in both tickets, of those in either"),
    ):
        widgets.number(column, label, value, below)


def _against(found: Comparison) -> None:
    """H against H; a cell opens its examples."""
    first, second = found.first, found.second
    st.markdown(f"**H in {escaping.markdown(first.name)} (rows) and in {escaping.markdown(second.name)} (columns)**")
    names = [str(h) for h in range(second.runs + 1)]
    counts = pd.DataFrame(found.counts, index=pd.Index(range(first.runs + 1), name="H"), columns=names)

    def picked(row: int, column: int) -> None:
        address.filtered(**{address.LEVELS: [row], address.BESIDE: second.name, address.BESIDE_H: [column]})
        address.go()

    heat.table(
        counts,
        counts / max(1, int(found.counts.max())),
        "{:,.0f}",
        key=address.AGAINST,
        alt=f"Examples by H in {first.name} (rows) and in {second.name} (columns); a cell opens its examples",
        picked=picked,
    )


def _changed(view: View, found: Comparison) -> None:
    """The examples whose H changed most; a row opens its example."""
    rows = comparison.changed(view.experiment, found)
    st.markdown("**Changed most**")
    if not rows:
        st.caption("No example has another H.")
        return
    sides = (found.first, found.second)
    both = [{f"H in {side.name}": f"{h} of {side.runs}" for side, h in zip(sides, row["h"], strict=True)} for row in rows]
    st.dataframe(
        pd.DataFrame([{"id": row["id"], **h, "text": row["text"]} for row, h in zip(rows, both, strict=True)]),
        key=address.CHANGED,
        hide_index=True,
        on_select=partial(_opened, [int(row["id"]) for row in rows]),
        selection_mode="single-row",
        column_config=COLUMNS,
        row_height=heat.ROW,
        height=min(heat.TALLEST, heat.ROW * (len(rows) + 1) + 3),
        alt="The examples whose H changed most, with H in both experiments; choosing a row opens it in Inspect",
    )


def _opened(ids: Sequence[int]) -> None:
    rows = st.session_state[address.CHANGED].selection.rows
    if rows:
        address.filtered(**{address.EXAMPLE: ids[rows[0]]})
        address.go()
