"""Choosing examples on the Difficulty page: a bar of the histogram, an area of a map, and the widgets that do the same."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Literal

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
from pruning.reports.conditions import MEANING, Area
from pruning.ui import address, map_chart, state, tables
from pruning.ui.escaping import plotly

SHOWN = 100
"""Examples listed below a chart; Inspect shows them all."""

WIDTH = 60
"""Characters of a line of the map's hover text."""

CORNERS = 40
"""Most corners of a line drawn around examples, which its address holds."""

MEANINGS = dict(zip(MEANING, ("Map by meaning, X axis", "Map by meaning, Y axis"), strict=True))

ENDS = {"x": "across", "y": "up"}


def title(score: str) -> str:
    """The name of an axis, or of a score, for people."""
    return MEANINGS.get(score) or SCORES[score].title


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
    opens("open-level", {address.LEVELS: [chosen]})


def opens(key: str, filters: dict[str, object]) -> None:
    """A button that opens the examples of these filters in Inspect."""
    opened = st.button("Open them in Inspect", icon=":material/search:", key=key, on_click=address.filtered, kwargs=filters)
    if opened:
        st.switch_page(state.page("inspect"))


def listed(view: View, rows: NDArray[np.int64], kept: NDArray[np.bool_], sentence: str) -> None:
    """How many, and the first of them."""
    st.text(sentence + (f" The first {SHOWN}:" if len(rows) > SHOWN else ""))
    if len(rows):
        st.dataframe(tables.examples(view, rows[:SHOWN], kept), hide_index=True, alt=sentence)


def known_area(view: View, key: str) -> Area | None:
    """Return the area in a key of the address; one over axes that this experiment lacks is reported and cleared."""
    words = address.value(key)
    if not isinstance(words, list):
        return None
    found = Area.from_words(words)
    if missing := [axis for axis in (found.x, found.y) if axis not in view.axes]:
        address.note(f"This link asks for an area of a map over {missing[0]}, which this experiment does not have.")
        address.put(**{key: None})
        return None
    return found


def chosen_area(view: View, x: str, y: str) -> Area | None:
    """The area chosen on a map, read before its widgets are drawn: drawn by hand, or the box of the sliders; None for all."""
    found = known_area(view, address.DRAWN)
    if found is not None and (found.x, found.y) == (x, y):
        return found
    ends: list[tuple[float, float]] = []
    whole = True
    for axis, score in ((address.RANGE_X, x), (address.RANGE_Y, y)):
        found_span = span(view, score)
        address.within(f"{axis}{score}", found_span.low, found_span.high, f"{title(score)} from")
        value = address.value(f"{axis}{score}")
        low, high = (float(end) for end in value) if isinstance(value, (tuple, list)) else (found_span.low, found_span.high)
        whole = whole and (low, high) == (found_span.low, found_span.high)
        ends.append((low, high))
    return None if whole else Area(x, y, ((ends[0][0], ends[1][0]), (ends[0][1], ends[1][1])))


def sliders(view: View, x: str, y: str) -> None:
    """Sliders for the four ends of a box, without a mouse."""
    with st.expander("Choose a box by numbers", icon=":material/select_all:"):
        for axis, score in (("x", x), ("y", y)):
            _slider(view, axis, score)


def _slider(view: View, axis: str, score: str) -> None:
    """The part of an axis that is chosen."""
    found = span(view, score)
    whole = (found.low, found.high)
    label = f"{title(score)} ({ENDS[axis]})" if score in SCORES else title(score)
    key = f"{axis}-{score}"
    address.usual(key, whole)
    st.slider(label, *whole, whole, found.step, number_format(found), key=key, on_change=address.put, kwargs={address.DRAWN: None})


def span(view: View, score: str) -> Range:
    """The slider's range for that score."""
    return range_of(view.axis(score))


def number_format(found: Range) -> str:
    """How the slider writes its values."""
    return f"%.{found.decimals}f" if found.decimals <= 6 else "%.3e"


MOUSE = {"select": "Drag a box", "lasso": "Draw around", "pan": "Click to open"}
"""Uses of the mouse on the map: Plotly's name for it -> words."""

MODES: dict[str, Literal["box", "lasso", "points"]] = {"select": "box", "lasso": "lasso", "pan": "points"}
"""The same -> what Streamlit then reports; a chart that selects by dragging takes no clicks."""


def mouse() -> str:
    """Ask what the mouse does on the map."""
    return st.segmented_control(
        "The mouse on the map",
        list(MOUSE),
        default="select",
        required=True,
        key="map-mouse",
        format_func=MOUSE.__getitem__,
        label_visibility="collapsed",
    )


def drawn(view: View, x: str, y: str) -> None:
    """A box drawn on the map moves the sliders, a line around examples is kept; a click on one opens it, on a cell of many chooses it."""
    selection = st.session_state[address.MAP].selection
    boxes, lassos, points = selection.get("box", []), selection.get("lasso", []), selection.get("points", [])
    if boxes:
        _choose(view, x, y, sorted(boxes[0]["x"]), sorted(boxes[0]["y"]))
    elif lassos and len(lassos[0]["x"]) > 2:
        corners = ranges.simpler(list(zip(lassos[0]["x"], lassos[0]["y"], strict=True)), CORNERS)
        clear(x, y)
        address.put(**{address.DRAWN: Area(x, y, tuple(corners)).words()})
    elif len(points) == 1 and len(view.h) <= map_chart.MAP_POINTS:
        address.filtered(**{address.EXAMPLE: int(view.experiment.ids[int(points[0]["customdata"][0])])})
        address.go()
    elif len(points) == 1:
        axes = [map_chart.axis(view.axis(score)) for score in (x, y)]
        left, right, bottom, top = map_chart.cell_around(float(points[0]["x"]), float(points[0]["y"]), axes)
        _choose(view, x, y, (left, right), (bottom, top))


def clear(x: str, y: str) -> None:
    """Choose all examples of the map again; for callbacks."""
    address.put(**{address.DRAWN: None, f"{address.RANGE_X}{x}": None, f"{address.RANGE_Y}{y}": None})


def _choose(view: View, x: str, y: str, across: Sequence[float], up: Sequence[float]) -> None:
    address.put(**{address.DRAWN: None})
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


def cells(view: View, x: str, y: str) -> pd.DataFrame:
    """The map as a table: how many examples in each of 8 x 8 cells, the highest row first."""
    counts, across, up = ranges.cells(view.axis(x), view.axis(y))
    columns = [f"{title(x)} from {edge}" for edge in across]
    rows = [f"{title(y)} from {edge}" for edge in up]
    return pd.DataFrame(counts, index=pd.Index(rows, name="examples"), columns=columns).iloc[::-1]
