"""The pictures: Plotly figures from arrays and records. No Streamlit here."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from pruning.records import Dynamics, FrontierPoint
from pruning.ui import theme

MAP_POINTS = 10_000
"""More examples than this are drawn as a density, not as points."""

MARGIN = {"l": 8, "r": 8, "t": 16, "b": 8}


def histogram(h: NDArray[np.int64], runs: int, parts: NDArray[np.object_], colours: dict[str, str]) -> go.Figure:
    """Examples by success rate H/R, stacked by `parts` ([N] names); `colours` gives the order and colour of the parts."""
    figure = go.Figure()
    for name, colour in colours.items():
        counts = np.bincount(h[parts == name], minlength=runs + 1)
        figure.add_bar(
            x=np.arange(runs + 1),
            y=counts,
            name=name,
            marker_color=colour,
            hovertemplate="H = %{x}: %{y:,} examples<extra>" + name + "</extra>",
        )
    figure.update_layout(barmode="stack", margin=MARGIN, height=360, legend={"orientation": "h", "y": 1.12})
    ticks = [
        f"{value}<br>never right" if value == 0 else f"{value}<br>always right" if value == runs else str(value)
        for value in range(runs + 1)
    ]
    figure.update_xaxes(title="H: runs that got it right in every epoch", tickvals=list(range(runs + 1)), ticktext=ticks)
    figure.update_yaxes(title="examples", rangemode="tozero")
    return figure


def data_map(confidence: NDArray[np.float64], variability: NDArray[np.float64], correctness: NDArray[np.float64]) -> go.Figure:
    """Confidence against variability; points coloured by correctness, or a density where there are too many."""
    figure = go.Figure()
    if len(confidence) <= MAP_POINTS:
        figure.add_scattergl(
            x=variability,
            y=confidence,
            mode="markers",
            customdata=np.arange(len(confidence)),
            marker={"color": correctness, "colorscale": "Cividis", "size": 5, "opacity": 0.7, "colorbar": {"title": "share right"}},
            hovertemplate="variability %{x:.2f}<br>confidence %{y:.2f}<extra></extra>",
        )
    else:
        counts, x, y = np.histogram2d(variability, confidence, bins=60, range=((0, 0.5), (0, 1)))
        figure.add_heatmap(
            x=x[:-1] + np.diff(x) / 2, y=y[:-1] + np.diff(y) / 2, z=np.log10(counts.T + 1), colorscale="Cividis", showscale=False
        )
        figure.add_scatter(x=[-1], y=[-1], mode="markers", showlegend=False)
    figure.update_layout(margin=MARGIN, height=420, dragmode="select")
    figure.update_xaxes(title="variability: how much its probability moves", range=[-0.01, 0.51])
    figure.update_yaxes(title="confidence: mean probability of the right answer", range=[-0.02, 1.02])
    return figure


def frontier(points: Sequence[FrontierPoint], metric: str, chosen: str, logarithmic: bool) -> go.Figure:
    """Subset size against a metric with 95% intervals; full data as a line, the chosen subset ringed."""
    figure = go.Figure()
    full = next((point for point in points if point.subset == "full"), None)
    if full is not None:
        figure.add_hline(y=full.metrics[metric], line={"dash": "dot", "color": theme.NEUTRAL}, annotation_text="full data")
    for method in dict.fromkeys(point.method for point in points):
        group = [point for point in points if point.method == method]
        low = [0.0 if isnan(p.ci95[metric][0]) else p.metrics[metric] - p.ci95[metric][0] for p in group]
        figure.add_scatter(
            x=[p.kept for p in group],
            y=[p.metrics[metric] for p in group],
            error_y={"type": "data", "array": low, "thickness": 1, "width": 3},
            mode="markers",
            name={"h-score": "H-score", "full": "full data"}.get(method, method),
            marker={
                "color": theme.METHODS.get(method, theme.OTHER),
                "size": 12,
                "line": {"width": [3 if p.subset == chosen else 0 for p in group], "color": "#D55E00"},
            },
            customdata=[[p.subset] for p in group],
            text=[_hover(p, metric) for p in group],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_layout(margin=MARGIN, height=440, legend={"orientation": "h", "y": 1.1})
    figure.update_xaxes(title="examples kept", type="log" if logarithmic else "linear")
    figure.update_yaxes(title=metric.replace("_", " "))
    return figure


def _hover(point: FrontierPoint, metric: str) -> str:
    lines = [
        f"{point.subset}: {point.kept:,} examples ({point.kept_fraction:.0%})",
        f"{metric} {point.metrics[metric]:.3f}, {point.seeds} seeds",
    ]
    low, high = point.ci95[metric]
    if not isnan(low):
        lines[1] += f", 95% interval {low:.3f} to {high:.3f}"
    for name, difference in (("full data", point.vs_full), ("random", point.vs_random)):
        if difference is not None and difference.pairs:
            lines.append(f"{difference.mean * 100:+.1f} points to {name}")
    return "<br>".join([*lines, f"{point.seconds:.0f} s a fine-tuning, {point.seconds_saved:.0f} s saved"])


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
            colorscale=[[0, theme.PRUNED], [0.5, "#F4F4F4"], [1, theme.KEPT]],
            showscale=False,
            hovertemplate="run %{y}, epoch %{x}: %{z:.3f}<extra></extra>",
        )
    )
    runs, epochs = probability.shape
    figure.update_layout(margin=MARGIN, height=70 + 30 * runs)
    figure.update_xaxes(title="epoch", tickvals=list(range(epochs)), ticktext=[str(e + 1) for e in range(epochs)])
    figure.update_yaxes(tickvals=list(range(runs)), ticktext=[f"run {r}" for r in range(runs)], autorange="reversed")
    return figure


def epoch_table(accuracy: NDArray[np.float64]) -> pd.DataFrame:
    """[R, E] accuracies as a table for people: a row a run, blank where there is none yet."""
    runs, epochs = accuracy.shape
    return pd.DataFrame(accuracy, index=[f"run {r}" for r in range(runs)], columns=[f"epoch {e + 1}" for e in range(epochs)])
