"""A job under way: its progress, its events in events.jsonl, and how it is stopped."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeVar

from pruning.errors import Cancelled, ExperimentError, WinnowError
from pruning.logs import of_job
from pruning.records import JobState, Notice, Progress, RunLost, RunPlan
from pruning.store.layout import Folder
from pruning.store.lock import log, own

if TYPE_CHECKING:
    from pruning.jobs.cluster import Connection

T = TypeVar("T")

logger = logging.getLogger(__name__)

Listener = Callable[["JobProgress"], None]
"""Called at each sign of progress and at the end of each run, for the terminal."""

HEARTBEAT = 1.0
"""Seconds between two progress events at the beginning of a job."""

SLOWEST_HEARTBEAT = 5.0
"""Seconds between two progress events of a job that takes hours."""


class JobProgress:
    """Count a job's examples over all its runs and write its events.

    `runs` holds the latest progress of each run under way, `ended` counts the runs that have ended, `log` is the file name of the job's
    log, `waiting` is the sentence about what a queued job waits for, empty once it trains, `step` names work that counts no examples,
    `lost` has a sentence for each run whose process or machine was lost, and `connection` is that to the cluster it trains on, if it
    does.
    """

    def __init__(self, folder: Folder, verb: str, log: str = "", connection: Connection | None = None) -> None:
        self.folder = folder
        self.verb = verb
        self.log = log
        self.connection = connection
        self.waiting = self.machines = self.step = ""
        self.runs: dict[str, Progress] = {}
        self.found = self.total = self.ended = 0
        self.started = time.time()
        self.lost: list[str] = []
        self._recent: list[tuple[float, int]] = []
        self._paces: dict[str, list[tuple[float, int]]] = {}
        self._of_ended = 0
        self._clock = self._said = time.monotonic()
        self._said_queued: float | None = None
        self._kept = ExitStack()
        self._entered: dict[object, Any] = {}

    def keep(self, resource: Callable[..., AbstractContextManager[T]], *arguments: object) -> T:
        """Enter this context until the end of the job, unless it was entered before; return what it yields."""
        if resource not in self._entered:
            self._entered[resource] = self._kept.enter_context(resource(*arguments))
        return self._entered[resource]

    def __enter__(self) -> JobProgress:
        return self

    def __exit__(self, *error: Any) -> None:
        """Leave the contexts of `keep`, which learn of the error that the job ended with."""
        self._kept.__exit__(*error)

    def plan(self, plans: Sequence[RunPlan], found: int = 0, later: int = 0) -> None:
        """Set the work ahead: these plans; `found` examples were trained before this job, `later` are trained after these plans."""
        self.found = found
        self._recent = []
        self.total = found + self._of_ended + sum(len(plan.rows) * plan.epochs for plan in plans) + later

    @property
    def done(self) -> int:
        """Examples trained so far, including those finished before this job."""
        return self.found + self._of_ended + sum(progress.examples for progress in self.runs.values())

    @property
    def rate(self) -> float:
        """Examples per second over the last half minute."""
        return _per_second(self._recent)

    def start(self, plan: RunPlan, where: str) -> None:
        """Record the start of a run."""
        self.waiting = ""
        self._paces.pop(plan.key, None)
        self.runs[plan.key] = Progress(key=plan.key, epoch=0, examples=0, total=len(plan.rows) * plan.epochs, accuracy=0.0, where=where)

    def lose(self, lost: RunLost) -> None:
        """Record that a run waits again because its process is gone."""
        self.runs.pop(lost.key, None)
        self.lost.append(lost.sentence)
        self.say("note", message=lost.sentence)

    def notice(self, notice: Notice) -> None:
        """Record what is known of the machines that train: a lasting fact at once, a state with the next progress event."""
        if notice.lasting:
            self.lost.append(notice.sentence)
            self.say("note", message=notice.sentence)
            return
        self.machines = notice.sentence
        if self.machines and not self.runs:
            self.queue(f"Waiting for the cluster: {self.machines}.")

    def update(self, progress: Progress) -> None:
        """Record the progress of a run."""
        pace = self._paces.setdefault(progress.key, [])
        _add(pace, progress.examples)
        self.runs[progress.key] = replace(progress, rate=round(_per_second(pace), 2))
        self._clocked()

    def passed(self, done: int, timed: bool = True) -> None:
        """Record that a pass that trains nothing has seen `done` examples; not `timed` where its pace says nothing of the work ahead."""
        self.found = done
        if timed:
            self._clocked()

    def end_pass(self) -> None:
        """Record the end of such a pass: its examples count as done whatever is planned next."""
        self._of_ended, self.found = self._of_ended + self.found, 0

    def _clocked(self) -> None:
        _add(self._recent, self.done)

    def _silence(self, key: str) -> float:
        pace = self._paces.get(key)
        return round(time.monotonic() - pace[-1][0], 1) if pace else 0.0

    def end(self, plan: RunPlan) -> None:
        """Record the end of a run."""
        self.runs.pop(plan.key, None)
        self.ended += 1
        self._of_ended += len(plan.rows) * plan.epochs

    def say(self, event: str, state: JobState = JobState.RUNNING, **more: Any) -> None:
        """Append an event to events.jsonl."""
        self._said = time.monotonic()
        if event != "progress":
            logger.info("%s %s%s", self.verb, event, f": {more['message']}" if "message" in more else "")
        values = {
            "state": state,
            "verb": self.verb,
            "pid": os.getpid(),
            "log": self.log,
            "started": round(self.started, 3),
            "done": self.done,
            "total": self.total,
            "rate": round(self.rate, 2),
            "runs": {key: asdict(replace(progress, silent=self._silence(key))) for key, progress in self.runs.items()},
        }
        log(self.folder, event, **{**values, **more})

    def queue(self, sentence: str) -> None:
        """Record what the job waits for: at once, and every few seconds."""
        self.waiting = sentence
        if self._said_queued is None or time.monotonic() - self._said_queued > SLOWEST_HEARTBEAT:
            self._said_queued = time.monotonic()
            self.say("queued", JobState.QUEUED, message=self.waiting)

    def beat(self) -> None:
        """Append a progress event if the last one is old enough: a second at first, a few seconds in a long job."""
        now = time.monotonic()
        if not self.waiting and now - self._said >= min(SLOWEST_HEARTBEAT, max(HEARTBEAT, (now - self._clock) / 120)):
            self.say("progress", message=self.step or self.machines)


def _add(pace: list[tuple[float, int]], done: int) -> None:
    """Add the examples done by now; forget what is older than half a minute."""
    now = time.monotonic()
    pace[:] = [(at, before) for at, before in pace if now - at < 30] + [(now, done)]


def _per_second(pace: Sequence[tuple[float, int]]) -> float:
    if len(pace) < 2:
        return 0.0
    (first, before), (last, after) = pace[0], pace[-1]
    return max(0.0, (after - before) / (last - first)) if last > first else 0.0


@contextmanager
def job(folder: Folder, verb: str, asked: dict[str, Any] | None = None, connection: Connection | None = None) -> Iterator[JobProgress]:
    """Own the folder for one job, and append a final event however it ends. `asked` holds the arguments with which `resume` repeats it,
    `connection` is that to the cluster it trains on.

    Raises BusyError when the experiment is in use, and what the job raises.
    """
    with own(folder), of_job(folder.jobs) as name:
        progress = JobProgress(folder, verb, name, connection)
        progress.say("started", job=asked, cluster=None if connection is None else connection.cluster.to_dict())
        try:
            with progress:
                yield progress
        except Cancelled as stopped:
            progress.say("cancelled", JobState.CANCELLED, message=str(stopped))
            raise
        except Exception as error:
            message = str(error) if isinstance(error, WinnowError) else f"{type(error).__name__}: {error}"
            logger.error("%s failed: %s", verb, message, exc_info=not isinstance(error, WinnowError))
            with suppress(ExperimentError):  # a full disk may be the failure itself; the state is then "interrupted"
                progress.say("failed", JobState.FAILED, message=message)
            raise
        progress.say("finished", JobState.DONE, runs={})


class Stop:
    """A request to stop, made by Ctrl-C, SIGTERM or a closed terminal; the first request counts."""

    def __init__(self) -> None:
        self.asked = False
        self._between_steps = False

    def __call__(self) -> bool:
        """Return True once a stop was requested."""
        return self.asked

    @contextmanager
    def between_steps(self) -> Iterator[None]:
        """Let nothing interrupt this block; the loop inside checks this object between two steps."""
        self._between_steps = True
        try:
            yield
        finally:
            self._between_steps = False

    def ask(self, *_: object) -> None:
        """Handle a signal: outside `between_steps`, raise Cancelled at once."""
        first, self.asked = not self.asked, True
        if first and not self._between_steps:
            raise Cancelled("Cancelled; finished work is kept.")


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A `Stop` that Ctrl-C, SIGTERM and a closed terminal set; their old handlers come back afterwards.

    Outside the main thread (a notebook's worker thread) signal handlers are left unchanged.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, stop.ask) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
