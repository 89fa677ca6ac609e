"""The fine-tunings that an estimate counts, and its parts."""

from typing import Any

import numpy as np
import pytest

from pruning.analysis.expected_success import AGREEMENT
from pruning.analysis.frontier import USUAL_SEEDS
from pruning.jobs.estimate import estimate, frontier_plans
from pruning.settings import Settings
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
