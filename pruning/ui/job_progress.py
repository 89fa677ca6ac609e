"""The running job: progress, speed, time left, the grid of runs and epochs; cancel and resume."""

from __future__ import annotations

import time
from math import isnan

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from pruning import logs
from pruning.analysis.learned import Learned
from pruning.errors import ExperimentError, WinnowError
from pruning.experiment import Experiment
from pruning.formatting import counted, duration, scientific
from pruning.jobs import background
from pruning.records import JobState
from pruning.reports import in_progress
from pruning.settings import FULL_RECIPE
from pruning.store.job_status import JobStatus
from pruning.store.stored import Stored
from pruning.ui import charts, escaping, reliability, setting_boxes, state, widgets

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
    learned = experiment.learned if experiment.finished_runs() and not running else None
    with st.container(border=True):
        _headline(status, learned)
        if running:
            with st.popover("Cancel", icon=":material/stop:"):
                st.text("Stops at the next step. Finished epochs are kept; Resume continues after them.")
                st.button("Yes, stop it", type="primary", on_click=_cancel, args=(directory,))
        elif status.state in (JobState.CANCELLED, JobState.INTERRUPTED, JobState.FAILED):
            _resumable(experiment)
            _log(experiment, status)
    _numbers(experiment, status)
    if running and status.verb == "score":
        reliability.line(experiment)
    if not experiment.sampled:
        _runs(experiment, status)
    _searches(experiment)
    if runs := [in_progress.cells(run) for run in in_progress.running(status)]:
        st.caption("Runs in progress")
        st.dataframe(pd.DataFrame(runs), hide_index=True, alt="Runs in progress: device, epoch, examples, speed and accuracy of each")
    if notes := experiment.notes():
        with st.expander(counted(len(notes), "note"), icon=":material/info:"):
            st.markdown("\n".join(f"- {escaping.markdown(setting_boxes.in_boxes(note))}" for note in notes))


def _headline(status: JobStatus, learned: Learned | None) -> None:
    """How far the job is, or, once a run is complete, whether the model learned."""
    if learned is not None and status.state in (JobState.DONE, JobState.NEW):
        verdict, _, advice = learned.sentence.partition(". ")
        st.subheader(escaping.markdown(verdict.removesuffix(".")), anchor=False)
        if advice:
            st.text(setting_boxes.without_flags(advice))
        st.caption(escaping.markdown(_begun(setting_boxes.in_boxes(status.sentence))))
        return
    st.subheader(escaping.markdown(_begun(setting_boxes.in_boxes(status.sentence))), anchor=False)
    if status.total:
        st.progress(min(1.0, status.done / status.total))
    elif status.state.under_way and not status.message:
        st.progress(0.0, "Loading the data and the model ...")
    if learned is not None:
        st.text(setting_boxes.without_flags(learned.sentence))


def _begun(sentence: str) -> str:
    """Return the sentence with a capital."""
    return sentence[:1].upper() + sentence[1:]


def _numbers(experiment: Experiment, status: JobStatus) -> None:
    """Five numbers: of the job while it runs, then of what it recorded."""
    row, settings = st.container(horizontal=True), experiment.settings
    if experiment.sampled:
        widgets.number(row, "Prompts", f"{len(experiment.ids):,}", counted(settings.runs, "answer") + " each at most")
        widgets.number(row, "Recorded by", settings.recorded_by, "nothing is trained here")
        return
    runs = len(experiment.finished_runs())
    epochs = counted(settings.scoring.epochs, "epoch")
    widgets.number(row, "Runs", f"{runs} of {settings.runs}", f"{epochs} each")
    if status.state.under_way:
        memory = max((run.memory for run in status.runs.values()), default=0)
        widgets.number(row, "Time left", duration(status.seconds_left) if status.rate else "-", _taken(status))
        widgets.number(row, "Speed", f"{status.rate:,.0f}/s" if status.rate else "-", "examples")
        widgets.number(row, "Peak memory", f"{memory / 2**20:,.0f} MB" if memory else "-", "per run")
    else:
        learned = experiment.learned if runs else None
        known = learned is not None and not isnan(learned.accuracy)
        widgets.number(row, "Evaluation accuracy", f"{learned.accuracy:.3f}" if learned and known else "-", _beside(learned))
        widgets.number(row, "Examples", f"{len(experiment.ids):,}", settings.task.replace("_", " "))
    rate = settings.scoring.learning_rate
    fitted = FULL_RECIPE in experiment.learning_rates
    if settings.recorded_by != "winnow":
        widgets.number(row, "Recorded by", settings.recorded_by, "its learning rate is not known here")
        return
    widgets.number(
        row, "Learning rate", scientific(rate) if rate else "auto", "fitted" if fitted else "as asked" if rate else "not fitted yet"
    )


def _taken(status: JobStatus) -> str:
    if status.started is None or status.updated is None:
        return ""
    return f"{duration(status.updated - status.started)} so far"


def _beside(learned: Learned | None) -> str:
    if learned is None or isnan(learned.majority):
        return "on the evaluation data"
    return f"majority class {learned.majority:.3f}"


@st.cache_data(max_entries=8, show_spinner=False)
def _majority(directory: str, fingerprint: str) -> float:
    """Return the share of the most frequent class in the evaluation data; read once, though the panel is drawn each second."""
    return Experiment(directory).majority


def _runs(experiment: Experiment, status: JobStatus) -> None:
    """Draw the accuracy of every run in every epoch, once there is one or a job is under way."""
    accuracy = experiment.epoch_accuracy()
    if not status.state.under_way and not np.isfinite(accuracy).any():
        return
    curves, numbers = widgets.columns("runs", [3, 2])
    with curves:
        _curves(experiment, accuracy)
    with numbers:
        st.caption("The same in numbers; a percentage for running epochs")
        st.dataframe(in_progress.grid(experiment, status), alt="Accuracy of every run in every epoch")


def _curves(experiment: Experiment, accuracy: NDArray[np.float64]) -> None:
    """Draw the training accuracy by epoch, [R, E]; before there is any, say what it waits for."""
    st.caption("Training accuracy by epoch: each run, and their mean")
    if not np.isfinite(accuracy).any():
        fitting = experiment.settings.recorded_by == "winnow" and experiment.settings.scoring.learning_rate is None
        st.text("No run yet: short trials fit the learning rate first." if fitting else "No run has finished an epoch yet.")
        return
    table = pd.DataFrame(accuracy.T, index=range(1, accuracy.shape[1] + 1), columns=[f"run {run}" for run in range(len(accuracy))])
    majority = _majority(str(experiment.folder.root), experiment.info["data"]["evaluation"]["fingerprint"])
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
            st.code(text, language=None, wrap_lines=True)


def _resumable(experiment: Experiment) -> None:
    if not st.button("Resume", icon=":material/resume:", help="Continue after the last finished epoch."):
        return
    try:
        begun(experiment, background.resume(experiment.folder.root))
    except WinnowError as error:
        st.error(escaping.markdown(error))


def begun(experiment: Stored, worker: background.Worker) -> None:
    """Wait until the worker that was just started writes an event, then rerun the page.

    Raises ExperimentError with its error where it ends before that: another job may have been faster.
    """
    end = time.monotonic() + STARTING
    with st.spinner("Starting the worker ..."):
        while experiment.status().pid != worker.process.pid and worker.process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
    problem = worker.failure()
    if problem and experiment.status().pid != worker.process.pid:
        raise ExperimentError(problem)
    st.rerun()


@state.in_words
def _cancel(directory: str) -> None:
    stopped = background.cancel(directory)
    state.say("Cancelled; finished work is kept." if stopped else "Stopping: the current step is still running.")
