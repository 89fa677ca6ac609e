"""Starting a scoring and watching it."""

from __future__ import annotations

import re
import time

import streamlit as st

from pruning import data, jobs, sample
from pruning.errors import ExperimentError, UsageError
from pruning.experiment import Experiment
from pruning.ownership import last_words
from pruning.records import JobState, Settings
from pruning.report import duration, status_sentence
from pruning.ui import state, tables

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def start(settings: Settings, name: str, limit: int) -> None:
    """Start scoring in the background under a new name, and make it this view's experiment.

    Raises UsageError for a name that cannot be a folder's, ExperimentError when it is taken.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be an experiment's name; use letters, digits, dots, dashes and underscores.")
    folder = state.root() / name
    if (folder / "experiment.json").exists():
        raise ExperimentError(f"There is an experiment {name} already; choose another name.")
    if settings.data == data.SAMPLE and settings.evaluation is None:
        train, evaluation = sample.sample_split(limit, 1000)
        settings = settings.with_changes(data=str(train), evaluation=str(evaluation))
    jobs.start(jobs.score_command(settings, folder), folder)
    with st.spinner("Reading the data and starting the worker ..."):
        deadline = time.monotonic() + 60
        while not (folder / "experiment.json").exists() and time.monotonic() < deadline:
            words = last_words(folder)
            if words.startswith("Error"):
                raise ExperimentError(words.removeprefix("Error: "))
            time.sleep(0.2)
    st.session_state["_chosen"] = name


def panel(experiment: Experiment) -> None:
    """What the experiment's job is doing, refreshed each second while it runs."""
    running = experiment.status().state is JobState.RUNNING
    st.fragment(_watch, run_every=1 if running else None)(str(experiment.folder.root), running)


def _watch(directory: str, was_running: bool) -> None:
    experiment = Experiment(directory)
    status = experiment.status()
    if was_running and status.state is not JobState.RUNNING:
        st.rerun()
    st.subheader(experiment.name)
    st.text(status_sentence(status))
    if status.total:
        st.progress(min(1.0, status.done / status.total))
    if status.state is JobState.RUNNING:
        speed, left, lines = st.columns(3)
        speed.metric("Speed", f"{status.rate:.0f} examples/s")
        left.metric("Time left", duration(status.seconds_left))
        lines.button(
            "Cancel", on_click=_cancel, args=(directory,), icon=":material/stop:", help="Stops at the next step; finished work is kept."
        )
        for key, run in sorted(status.runs.items()):
            st.text(f"{key}: epoch {run.epoch + 1}, {run.examples:,} of {run.total:,} examples, accuracy {run.accuracy:.2f}")
    if status.state in (JobState.CANCELLED, JobState.INTERRUPTED, JobState.FAILED):
        st.button("Resume", on_click=_resume, args=(directory,), icon=":material/resume:", help="Goes on after the last finished epoch.")
    st.caption("Accuracy while training, by run and epoch")
    st.dataframe(tables.epochs(experiment.epoch_accuracy()))


def _resume(directory: str) -> None:
    jobs.resume(directory)
    st.toast("Going on in the background.")


def _cancel(directory: str) -> None:
    stopped = jobs.cancel(directory)
    st.toast("Cancelled; finished work is kept." if stopped else "Asked to stop; a step is still being finished.")
