"""Subsets chosen with one model, measured with another."""

from math import inf
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pruning.analysis import learning_rate
from pruning.analysis.learning_rate import RateFit
from pruning.errors import ExperimentError, ModelError, UsageError
from pruning.experiment import Experiment
from pruning.jobs import transfer, worker
from pruning.reports.browse import View
from pruning.settings import FULL_RECIPE, Settings
from pruning.store.manifest import read
from pruning.subsets.rules import TICKET
from pruning.ui import address
from tests.conftest import made_once
from tests.support.commands import winnow
from tests.support.pages import open_page
from tests.support.tiny import tiny_model


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny RoBERTa, with a tokenizer of its own."""
    return str(made_once(tmp_path_factory, "roberta", lambda path: tiny_model(path, "roberta")))


@pytest.mark.process
def test_another_model_measures_the_same_subsets_and_own_points_stay_as_they_are(
    scored: Experiment, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = scored.folder.root
    before = worker.frontier(root, ["drop-hard"], ["random"], seeds=2).frontier()
    done = winnow(
        *("frontier", root, "--model", other, "--learning-rate", "5e-3", "--subsets", "drop-hard", "--baselines", "random", "--seeds", "2")
    )
    assert done.returncode == 0, done.stderr
    assert f"measured with {other} at learning rate 5e-3" in " ".join(done.stdout.split())
    measured = Experiment(root)
    assert measured.frontier() == before and list(measured.other_models.values()) == [other]
    assert any("tokenizer of its own" in note for note in measured.notes())
    [fingerprint] = measured.other_models
    read_with = measured.with_model(fingerprint)
    points = {point.subset: point for point in read_with.frontier()}
    assert set(points) == {"full", "drop-hard", "random@drop-hard"} and all(point.seeds == 2 for point in points.values())
    assert points["drop-hard"].vs_random is not None and points["drop-hard"].kept == scored.subset("drop-hard").size
    assert read_with.h_score().tolist() == scored.h_score().tolist() and read_with.learned == measured.learned
    table = pd.read_parquet(measured.folder.frontier)
    assert table.groupby("model").size().to_dict() == {measured.model: 7, fingerprint: 6}, "full data has three scoring runs"
    summary = measured.summary()
    assert [point["subset"] for point in summary["other_models"][0]["frontier"]] == list(points)
    assert [point["subset"] for point in summary["frontier"]] == [point.subset for point in before]

    rows = len(table)
    again = worker.frontier(root, ["drop-hard"], ["random"], seeds=2, model=other, learning_rate=5e-3)
    assert len(pd.read_parquet(again.folder.frontier)) == rows, "finished points are kept"
    resumed = worker.resume(root)
    assert len(pd.read_parquet(resumed.folder.frontier)) == rows
    assert transfer.estimated(root, ["drop-hard", "drop-easy"], ["random"], 2, "epochs", other, 5e-3, None) > 0
    with pytest.raises(ExperimentError, match=r"at learning rate 0.005, not 0.001; use --learning-rate 0.005"):
        worker.frontier(root, ["drop-hard"], [], seeds=1, model=other, learning_rate=1e-3)

    view = View(measured, measured.settings.burn_in)
    assert [point.subset for point in view.measured_with(fingerprint).frontier("epochs")] == list(points)
    app = open_page("frontier", root.parent, monkeypatch)
    app.selectbox(key=address.MEASURED_WITH).set_value(fingerprint).run()
    assert not app.exception and any("at learning rate 5e" in caption.value for caption in app.caption)


@pytest.mark.process
def test_the_models_own_ticket_and_fitted_rate_are_used(scored: Experiment, other: str, tmp_path: Path) -> None:
    """Its experiment on the same data has a fitted rate, which saves the search, and a winning ticket of other rows."""
    settings = scored.settings.with_changes(model=other, learning_rate=5e-3)
    own = worker.score(settings, tmp_path / "Roberta Own")
    info = read(own.folder.manifest)
    fit = RateFit(rate=5e-3, sentence="fitted", rounds=(), rows=120, held_out=24, majority=0.5, few_rows=False, runs=1.0, seconds=1.0)
    own.info = {**info, "settings": {**info["settings"], "train": {**info["settings"]["train"], "learning_rate": None}}}
    own.keep_fit(FULL_RECIPE, fit)
    root = scored.folder.root
    measured = worker.frontier(root, ["drop-hard"], [], seeds=1, model=other, own=str(own.folder.root))
    [fingerprint] = measured.other_models
    read_with = measured.with_model(fingerprint)
    assert read_with.settings.measuring.learning_rate == 5e-3 and read_with.learning_rates[FULL_RECIPE].taken_from == "Roberta Own"
    assert measured.settings.train.learning_rate == scored.settings.train.learning_rate and not measured.learning_rates
    assert np.array_equal(measured.subset("ticket-of-roberta-own").kept, own.rule(TICKET).kept)
    assert {point.subset for point in read_with.frontier()} == {"full", "drop-hard", "ticket-of-roberta-own"}


@pytest.mark.process
def test_a_rate_is_fitted_to_the_other_model(scored: Experiment, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a rate that learns nothing and two that learn, and once: the second measurement takes the same rate."""
    monkeypatch.setattr(learning_rate, "CANDIDATES", (1e-5, 1e-3, 5e-3))
    monkeypatch.setattr(learning_rate, "LADDERS", ((inf, (0.3, 0.6)),))
    root = scored.folder.root
    measured = worker.frontier(root, ["drop-hard"], [], seeds=1, model=other)
    [fingerprint] = measured.other_models
    fit = measured.with_model(fingerprint).learning_rates[FULL_RECIPE]
    assert fit.best in (1e-3, 5e-3) and [len(each["candidates"]) for each in fit.rounds] == [3, 2]
    assert measured.with_model(fingerprint).settings.measuring.learning_rate == fit.rate
    assert not measured.learning_rates, "the scoring model's rate was given"
    again = worker.frontier(root, ["drop-easy"], [], seeds=1, model=other)
    assert again.with_model(fingerprint).learning_rates[FULL_RECIPE].to_dict() == fit.to_dict()


def test_what_cannot_measure_is_refused_in_a_sentence(scored: Experiment, other: str, tiny: str, tmp_path: Path) -> None:
    root = scored.folder.root
    with pytest.raises(ModelError, match="There is no folder"):
        worker.frontier(root, model=str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError):
        worker.frontier(root, model=str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="is the model that scored"):
        worker.frontier(root, model=tiny)
    with pytest.raises(UsageError, match="own needs --model"):
        worker.frontier(root, own=str(root))
    with pytest.raises(ExperimentError, match="was not scored with"):
        worker.frontier(root, model=other, own=str(root))
    wrong = winnow("frontier", root, "--model", other, "--learning-rate", "fast")
    assert wrong.returncode == 2 and "must be a number or auto, got 'fast' (--learning-rate)" in wrong.stderr
    short = tiny_model(tmp_path / "short", "roberta", max_position_embeddings=6)
    refused = winnow(
        "frontier", root, "--model", short, "--learning-rate", "5e-3", "--subsets", "drop-hard", "--baselines", "", "--seeds", "1"
    )
    assert refused.returncode == 1 and "measure with a model that takes longer texts" in refused.stderr
    assert Experiment(root).frontier() == scored.frontier()


RULE = "choice or (random@0.3)"


@pytest.mark.process
def test_scores_of_fewer_epochs_choose_the_same_rows_with_another_model(settings: Settings, other: str, tmp_path: Path) -> None:
    """Scored with two of three epochs, the recording is complete whichever model measures, and its findings are the same."""
    scored = worker.score(settings.with_changes(approximate="epochs", burn_in=0), tmp_path / "approximate")
    measured = worker.frontier(scored.folder.root, [RULE], [], seeds=1, model=other, learning_rate=5e-3, budget="enough")
    [fingerprint] = measured.other_models
    read_with = Experiment(scored.folder.root).with_model(fingerprint)
    assert read_with.settings.measuring.epochs == 3 and read_with.scored_epochs == scored.scored_epochs == 2
    assert read_with.finished_runs() == scored.finished_runs() and read_with.ladder() == scored.ladder()
    assert read_with.reopened().rule(RULE).kept.tolist() == scored.rule(RULE).kept.tolist()
    points = {point.subset: point.kept for point in read_with.frontier("enough")}
    assert points == {"full": len(scored.ids), RULE: scored.rule(RULE).size}
