"""Choosing examples on the Difficulty page: a bar of the histogram, a box on the map, and the widgets that do the same."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
import pandas as pd
import pyarrow as pa
import streamlit as st
from numpy.typing import NDArray

from pruning.analysis import ranges
from pruning.analysis.ranges import Range, range_of
from pruning.analysis.scores import SCORES
from pruning.data.texts import joined
from pruning.formatting import counted
from pruning.reports.browse import View
from pruning.ui import address, charts, state, tables
from pruning.ui.charts import Box
from pruning.ui.escaping import plotly

SHOWN = 100
"""Examples listed below a chart; Inspect shows them all."""

WIDTH = 60
"""Characters of a line of the map's hover text."""

ENDS = {"x": "across", "y": "up"}


def title(score: str) -> str:
    """A score's name for people."""
    return SCORES[score].title


def place(view: View, score: str) -> int:
    """Where that score stands in the list, or the first."""
    return view.score_names.index(score) if score in view.score_names else 0


def bar() -> None:
    """A click on a bar of the histogram chooses its H."""
    points = st.session_state[address.HISTOGRAM].selection.points
    address.put(**{address.LEVEL: int(points[0]["x"]) if points else None})


def level(view: View, kept: NDArray[np.bool_]) -> None:
    """The examples of one bar, chosen by a click or here."""
    levels = list(range(view.experiment.dynamics.runs + 1))
    address.among(address.LEVEL, levels, "H")
    chosen = st.segmented_control("Examples of the bar H =", levels, key=address.LEVEL)
    if chosen is None:
        return
    rows = np.flatnonzero(view.h == chosen)
    listed(view, rows, kept, f"{counted(len(rows), 'example')} with H = {chosen}.")
    opened = st.button(
        "Open them in Inspect",
        icon=":material/search:",
        key="open-level",
        on_click=address.filtered,
        kwargs={address.LEVELS: [chosen]},
    )
    if opened:
        st.switch_page(state.page("inspect"))


def listed(view: View, rows: NDArray[np.int64], kept: NDArray[np.bool_], sentence: str) -> None:
    """How many, and the first of them."""
    st.text(sentence + (f" The first {SHOWN}:" if len(rows) > SHOWN else ""))
    if len(rows):
        st.dataframe(tables.examples(view, rows[:SHOWN], kept), hide_index=True, alt=sentence)


def ranges_below(view: View, x: str, y: str) -> Box | None:
    """The box that the sliders below the chart choose, read before they are drawn."""
    ends: list[float] = []
    chosen = False
    for axis, score in ((address.RANGE_X, x), (address.RANGE_Y, y)):
        found = span(view, score)
        address.within(f"{axis}{score}", found.low, found.high, f"{title(score)} from")
        value = address.value(f"{axis}{score}")
        chosen = chosen or (isinstance(value, tuple) and value != (found.low, found.high))
        ends += [float(end) for end in value] if isinstance(value, tuple) else [found.low, found.high]
    return (ends[0], ends[1], ends[2], ends[3]) if chosen else None


def box(view: View, x: str, y: str) -> Box | None:
    """The box chosen, by drawing it or by its four ends; None while all examples are in it."""
    with st.expander("Choose a box by numbers", icon=":material/select_all:"):
        ranges = [_slider(view, axis, score) for axis, score in (("x", x), ("y", y))]
    if all(chosen == whole for chosen, whole in ranges):
        return None
    (across, _), (up, _) = ranges
    return (*across, *up)


def _slider(view: View, axis: str, score: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """The part of a score that is chosen, and its whole range."""
    found = span(view, score)
    whole = (found.low, found.high)
    label = f"{title(score)} ({ENDS[axis]})"
    key = f"{axis}-{score}"
    address.usual(key, whole)
    chosen = st.slider(label, *whole, whole, found.step, number_format(found), key=key)
    return (float(chosen[0]), float(chosen[1])), whole


def span(view: View, score: str) -> Range:
    """The slider's range for that score."""
    return range_of(view.score(score))


def number_format(found: Range) -> str:
    """How the slider writes its values."""
    return f"%.{found.decimals}f" if found.decimals <= 6 else "%.3e"


def clicks() -> bool:
    """Return True where a click on the map opens an example, False where the mouse draws a box. Streamlit's charts take one of the two."""
    chosen = st.segmented_control(
        "The mouse on the map",
        ["box", "click"],
        default="box",
        required=True,
        key="map-mouse",
        format_func={"box": "Drag to choose a box", "click": "Click to open an example"}.__getitem__,
        label_visibility="collapsed",
    )
    return chosen == "click"


def drawn(view: View, x: str, y: str) -> None:
    """A box drawn on the map moves the sliders; a click on one example opens it, on a cell of many chooses that cell."""
    selection = st.session_state[address.MAP].selection
    boxes, points = selection.get("box", []), selection.get("points", [])
    if boxes:
        _choose(view, x, y, sorted(boxes[0]["x"]), sorted(boxes[0]["y"]))
    elif len(points) == 1 and len(view.h) <= charts.MAP_POINTS:
        address.filtered(**{address.EXAMPLE: int(view.experiment.ids[int(points[0]["customdata"][0])])})
        address.go()
    elif len(points) == 1:
        axes = [charts.axis(view.score(score)) for score in (x, y)]
        left, right, bottom, top = charts.cell_around(float(points[0]["x"]), float(points[0]["y"]), axes)
        _choose(view, x, y, (left, right), (bottom, top))


def _choose(view: View, x: str, y: str, across: Sequence[float], up: Sequence[float]) -> None:
    for axis, score, ends in (("x", x, across), ("y", y, up)):
        found = span(view, score)
        start, end = (found.nearest(float(value)) for value in ends)
        address.put(**{f"{axis}-{score}": (start, end)})


def hover(view: View, positions: NDArray[np.int64]) -> list[str]:
    """Hover texts of the map: the beginning of each example, its label, H and id."""
    labels, names = view.labels, view.experiment.label_names
    texts = joined(view.experiment.texts.take(pa.array(positions))).to_pylist()
    about = [f"H {h}, example {example}" for h, example in zip(view.h[positions], view.experiment.ids[positions], strict=True)]
    if labels is not None and names:
        about = [f"{names[label]}, {words}" for label, words in zip(labels[positions], about, strict=True)]
    return [f"{'<br>'.join(map(plotly, _lines(text)))}<br>{plotly(words)}" for text, words in zip(texts, about, strict=True)]


def _lines(text: str) -> list[str]:
    """The beginning of a text in short lines.

    >>> _lines("one two " * 30)[1]
    'two one two one two one two one two one two one two one two\u2026'
    """
    return wrap(" ".join(text[: 4 * WIDTH].split()), WIDTH, max_lines=2, placeholder="\u2026") or [""]


def inside(view: View, x: str, y: str, chosen: Box | None) -> NDArray[np.int64]:
    """Positions of the examples in the box."""
    everything = np.arange(len(view.h))
    return everything if chosen is None else ranges.inside(view.score(x), view.score(y), chosen)


def cells(view: View, x: str, y: str) -> pd.DataFrame:
    """The map as a table: how many examples in each of 8 x 8 cells, the highest row first."""
    counts, across, up = ranges.cells(view.score(x), view.score(y))
    columns = [f"{title(x)} from {edge}" for edge in across]
    rows = [f"{title(y)} from {edge}" for edge in up]
    return pd.DataFrame(counts, index=pd.Index(rows, name="examples"), columns=columns).iloc[::-1]
