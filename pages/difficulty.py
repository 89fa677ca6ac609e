"""Which examples are easy, contested or hard."""

from functools import partial

import numpy as np
import streamlit as st

from pruning.formatting import counted
from pruning.reports import composition
from pruning.ui import address, answers, charts, confusion, filters, reliability, sensitivity, state, success_rule, widgets
from pruning.ui import difficulty_selection as picking

view = state.scored()
dynamics, h = view.experiment.dynamics, view.h
kept = view.kept(state.subset(view))
reliability.caveat(view)
if view.experiment.stopped:
    st.text(view.experiment.stopped)

left, right = widgets.columns("difficulty")
with left:
    st.subheader(answers.heading(view) or "How many runs got it right", help=answers.about_h(view), anchor=False)
    stacks = [widgets.STAYS, *view.columns]
    address.among(address.STACK, stacks, "column")
    address.usual(address.STACK, widgets.STAYS)
    stack = st.selectbox("Stack by", stacks, key=address.STACK)
    parts, colours = widgets.parts(view, kept, stack)
    counts = composition.by_level(h, parts, dynamics.runs)
    widgets.chart(
        charts.histogram(counts, colours, answers.axis(view), 420),
        counts,
        key=address.HISTOGRAM,
        alt=f"Histogram of H from 0 to {dynamics.runs}, stacked by {stack}; the table below it has the same numbers.",
        on_select=picking.bar,
        index=True,
    )
    picking.level(view, kept)
    answers.statement(view)
    success_rule.panel(view, kept)
with right:
    st.subheader(
        "Data map",
        help="Confidence against variability: how sure the model was of the right answer, and how much that moved while it learned "
        "(Swayamdipta et al. 2020).",
        anchor=False,
    )
    names, meanings, title = view.score_names, filters.meanings(view), picking.title
    axes = st.columns(2)
    xy = answers.map_axes(view)
    for key, usual in zip((address.X, address.Y), xy, strict=True):
        address.among(key, names, "score")
        address.usual(key, names[picking.place(view, usual)])
    x = axes[0].selectbox("X axis", names, picking.place(view, xy[0]), key=address.X, format_func=title, help=meanings)
    y = axes[1].selectbox("Y axis", names, picking.place(view, xy[1]), key=address.Y, format_func=title, help=meanings)
    clicks = picking.clicks()
    ranges, hover = picking.ranges_below(view, x, y), partial(picking.hover, view)
    widgets.chart(
        charts.plane(
            view.score(x), view.score(y), view.score(answers.colour(view)), (title(x), title(y), "share right"), ranges, hover, not clicks
        ),
        picking.cells(view, x, y),
        key=address.MAP,
        alt=f"{title(x)} across, {title(y)} up; the sliders below choose a box, whose examples are listed.",
        on_select=partial(picking.drawn, view, x, y),
        mode="points" if clicks else "box",
        index=True,
    )
    box = picking.box(view, x, y)
if box is not None:
    chosen = picking.inside(view, x, y, box)
    picking.listed(view, chosen, kept, f"{counted(len(chosen), 'example')} in the box ({len(chosen) / max(1, len(h)):.0%} of all).")
    in_subset = int(np.count_nonzero(kept[chosen]))
    st.caption(f"This subset keeps {in_subset:,} of them.")
below = widgets.columns("difficulty-details")
with below[0]:
    confusion.show(view)
with below[1]:
    if not view.experiment.sampled:
        reliability.show(view)
        sensitivity.section(view)
