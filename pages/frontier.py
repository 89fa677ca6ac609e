"""Frontier page: accuracy of each subset, and the recommended one."""

import streamlit as st

from pruning.analysis.frontier import BUDGETS
from pruning.analysis.recommendation import MARGIN, margin_of
from pruning.reports import choices
from pruning.ui import address, by_model, charts, frontier_controls, groups, reliability, state, widgets

view = state.scored()
subset = state.subset(view)
reliability.caveat(view)
address.among(address.BUDGET, [*BUDGETS], "budget")
own, view = view, frontier_controls.ask_model(view)
points = view.frontier(address.text(address.BUDGET, "epochs"))
left, right = widgets.columns("frontier", [8, 5])
with left:
    st.subheader("How small can it get?", anchor=False)
    frontier_controls.ended(own)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        budget = (
            st.segmented_control(
                "Train each for",
                [*BUDGETS],
                default="epochs",
                key=address.BUDGET,
                format_func=lambda name: BUDGETS[name].partition(" ")[2],
                help="Equal epochs: as the paper. Equal steps: every subset gets as many optimizer steps as full data. "
                "Enough steps: as many as full data needed to stop improving.",
            )
            or "epochs"
        )
        if points:
            metrics = list(points[0].metrics)
            address.among(address.METRIC, metrics, "metric")
            metric = st.selectbox("Metric", metrics, key=address.METRIC, width=180, format_func=lambda name: name.replace("_", " "))
            points = view.frontier(budget, metric)
            address.within(address.MARGIN, 0.0, 50.0, "a margin of")
            allowed = st.number_input("Accuracy I can give up (pp)", 0.0, 50.0, 100 * MARGIN, 0.1, key=address.MARGIN, width=240)
    if points:
        widgets.chart(
            charts.frontier(points, metric, state.subset_name(), margin_of(allowed)),
            None,
            key=address.POINTS,
            on_select=frontier_controls.clicked,
            alt="Share of examples kept against the metric, with 95% intervals; the table below has the same numbers.",
        )
        frontier_controls.advise(view, points, margin_of(allowed), state.subset_name(), budget)
        frontier_controls.table(points, metric)
    else:
        frontier_controls.unmeasured(view)
    if points or not choices.unmeasurable(view.experiment):
        frontier_controls.ask(view, points, state.subset_name(), budget)
with right:
    frontier_controls.cost(view, subset, points, metric if points else "")
if points:
    groups.section(view, subset, budget)
    by_model.section(own, subset, budget, metric)
