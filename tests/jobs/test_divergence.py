"""Runs that went wrong are named wherever results are shown, and can be trained again with the next seed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pruning.cli import app, report
from pruning.errors import ExperimentError, TrainingError
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.jobs import divergence, worker
from pruning.records import JobState
from pruning.reports.audit_report import findings
from pruning.settings import Settings
from tests.conftest import SEEDS
from tests.support.recordings import record_of


def stuck(experiment: Experiment, run: int) -> None:
    """A run that says the first class of everything, recorded as the worker records."""
    for epoch in range(experiment.settings.train.epochs):
        record = record_of(experiment, run, epoch)
        experiment.write_epoch(run, replace(record, predicted=np.zeros_like(record.predicted), correct=experiment.labels == 0))


@pytest.mark.process
def test_a_run_stuck_at_one_class_is_named_and_redone(scored: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    before = scored.dynamics.gold_prob.copy()
    assert scored.diverged() == [] and scored.warnings() == []
    stuck(scored, 1)
    again = Experiment(scored.folder.root)
    (found,) = again.diverged()
    assert (found.run, found.seed) == (1, SEEDS[1])
    report.console.file = None
    report.show(again)
    assert f"Run 1 (seed {SEEDS[1]}) predicts 'negative' for nearly every example." in capsys.readouterr().out.replace("\n", " ")
    redone = worker.redo(scored.folder.root)
    assert redone.settings.seeds == (SEEDS[0], 342, SEEDS[2])
    assert redone.finished_runs() == [0, 1, 2] and redone.diverged() == []
    assert np.array_equal(redone.dynamics.gold_prob[[0, 2]], before[[0, 2]])
    assert not np.array_equal(redone.dynamics.gold_prob[1], before[1])
    assert len(pd.read_parquet(redone.folder.diverged / f"seed={SEEDS[1]}")) == len(redone.ids) * redone.settings.train.epochs
    assert redone.info["redone"][0]["with"] == 342
    assert [point.seeds for point in redone.frontier() if point.subset == "full"] == [len(SEEDS)]
    with pytest.raises(ExperimentError, match="nothing to train again"):
        worker.redo(scored.folder.root)


def test_a_run_stuck_at_one_class_is_named_in_all_that_is_written(scored: Experiment, tmp_path: Path) -> None:
    """In `show --json`, the audit, and an export's manifest and what its command says."""
    stuck(scored, 1)
    again = Experiment(scored.folder.root)
    subset = again.subset("full")
    (warning,) = again.warnings()
    assert again.summary()["diverged"] == [warning]
    found = findings(again, subset)
    assert found.to_dict()["diverged"] == (warning,) and warning in found.sentences()
    assert warning in writer.build(again, subset, tmp_path / "kept.jsonl")["warnings"]
    words = ["export", str(again.folder.root), "--subset", "full", "--output", str(tmp_path / "by-hand.jsonl")]
    assert f"Warning: {warning}" in CliRunner().invoke(app, words).stderr


@pytest.mark.process
def test_the_same_command_goes_on_after_a_seed_was_replaced(scored: Experiment, settings: Settings) -> None:
    """Who scores again with the seeds first asked for means those that took the diverged ones' place."""
    stuck(scored, 1)
    worker.redo(scored.folder.root)
    stamp = scored.folder.epoch(1, 0).stat().st_mtime_ns
    again = worker.score(settings, scored.folder.root)
    assert again.settings.seeds[1] == 342 and scored.folder.epoch(1, 0).stat().st_mtime_ns == stamp


def killed_between_the_moves(experiment: Experiment, run: int, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Its recording is moved, and no other seed replaces it."""
    stuck(experiment, run)
    (found,) = Experiment(experiment.folder.root).diverged()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(divergence, "write_manifest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        divergence.set_aside(experiment, found)
    return Experiment(experiment.folder.root)


@pytest.mark.process
def test_a_kill_between_the_moves_leaves_no_run_under_another_s_seed(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named still, and the next request completes what was begun."""
    again = killed_between_the_moves(scored, 1, monkeypatch)
    assert again.finished_runs() == [0, 2] and again.settings.seeds == SEEDS
    (warning,) = again.warnings()
    assert f"Run 1 (seed {SEEDS[1]}) diverged; its recording was moved to diverged/." in warning
    redone = worker.redo(scored.folder.root)
    assert redone.settings.seeds == (SEEDS[0], 342, SEEDS[2]) and redone.finished_runs() == [0, 1, 2]
    assert redone.diverged() == []


@pytest.mark.process
def test_a_kill_between_the_moves_and_a_resume_leave_redo_as_it_was(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed was trained again and diverged again: both recordings are kept."""
    killed_between_the_moves(scored, 1, monkeypatch)
    again = worker.resume(scored.folder.root)
    assert again.finished_runs() == [0, 1, 2] and again.diverged() == []
    stuck(again, 1)
    redone = worker.redo(scored.folder.root)
    assert redone.settings.seeds[1] == 342 and redone.finished_runs() == [0, 1, 2]
    assert {path.name for path in redone.folder.diverged.iterdir()} == {f"seed={SEEDS[1]}", f"seed={SEEDS[1]}-2"}


def test_a_replacement_seed_is_not_reported_as_diverged(scored: Experiment) -> None:
    """What was said of the run before is about the seed before; an end before its first epoch changes nothing of that."""
    shutil.rmtree(scored.folder.epoch(1, 0).parent)
    scored.log("diverged", state="running", verb="score", key="run 1", message="The loss of run 1 became NaN.")
    (found,) = scored.diverged()
    divergence.set_aside(scored, found)
    again = Experiment(scored.folder.root)
    assert again.settings.seeds[1] == 342 and again.diverged() == []
    again.log("diverged", state="running", verb="score", key="run 1", message="The loss of run 1 became NaN once more.")
    assert [run.sentence for run in again.diverged()] == ["The loss of run 1 became NaN once more."]


@pytest.mark.process
def test_runs_whose_loss_is_no_number_are_named_and_do_not_stop_the_others(settings: Settings, tmp_path: Path) -> None:
    """A rate at which every run overflows: each is named, none is recorded as complete, and each gets the next seed."""
    wild = settings.with_changes(seeds=SEEDS[:2], train=replace(settings.train, learning_rate=1e30))
    folder = tmp_path / "wild"
    with pytest.raises(TrainingError, match=r"loss of run \d became NaN.*loss of run \d became NaN.*--redo-diverged"):
        worker.score(wild, folder)
    experiment = Experiment(folder)
    assert experiment.status().state is JobState.FAILED and "NaN" in experiment.status().message
    assert {run.run for run in experiment.diverged()} == {0, 1} and experiment.finished_runs() == []
    assert all("NaN" in sentence for sentence in experiment.warnings())
    with pytest.raises(TrainingError):
        worker.redo(folder)
    assert Experiment(folder).settings.seeds == (342, 4827)


def test_a_stuck_fine_tuning_of_the_frontier_is_named(scored: Experiment) -> None:
    row = {**scored.finished().iloc[0].to_dict(), "subset": "random@0.5", "seed": 7, "stuck": True}
    scored.add_finished(row)
    assert scored.warnings() == [
        "1 fine-tuning predicts one class for nearly every evaluation example; the means include it: random@0.5 (seed 7)."
    ]
    assert "stuck" not in scored.frontier()[0].metrics and "micro_batch" not in scored.frontier()[0].metrics
