"""The running job: progress, speed, time left, the grid of runs and epochs; cancel and resume."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import streamlit as st

from pruning import logs
from pruning.errors import WinnowError
from pruning.experiment import Experiment
from pruning.formatting import duration
from pruning.jobs import background
from pruning.records import JobState, JobStatus
from pruning.reports import in_progress
from pruning.settings import FULL_RECIPE
from pruning.store.stored import Stored
from pruning.ui import charts, escaping, reliability, state, tables

STARTING = 60.0
"""Seconds to wait for a worker's first event."""


def panel(experiment: Experiment) -> None:
    """Show the experiment's job, refreshed each second while it runs."""
    running = experiment.status().state.under_way
    st.fragment(_watched, run_every=1 if running else None)(str(experiment.folder.root), running)


def _watched(directory: str, was_running: bool) -> None:
    """Show errors about damaged files here, because an error in a fragment does not reach the page."""
    try:
        _watch(directory, was_running)
    except WinnowError as error:
        st.error(escaping.markdown(error), icon=":material/error:")
    state.show_sayings()


def _watch(directory: str, was_running: bool) -> None:
    experiment = Experiment(directory)
    status = experiment.status()
    running = status.state.under_way
    if was_running != running:
        st.rerun()
    st.subheader(escaping.markdown(experiment.name))
    st.text(status.sentence)
    if status.total:
        st.progress(min(1.0, status.done / status.total))
    elif running:
        st.progress(0.0, "Loading the data and the model ...")
    if running:
        if status.rate:
            _numbers(status)
        with st.popover("Cancel", icon=":material/stop:"):
            st.text("Stops at the next step. Finished epochs are kept; Resume continues after them.")
            st.button("Yes, stop it", type="primary", on_click=_cancel, args=(directory,))
    elif status.state in (JobState.CANCELLED, JobState.INTERRUPTED, JobState.FAILED):
        _resumable(experiment)
        _log(experiment, status)
    if running and status.verb == "score":
        reliability.line(experiment)
    for note in experiment.notes():
        st.text(note)
    if experiment.finished_runs() and not running:
        st.text(experiment.learned.sentence)
    curves, numbers = st.columns([3, 2])
    with curves:
        _curves(experiment)
    with numbers:
        st.caption("The same in numbers; a percentage for running epochs")
        st.dataframe(_grid(experiment, status), alt="Accuracy of every run in every epoch")
    _searches(experiment)
    if runs := [in_progress.cells(run) for run in in_progress.running(status)]:
        st.caption("Runs in progress")
        st.dataframe(pd.DataFrame(runs), hide_index=True, alt="Runs in progress: device, epoch, examples, speed and accuracy of each")


@st.cache_data(max_entries=8, show_spinner=False)
def _majority(directory: str, fingerprint: str) -> float:
    """Return the share of the most frequent class in the evaluation data; read once, though the panel is drawn each second."""
    return Experiment(directory).majority[0]


def _curves(experiment: Experiment) -> None:
    """Draw the training accuracy by epoch."""
    accuracy = experiment.epoch_accuracy()
    table = pd.DataFrame(accuracy.T, index=range(1, accuracy.shape[1] + 1), columns=[f"run {run}" for run in range(len(accuracy))])
    majority = _majority(str(experiment.folder.root), experiment.info["data"]["evaluation"]["fingerprint"])
    st.caption("Training accuracy by epoch: each run, and their mean")
    st.plotly_chart(
        charts.learned(table, None if np.isnan(majority) else majority, "majority class"),
        key="learning-curves",
        config={"displayModeBar": False},
        alt="Training accuracy by epoch, a line for each run; the table below has the numbers.",
    )


def _searches(experiment: Experiment) -> None:
    """Draw the search for each fitted learning rate."""
    for name, fit in experiment.learning_rates.items():
        with st.expander(f"Learning rate search{'' if name == FULL_RECIPE else f' ({name})'}", icon=":material/tune:"):
            st.text(fit.sentence)
            st.plotly_chart(
                charts.learning_rate(fit),
                key=f"learning-rate-{name}",
                config={"displayModeBar": False},
                alt="Held-out loss by learning rate for each round of the search; the sentence above names the fitted rate.",
            )


def _log(experiment: Experiment, status: JobStatus) -> None:
    """Show the end of the log of a job that failed."""
    if status.state is not JobState.CANCELLED and status.log and (text := logs.tail(experiment.folder.job_log(status.log))):
        with st.expander("Log", icon=":material/article:"):
            st.code(text, language=None)


def _numbers(status: JobStatus) -> None:
    memory = max((run.memory for run in status.runs.values()), default=0)
    speed, left, used = st.columns(3)
    speed.metric("Speed", f"{status.rate:,.0f} examples/s")
    left.metric("Time left", duration(status.seconds_left))
    used.metric("Peak memory per run", f"{memory / 2**20:,.0f} MB" if memory else "-")


def _grid(experiment: Experiment, status: JobStatus) -> pd.DataFrame:
    """Return the recorded accuracies, and the progress of running epochs."""
    shown = tables.epochs(experiment.epoch_accuracy()).map(lambda value: "" if pd.isna(value) else f"{value:.3f}")
    if status.state is JobState.RUNNING and status.verb == "score":
        for key, run in status.runs.items():
            place = f"epoch {run.epoch + 1}"
            if key in shown.index and place in shown.columns and not shown.at[key, place] and run.total:
                done = run.examples / (run.total / experiment.settings.scoring.epochs) - run.epoch
                shown.at[key, place] = f"{min(max(done, 0), 1):.0%}"
    return shown


def _resumable(experiment: Experiment) -> None:
    if not st.button("Resume", icon=":material/resume:", help="Continue after the last finished epoch."):
        return
    try:
        background.resume(experiment.folder.root)
    except WinnowError as error:
        st.error(escaping.markdown(error))
        return
    begun(experiment)


def begun(experiment: Stored) -> None:
    """Wait until the worker that was just started writes an event or ends, then rerun the page."""
    began = time.time()
    with st.spinner("Starting the worker ..."):
        while time.time() < began + STARTING:
            status = experiment.status()
            if status.state.under_way or (status.updated or 0.0) > began:
                break
            time.sleep(0.2)
    st.rerun()


@state.in_words
def _cancel(directory: str) -> None:
    stopped = background.cancel(directory)
    state.say("Cancelled; finished work is kept." if stopped else "Stopping: the current step is still running.")
