"""Status of an experiment's latest job, as its events tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pruning.formatting import duration
from pruning.records import JobState, Progress

_DONE = {"score": "scored", "frontier": "frontier measured", "fit": "learning rate fitted", "look": "looked at", "prune": "pruned"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """Status of an experiment's latest job, as read from its folder."""

    state: JobState
    verb: str = ""
    """score or frontier."""
    pid: int | None = None
    message: str = ""
    """Error message of a failed job or of a worker that died; what a job on a cluster waits for."""
    log: str = ""
    """File name of the job's log, in the folder's jobs/; empty for jobs of older versions."""
    started: float | None = None
    """Seconds since 1970."""
    updated: float | None = None
    """Time of the last event, in seconds since 1970."""
    silent: float | None = None
    """Seconds since the last event of a running job, if that is long ago because its process is stopped or stuck; else None."""
    done: int = 0
    """Examples trained so far, including those finished before the job."""
    total: int = 0
    """Examples of the whole job."""
    rate: float = 0.0
    """Recent examples per second."""
    runs: Mapping[str, Progress] = field(default_factory=dict)
    """Latest progress of each run, by key."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, as `status --json` prints them."""
        return {**asdict(self), "seconds_left": self.seconds_left}

    @property
    def measuring(self) -> bool:
        """True while subsets are being measured, by `frontier` or `prune`."""
        return self.state.under_way and self.verb in ("frontier", "prune")

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the recent rate; None if there is none yet."""
        return (self.total - self.done) / self.rate if self.rate > 0 and self.silent is None else None

    @property
    def sentence(self) -> str:
        """State of the job in one line.

        >>> JobStatus(state=JobState.RUNNING, verb="score", done=500, total=2000, rate=50.0).sentence
        'score running, 500 of 2,000 examples, 30 s left'
        >>> JobStatus(state=JobState.RUNNING, verb="score", done=500, total=2000, rate=50.0, silent=180.0).sentence
        'score running, 500 of 2,000 examples, no progress for 3 min'
        >>> JobStatus(state=JobState.DONE, verb="frontier").sentence
        'frontier measured'
        """
        share = f", {self.done:,} of {self.total:,} examples" if self.total else ""
        left = f", {duration(self.seconds_left)} left" if self.state is JobState.RUNNING and self.seconds_left is not None else ""
        left = left if self.silent is None else f", no progress for {duration(self.silent)}"
        message = f": {self.message}" if self.message else ""
        state = "no job yet" if self.state is JobState.NEW else f"{self.verb or 'experiment'} {self.state}"
        return f"{_DONE.get(self.verb, state) if self.state is JobState.DONE else state}{share}{left}{message}"
