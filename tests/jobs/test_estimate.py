"""What the estimate counts on: which fine-tunings, and a measurement of each recipe that costs its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pruning.training
from pruning.analysis.frontier import USUAL_SEEDS
from pruning.jobs.estimate import estimate, frontier_plans, steps_cost_alike
from pruning.settings import Settings, TrainSettings
from pruning.subsets.rules import USUAL_BASELINES, ladder

pytestmark = pytest.mark.process

ROWS = np.arange(10)


@pytest.mark.parametrize(
    ("changes", "full", "epochs"),
    [
        ({}, 0, 3),
        ({"seeds": (1,)}, 2, 3),
        ({"frontier_learning_rate": 1e-5}, USUAL_SEEDS, 3),
        ({"approximate": "epochs"}, USUAL_SEEDS, 3),
        ({"approximate": "lora"}, USUAL_SEEDS, 3),
    ],
)
def test_the_frontier_trains_full_data_itself_where_scoring_did_not(changes: dict[str, Any], full: int, epochs: int) -> None:
    settings = Settings(data="x.jsonl").with_changes(**changes)
    plans = frontier_plans(settings, ROWS)
    assert sum(len(plan.rows) == 10 for plan in plans) == full
    assert sum(len(plan.rows) == 5 for plan in plans) == (1 + len(USUAL_BASELINES)) * USUAL_SEEDS * len(ladder(settings.runs))
    assert {plan.epochs for plan in plans} == {epochs} and len({plan.key for plan in plans}) == len(plans)


@pytest.mark.parametrize(
    ("changes", "alike"),
    [({}, True), ({"frontier_learning_rate": 1e-5}, True), ({"approximate": "epochs"}, True), ({"approximate": "lora"}, False)],
)
def test_steps_that_train_the_same_cost_the_same(changes: dict[str, Any], alike: bool) -> None:
    assert steps_cost_alike(Settings(data="x.jsonl").with_changes(**changes)) == alike


def test_each_recipe_whose_steps_cost_their_own_is_measured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[TrainSettings] = []
    real: Callable[..., Any] = pruning.training.probe

    def watched(data: Any, model: str, recipe: TrainSettings) -> Any:
        measured.append(recipe)
        return real(data, model, recipe)

    monkeypatch.setattr("pruning.training.cost.PROBE_SECONDS", 0.1)
    monkeypatch.setattr("pruning.training.probe", watched)
    changed = settings.with_changes(approximate="layers", lora_rank=0)
    told = estimate(changed)
    assert measured == [changed.scoring, changed.measuring]
    assert 0 < told.look_seconds < told.score_seconds < told.frontier_seconds
