"""The pictures: Plotly figures from arrays and records. No Streamlit here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import isnan

import pandas as pd
import plotly.graph_objects as go

from pruning.analysis.groups import Group
from pruning.analysis.learning_rate import RateFit
from pruning.analysis.sensitivity import SEEDS, Moved
from pruning.formatting import counted, scientific
from pruning.records import DECISIONS, FrontierPoint
from pruning.subsets.titles import title
from pruning.ui import theme
from pruning.ui.escaping import plotly

MARGIN = {"l": 8, "r": 8, "t": 16, "b": 8}

BELOW = {"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0}
"""A legend below the axis, however many lines it takes."""


def histogram(counts: pd.DataFrame, colours: dict[str, str], x: str, height: int = 340, ends: bool = True) -> go.Figure:
    """Bars from a table (a row a bar, a column a part of the stack); with `ends` the first and the last are named in words: H = 0 and R."""
    figure = go.Figure()
    bars = [plotly(value) for value in counts.index]
    for name in counts.columns:
        figure.add_bar(
            x=list(range(len(bars))),
            y=counts[name],
            name=plotly(_short(str(name))),
            marker_color=colours.get(str(name), theme.NEUTRAL),
            customdata=bars,
            hovertemplate="%{customdata}: %{y:,} examples<extra>" + plotly(name) + "</extra>",
        )
    figure.update_layout(barmode="stack", margin=MARGIN, height=height, legend=BELOW, bargap=0.15)
    if ends:
        bars[0], bars[-1] = f"{bars[0]}<br>never<br>right", f"{bars[-1]}<br>always<br>right"
    figure.update_xaxes(title=plotly(x), tickvals=list(range(len(bars))), ticktext=bars)
    few = counts.sum(axis=1).max() <= WHOLE if len(counts) else False
    figure.update_yaxes(title="examples", rangemode="tozero", dtick=1 if few else None)
    return figure


WHOLE = 5
"""Examples of the highest bar below which the axis would have fractions of an example."""

LONGEST_NAME = 24
"""Characters of a legend's entry; the hover has the whole name."""


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}\u2026"


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


def frontier(points: Sequence[FrontierPoint], metric: str, chosen: str, margin: float, small: bool = False) -> go.Figure:
    """Share kept (0 to 100%) against a metric: rules and random as lines with their 95% intervals as bands, the choice annotated.

    The green band is the metric within `margin` of full data.
    """
    figure = go.Figure()
    full = next((point for point in points if point.subset == "full"), None)
    if full is not None:
        value = full.metrics[metric]
        figure.add_hrect(y0=value - margin, y1=value, fillcolor=theme.RIGHT, opacity=0.25, line_width=0, layer="below")
        figure.add_hline(y=value, line={"dash": "dot", "color": theme.NEUTRAL, "width": 1})
        if margin and not small:
            figure.add_annotation(
                x=0,
                xref="paper",
                y=value,
                text=f"within {100 * margin:g} pp of full data",
                showarrow=False,
                xanchor="left",
                yanchor="bottom",
            )
    methods = list(dict.fromkeys(point.method for point in points))
    for method in methods:
        group = sorted((point for point in points if point.method == method), key=lambda point: point.kept_fraction)
        if method in BANDED and len(group) > 1:
            _band(figure, group, metric, theme.METHODS[method])
        _points(figure, group, metric, method)
    mark = next((point for point in points if point.subset.removesuffix(DECISIONS) == chosen), None)
    if mark is not None:
        _annotate(figure, mark, metric, small)
    figure.update_layout(margin=MARGIN, height=300 if small else 430, legend=BELOW, clickmode="event+select")
    figure.update_xaxes(title="share of the examples kept", range=[-0.02, 1.04], tickformat=".0%", tick0=0, dtick=0.2)
    lowest = min((low for point in points for low in (point.metrics[metric], point.ci95[metric][0]) if not isnan(low)), default=0.0)
    figure.update_yaxes(title=metric.replace("_", " "), rangemode="nonnegative" if lowest >= 0 else "normal")
    return figure


BANDED = ("h-score", "random")
"""Methods whose intervals are drawn as bands where they have several points; those of others as bars."""


def _band(figure: go.Figure, group: Sequence[FrontierPoint], metric: str, colour: str) -> None:
    known = [point for point in group if not isnan(point.ci95[metric][0])]
    across = [point.kept_fraction for point in known]
    for end, fill in ((1, None), (0, "tonexty")):
        figure.add_scatter(
            x=across,
            y=[point.ci95[metric][end] for point in known],
            mode="lines",
            line={"width": 0, "color": colour},
            fill=fill,
            fillcolor=f"rgba({int(colour[1:3], 16)},{int(colour[3:5], 16)},{int(colour[5:7], 16)},0.16)",
            hoverinfo="skip",
            showlegend=False,
            name="95% interval",
        )


def _points(figure: go.Figure, group: Sequence[FrontierPoint], metric: str, method: str) -> None:
    colour = theme.METHODS.get(method, theme.OTHER)
    banded = method in BANDED and len(group) > 1
    shown = [not banded and not isnan(point.ci95[metric][0]) for point in group]
    up, down = (
        [abs(p.ci95[metric][end] - p.metrics[metric]) if bar else 0.0 for p, bar in zip(group, shown, strict=True)] for end in (1, 0)
    )
    figure.add_scatter(
        x=[point.kept_fraction for point in group],
        y=[point.metrics[metric] for point in group],
        error_y={"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1, "width": 3},
        mode="lines+markers" if len(group) > 1 else "markers",
        name={"h-score": "difficulty rule", "full": "full data", "random": "random, same size"}.get(method, plotly(method)),
        line={"color": colour, "width": 2},
        marker={"color": colour, "symbol": theme.SYMBOLS.get(method, "triangle-up"), "size": 11},
        customdata=[[point.subset] for point in group],
        text=[_hover(point, metric) for point in group],
        hovertemplate="%{text}<extra></extra>",
    )


def _annotate(figure: go.Figure, point: FrontierPoint, metric: str, small: bool) -> None:
    value = point.metrics[metric]
    figure.add_annotation(
        x=point.kept_fraction,
        y=value,
        text="your choice" if small else f"your choice<br>{point.kept_fraction:.0%}, {value:.3f}",
        showarrow=True,
        arrowcolor=theme.CHOSEN,
        arrowwidth=2,
        ax=-70 if point.kept_fraction > 0.5 else 70,
        ay=45,
    )


MARKED = {"color": theme.WORSE, "symbol": "diamond", "size": 11}
UNMARKED = {"color": theme.NEUTRAL, "symbol": "circle", "size": 9}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dot:
    """A value with its interval, on a line of its own."""

    name: str
    value: float
    low: float
    high: float
    hover: str
    marked: bool


def _dots(figure: go.Figure, dots: Sequence[_Dot], kinds: Mapping[bool, str], hover: str, axis: str, height: int) -> go.Figure:
    """Draw the dots, the first on top; `kinds` are the legend's names of those that are marked (True), in colour, and of the others."""
    for marked, kind in kinds.items():
        places = [place for place, dot in enumerate(dots) if dot.marked == marked]
        some = [dots[place] for place in places]
        figure.add_scatter(
            x=[dot.value for dot in some],
            y=places,
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [0.0 if isnan(dot.high) else dot.high - dot.value for dot in some],
                "arrayminus": [0.0 if isnan(dot.low) else dot.value - dot.low for dot in some],
                "thickness": 1.5,
                "width": 4,
            },
            mode="markers",
            name=kind,
            marker=MARKED if marked else UNMARKED,
            text=[dot.hover for dot in some],
            hovertemplate=f"{hover}<extra></extra>",
        )
    names = [plotly(dot.name) for dot in dots]
    figure.update_layout(margin=MARGIN, height=max(220, height), legend={"orientation": "h", "y": 1, "yanchor": "bottom"})
    figure.update_xaxes(title=axis, zeroline=False)
    figure.update_yaxes(
        tickvals=list(range(len(dots))), ticktext=names, range=[len(dots) - 0.5, -0.5], automargin=True, showgrid=False, zeroline=False
    )
    return figure


def groups(rows: Sequence[Group]) -> go.Figure:
    """Change in accuracy of each group as a point with its 95% interval, the first on top; those that lose are coloured and marked."""
    dots = [
        _Dot(
            name=f"{_short(row.value)} ({_short(row.column)})",
            value=100 * row.change.mean,
            low=100 * row.change.low,
            high=100 * row.change.high,
            hover=_of_group(row),
            marked=row.loses,
        )
        for row in rows
    ]
    kinds = {True: "loses more than the others", False: "not shown to lose more"}
    figure = _dots(go.Figure(), dots, kinds, "%{text}", "change in accuracy against full data (pp)", 90 + 30 * len(rows))
    return figure.add_vline(x=0, line={"dash": "dot", "color": theme.NEUTRAL, "width": 1})


def sensitivity(rows: Sequence[Moved]) -> go.Figure:
    """Rank agreement of H with each variation, its interval as a bar; the interval of other seeds alone is the band over all."""
    figure = go.Figure()
    for row in rows:
        if row.name == SEEDS and not isnan(row.interval[0]):
            figure.add_vrect(x0=row.interval[0], x1=row.interval[1], fillcolor=theme.NEUTRAL, opacity=0.18, line_width=0, layer="below")
    dots = [
        _Dot(
            name="other seeds alone" if row.name == SEEDS else row.words,
            value=row.rank_agreement,
            low=row.interval[0],
            high=row.interval[1],
            hover=f"{plotly(row.words)}<br>ticket overlap {row.overlap:.0%}",
            marked=row.matters,
        )
        for row in rows
    ]
    kinds = {True: "moves H more than the seeds do", False: "no more than the seeds, as far as can be known"}
    there = {marked: kind for marked, kind in kinds.items() if any(dot.marked == marked for dot in dots)}
    hover = "%{text}<br>rank agreement %{x:.2f}"
    return _dots(figure, dots, there, hover, "rank agreement of H (Spearman)", 100 + 34 * len(rows))


def _of_group(row: Group) -> str:
    lines = [plotly(row.name), f"{counted(row.evaluated, 'evaluation example')}", f"{row.full:.3f} to {row.subset:.3f}"]
    kept = [] if row.total is None else [f"keeps {row.kept:,} of {row.total:,} training examples"]
    return "<br>".join([*lines, *kept])


def _hover(point: FrontierPoint, metric: str) -> str:
    lines = [
        plotly(title(point.subset)),
        f"{counted(point.kept, 'example')} ({point.kept_fraction:.0%})",
        f"{metric} {point.metrics[metric]:.3f}, {counted(point.seeds, 'seed')}",
    ]
    low, high = point.ci95[metric]
    if not isnan(low):
        lines[2] += f", 95% CI {low:.3f} to {high:.3f}"
    for name, difference in (("full data", point.vs_full), ("random", point.vs_random)):
        if difference is not None and difference.pairs:
            lines.append(f"{difference.mean * 100:+.1f} pp to {name}")
    return "<br>".join(lines)


def learned(table: pd.DataFrame, chance: float | None, dotted: str = "chance") -> go.Figure:
    """A value over epochs: a thin line for each run, their mean thick, `chance` dotted and named; the axis fits the values."""
    figure = go.Figure()
    for name in table.columns:
        figure.add_scatter(x=table.index, y=table[name], mode="lines", name=plotly(name), line={"width": 1, "color": theme.NEUTRAL})
    mean = {"width": 3, "color": theme.KEPT}
    figure.add_scatter(x=table.index, y=table.mean(axis=1), mode="lines+markers", name="mean", line=mean)
    if chance is not None:
        figure.add_hline(y=chance, line={"dash": "dot", "color": theme.NEUTRAL, "width": 1}, annotation_text=dotted)
    figure.update_layout(margin=MARGIN, height=200, showlegend=False)
    figure.update_xaxes(title="epoch", dtick=1, range=[0.5, 1.5] if len(table) == 1 else None)
    figure.update_yaxes(tickformat=".3~g", range=[0, 1] if not table.fillna(0.0).any(axis=None) else None)
    return figure


def learning_rate(fit: RateFit) -> go.Figure:
    """Mean held-out loss by learning rate, a line for each round of the search; the fitted rate is a dashed line."""
    figure = go.Figure()
    for number, (each, colour) in enumerate(zip(fit.rounds, cycle(theme.CATEGORIES), strict=False), 1):
        tried = sorted((one["rate"], one["loss"]) for one in each["candidates"] if one["loss"] is not None)
        figure.add_scatter(
            x=[rate for rate, _ in tried],
            y=[loss for _, loss in tried],
            mode="lines+markers",
            name=f"{each['rows']:,} rows",
            line={"width": 1.5, "color": colour},
            marker={"symbol": list(theme.SYMBOLS.values())[(number - 1) % len(theme.SYMBOLS)]},
        )
    if fit.rate is not None:
        figure.add_vline(x=fit.rate, line={"dash": "dash", "color": theme.CHOSEN, "width": 2}, annotation_text=scientific(fit.rate))
    figure.update_layout(margin={**MARGIN, "t": 40}, height=240, legend={"orientation": "h", "y": 1.25})
    figure.update_xaxes(title="learning rate", type="log", dtick=1, exponentformat="e")
    figure.update_yaxes(title="held-out loss")
    return figure
