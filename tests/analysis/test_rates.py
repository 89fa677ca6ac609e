"""Statistics of few samples, against exact numbers and against simulated prompts whose true rates are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning.analysis import rates


def test_the_bound_of_no_success_is_exact() -> None:
    """Under the bound, 0 of n still happens with the remaining 5%."""
    for attempts in (1, 4, 8, 16, 64):
        assert (1 - rates.upper_bound(attempts)) ** attempts == pytest.approx(0.05)


@given(st.integers(0, 40), st.integers(0, 40))
def test_an_interval_holds_its_rate(first: int, second: int) -> None:
    successes, attempts = np.array([min(first, second)]), np.array([max(first, second)])
    low, high = rates.jeffreys(successes, attempts)
    rate = successes / np.maximum(attempts, 1)
    assert 0 <= low <= high <= 1
    assert low <= rate <= high or attempts == 0


def test_pass_at_k_counts_every_choice_of_k_answers() -> None:
    from itertools import combinations

    answers = [1, 1, 0, 0, 0, 0, 0]
    chosen = [any(pick) for pick in combinations(answers, 3)]
    assert rates.pass_at(3, np.array([2]), np.array([7]))[0] == pytest.approx(np.mean(chosen))


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.5, 1.5), (2.0, 5.0)])
def test_the_fit_recovers_the_distribution_of_rates_and_foretells_more_samples(a: float, b: float) -> None:
    random = np.random.default_rng(0)
    truth = random.beta(a, b, 20_000)
    attempts = random.choice([4, 8, 16], 20_000)
    successes = random.binomial(attempts, truth)
    prior = rates.fit_prior(successes, attempts)
    assert prior.a == pytest.approx(a, rel=0.1)
    assert prior.b == pytest.approx(b, rel=0.1)
    never = successes == 0
    solved = random.binomial(8, truth[never]) > 0
    assert prior.solved_with_more(successes[never], attempts[never], 8).mean() == pytest.approx(solved.mean(), abs=0.03)
    low, high = prior.interval(successes, attempts)
    assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(0.95, abs=0.01)
    of_eight = attempts == 8
    correlation = np.corrcoef(successes[of_eight] / 8, truth[of_eight])[0, 1] ** 2
    assert prior.reliability(8) == pytest.approx(correlation, abs=0.03)


def test_never_means_not_above_chance_where_answers_can_be_guessed() -> None:
    successes, attempts = np.array([0, 1, 3, 5, 8]), np.full(5, 8)
    assert rates.above_chance(successes, attempts, 0).tolist() == [False, True, True, True, True]
    assert rates.above_chance(successes, attempts, 0.25).tolist() == [False, False, False, True, True]
    assert not rates.above_chance(np.array([0]), np.array([0]), 0.25)[0]


def test_a_log_without_any_uniform_group_looks_filtered() -> None:
    mixed = np.full(30, 3)
    assert "filtered already" in rates.already_filtered(mixed, np.full(30, 8))
    assert not rates.already_filtered(np.append(mixed, 8), np.full(31, 8))
    assert not rates.already_filtered(mixed[:5], np.full(5, 8))


def test_the_sentence_names_the_bounds_and_never_says_impossible() -> None:
    successes, attempts = np.zeros(1200, dtype=np.int64), np.append(np.full(600, 4), np.full(600, 16))
    sentence = rates.never_solved(successes, attempts, rates.Prior(0.5, 0.5))
    assert sentence.startswith("1,200 of 1,200 prompts were never right. 0 of 4: under 53% with 95% confidence; 0 of 16: under 17%")
    assert "impossible" not in sentence
    assert not rates.never_solved(np.array([1]), np.array([4]), rates.Prior(1, 1))
