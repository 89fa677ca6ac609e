"""The search for a learning rate as a job: what it finds, keeps, refuses and resumes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest

from pruning.analysis import learning_rate as search
from pruning.errors import Cancelled, DataError, ExperimentError, TrainingError
from pruning.experiment import Experiment
from pruning.jobs import rate_search, worker
from pruning.records import JobState
from pruning.settings import FULL_RECIPE, Settings
from tests.conftest import SEEDS

pytestmark = pytest.mark.process

RATES = (1e-5, 1e-3, 5e-3)
"""Candidates for the tiny model, the first of which learns nothing."""


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three candidates instead of seven, so that a search takes a second or two."""
    monkeypatch.setattr(search, "CANDIDATES", RATES)
    monkeypatch.setattr(search, "LADDERS", ((inf, (0.05, 0.35)),))


@pytest.fixture
def auto(settings: Settings) -> Settings:
    return settings.with_changes(
        train=replace(settings.train, learning_rate=None, epochs=4, batch_size=8), seeds=SEEDS[:2], checkpoints=False
    )


@pytest.fixture(scope="module")
def fitted_once(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"folder": tmp_path_factory.mktemp("fitted")}


@pytest.fixture
def fitted(auto: Settings, fitted_once: dict[str, Path]) -> Experiment:
    """A folder with a fitted rate and no run; copy it before changing it."""
    folder = fitted_once["folder"] / "reviews"
    return Experiment(folder) if folder.exists() else worker.fit(auto, folder)


def test_the_rate_that_learns_is_found_and_kept(fitted: Experiment) -> None:
    fit = fitted.learning_rates[FULL_RECIPE]
    assert (
        fit.best in RATES[1:]
        and fit.rate is not None
        and 3e-4 < fit.rate <= fit.best * 2
        and fit.rows == 120
        and fit.held_out == 24
        and fit.few_rows
    )
    assert [len(each["candidates"]) for each in fit.rounds] == [3, 2] and fit.seconds > 0
    assert "Few rows to judge by." in fit.sentence and fit.sentence in fitted.notes()
    assert fitted.asked.train.learning_rate is None and fitted.settings.scoring.learning_rate == fit.rate
    assert not fitted.folder.searches.exists() and not fitted.folder.checkpoints.exists() and not fitted.finished_runs()


def test_scoring_with_auto_is_scoring_with_the_number_bit_for_bit(fitted: Experiment, auto: Settings, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fitted.folder.root, tmp_path / "auto"))
    scored = worker.score(auto, folder)
    assert scored.learning_rates == fitted.learning_rates
    given = auto.with_changes(train=scored.settings.train)
    number = worker.score(given, tmp_path / "number")
    assert number.learning_rates == {}
    assert np.array_equal(scored.dynamics.gold_prob, number.dynamics.gold_prob)
    assert len(scored.finished()) == 2 and worker.score(given, folder).dynamics.runs == 2


def test_a_cancelled_search_resumes_to_the_same_result(fitted: Experiment, auto: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "cancelled"
    with pytest.raises(Cancelled):
        worker.fit(auto, folder, lambda progress: os.kill(os.getpid(), signal.SIGTERM) if progress.ended == 2 else None)
    half = Experiment(folder)
    pieces = {path.name: path.stat().st_mtime_ns for path in half.folder.searches.rglob("*.parquet")}
    assert half.status().state is JobState.CANCELLED and len(pieces) >= 2 and half.learning_rates == {}
    seen: list[int] = []
    resumed = worker.resume(folder, lambda progress: seen.append(progress.ended))
    total = sum(len(each["candidates"]) for each in fitted.learning_rates[FULL_RECIPE].rounds)
    assert max(seen) == total - len(pieces)
    ours, theirs = resumed.learning_rates[FULL_RECIPE], fitted.learning_rates[FULL_RECIPE]
    assert replace(ours, seconds=0.0) == replace(theirs, seconds=0.0)
    assert not resumed.finished_runs(), "resume fitted, and scored nothing"


def test_progress_counts_the_search_and_the_scoring(auto: Settings, tmp_path: Path) -> None:
    totals: list[tuple[int, int]] = []
    worker.score(auto, tmp_path / "x", lambda progress: totals.append((progress.done, progress.total)))
    assert all(done <= total for done, total in totals)
    assert totals[-1][0] == totals[-1][1] == totals[0][1]


def test_a_search_goes_on_from_a_best_rate_at_its_end_and_the_total_grows(
    auto: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "CANDIDATES", (1e-7, 2e-7, 5e-7, 1e-6, 1e-3, 5e-3))
    totals: list[tuple[int, int]] = []
    fit = worker.fit(auto, tmp_path / "x", lambda progress: totals.append((progress.done, progress.total))).learning_rates[FULL_RECIPE]
    first = [each["rate"] for each in fit.rounds[0]["candidates"]]
    assert first == [2e-7, 5e-7, 1e-6, 1e-3, 5e-3], "1e-3 was the best of the middle ones"
    assert "fitted with 5 candidates" in fit.sentence and fit.best in (1e-3, 5e-3)
    done, total = np.array(totals).T
    assert (done <= total).all() and (np.diff(total) >= 0).all() and done[-1] == total[-1] > total[0]


def test_random_labels_stop_scoring_with_a_sentence(auto: Settings, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path(auto.data).read_text().splitlines()]
    rng = np.random.default_rng(0)
    data = tmp_path / "random.jsonl"
    data.write_text("".join(json.dumps({**row, "label": str(rng.integers(2))}) + "\n" for row in rows * 5))
    asked = auto.with_changes(data=str(data), evaluation=None)
    sentence = r"No learning rate from .* beats the majority class .*--epochs.*--model.*labels"
    for _ in range(2):
        with pytest.raises(TrainingError, match=sentence):
            worker.score(asked, tmp_path / "x")
    stopped = Experiment(tmp_path / "x")
    assert stopped.status().state is JobState.FAILED and stopped.learning_rates[FULL_RECIPE].rate is None
    assert stopped.finished_runs() == []


def test_a_rate_that_diverges_loses_and_is_named(auto: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CANDIDATES", (1e-3, 5e-3, 1e30))
    fit = worker.fit(auto.with_changes(train=replace(auto.train, max_grad_norm=1e30)), tmp_path / "x").learning_rates[FULL_RECIPE]
    assert fit.best in (1e-3, 5e-3) and fit.diverged == (1e30,) and "1e30 diverged" in fit.sentence
    assert fit.rounds[0]["candidates"][-1]["loss"] is None


def test_a_preset_or_a_number_searches_nothing(scored: Experiment, settings: Settings) -> None:
    assert scored.learning_rates == {} and scored.asked == scored.settings
    assert scored.info["settings"]["train"]["learning_rate"] == settings.train.learning_rate


def test_an_approximation_fits_its_own_rate_and_the_frontier_fits_the_recipes(auto: Settings, tmp_path: Path) -> None:
    scored = worker.score(auto.with_changes(approximate="epochs", burn_in=0), tmp_path / "x")
    assert list(scored.learning_rates) == ["epochs"]
    assert scored.settings.scoring.learning_rate == scored.learning_rates["epochs"].rate and scored.settings.train.learning_rate is None
    measured = worker.frontier(scored.folder.root, ["random@0.5"], [], seeds=1)
    assert list(measured.learning_rates) == ["epochs", FULL_RECIPE]
    assert measured.settings.measuring.learning_rate == measured.learning_rates[FULL_RECIPE].rate
    assert measured.settings.scoring.learning_rate == scored.settings.scoring.learning_rate
    assert len(measured.finished()) == 2 and worker.resume(scored.folder.root).dynamics.runs == 2


def test_another_experiment_on_the_same_data_takes_the_rate_over(fitted: Experiment, auto: Settings, tmp_path: Path) -> None:
    taken = worker.score(auto, tmp_path / "second", rate_from=fitted.folder.root)
    fit = taken.learning_rates[FULL_RECIPE]
    assert fit.taken_from == "reviews" and replace(fit, taken_from="") == fitted.learning_rates[FULL_RECIPE]
    with pytest.raises(ExperimentError, match="other epochs"):
        worker.score(auto.with_changes(train=replace(auto.train, epochs=3)), tmp_path / "third", rate_from=fitted.folder.root)
    with pytest.raises(ExperimentError, match="other data"):
        worker.score(auto.with_changes(limit=60), tmp_path / "fourth", rate_from=fitted.folder.root)


def test_a_rate_of_a_model_with_another_tokenizer_is_not_taken_over(fitted: Experiment, auto: Settings, tmp_path: Path) -> None:
    """Its weights are the same, and its inputs are not."""
    for name, changed in (("other", True), ("same", False)):
        shutil.copytree(auto.model, tmp_path / name)
        if changed:
            (tmp_path / name / "added_tokens.json").write_text('{"film-noir": 999}')
    with pytest.raises(ExperimentError, match=r"has another model \(its tokenizer differs\)"):
        worker.score(auto.with_changes(model=str(tmp_path / "other")), tmp_path / "x", rate_from=fitted.folder.root)
    assert worker.score(auto.with_changes(model=str(tmp_path / "same")), tmp_path / "y", rate_from=fitted.folder.root)


def test_a_folder_without_a_fit_gives_none(scored: Experiment, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="has no fitted learning rate"):
        worker.score(settings, tmp_path / "x", rate_from=scored.folder.root)


def test_a_rate_can_be_fitted_beside_a_given_one(scored: Experiment) -> None:
    again = worker.fit_again(scored.folder.root)
    assert again.learning_rates[FULL_RECIPE].best in RATES[1:]
    assert again.settings == scored.settings and again.dynamics.runs == 3


def test_what_is_held_out_must_have_two_classes(auto: Settings, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path(auto.data).read_text().splitlines()]
    names = sorted({row["label"] for row in rows})
    rare = [row for row in rows if row["label"] == names[0]][:2] + [row for row in rows if row["label"] == names[1]][:58]
    data = tmp_path / "rare.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rare))
    with pytest.raises(DataError, match=r"training examples: the held-out part has only the class 'positive'.*--learning-rate"):
        worker.score(auto.with_changes(data=str(data)), tmp_path / "x")


def test_runs_of_the_search_are_those_of_the_estimate(fitted: Experiment) -> None:
    rounds = rate_search.planned(120, fitted.asked.train)
    assert [len(plans) for plans in rounds] == [len(each["candidates"]) for each in fitted.learning_rates[FULL_RECIPE].rounds]
    assert [len(plans[0].rows) for plans in rounds] == [each["rows"] for each in fitted.learning_rates[FULL_RECIPE].rounds]
