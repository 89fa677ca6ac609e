"""Which examples are easy, contested or hard."""

import streamlit as st

from pruning.reports import composition
from pruning.ui import address, answers, charts, confusion, maps, reliability, sensitivity, state, success_rule, widgets
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
    area = maps.panel(view, kept)
maps.chosen(view, kept, area)
below = widgets.columns("difficulty-details")
with below[0]:
    confusion.show(view)
with below[1]:
    if not view.experiment.sampled:
        reliability.show(view)
        sensitivity.section(view)
