"""The runs in progress in words: where each trains, how far it is, and how fast."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from pruning.formatting import duration
from pruning.records import JobState, Progress
from pruning.store.job_status import JobStatus
from pruning.store.stored import Stored

SILENT = 25.0
"""Seconds without a report after which a run in training counts as silent; it reports several times per second, or after each step."""


def running(status: JobStatus) -> list[Progress]:
    """Return the runs in progress of a job, by name."""
    return [run for _, run in sorted(status.runs.items())] if status.state is JobState.RUNNING else []


def state(run: Progress) -> str:
    """Return what a run does, in a word or two.

    >>> state(Progress(key="run 0", epoch=0, examples=30, total=90, accuracy=0.5, silent=31.0))
    'silent for 31 s'
    """
    if run.examples in (0, run.total):
        return "evaluating" if run.examples else "starting"
    return f"silent for {duration(run.silent)}" if run.silent >= SILENT else "training"


def sentence(run: Progress) -> str:
    """Return a run's progress in one line.

    >>> sentence(Progress(key="run 3", epoch=1, examples=300, total=900, accuracy=0.81, where="cuda:1", rate=41.3))
    'run 3 on cuda:1: training, epoch 2, 300 of 900 examples, 41/s, accuracy 0.81'
    """
    row = cells(run)
    epoch = f"epoch {row['epoch']}" if run.examples else ""
    examples = f"{row['examples']} examples" if run.examples else ""
    pace = f"{row['examples/s']}/s" if run.rate else ""
    accuracy = f"accuracy {row['accuracy']}" if run.examples else ""
    where = f" on {run.where}" if run.where else ""
    return f"{run.key}{where}: {', '.join(filter(None, (row['state'], epoch, examples, pace, accuracy)))}"


def cells(run: Progress) -> Mapping[str, str]:
    """Return a run's row in a table; texts, empty where there is nothing to say yet."""
    return {
        "run": run.key,
        "on": run.where,
        "state": state(run),
        "epoch": str(run.epoch + 1),
        "examples": f"{run.examples:,} of {run.total:,}",
        "examples/s": f"{run.rate:,.0f}" if run.rate else "",
        "accuracy": f"{run.accuracy:.2f}" if run.examples else "",
        "peak memory": f"{run.memory / 2**20:,.0f} MB" if run.memory else "",
    }


def grid(experiment: Stored, status: JobStatus) -> pd.DataFrame:
    """Return the accuracy of every run (row) in every epoch (column), and the share done of running epochs; texts, empty where none is."""
    accuracy = experiment.epoch_accuracy()
    runs, epochs = accuracy.shape
    table = pd.DataFrame(accuracy, [f"run {run}" for run in range(runs)], [f"epoch {epoch + 1}" for epoch in range(epochs)])
    shown = table.map(lambda value: "" if pd.isna(value) else f"{value:.3f}")
    for run in running(status) if status.verb == "score" else []:
        epoch = f"epoch {run.epoch + 1}"
        if run.key in shown.index and epoch in shown.columns and not shown.at[run.key, epoch] and run.total:
            done = run.examples / (run.total / experiment.settings.scoring.epochs) - run.epoch
            shown.at[run.key, epoch] = f"{min(max(done, 0), 1):.0%}"
    return shown
