"""One estimate of success from the probe and the runs: calibrated, and closer to new runs than either alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from pruning.analysis import scores
from pruning.analysis.expected_success import UNSURE, expected_success, from_probe
from pruning.errors import ScoreError
from pruning.records import Dynamics
from tests.support.recordings import recording

EXAMPLES = 3000


def planted(runs: int, *, probe: bool = True, examples: int = EXAMPLES, seed: int = 0) -> tuple[Dynamics, np.ndarray]:
    """A recording whose examples have a success rate of their own, which probe and runs see with noise; and that rate.

    The outcome of a run is a draw with that rate; its gold probability says more than the outcome, as in training.
    """
    random = np.random.default_rng(seed)
    ease = random.normal(0.8, 1.5, examples)
    rate = 1 / (1 + np.exp(-ease))
    correct = random.random((runs, 1, examples)) < rate
    sure = 1 / (1 + np.exp(-(0.6 * ease + 0.5 * (2 * correct - 1) + random.normal(0, 0.8, (runs, 1, examples)))))
    looked = 1 / (1 + np.exp(-(0.7 * ease + random.normal(0, 0.7, examples))))
    rest = recording(runs, 1, examples, 2, seed)
    made = replace(rest, correct=correct, gold_prob=sure.astype(np.float32), probe=looked.astype(np.float32) if probe else None)
    return made, rate


@pytest.mark.parametrize("runs", [1, 2, 3, 6])
def test_the_estimate_and_its_interval_are_calibrated(runs: int) -> None:
    dynamics, rate = planted(runs)
    found = expected_success(dynamics)
    for low in np.arange(0, 1, 0.2):
        group = (found.estimate >= low) & (found.estimate < low + 0.2)
        if group.sum() > 100:
            assert abs(found.estimate[group].mean() - rate[group].mean()) < 0.09, (runs, low)
    low_end, high_end = found.interval
    inside = ((rate >= low_end) & (rate <= high_end)).mean()
    assert inside > 0.9 and (low_end <= found.estimate).all() and (found.estimate <= high_end).all()
    if runs > 2:
        assert inside < 0.999 and (high_end - low_end).mean() < 0.75


def test_probe_and_runs_together_are_closer_than_either_and_more_runs_closer_still() -> None:
    def agreement(runs: int, probe: bool) -> float:
        dynamics, rate = planted(runs, probe=probe)
        return float(spearmanr(expected_success(dynamics).estimate, rate).statistic)

    dynamics, rate = planted(2)
    assert dynamics.probe is not None
    alone = spearmanr(dynamics.probe, rate).statistic
    with_probe = [agreement(runs, True) for runs in (1, 2, 4)]
    assert alone < with_probe[0] < with_probe[1] < with_probe[2]
    assert with_probe[1] > agreement(2, False) + 0.02 and with_probe[2] > agreement(4, False)


def test_a_probe_of_random_probabilities_gets_almost_no_weight() -> None:
    dynamics, _ = planted(4)
    noise = np.random.default_rng(9).random(EXAMPLES).astype(np.float32)
    found = expected_success(replace(dynamics, probe=noise))
    assert abs(found.weights[2]) < 0.06 < found.weights[1]


def test_before_any_run_expected_success_is_the_probability_of_the_probe() -> None:
    found = from_probe(np.array([0.1, 0.5, 1.0], dtype=np.float32))
    assert found.estimate.tolist() == pytest.approx([0.1, 0.5, 1.0]) and found.precision == UNSURE
    assert found.sentence == "Expected success from the probe, before training." and found.histogram(2).tolist() == [1, 2]
    low, high = found.interval
    assert 0 <= low[1] < 0.15 and 0.85 < high[1] <= 1


def test_one_run_without_a_look_is_refused_and_with_one_it_is_a_score() -> None:
    dynamics, _ = planted(1, probe=False, examples=50)
    with pytest.raises(ScoreError, match="needs the look or two runs"):
        scores.compute("expected-success", dynamics)
    assert not {"expected-success", "probe"} & scores.compute_all(dynamics).keys()
    looked = replace(dynamics, probe=np.full(50, 0.5, dtype=np.float32))
    assert {"expected-success", "probe"} <= scores.compute_all(looked).keys()
    with pytest.raises(ScoreError, match="Probe needs probe, which this recording does not have; python -m pruning look DIR adds it"):
        scores.compute("probe", dynamics)


def test_the_level_with_one_run_is_that_runs_own() -> None:
    dynamics, _ = planted(1)
    found = expected_success(dynamics)
    assert found.estimate.mean() == pytest.approx(dynamics.correct.mean(), abs=1e-6)


def test_a_recording_without_probabilities_counts_what_was_right() -> None:
    dynamics, rate = planted(4)
    nothing = np.full_like(dynamics.gold_prob, np.nan)
    found = expected_success(replace(dynamics, gold_prob=nothing))
    assert np.isfinite(found.estimate).all() and spearmanr(found.estimate, rate).statistic > 0.6


@pytest.mark.parametrize("right", [True, False])
def test_expected_success_is_finite_when_all_runs_agree(right: bool) -> None:
    dynamics, _ = planted(3, examples=20)
    found = expected_success(replace(dynamics, correct=np.full_like(dynamics.correct, right)))
    assert np.isfinite(found.estimate).all() and (np.round(found.estimate) == right).all()
