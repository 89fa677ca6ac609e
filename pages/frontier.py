"""What each subset costs in accuracy, and which one to take."""

import streamlit as st

from pruning.analysis.recommendation import MARGIN, margin_of
from pruning.ui import charts, frontier_controls, reliability, state, tables, widgets

st.title("Frontier")
view = state.scored()
reliability.caveat(view)
how, what, scale = st.columns([2, 2, 1], vertical_alignment="bottom")
budget = (
    how.segmented_control(
        "Compare at equal",
        ["epochs", "steps"],
        default="epochs",
        key="budget",
        bind="query-params",
        help="Epochs: as the paper. Steps: every subset gets as many optimizer steps as full data.",
    )
    or "epochs"
)
points = view.frontier(budget)
chosen = st.session_state[state.SUBSET]
if points:
    metric = what.selectbox("Metric", list(points[0].metrics), key="metric", bind="query-params")
    points = view.frontier(budget, metric)
    logarithmic = scale.toggle("Logarithmic size", key="log", bind="query-params")
    st.caption(
        "Click a point, or choose below, to make its subset the one that every page is about. Points of one size stand side by side. "
        "The line joins the unbeaten points: none with as few examples does as well."
    )
    widgets.chart(
        charts.frontier(points, metric, chosen, logarithmic),
        tables.frontier(points, metric),
        key="frontier",
        on_select=frontier_controls.clicked,
        alt="Subset size against the metric with 95% intervals; the table below has the numbers, the list below chooses too.",
    )
    frontier_controls.chooser(view, points, metric, chosen)
    allowed = st.number_input(
        "Points it may be worse than full data", 0.0, 50.0, 100 * MARGIN, 0.1, key="margin", bind="query-params", width=280
    )
    frontier_controls.advise(view, points, margin_of(allowed), chosen, budget)
else:
    st.info("Nothing is measured yet. Each subset is fine-tuned with several seeds, beside a random and an ambiguous one of equal size.")
frontier_controls.ask(view, points, chosen, budget)
