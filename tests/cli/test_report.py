"""What `show` says of an experiment beside its tables: as printed, and as data."""

import json
import math
import re
import shutil
from dataclasses import fields, replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pruning.analysis.frontier import score_seconds
from pruning.analysis.learning_rate import RateFit
from pruning.analysis.recommendation import margin_of
from pruning.analysis.stability import stability
from pruning.cli import live, report
from pruning.cli.report import PLAIN_WIDTH
from pruning.experiment import Experiment
from pruning.files import write_json
from pruning.jobs import worker
from pruning.jobs.estimate import ROUGH, Estimate
from pruning.jobs.progress import JobProgress
from pruning.records import FrontierPoint, RunPlan
from pruning.settings import FULL_RECIPE, Settings
from pruning.store.layout import Folder
from tests.conftest import BURN_IN, EPOCHS, EXAMPLES, SEEDS
from tests.support.frontiers import measure


def point(experiment: Experiment, name: str) -> FrontierPoint:
    return next(point for point in experiment.frontier() if point.subset == name)


def test_the_margin_decides_what_is_recommended(scored: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    measured = measure(scored, ours=0.02, random=0.06)
    report.show(measured)
    assert "None yet: remove-0" in capsys.readouterr().out
    report.show(measured, margin=margin_of(3))
    told = " ".join(capsys.readouterr().out.split())
    assert "Recommended: remove-0" in told and "at most 3 pp worse" in told
    assert measured.summary()["recommendation"]["subset"] is None
    assert measured.summary(margin=0.03)["recommendation"]["subset"] == "remove-0"


def test_the_metric_is_called_by_its_name(scored: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    report.show(measure(scored, metric="f1"))
    told = capsys.readouterr().out
    assert "evaluation f1, mean" in told and "evaluation accuracy" not in told and " accuracy " not in told
    assert "remove-0 *" in told and "random@remove-0 *" not in told


def test_what_was_measured_at_equal_steps_is_shown_and_recommended_from_when_asked_for(
    scored: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    """At equal epochs remove-0 loses two points, at equal steps none."""
    measured = measure(scored, ours=0.02, random=0.06)
    for row in measured.finished().query("subset == 'remove-0'").to_dict("records"):
        measured.add_finished({**row, "budget": "steps", "accuracy": row["accuracy"] + 0.02, "steps": 18})
    report.show(measured, budget="steps")
    told = " ".join(capsys.readouterr().out.split())
    assert "Frontier at equal steps" in told and "Recommended: remove-0" in told and "random@remove-0" not in told
    for budget, taken in (("epochs", None), ("steps", "remove-0")):
        shown = measured.summary(budget=budget)
        assert (shown["recommendation"]["subset"], shown["recommendation"]["budget"]) == (taken, budget)
        assert [(one["subset"], one["budget"]) for one in shown["frontier"]] == [
            ("full", "epochs"),
            ("remove-0", "epochs"),
            ("random@remove-0", "epochs"),
            ("remove-0", "steps"),
        ]


def test_a_point_is_data_with_its_differences_and_every_interval(scored: Experiment) -> None:
    measured = measure(scored, metric="f1", ours=0.02, random=0.06)
    only = measured.finished().query(f"subset != 'random@remove-0' or seed == {SEEDS[0]}")
    measured.folder.frontier.unlink()
    for row in only.to_dict("records"):
        measured.add_finished(row)
    shown = {one["subset"]: one for one in json.loads(json.dumps(measured.summary(), allow_nan=False))["frontier"]}
    ours, found = shown["remove-0"], point(measured, "remove-0")
    assert ours.keys() == {field.name for field in fields(FrontierPoint)} | {"accuracy_mean", "accuracy_ci95"}
    assert (ours["accuracy_mean"], ours["accuracy_ci95"]) == (None, None)
    assert ours["ci95"] == {"f1": pytest.approx(list(found.ci95["f1"]))}
    assert ours["vs_full"]["mean"] == pytest.approx(-0.02) and ours["vs_full"]["pairs"] == len(SEEDS)
    assert ours["vs_random"] == {"mean": pytest.approx(0.04), "low": None, "high": None, "pairs": 1}
    assert (ours["kept_fraction"], ours["seconds_saved"], shown["full"]["vs_full"]) == (found.kept_fraction, 8.0, None)
    assert shown["random@remove-0"]["ci95"] == {"f1": [None, None]}
    accuracy = measure(measured).summary()["frontier"][0]
    assert accuracy["accuracy_mean"] == accuracy["metrics"]["accuracy"] and accuracy["accuracy_ci95"] == accuracy["ci95"]["accuracy"]


def test_what_scoring_cost_and_when_it_pays_back(scored: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    """Three runs of 20 seconds each, 8 seconds saved: 60 / 8 is seven and a half."""
    measured = measure(scored)
    assert score_seconds(measured.finished(), measured.settings) == 60
    report.show(measured)
    told = " ".join(capsys.readouterr().out.split())
    assert "Scoring took 60 s of training; remove-0 saves 8.0 s per fine-tuning (6 steps), so it pays back after 8 fine-tunings." in told
    assert report.cost(60, point(measured, "full")) == "Scoring took 60 s of training; full saves no optimizer steps."
    packed = replace(point(measured, "remove-0"), seconds_saved=0.0, steps_saved=0, tokens_saved=1234)
    assert report.cost(60, packed).endswith("remove-0 saves no optimizer steps, but 1,234 tokens each time.")
    assert report.cost(60, replace(point(measured, "remove-0"), seconds_saved=math.nan)) == "Scoring took 60 s of training."


def test_a_cost_that_was_not_recorded_is_not_guessed(scored: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    measured = measure(scored)
    settings = {**measured.info["settings"], "approximate": "epochs", "burn_in": 0}
    write_json(measured.folder.manifest, {**measured.info, "settings": settings})
    again = Experiment(measured.folder.root)
    assert score_seconds(again.finished(), again.settings) is None
    report.show(again)
    told = capsys.readouterr().out
    assert "Scoring took" not in told and "approximate" in told
    assert again.summary()["caveat"] == again.settings.caveat != ""
    again.folder.frontier.unlink()
    assert score_seconds(again.finished(), again.settings) is None


def test_stability_is_printed_and_is_in_the_summary(scored: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    report.show(scored)
    told = " ".join(capsys.readouterr().out.split())
    assert "3 more runs would agree" in told and "Two halves of the runs: rank agreement" in told and "; with 9: about" in told
    assert "burn-in" not in told and "burn_in_advice" not in scored.summary()
    found = json.loads(json.dumps(scored.summary(), allow_nan=False))["stability"]
    assert [later["runs"] for later in found["outlook"]] == [5, 9] and found["half_jaccard"] is None
    assert found["ticket"] <= found["outlook"][0]["ticket"] <= EXAMPLES


def test_after_each_run_a_line_says_how_steady_h_is(scored: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once for each number of complete runs from two on, nothing while no run ends, and no failure where the folder cannot tell."""
    progress = JobProgress(scored.folder, "score")
    apart = tmp_path / "apart"
    apart.mkdir()
    plan = RunPlan(key="run 0", seed=SEEDS[0], rows=np.arange(EXAMPLES), epochs=EPOCHS)
    with live.listener("Scoring") as listen:

        def told(ended: int = 0) -> list[str]:
            for _ in range(ended):
                progress.end(plan)
            listen(progress)
            return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("Scoring")]

        for run in (1, 2):
            scored.folder.epoch(run, 0).rename(apart / str(run))
        assert told() == told(ended=1) == []
        for run in (1, 2):  # these two end together
            (apart / str(run)).rename(scored.folder.epoch(run, 0))
        assert told() == []
        assert told(ended=1) == [f"After 3 runs: {stability(scored.dynamics.correct, BURN_IN).sentence}"]
        assert told(ended=1) == told() == []
        scored.folder.epoch(2, 0).unlink()
        scored.folder.epoch(1, 0).write_bytes(b"no longer what was recorded")
        assert told(ended=1) == []
        shutil.rmtree(scored.folder.root)
        assert told() == told(ended=1) == []


@pytest.mark.process
def test_the_line_stands_above_the_bar_and_only_while_scoring(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(force_terminal=True, width=PLAIN_WIDTH, highlight=False, file=StringIO())
    for module in (report, live):
        monkeypatch.setattr(module, "console", terminal)
    with live.listener("Going on") as listen:
        worker.score(settings, tmp_path / "x", listen)
        worker.frontier(tmp_path / "x", ["remove-0"], [], seeds=1, listen=listen)
    assert isinstance(terminal.file, StringIO)
    runs = re.findall(r"After (\d) runs: (?:\d more|In half|H is)", terminal.file.getvalue())
    assert runs[-1] == "3" and runs == sorted(set(runs)), "each number once, also where runs ended together"


def test_an_estimate_is_printed(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = Estimate(score_seconds=61.0, frontier_seconds=7200.0, runs=len(SEEDS), examples=EXAMPLES, truncated=1)
    monkeypatch.setattr("pruning.jobs.estimate.estimate", lambda settings, given: found)
    report.say_estimate(settings)
    told = capsys.readouterr().out
    assert f"Scoring {EXAMPLES} examples, {len(SEEDS)} runs x 3 epochs: 61 s." in told and "about 2.0 h" in told and "truncated" in told
    assert ROUGH not in told and "cores or GPUs" not in told
    more = replace(found, scaling={1: 14400.0, 4: 4320.0}, useful=7, critical_seconds=1800.0)
    monkeypatch.setattr("pruning.jobs.estimate.estimate", lambda settings, given: more)
    report.say_estimate(settings)
    told = capsys.readouterr().out
    assert "cores or GPUs like this one: 1: 4.0 h, 4: 72 min." in told and "More than 7 save less than 5%" in told
    assert "take 30 min." in told
    monkeypatch.setattr("pruning.jobs.estimate.estimate", lambda settings, given: replace(found, rough=True))
    report.say_estimate(settings)
    assert ROUGH in capsys.readouterr().out


def test_a_queued_job_says_once_what_it_waits_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = JobProgress(Folder(tmp_path), "score")
    with live.listener("Scoring") as listen:
        for _ in range(3):
            progress.queue("Waiting for experiments/first, which trains on cpu.")
            listen(progress)
        progress.waiting, progress.total = "", 360
        listen(progress)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["Waiting for experiments/first, which trains on cpu.", "Scoring: 0 of 360 examples, 0/s"]


def test_the_chosen_rate_is_marked_in_the_last_round(scored: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    losses = [{"rate": 1e-4, "loss": 0.61, "accuracy": 0.7}, {"rate": 2e-4, "loss": 0.52, "accuracy": 0.8}]
    rounds = tuple({"rows": rows, "steps": 9, "seeds": [1], "candidates": losses} for rows in (30, 60))
    fit = RateFit(
        rate=1e-4,
        sentence="1e-4 fits.",
        rounds=rounds,
        rows=120,
        held_out=24,
        majority=0.5,
        few_rows=True,
        runs=1.2,
        seconds=3.0,
        best=2e-4,
    )
    scored.keep_fit(FULL_RECIPE, fit)
    report.show_learning_rates(Experiment(scored.folder.root))
    first, second = (line for line in capsys.readouterr().out.splitlines() if "round" in line)
    assert "2e-4 0.520 (the best)" in second and "the best" not in first and "1e-4 0.610," in second
