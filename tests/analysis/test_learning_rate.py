"""The search for a learning rate, on synthetic loss tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pruning.analysis.learning_rate import (
    CANDIDATES,
    Baseline,
    RateFit,
    Trial,
    beats_majority,
    below,
    candidates,
    corrected,
    cost_in_runs,
    further,
    handed_on,
    held_out_size,
    lowest,
    nothing_learned,
    optimum,
    round_dict,
    rounds,
    start,
)

EXAMPLES = 400


def table(losses: Mapping[float, float], seeds: Sequence[int] = (1,), noise: float = 0.3, own: float = 0.05) -> list[Trial]:
    """Trials whose held-out losses have these means; examples differ by `noise`, the same for all candidates, and by `own` of each."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, noise, EXAMPLES)

    def of(rate: float, seed: int) -> Trial:
        own_noise = rng.normal(0, own, EXAMPLES)
        values = losses[rate] + shared - shared.mean() + own_noise - own_noise.mean()
        return Trial(rate=rate, seed=seed, loss=values, compared=values, correct=values < 0.6)

    return [of(rate, seed) for rate in losses for seed in seeds]


def walked(planted: float, offered: Sequence[float]) -> list[Trial]:
    """The trials of one round whose losses grow with the distance to the planted best rate; one round after the other."""

    def trials(rates: Sequence[float]) -> list[Trial]:
        return table({rate: 0.4 + 0.05 * abs(np.log10(rate / planted)) for rate in rates})

    found = trials(start(offered) if len(offered) == len(CANDIDATES) else offered[-2:])
    while (rate := further(found, offered)) is not None:
        found += trials([rate])
    return found


@pytest.mark.parametrize("planted", CANDIDATES)
def test_the_planted_best_is_found_in_every_round_and_chosen(planted: float) -> None:
    first = walked(planted, CANDIDATES)
    assert lowest(first) == planted
    for later in CANDIDATES[CANDIDATES.index(planted) :]:
        second = walked(planted, below(CANDIDATES, later))
        assert lowest(second) == planted, "a later round finds it below the best of the round before"
        found = optimum(second)
        assert found is not None and abs(np.log(found / planted)) < np.log(1.3)


def test_only_neighbours_of_the_best_are_tried() -> None:
    assert [trial.rate for trial in walked(1e-4, CANDIDATES)] == [5e-5, 1e-4, 2e-4, 5e-4]
    assert [trial.rate for trial in walked(5e-4, CANDIDATES)] == [5e-5, 1e-4, 2e-4, 5e-4, 1e-3]
    assert [trial.rate for trial in walked(1e-5, CANDIDATES)] == [5e-5, 1e-4, 2e-4, 5e-4, 2e-5, 1e-5]
    assert (
        start(CANDIDATES, 2e-4) == (1e-4, 2e-4) and start(CANDIDATES, 1e-5) == (1e-5,) and start((1e-4, 2e-4, 5e-4)) == (1e-4, 2e-4, 5e-4)
    )


def test_ties_go_to_the_smaller_rate() -> None:
    trials = table({1e-4: 0.4, 2e-4: 0.4, 5e-4: 0.4}, noise=0, own=0)
    assert optimum(trials) == lowest(trials) == 1e-4


def test_the_next_round_starts_from_a_smaller_rate_within_one_standard_error_and_not_beyond() -> None:
    """Paired differences have a standard deviation of own * sqrt(2): one standard error of 400 examples is 0.0035."""
    assert handed_on(table({1e-4: 0.403, 2e-4: 0.4})) == 1e-4
    assert handed_on(table({1e-4: 0.405, 2e-4: 0.4})) == 2e-4


def test_the_optimum_lies_between_candidates() -> None:
    """By hand: over log rates, y = (x - x0)^2 is lowest at x0 whatever three points of it are known."""
    planted = 1.4e-4
    losses = {rate: 0.4 + np.log(rate / planted) ** 2 for rate in (5e-5, 1e-4, 2e-4, 5e-4)}
    assert optimum(table(losses, noise=0, own=0)) == pytest.approx(planted)
    assert optimum(table({1e-4: 0.5, 2e-4: 0.4}, noise=0, own=0)) == 2e-4, "without a larger neighbour the best one stands"
    flat = optimum(table({5e-5: 0.64, 1e-4: 0.496, 2e-4: 0.5}))
    assert flat is not None and 1.3e-4 < flat < 1.5e-4, "two that are as good mean the rate between them"


def test_a_candidate_that_diverged_loses() -> None:
    trials = table({1e-4: 0.6, 2e-4: 0.5, 1e-3: 0.1}, seeds=(1, 2))
    trials[-1].loss[7] = np.nan
    assert lowest(trials) == optimum(trials) == 2e-4 and further(trials, CANDIDATES) is None
    assert round_dict(trials, 100, 12)["candidates"][-1] == {"rate": 1e-3, "loss": None, "accuracy": None}
    for trial in trials:
        trial.loss[:] = np.nan
    assert optimum(trials) is None and further(trials, CANDIDATES) == 5e-5, "where all diverged, the next smaller is tried"


def test_every_seed_must_beat_the_majority_class() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random(EXAMPLES) < 0.55
    baseline = Baseline(correct=labels, loss=np.where(labels, -np.log(0.55), -np.log(0.45)))

    def trial(seed: int, accuracy: float) -> Trial:
        right = rng.random(EXAMPLES) < accuracy
        loss = np.where(right, 0.4, 1.2)
        return Trial(rate=1e-4, seed=seed, loss=loss, compared=loss, correct=right)

    assert beats_majority([trial(1, 0.8), trial(2, 0.8)], 1e-4, baseline)
    assert not beats_majority([trial(1, 0.9), trial(2, 0.4)], 1e-4, baseline)
    assert not beats_majority([trial(1, 0.5)], 1e-4, baseline)


def test_rare_classes_are_learned_in_loss_before_they_are_in_accuracy() -> None:
    """Of 5% positives none is said yet, but they have three times the probability of the others."""
    labels = np.arange(EXAMPLES) % 20 != 0
    baseline = Baseline(correct=labels, loss=np.where(labels, -np.log(0.95), -np.log(0.05)))
    loss = np.where(labels, -np.log(0.97), -np.log(0.15))
    learned = Trial(rate=1e-4, seed=1, loss=loss, compared=loss, correct=labels)
    assert beats_majority([learned], 1e-4, baseline)
    assert not beats_majority([replace(learned, loss=baseline.loss)], 1e-4, baseline)


def test_random_labels_hardly_ever_pass() -> None:
    """The best of two candidates that predict nothing, on 200 examples: 9% of sets at most, for two tests at two standard errors."""
    rng, passed = np.random.default_rng(2), 0
    for _ in range(400):
        labels = rng.random(200) < 0.5
        baseline = Baseline(correct=labels == (labels.mean() > 0.5), loss=np.full(200, np.log(2)))
        trials = []
        for rate in (1e-4, 2e-4):
            logit = rng.normal(0, 0.5, 200)
            loss = np.logaddexp(0, np.where(labels, -logit, logit))
            trials.append(Trial(rate=rate, seed=1, loss=loss, compared=loss, correct=(logit > 0) == labels))
        passed += beats_majority(trials, lowest(trials), baseline)
    assert passed / 400 < 0.09


@pytest.mark.parametrize(("rows", "held_out"), [(10, 2), (999, 199), (1000, 200), (2000, 200), (5000, 500), (20_000, 2000), (10**6, 2000)])
def test_a_tenth_within_bounds_is_held_out(rows: int, held_out: int) -> None:
    assert held_out_size(rows) == held_out


@pytest.mark.parametrize("rows", [1000, 1500, 2000, 3000, 3999, 4000, 4001, 10_000, 10**6])
def test_a_search_starts_with_at_most_one_and_a_half_runs(rows: int) -> None:
    planned = rounds(rows)
    told = [{"rows": each.rows, "seeds": each.seeds, "candidates": range(each.candidates)} for each in planned]
    assert cost_in_runs(told, rows) <= 1.5
    assert planned[0].candidates == 4 and planned[1].candidates == 2
    assert all(before.rows <= after.rows <= rows - held_out_size(rows) for before, after in pairwise(planned))


def test_tiny_sets_train_on_what_is_not_held_out() -> None:
    assert [each.rows for each in rounds(100)] == [80, 80]


def test_more_steps_move_the_rate_down_by_the_exponent() -> None:
    assert corrected(5e-4, 100, 400, exponent=0.5) == 2.5e-4
    assert corrected(5e-4, 100, 400, exponent=0.0) == 5e-4
    assert corrected(1e-5, 100, 10**4, exponent=1.0) == 1e-7
    assert corrected(1.4e-4, 48, 189) == 9.3e-5, "1.4e-4 * (48 / 189) ** 0.3 = 9.28e-5"


def test_adapters_get_ten_times_the_rates() -> None:
    assert candidates(8) == (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)


def test_a_fit_survives_json() -> None:
    fit = RateFit(
        rate=2e-4,
        sentence="x",
        rounds=({"rows": 5},),
        rows=10,
        held_out=2,
        majority=0.5,
        few_rows=True,
        runs=1.5,
        seconds=2.0,
        diverged=(1e-3,),
    )
    assert RateFit.from_dict({**fit.to_dict(), "of a later version": 1}) == fit


def test_the_sentences_name_what_was_tried() -> None:
    assert "from 1e-5 to 1e-3" in nothing_learned(CANDIDATES, 200, 0.51, 0.5) and "--epochs" in nothing_learned(CANDIDATES, 200, 0.51, 0.5)
    assert "NaN" in nothing_learned(CANDIDATES, 200, None, 0.0)
