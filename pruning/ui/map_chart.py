"""The picture of a map: examples by two numbers, as points or, where there are many, as cells. No Streamlit here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from pruning.analysis.meaning_map import Region
from pruning.analysis.ranges import Corners, range_of
from pruning.formatting import counted
from pruning.ui import theme
from pruning.ui.charts import BELOW, MARGIN
from pruning.ui.escaping import plotly

MAP_POINTS = 2_000
"""More examples than this are drawn as cells, sized by how many they hold. Drawn without WebGL, which not every browser has."""

CELLS = 45
"""Cells along each axis of the map."""

Box = tuple[float, float, float, float]
"""x from, x to, y from, y to."""

Words = Callable[[NDArray[np.int64]], Sequence[str]]
"""Hover texts of the examples at some positions."""

Ends = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Colours of a number: [N] values, the ends of the scale, and its title."""

    values: NDArray[np.float32]
    ends: Ends
    title: str


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Colours of parts: a categorical [N], and the colour of each category."""

    values: pd.Series
    colours: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Axes:
    """Titles of the two axes; `named` False where their numbers mean nothing, so that they are not written."""

    across: str
    up: str
    named: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Marks of the picture: places, the example that each mark shows, and how many it stands for."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    cell: NDArray[np.int64]
    """[N] the mark of each example, -1 for one without a place."""


def plane(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    colour: Scale | Parts,
    axes: Axes,
    corners: Corners | None,
    words: Words,
    mode: str = "select",
    regions: Sequence[Region] = (),
) -> go.Figure:
    """Examples by two numbers; in cells where there are too many for points. The area with these `corners` is drawn when given.

    The data of a mark is one number: the position of its example, or of the first one in its cell. `mode` is what dragging the mouse
    does: "select" a box, "lasso" or "pan"; Streamlit takes clicks with the last only. Names of regions stand over them.
    """
    figure = go.Figure()
    ranges, many = (axis(x), axis(y)), len(x) > MAP_POINTS
    marks = _cells(x, y, ranges) if many else _points(x, y)
    sizes = 3 + 9 * np.log(marks.count) / max(np.log(marks.count.max(initial=1)), 1e-9)
    texts = np.array(list(words(marks.first)), dtype=object)
    if many:
        texts = np.array([f"{counted(int(n), 'example')}, such as<br>{text}" for n, text in zip(marks.count, texts, strict=True)], object)
    hover = "%{text}" + (f"<br>{axes.across} %{{x:.2f}}, {axes.up} %{{y:.2f}}" if axes.named else "") + "<extra></extra>"
    for name, chosen, marker in _coloured(marks, colour):
        shape = {"size": sizes[chosen], "symbol": "square", "line": {"width": 0}} if many else {"size": 5, "opacity": 1}
        figure.add_scatter(
            x=marks.x[chosen],
            y=marks.y[chosen],
            mode="markers",
            name=plotly(name),
            marker=shape | marker,
            customdata=[[place] for place in marks.first[chosen].tolist()],
            text=texts[chosen].tolist(),
            hovertemplate=hover,
        )
    _outline(figure, corners)
    for region in regions:
        figure.add_annotation(
            x=region.x,
            y=region.y,
            text=plotly(", ".join(region.words)),
            showarrow=False,
            font={"size": 12, "weight": 600, "color": theme.ON_LABEL},
            bgcolor=theme.LABEL,
            borderpad=2,
            captureevents=False,
        )
    figure.update_layout(margin=MARGIN, height=420, dragmode=mode, legend=BELOW, showlegend=isinstance(colour, Parts))
    figure.update_xaxes(title=axes.across, range=ranges[0], showticklabels=axes.named, showgrid=axes.named, zeroline=False)
    figure.update_yaxes(title=axes.up, range=ranges[1], showticklabels=axes.named, showgrid=axes.named, zeroline=False)
    return figure


def _coloured(marks: Marks, colour: Scale | Parts) -> list[tuple[str, NDArray[np.int64], dict[str, Any]]]:
    """Name, marks and colours of each trace; a cell has its mean, or the part that most of its examples belong to."""
    there = marks.cell >= 0
    if isinstance(colour, Scale):
        known = there & np.isfinite(colour.values)
        counts = np.bincount(marks.cell[known], minlength=len(marks.x))
        sums = np.bincount(marks.cell[known], colour.values[known], minlength=len(marks.x))
        with np.errstate(invalid="ignore"):
            means = sums / counts
        bar = {"title": {"text": plotly(colour.title)}}
        shown = {"color": means, "colorscale": list(theme.SCALE), "cmin": colour.ends[0], "cmax": colour.ends[1], "colorbar": bar}
        return [("", np.arange(len(marks.x)), shown)]
    names = [str(name) for name in colour.values.cat.categories]
    codes = np.asarray(colour.values.cat.codes)
    known = there & (codes >= 0)
    table = np.zeros((len(marks.x), max(1, len(names))), dtype=np.int64)
    np.add.at(table, (marks.cell[known], codes[known]), 1)
    most = np.where(table.sum(axis=1) > 0, table.argmax(axis=1), -1)
    found = [(name, np.flatnonzero(most == place), {"color": colour.colours.get(name, theme.NEUTRAL)}) for place, name in enumerate(names)]
    rest = np.flatnonzero(most < 0)
    return [*found, *([("none", rest, {"color": theme.NEUTRAL})] if len(rest) else [])]


def _outline(figure: go.Figure, corners: Corners | None) -> None:
    if corners is None:
        return
    look = {"line": {"color": theme.CHOSEN, "width": 3}, "fillcolor": theme.CHOSEN_AREA}
    if len(corners) == 2:
        (x0, y0), (x1, y1) = corners
        figure.add_shape(type="rect", x0=x0, x1=x1, y0=y0, y1=y1, **look)
    else:
        figure.add_shape(type="path", path="M " + " L ".join(f"{x},{y}" for x, y in corners) + " Z", **look)


def _points(x: NDArray[np.float32], y: NDArray[np.float32]) -> Marks:
    everything = np.arange(len(x))
    return Marks(x.astype(np.float64), y.astype(np.float64), everything, np.ones(len(x), dtype=np.int64), everything)


def _cells(x: NDArray[np.float32], y: NDArray[np.float32], ranges: Sequence[Ends]) -> Marks:
    """The cells that hold examples."""
    places = []
    for values, (low, high) in zip((x, y), ranges, strict=True):
        scaled = np.nan_to_num((values.astype(np.float64) - low) * (CELLS / (high - low)), nan=-1.0, posinf=-1.0)
        places.append(np.where((scaled >= 0) & (scaled < CELLS), scaled, -1).astype(np.int64))
    inside = np.flatnonzero((places[0] >= 0) & (places[1] >= 0))
    filled, first, which, counts = np.unique(
        (places[0] * CELLS + places[1])[inside], return_index=True, return_inverse=True, return_counts=True
    )
    across, up = (low + (index + 0.5) * (high - low) / CELLS for index, (low, high) in zip(divmod(filled, CELLS), ranges, strict=True))
    cell = np.full(len(x), -1, dtype=np.int64)
    cell[inside] = which
    return Marks(across, up, inside[first], counts, cell)


def cell_around(x: float, y: float, ranges: Sequence[tuple[float, float]]) -> Box:
    """The part of the map that the cell with this centre stands for; `ranges` of the two axes, as `plane` draws them."""
    half = [(high - low) / CELLS / 2 for low, high in ranges]
    return x - half[0], x + half[0], y - half[1], y + half[1]


def axis(values: NDArray[np.float32]) -> tuple[float, float]:
    """The axis that shows all finite values, with a little room."""
    found = range_of(values)
    room = (found.high - found.low) * 0.02
    return found.low - room, found.high + room
