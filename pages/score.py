"""Watch the fine-tunings of this view's experiment; a dialog starts another."""

import streamlit as st

from pruning.experiment import list_experiments
from pruning.ui import first_look, history, job_progress, new_experiment, score_form, state

experiment = state.chosen()
if experiment is None:
    st.caption("Winnow trains your model a few times and records, for every example, in which runs and epochs it was right.")
    st.subheader("New experiment")
    score_form.show(dialog=False)
else:
    job_progress.panel(experiment)
    if not experiment.finished_runs():
        first_look.panel(experiment)
history.listed(list_experiments(state.root()))
if experiment is not None:
    new_experiment.dialog()
