"""The fine-tunings that an estimate counts, and its parts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruning.analysis.expected_success import AGREEMENT
from pruning.analysis.frontier import USUAL_SEEDS
from pruning.errors import TrainingError
from pruning.experiment import Experiment
from pruning.jobs import worker
from pruning.jobs.estimate import estimate, frontier_plans, seconds_by_size
from pruning.settings import Settings
from pruning.subsets.rules import USUAL_BASELINES, ladder
from pruning.training.cost import Cost
from tests.support import chats

pytestmark = pytest.mark.process

ROWS = np.arange(10)


@pytest.mark.parametrize(
    ("changes", "full", "epochs"),
    [
        ({}, 0, 3),
        ({"seeds": (1,)}, 2, 3),
        ({"frontier_learning_rate": 1e-5}, USUAL_SEEDS, 3),
        ({"approximate": "epochs"}, USUAL_SEEDS, 3),
    ],
)
def test_the_frontier_trains_full_data_itself_where_scoring_did_not(changes: dict[str, Any], full: int, epochs: int) -> None:
    settings = Settings(data="x.jsonl").with_changes(**changes)
    plans = frontier_plans(settings, ROWS)
    assert sum(len(plan.rows) == 10 for plan in plans) == full
    assert sum(len(plan.rows) == 5 for plan in plans) == (1 + len(USUAL_BASELINES)) * USUAL_SEEDS * len(ladder(settings.runs))
    assert {plan.epochs for plan in plans} == {epochs} and len({plan.key for plan in plans}) == len(plans)


def test_an_estimate_has_its_parts(settings: Settings) -> None:
    told = estimate(settings.with_changes(approximate="epochs", burn_in=0))
    assert 0 < told.look_seconds < told.score_seconds < told.frontier_seconds
    assert list(told.by_runs) == list(AGREEMENT) and told.look_seconds < told.by_runs[1] <= told.by_runs[2] < told.by_runs[4]
    assert estimate(settings.with_changes(look=False)).by_runs == {}
    times = list(told.scaling.values())
    assert list(told.scaling) == [1, 4, 16, 64] and times == sorted(times, reverse=True)
    assert times[0] >= told.score_seconds + told.frontier_seconds >= told.critical_seconds
    assert told.useful > 6 and told.critical_seconds <= times[-1] <= 1.05 * told.critical_seconds


def test_sizes_are_timed_by_what_each_run_costs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = Cost(process=3.0, load=2.0, step=1.0, token=0.0, evaluation_token=0.0, slots=2)
    monkeypatch.setattr("pruning.training.probe", lambda data, model, recipe: cost)
    asked = settings.with_changes(seeds=(1, 2, 3), train=replace(settings.train, learning_rate=1e-3, epochs=3, batch_size=4))
    every = estimate(asked).examples
    times = seconds_by_size(asked, (10**6, every, 16, 8), [1.0, 0.5, 0.5])
    # Three runs of 3 x 4 steps on two slots are two rounds of 2 + 12 s; then 14 s beside twice 2 + 6 s; two phases start processes.
    assert times == {10**6: times[every], every: times[every], 16: 2 * 14 + 16 + 2 * 3, 8: 2 * 8 + 2 * 5 + 2 * 3}


def test_generation_is_estimated_with_the_runs_that_it_is_scored_with(tmp_path: Path) -> None:
    settings = chats.settings_of(tmp_path, seeds=(1, 2, 3, 4))
    assert (estimate(settings, runs_given=False).runs, estimate(settings).runs) == (2, 4)
    with pytest.raises(TrainingError):
        worker.fit(settings.with_changes(learning_rate=None), tmp_path / "fitted")
    assert Experiment(tmp_path / "fitted").settings.runs == 2, "so few answers teach nothing, but the folder keeps the runs"
