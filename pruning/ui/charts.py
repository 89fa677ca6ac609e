"""The pictures: Plotly figures from arrays and records. No Streamlit here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from math import isnan, log10
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from pruning.analysis.frontier import pareto
from pruning.analysis.ranges import range_of
from pruning.formatting import counted
from pruning.records import Dynamics, FrontierPoint
from pruning.ui import theme
from pruning.ui.escaping import plotly

MAP_POINTS = 2_000
"""More examples than this are drawn as cells, sized by how many they hold. Drawn without WebGL, which not every browser has."""

APART = 0.015
"""Of the axis: how far points of one size stand from each other."""

CELLS = 45
"""Cells along each axis of the map."""

Box = tuple[float, float, float, float]
"""x from, x to, y from, y to."""

MARGIN = {"l": 8, "r": 8, "t": 16, "b": 8}


def histogram(counts: pd.DataFrame, colours: dict[str, str], x: str) -> go.Figure:
    """Bars from a table (a row a bar, a column a part of the stack); the first and the last are named in words: H = 0 and H = R."""
    figure = go.Figure()
    bars = [plotly(value) for value in counts.index]
    for name in counts.columns:
        figure.add_bar(
            x=list(range(len(bars))),
            y=counts[name],
            name=plotly(name),
            marker_color=colours.get(str(name), theme.NEUTRAL),
            customdata=bars,
            hovertemplate="%{customdata}: %{y:,} examples<extra>" + plotly(name) + "</extra>",
        )
    figure.update_layout(barmode="stack", margin=MARGIN, height=340, legend={"orientation": "h", "y": 1.15}, bargap=0.15)
    bars[0], bars[-1] = f"{bars[0]}<br>never right", f"{bars[-1]}<br>always right"
    figure.update_xaxes(title=plotly(x), tickvals=list(range(len(bars))), ticktext=bars)
    figure.update_yaxes(title="examples", rangemode="tozero")
    return figure


def plane(
    x: NDArray[np.float32], y: NDArray[np.float32], colour: NDArray[np.float32], names: tuple[str, str, str], box: Box | None
) -> go.Figure:
    """Examples by two scores; coloured by a third (0..1); in cells where there are too many for points. `box` is drawn when given."""
    figure = go.Figure()
    ranges = [_range(x), _range(y)]
    hover = names[0] + " %{x:.2f}<br>" + names[1] + " %{y:.2f}"
    marker: dict[str, Any] = {"colorscale": "Cividis", "cmin": 0, "cmax": 1, "colorbar": {"title": {"text": names[2]}}}
    if len(x) <= MAP_POINTS:
        figure.add_scatter(
            x=x, y=y, mode="markers", marker={**marker, "color": colour, "size": 5, "opacity": 0.7}, hovertemplate=hover + "<extra></extra>"
        )
    else:
        centre_x, centre_y, counts, means = _cells(x, y, colour, ranges)
        size = 3 + 9 * np.log(counts) / max(np.log(counts.max(initial=1)), 1e-9)
        figure.add_scatter(
            x=centre_x,
            y=centre_y,
            mode="markers",
            customdata=counts,
            marker={**marker, "color": means, "size": size, "symbol": "square", "line": {"width": 0}},
            hovertemplate=hover + "<br>%{customdata:,} examples<extra></extra>",
        )
    if box is not None:
        figure.add_shape(type="rect", x0=box[0], x1=box[1], y0=box[2], y1=box[3], line={"color": theme.CHOSEN, "width": 2, "dash": "dot"})
    figure.update_layout(margin=MARGIN, height=420, dragmode="select")
    figure.update_xaxes(title=names[0], range=ranges[0])
    figure.update_yaxes(title=names[1], range=ranges[1])
    return figure


def _cells(
    x: NDArray[np.float32], y: NDArray[np.float32], colour: NDArray[np.float32], ranges: Sequence[tuple[float, float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Centres of the cells that hold examples, how many, and the mean colour."""
    places = []
    for values, (low, high) in zip((x, y), ranges, strict=True):
        scaled = np.nan_to_num((values.astype(np.float64) - low) * (CELLS / (high - low)), nan=-1.0, posinf=-1.0)
        places.append(np.where((scaled >= 0) & (scaled < CELLS), scaled, -1).astype(np.int32))
    inside = (places[0] >= 0) & (places[1] >= 0)
    cell = (places[0] * CELLS + places[1])[inside]
    counts = np.bincount(cell, minlength=CELLS * CELLS)
    sums = np.bincount(cell, colour[inside], minlength=CELLS * CELLS)
    filled = np.flatnonzero(counts)
    across, up = (low + (index + 0.5) * (high - low) / CELLS for index, (low, high) in zip(divmod(filled, CELLS), ranges, strict=True))
    return across, up, counts[filled], sums[filled] / counts[filled]


def _range(values: NDArray[np.float32]) -> tuple[float, float]:
    """The axis that shows all finite values, with a little room."""
    found = range_of(values)
    room = (found.high - found.low) * 0.02
    return found.low - room, found.high + room


def lines(table: pd.DataFrame, x: str, y: str, dtick: float = 1) -> go.Figure:
    """One line for each column over the table's index."""
    figure = go.Figure()
    for name, colour, symbol in zip(table.columns, cycle(theme.CATEGORIES), cycle(theme.SYMBOLS.values())):
        line, marker = {"width": 1.5, "color": colour}, {"symbol": symbol}
        figure.add_scatter(x=table.index, y=table[name], mode="lines+markers", name=plotly(name), line=line, marker=marker)
    figure.update_layout(margin={**MARGIN, "t": 56}, height=290, legend={"orientation": "h", "y": 1.3})
    figure.update_xaxes(title=x, dtick=dtick)
    figure.update_yaxes(title=y, range=[-0.02, 1.02])
    return figure


def frontier(points: Sequence[FrontierPoint], metric: str, chosen: str, logarithmic: bool) -> go.Figure:
    """Subset size against a metric with 95% intervals; full data and what nothing beats as lines, the chosen subset ringed."""
    figure, places = go.Figure(), _side_by_side(points, logarithmic)
    full = next((point for point in points if point.subset == "full"), None)
    if full is not None:
        figure.add_hline(y=full.metrics[metric], line={"dash": "dot", "color": theme.NEUTRAL}, annotation_text="full data")
    best = pareto(points, metric)
    figure.add_scatter(
        x=[places[p.subset] for p in best],
        y=[p.metrics[metric] for p in best],
        mode="lines",
        name="unbeaten",
        line={"color": theme.NEUTRAL, "width": 1},
        hoverinfo="skip",
    )
    for method in dict.fromkeys(point.method for point in points):
        group = [point for point in points if point.method == method]
        low = [0.0 if isnan(p.ci95[metric][0]) else p.metrics[metric] - p.ci95[metric][0] for p in group]
        figure.add_scatter(
            x=[places[p.subset] for p in group],
            y=[p.metrics[metric] for p in group],
            error_y={"type": "data", "array": low, "thickness": 1, "width": 3},
            mode="markers",
            name={"h-score": "H-score", "full": "full data"}.get(method, plotly(method)),
            marker={
                "color": theme.METHODS.get(method, theme.OTHER),
                "symbol": theme.SYMBOLS.get(method, "triangle-up"),
                "size": 12,
                "line": {"width": [3 if p.subset == chosen else 0 for p in group], "color": theme.CHOSEN},
            },
            customdata=[[p.subset] for p in group],
            text=[_hover(p, metric) for p in group],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_layout(margin=MARGIN, height=440, legend={"orientation": "h", "y": 1.12}, clickmode="event+select")
    figure.update_xaxes(title="examples kept", type="log" if logarithmic else "linear")
    figure.update_yaxes(title=metric.replace("_", " "))
    return figure


def _side_by_side(points: Sequence[FrontierPoint], logarithmic: bool) -> dict[str, float]:
    """Where each subset stands on the axis of sizes: those of one size a little apart, so that no interval hides another."""
    sizes: dict[float, list[str]] = {}
    for point in points:
        sizes.setdefault(log10(point.kept) if logarithmic else point.kept, []).append(point.subset)
    apart = APART * (max(sizes, default=0) - min(sizes, default=0) or 0.1 * max(sizes, default=0))
    places = {name: size + apart * (i - (len(names) - 1) / 2) for size, names in sizes.items() for i, name in enumerate(names)}
    return {name: 10**place for name, place in places.items()} if logarithmic else places


def _hover(point: FrontierPoint, metric: str) -> str:
    lines = [
        f"{plotly(point.subset)}: {counted(point.kept, 'example')} ({point.kept_fraction:.0%})",
        f"{metric} {point.metrics[metric]:.3f}, {counted(point.seeds, 'seed')}",
    ]
    low, high = point.ci95[metric]
    if not isnan(low):
        lines[1] += f", 95% interval {low:.3f} to {high:.3f}"
    for name, difference in (("full data", point.vs_full), ("random", point.vs_random)):
        if difference is not None and difference.pairs:
            lines.append(f"{difference.mean * 100:+.1f} points to {name}")
    saved = "" if isnan(point.seconds_saved) else f", {point.seconds_saved:.0f} s saved"
    return "<br>".join([*lines, f"{point.seconds:.0f} s a fine-tuning{saved}"])


def grid(dynamics: Dynamics, index: int) -> go.Figure:
    """Runs x epochs of one example: the probability it gave to the right answer, a tick where it was right."""
    correct, probability = dynamics.correct[:, :, index], dynamics.gold_prob[:, :, index]
    known = not np.isnan(probability).any()
    ticks = np.where(correct, "✓", "✗")
    figure = go.Figure(
        go.Heatmap(
            z=probability if known else correct.astype(float),
            text=ticks,
            texttemplate="%{text} %{z:.2f}" if known else "%{text}",
            zmin=0,
            zmax=1,
            colorscale=[[0, theme.WRONG], [0.5, "#F4F4F4"], [1, theme.RIGHT]],
            showscale=False,
            hovertemplate="run %{y}, epoch %{x}: %{z:.3f}<extra></extra>",
        )
    )
    runs, epochs = probability.shape
    figure.update_layout(margin=MARGIN, height=70 + 30 * runs)
    figure.update_xaxes(title="epoch", tickvals=list(range(epochs)), ticktext=list(map(str, range(epochs))))
    figure.update_yaxes(tickvals=list(range(runs)), ticktext=[f"run {r}" for r in range(runs)], autorange="reversed")
    return figure
