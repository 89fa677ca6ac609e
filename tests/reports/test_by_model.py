"""Data x model: fine-tunings of two models put down by hand, and the table of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pruning.analysis.frontier import of_subset
from pruning.experiment import Experiment
from pruning.fine_tunings import FineTuning
from pruning.reports.by_model import by_model
from pruning.ui import by_model as page
from tests.conftest import EPOCHS, SEEDS
from tests.support.frontiers import STEPS, measure

NARROW = "f" * 64


@pytest.fixture
def two_models(scored: Experiment) -> Experiment:
    """The experiment's own model from 0.8 on, and one that is 2 pp worse, twice as fast, and was never timed on full data."""
    own = measure(scored, ours=0.01, random=0.03)
    own.add_model("models/width-0.5", {"fingerprint": NARROW, "parts": {}, "parameters": 4_000_000}, 1e-3)
    read = Experiment(own.folder.root).with_model(NARROW)
    for name, lost in {"full": 0.02, "remove-0": 0.025, "random@remove-0": 0.05}.items():
        for place, seed in enumerate(SEEDS):
            done = FineTuning(
                **of_subset(read.subset(name, seed=seed), "epochs", read.burn_in),
                seed=seed,
                epochs=EPOCHS,
                seconds=99.0,
                compute_seconds=0.0 if name == "random@remove-0" else STEPS[name] / 2 + place,
                steps=STEPS[name],
                finished=0.0,
                metrics={"accuracy": 0.8 - lost + place / 1e4},
                tokens=1000 * STEPS[name],
                evaluation_seconds=0.0 if name == "full" else 5.0 * (1 + place),
            )
            read.add_finished(done.row)
    return Experiment(own.folder.root)


def test_each_model_by_hand(two_models: Experiment) -> None:
    """10,000 examples in 5, 10 or 15 s: each 1 ms at the median. (7.5 + 8.5 + 9.5 + 4.5 + 5.5 + 6.5) s for 3 x (15 + 9) steps."""
    rows = by_model(two_models)
    names = [(row.model, row.point.subset) for row in rows]
    whole, narrow = two_models.settings.model, "models/width-0.5"
    subsets = ["full", "remove-0", "random@remove-0"]
    assert names == [(model, subset) for model in (whole, narrow) for subset in subsets]
    assert [row.milliseconds for row in rows] == [None] * 3 + [pytest.approx(1.0)] * 3
    assert [row.parameters for row in rows[3:]] == [4_000_000] * 3 and rows[0].parameters == two_models.parameters
    assert [row.learning_rate for row in rows] == [two_models.settings.train.learning_rate] * 3 + [1e-3] * 3
    a_step = 42 / 72
    assert [row.training_seconds for row in rows] == [None] * 3 + [pytest.approx(steps * a_step) for steps in (15, 9, 9)]
    assert [row.tokens for row in rows] == [None] * 3 + [15_000, 9_000, 9_000]
    changes = [row.change for row in rows]
    assert changes[0] is None
    assert [change.mean for change in changes if change] == pytest.approx([-0.01, -0.03, -0.02, -0.025, -0.05])
    assert all(change.pairs == 3 for change in changes if change)


def test_only_what_is_asked_for_and_only_where_two_models_measured(two_models: Experiment) -> None:
    assert [row.point.subset for row in by_model(two_models, ["drop-easy"])] == ["full", "full"]
    assert [row.point.subset for row in by_model(two_models, ["remove-0"])][:3] == ["full", "remove-0", "random@remove-0"]
    assert by_model(two_models, budget="steps")[0].point.subset == "full"
    info = {name: value for name, value in two_models.info.items() if name != "measured_with"}
    two_models.info = info
    assert by_model(two_models) == []


def test_the_same_in_json_and_on_the_page(two_models: Experiment) -> None:
    found = two_models.summary()["by_model"]
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(found))
    assert [round(row["value"], 4) for row in found] == pytest.approx([0.8001, 0.7901, 0.7701, 0.7801, 0.7751, 0.7501])
    assert found[0]["milliseconds"] is None and found[0]["change"] is None and found[3]["ci95"][0] < 0.7801 < found[3]["ci95"][1]
    table = page.table(by_model(two_models))
    assert list(table["subset"]) == ["Full data", "Drop H = 0", "Random, same size"] * 2
    assert table["vs full"].round(1).tolist()[1:] == [-1.0, -3.0, -2.0, -2.5, -5.0] and table["parameters"].tolist()[3] == 4.0


def test_the_random_draw_is_that_of_its_size(two_models: Experiment) -> None:
    """Not one with decisions applied, nor of another size."""
    from pruning.reports.by_model import _asked

    points = {point.subset: point for point in two_models.frontier()}
    drawn = points["random@remove-0"]
    others = [replace(drawn, subset="random@7", kept=7), replace(drawn, subset="random@0.4+decisions")]
    alike = replace(drawn, subset="random@0.3")
    chosen = _asked([alike, *others, *points.values()], ["remove-0"])
    assert [point.subset for point in chosen] == ["full", "remove-0", "random@remove-0"]
    assert [point.subset for point in _asked([points["remove-0"], *others, alike], ["remove-0"])] == ["remove-0", "random@0.3"]


def test_an_experiment_from_before_has_blanks(two_models: Experiment, tmp_path: Path) -> None:
    """Its model's parameters were not recorded; nothing is invented."""
    two_models.info["model"].pop("parameters")
    assert by_model(two_models)[0].parameters is None and page.table(by_model(two_models))["parameters"].isna().tolist()[:3] == [True] * 3
