"""The whole job on a tiny model: an end-to-end run, a killed and resumed one, nothing that passes, and bad input."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pruning.errors import ExportError, TrainingError, UsageError
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.jobs import measuring, prune
from pruning.records import JobState, RunDiverged
from pruning.settings import Settings
from pruning.settings_file import write_settings
from tests.support.commands import winnow as command
from tests.support.processes import wait_until, winnow

CLOCKS = ["seconds", "finished", "compute_seconds", "evaluation_seconds"]


@pytest.fixture
def quick(settings: Settings) -> Settings:
    return replace(settings, burn_in=0, checkpoints=False)


@pytest.mark.process
def test_the_whole_job_writes_a_verified_file(quick: Settings, tmp_path: Path) -> None:
    """A generous margin: the smallest candidate passes, and the file holds its rows."""
    order = prune.Order(output=tmp_path / "out.jsonl", give_up=0.9)
    done = prune.prune(quick, tmp_path / "x", order)
    assert done.subset is not None and done.output == tmp_path / "out.jsonl"
    manifest = writer.verify(done.output)
    assert manifest["subset"]["name"] == done.step.chosen and len(done.output.read_text().splitlines()) == done.subset.size
    smallest = min(done.step.standings, key=lambda found: found.candidate.kept)
    assert done.subset.size == smallest.candidate.kept < len(done.experiment.ids)
    finished = done.experiment.finished()
    full = finished.loc[finished["subset"] == "full", "steps"].iloc[0]
    assert done.cost == pytest.approx(finished.loc[finished["subset"] != "full", "steps"].sum() / full)
    assert f"keeps {done.subset.size} of 120 examples" in done.sentences[0] and f"cost {done.cost:.1f} fine-tunings" in done.sentences[-1]
    before = (tmp_path / "out.jsonl").stat().st_mtime_ns
    again = prune.resume(tmp_path / "x")
    assert isinstance(again, prune.Pruned) and again.step == done.step and again.sentences == done.sentences
    assert (tmp_path / "out.jsonl").stat().st_mtime_ns == before, "what is there and right is not written again"


@pytest.mark.process
def test_where_nothing_passes_nothing_is_written(quick: Settings, tmp_path: Path) -> None:
    """No candidate can be shown to lose nothing at all within a budget that pays for the first seeds only."""
    order = prune.Order(output=tmp_path / "out.jsonl", give_up=0.0, budget=0.5, candidates=("random@0.3", "random@0.2"))
    done = prune.prune(quick, tmp_path / "x", order)
    assert done.subset is None and done.output is None and done.cost <= 0.5
    assert not (tmp_path / "out.jsonl").exists() and "Nothing was exported." in done.sentences[0]
    assert "--give-up" in done.sentences[0] or "--budget-runs" in done.sentences[0]
    words = ["prune", "--experiment", tmp_path / "x", "--output", tmp_path / "out.jsonl", "--give-up", "0", "--budget-runs", "0.5"]
    file = tmp_path / "settings.json"
    write_settings(file, quick)
    told = command(*words, "--settings", file, "--candidates", "random@0.3,random@0.2")
    assert told.returncode == 1 and "Nothing was exported." in told.stdout and "fine-tunings of full data" in told.stdout


@pytest.mark.process
def test_a_model_that_has_not_learned_stops_with_its_sentence(quick: Settings, tmp_path: Path) -> None:
    settings = quick.with_changes(learning_rate=1e-9, epochs=1)
    with pytest.raises(TrainingError, match="Not learned"):
        prune.prune(settings, tmp_path / "x", prune.Order(output=tmp_path / "out.jsonl"))
    experiment = Experiment(tmp_path / "x")
    assert experiment.status().state is JobState.FAILED and set(experiment.finished()["subset"]) == {"full"}


@pytest.mark.process
def test_a_candidate_that_diverges_leaves_the_race(quick: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run is made to end as one whose loss became NaN; the other candidate is measured and chosen, and the job says so."""

    def one_diverges(experiment: Any, recipe: Any, plans: Any, *others: Any, on_diverged: Any, **named: Any) -> None:
        for lost in [plan for plan in plans if plan.key.startswith("random@0.2")]:
            on_diverged(lost, RunDiverged(key=lost.key, sentence="The loss became NaN."))
        left = [plan for plan in plans if not plan.key.startswith("random@0.2")]
        train_runs(experiment, recipe, left, *others, on_diverged=on_diverged, **named)

    train_runs = measuring.train_runs
    monkeypatch.setattr(measuring, "train_runs", one_diverges)
    order = prune.Order(output=tmp_path / "out.jsonl", give_up=0.9, candidates=("random@0.2", "random@0.5"))
    done = prune.prune(quick, tmp_path / "x", order)
    assert done.subset is not None and done.subset.name == "random@0.5"
    notes = [event["message"] for event in done.experiment.events(but="progress") if event["event"] == "note"]
    assert "random@0.2 leaves the race: The loss became NaN." in notes


@pytest.mark.process
def test_a_killed_job_is_resumed_and_ends_alike(quick: Settings, tmp_path: Path) -> None:
    """Killed while it races; `resume` continues it (a killed scoring is the job of test_chaos)."""
    whole = prune.prune(
        quick, tmp_path / "whole", prune.Order(output=tmp_path / "whole.jsonl", give_up=0.9, candidates=("winning-ticket",))
    )
    folder, output, file = tmp_path / "x", tmp_path / "out.jsonl", tmp_path / "settings.json"
    write_settings(file, quick)
    words = ["prune", "--settings", file, "--experiment", folder, "--output", output, "--give-up", "90", "--candidates", "winning-ticket"]

    process = winnow(*words, log=tmp_path / "log.txt")
    wait_until(lambda: process.poll() is not None or _fine_tunings(folder) >= 4, 120, "the work")
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = command("resume", folder)
    assert resumed.returncode == 0, resumed.stderr
    assert writer.verify(output)["subset"] == writer.verify(tmp_path / "whole.jsonl")["subset"]
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    tables = [each.finished().drop(columns=CLOCKS).sort_values(["subset", "seed"]) for each in (Experiment(folder), whole.experiment)]
    assert tables[0].to_dict("records") == tables[1].to_dict("records")


def _fine_tunings(folder: Path) -> int:
    time.sleep(0.05)
    try:
        return len(Experiment(folder).finished())
    except Exception:  # it is not there yet, or being written
        return 0


@pytest.mark.process
def test_a_cancelled_job_says_how_to_continue(quick: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after the first fine-tuning."""
    folder, file, store = tmp_path / "x", tmp_path / "settings.json", Experiment.add_finished

    def interrupted(experiment: Experiment, row: dict[str, Any]) -> None:
        store(experiment, row)
        os.kill(os.getpid(), signal.SIGINT)

    write_settings(file, quick)
    monkeypatch.setattr(Experiment, "add_finished", interrupted)
    told = command("prune", "--settings", file, "--experiment", folder, "--output", tmp_path / "out.jsonl")
    assert told.returncode == 130, told.stderr
    assert f"Continue with the same command, or: python -m pruning resume {folder}" in (told.stdout + told.stderr).replace("\n", "")
    assert Experiment(folder).status().state is JobState.CANCELLED and len(Experiment(folder).finished()) == 1


def test_bad_input_is_refused_before_any_work(quick: Settings, tmp_path: Path) -> None:
    taken = tmp_path / "taken.jsonl"
    taken.write_text("mine\n")
    with pytest.raises(ExportError, match=r"taken\.jsonl exists"):
        prune.prune(quick, tmp_path / "x", prune.Order(output=taken))
    with pytest.raises(ExportError, match="is the data itself"):
        prune.prune(quick, tmp_path / "x", prune.Order(output=Path(quick.data), force=True))
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match="give_up must be at least 0"):
            prune.Order(output=tmp_path / "out.jsonl", give_up=wrong)
    with pytest.raises(UsageError, match="budget_runs must be greater than 0"):
        prune.Order(output=tmp_path / "out.jsonl", budget=0)
    assert not (tmp_path / "x").exists() and taken.read_text() == "mine\n"
    words = ("prune", quick.data, "--output", tmp_path / "out.jsonl", "--experiment", tmp_path / "x", "--model", quick.model)
    for flags, code, sentence in (
        (("--give-up", "abc"), 2, "Invalid value for '--give-up'"),
        (("--give-up", "-1"), 2, "give_up must be at least 0 and below 100 (pp), got -1 (--give-up)."),
        (("--text", "nothing"), 1, "'nothing'"),
    ):
        told = command(*words, *flags)
        assert told.returncode == code and sentence in told.stderr, told.stderr
    assert not (tmp_path / "x" / "experiment.json").exists()
