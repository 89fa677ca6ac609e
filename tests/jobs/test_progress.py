"""What is said about each run of a job: where it is, its pace, its silence, and its loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pruning.cli import live
from pruning.cli.working import status
from pruning.experiment import Experiment
from pruning.jobs import progress as jobs
from pruning.jobs.progress import JobProgress, job
from pruning.records import Progress, RunLost, RunPlan
from pruning.reports import in_progress
from pruning.store.layout import Folder

PLAN = RunPlan(key="run 1", seed=0, rows=np.arange(300), epochs=3)


def heard(examples: int, where: str = "cuda:1", key: str = "run 1") -> Progress:
    return Progress(key=key, epoch=examples // 300, examples=examples, total=900, accuracy=0.5, where=where)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, for a test to set."""
    now = [1000.0]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now[0])
    return now


def test_each_run_has_its_own_pace_over_the_last_half_minute(tmp_path: Path, clock: list[float]) -> None:
    """100 examples a second for 10 s, then 10 a second; another run beside it; a resumed run begins with what it had."""
    progress = JobProgress(Folder(tmp_path), "score")
    progress.start(PLAN, "cuda:1")
    assert (progress.runs["run 1"].where, progress.runs["run 1"].total, progress.runs["run 1"].rate) == ("cuda:1", 900, 0.0)
    progress.update(heard(300))
    assert progress.runs["run 1"].rate == 0.0
    clock[0] += 2
    progress.update(heard(500))
    progress.update(heard(40, "cuda:0", "run 2"))
    assert (progress.runs["run 1"].rate, progress.runs["run 2"].rate) == (100.0, 0.0)
    clock[0] += 40
    progress.update(heard(600))
    clock[0] += 10
    progress.update(heard(700))
    assert progress.runs["run 1"].rate == 10.0


def test_status_has_a_line_for_each_run_with_its_silence_and_says_which_was_lost(
    scored: Experiment, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    lost = "run 2 on cuda:0 was lost and starts again: its process was killed."
    with job(scored.folder, "score") as progress, live.listener("Scoring") as listen:
        for key, where in (("run 1", "cuda:1"), ("run 2", "cuda:0"), ("run 3", "cuda:2")):
            progress.start(RunPlan(key=key, seed=0, rows=np.arange(300), epochs=3), where)
        for examples in (300, 400):
            progress.update(heard(examples))
            progress.update(heard(examples, "cuda:0", "run 2"))
            clock[0] += 4
        progress.lose(RunLost(key="run 2", where="cuda:0", sentence=lost))
        for _ in range(2):
            listen(progress)
        told = capsys.readouterr().out.splitlines()
        assert told.count(lost) == 1 and "run 1 on cuda:1: training, epoch 2, 400 of 900 examples, 25/s, accuracy 0.50" in told[-1]
        clock[0] += 26
        progress.say("progress")
        status(scored.folder.root)
        lines = capsys.readouterr().out.splitlines()
        assert lines[1:3] == [
            "run 1 on cuda:1: silent for 30 s, epoch 2, 400 of 900 examples, 25/s, accuracy 0.50",
            "run 3 on cuda:2: starting",
        ]
        assert lost in lines and "run 2 on cuda:0: " not in "".join(lines[:3])
    assert in_progress.running(scored.status()) == []


def test_a_run_at_its_end_evaluates_and_is_not_silent() -> None:
    done = Progress(key="run 1", epoch=2, examples=900, total=900, accuracy=0.5, silent=99.0)
    assert in_progress.state(done) == "evaluating"
    assert in_progress.sentence(done) == "run 1: evaluating, epoch 3, 900 of 900 examples, accuracy 0.50"
