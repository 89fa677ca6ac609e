"""Choose data and model, start scoring, watch it."""

import streamlit as st

from pruning.data.tasks.generation import GENERATION
from pruning.errors import WinnowError
from pruning.experiment import list_experiments
from pruning.ui import chat, escaping, first_look, history, job_progress, score_form, state

experiment = state.chosen()
if experiment is None:
    st.caption("Winnow trains your model a few times and records, for every example, in which runs and epochs it was right.")
else:
    job_progress.panel(experiment)
    if not experiment.finished_runs():
        first_look.panel(experiment)

st.subheader("New experiment")
chosen, name = score_form.source()
try:
    preview, task, columns, drop_invalid = score_form.columns(chosen)
except WinnowError as error:
    st.error(escaping.markdown(error))
    st.caption("Or upload the file above: it is copied beside the experiments.")
    st.stop()
if preview.problem:
    st.warning(escaping.markdown(preview.problem))

settings, folder, limit = score_form.recipe(task, name, chosen)
settings = settings.with_changes(columns=columns, drop_invalid=drop_invalid)
if task == GENERATION:
    chat.mask(settings)
with st.container(horizontal=True):
    start = st.button("Start scoring", type="primary", icon=":material/play_arrow:", disabled=bool(preview.problem))
    whole = st.button(
        "Score, choose and export",
        icon=":material/content_cut:",
        disabled=bool(preview.problem),
        help="Also finds the smallest set within 0.5 pp of full data and writes it to the experiment's exports, verified.",
    )
    measure = st.button("Estimate the time", icon=":material/timer:", disabled=bool(preview.problem))
if measure:
    score_form.estimate(settings, limit)
if start or whole:
    score_form.start(settings, folder, limit, whole)
    st.rerun()
history.listed(list_experiments(state.root()))
