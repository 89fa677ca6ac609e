"""Progress of a job on the command line: a bar in a terminal, else a line from time to time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pruning.cli.base import say
from pruning.cli.report import console, print_line
from pruning.errors import WinnowError
from pruning.formatting import duration
from pruning.reports import in_progress

if TYPE_CHECKING:
    from pruning.jobs.progress import JobProgress

PLAIN_INTERVAL = 10.0
"""Seconds between two lines without a terminal."""


@contextmanager
def listener(title: str) -> Iterator[Callable[[JobProgress], None]]:
    """Follow a job: a bar on a terminal, a line every ten seconds elsewhere, and a line for each new fact about it (see `_news`)."""
    news = _news()
    if not console.is_terminal:
        line = _plain(title)

        def in_lines(progress: JobProgress) -> None:
            for sentence in news(progress):
                say(sentence)
            if not progress.waiting:
                line(progress)

        yield in_lines
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("examples"),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(title, total=None, note="")

        def above_bar(progress: JobProgress) -> None:
            for sentence in news(progress):
                print_line(sentence)
            bar.update(task, total=progress.total, completed=progress.done, note=progress.step or f"{progress.rate:.0f}/s")

        yield above_bar


def _news() -> Callable[[JobProgress], Iterator[str]]:
    """Sentences to print once each: which job a queued one waits for, a lost run, and how stable H is after one more complete run."""
    steady, said, lost = _steady(), "", 0

    def news(progress: JobProgress) -> Iterator[str]:
        nonlocal said, lost
        yield from progress.lost[lost:]
        lost = len(progress.lost)
        if progress.waiting and progress.waiting != said:
            said = progress.waiting
            yield said
        if sentence := steady(progress):
            yield sentence

    return news


def _plain(title: str) -> Callable[[JobProgress], None]:
    last = -math.inf

    def listen(progress: JobProgress) -> None:
        nonlocal last
        if time.monotonic() - last < PLAIN_INTERVAL:
            return
        last = time.monotonic()
        if progress.step:
            say(f"{title}: {progress.step}")
            return
        if not (progress.total or progress.runs):
            say(f"{title}: starting")
            return
        runs = "; ".join(in_progress.sentence(run) for _, run in sorted(progress.runs.items()))
        left = f", {duration((progress.total - progress.done) / progress.rate)} left" if progress.rate else ""
        say(f"{title}: {progress.done:,} of {progress.total:,} examples, {progress.rate:.0f}/s{left}{f' ({runs})' if runs else ''}")

    return listen


def _steady() -> Callable[[JobProgress], str]:
    """Return a function that gives the stability of H, once for each number of complete runs from two on, else an empty string.

    It reads the folder only when a run has ended since the last call.
    """
    ended = said = 0

    def steady(progress: JobProgress) -> str:
        nonlocal ended, said
        if progress.verb != "score" or progress.ended == ended:
            return ""
        from pruning.experiment import Experiment

        ended = progress.ended
        try:
            experiment = Experiment(progress.folder.root)
            complete = len(experiment.finished_runs())
            if complete < 2 or complete == said:
                return ""
            said = complete
            return experiment.stability().so_far
        except (WinnowError, OSError, MemoryError):  # the job itself reports what is wrong with its folder
            return ""

    return steady
