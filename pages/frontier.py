"""What each subset costs in accuracy, and which one to take."""

import streamlit as st

from pruning import frontier, jobs
from pruning.records import JobState
from pruning.ui import charts, state, tables

st.title("Frontier")
experiment = state.scored()
budget = st.segmented_control(
    "Compare at equal",
    ["epochs", "steps"],
    default="epochs",
    key="budget",
    bind="query-params",
    help="Epochs: as the paper. Steps: every subset gets as many optimizer steps as full data.",
)
points = experiment.frontier(state.burn_in(), budget or "epochs")
if points:
    metric = st.selectbox("Metric", list(points[0].metrics), key="metric", bind="query-params")
    logarithmic = st.toggle("Logarithmic size", key="log", bind="query-params")

    def pick() -> None:
        """A click on a point chooses its subset for every page."""
        chosen = st.session_state["frontier"].selection.points
        if chosen and chosen[0]["customdata"][0].removesuffix("+decisions") in state.subset_names(experiment):
            st.session_state[state.SUBSET] = chosen[0]["customdata"][0].removesuffix("+decisions")

    st.plotly_chart(
        charts.frontier(points, metric, st.session_state[state.SUBSET], logarithmic),
        key="frontier",
        on_select=pick,
        selection_mode="points",
        alt="Subset size against the metric with 95% intervals; the table below has the numbers; the sidebar chooses too.",
    )
    st.info(frontier.recommend(points).sentence, icon=":material/lightbulb:")
    st.dataframe(tables.frontier(points, metric), hide_index=True)
else:
    st.info("Nothing is measured yet. Each subset is fine-tuned with several seeds, beside a random and an ambiguous one of equal size.")

running = experiment.status().state is JobState.RUNNING
with st.form("measure"):
    st.subheader("Measure")
    names = st.multiselect("Subsets", state.subset_names(experiment), help="Empty = the paper's whole ladder.")
    baselines = st.multiselect("Beside each, at equal size", ["random", "ambiguous", "ccs"], default=["random", "ambiguous"])
    seeds = st.number_input(
        "Fine-tunings per point", 1, 50, 3, help="Three give an interval; more make it narrower. Finished ones are kept."
    )
    if st.form_submit_button("Measure", type="primary", disabled=running):
        jobs.start(
            jobs.frontier_command(experiment.folder.root, names, baselines, int(seeds), budget or "epochs", state.burn_in()),
            experiment.folder.root,
        )
        st.toast("Measuring in the background; the sidebar shows how far it is.")
        st.rerun()
