"""Choosing examples on the Difficulty page: a bar of the histogram, a box on the map, and the widgets that do the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from pruning import browse
from pruning.analysis.scores import SCORES
from pruning.browse import View
from pruning.formatting import counted
from pruning.ui import tables
from pruning.ui.charts import Box

SHOWN = 100
"""Examples listed below a chart; Inspect shows them all."""

COARSE = 8
"""Cells along each axis of the map as a table."""

LEVEL = "level"
ENDS = {"x": "across", "y": "up"}


def title(score: str) -> str:
    """A score's name for people."""
    return SCORES[score].title


def place(view: View, score: str) -> int:
    """Where that score stands in the list, or the first."""
    return view.score_names.index(score) if score in view.score_names else 0


def bar() -> None:
    """A click on a bar of the histogram chooses its H."""
    points = st.session_state["histogram"].selection.points
    st.session_state[LEVEL] = int(points[0]["x"]) if points else None


def level(view: View, kept: NDArray[np.bool_]) -> None:
    """The examples of one bar, chosen by a click or here."""
    levels = list(range(view.experiment.dynamics.runs + 1))
    chosen = st.segmented_control("Examples of the bar H =", levels, key=LEVEL, bind="query-params")
    if chosen is None:
        return
    rows = np.flatnonzero(view.h == chosen)
    listed(view, rows, kept, f"{counted(len(rows), 'example')} with H = {chosen}.")
    st.button(
        "Open them in Inspect",
        icon=":material/search:",
        key="open-level",
        on_click=lambda: st.session_state.update({"show": "all", "h": [chosen], "page": 1}),
    )


def listed(view: View, rows: NDArray[np.int64], kept: NDArray[np.bool_], sentence: str) -> None:
    """How many, and the first of them."""
    st.text(sentence + (f" The first {SHOWN}:" if len(rows) > SHOWN else ""))
    if len(rows):
        st.dataframe(tables.examples(view, rows[:SHOWN], kept), hide_index=True, alt=sentence)


def box(view: View, x: str, y: str) -> Box | None:
    """The box chosen, by drawing it or by its four ends; None while all examples are in it."""
    with st.expander("Choose a box by numbers", icon=":material/select_all:"):
        ranges = [_slider(view, axis, score) for axis, score in (("x", x), ("y", y))]
    if all(chosen == whole for chosen, whole in ranges):
        return None
    (across, _), (up, _) = ranges
    return (*across, *up)


def _slider(view: View, axis: str, score: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """What is chosen of a score, and its whole range."""
    low, high = span(view, score)
    chosen = st.slider(f"{title(score)} ({ENDS[axis]})", low, high, (low, high), key=f"{axis}-{score}", bind="query-params")
    return (float(chosen[0]), float(chosen[1])), (low, high)


def span(view: View, score: str) -> tuple[float, float]:
    """The slider's ends for that score: all its finite values lie between them, and they differ."""
    values = view.score(score)
    values = values[np.isfinite(values)]
    low, high = (float(np.floor(values.min() * 100) / 100), float(np.ceil(values.max() * 100) / 100)) if len(values) else (0.0, 1.0)
    return low, high if high > low else low + 0.01


def drawn(view: View, x: str, y: str) -> None:
    """A box drawn on the map moves the sliders."""
    boxes = st.session_state["map"].selection.get("box", [])
    if not boxes:
        return
    for axis, score in (("x", x), ("y", y)):
        low, high = span(view, score)
        start, end = (round(float(np.clip(value, low, high)), 2) for value in sorted(boxes[0][axis]))
        st.session_state[f"{axis}-{score}"] = (start, end)


def inside(view: View, x: str, y: str, chosen: Box | None) -> NDArray[np.int64]:
    """Positions of the examples in the box."""
    everything = np.arange(len(view.h))
    return everything if chosen is None else browse.inside(view.score(x), view.score(y), chosen)


def cells(view: View, x: str, y: str) -> pd.DataFrame:
    """The map as a table: how many examples in each of 8 x 8 cells, the highest row first."""
    across, up = view.score(x), view.score(y)
    finite = np.isfinite(across) & np.isfinite(up)
    counts, xs, ys = np.histogram2d(across[finite], up[finite], bins=COARSE)
    columns = [f"{title(x)} from {edge:.2f}" for edge in xs[:-1]]
    rows = [f"{title(y)} from {edge:.2f}" for edge in ys[:-1]]
    return pd.DataFrame(counts.T.astype(int), index=pd.Index(rows, name="examples"), columns=columns).iloc[::-1]
