import math
from dataclasses import replace

import numpy as np
import pytest

from pruning.analysis.frontier import points
from pruning.analysis.recommendation import ENOUGH_SEEDS, margin_of, recommend
from pruning.errors import UsageError
from tests.support.points import FULL, finetunings, point


def test_the_smallest_that_is_not_worse_is_recommended() -> None:
    found = recommend(
        [FULL, point("a", 500, 0.8, 0.0, random=0.01), point("b", 200, 0.799, -0.001, random=0.0), point("c", 100, 0.7, -0.1)]
    )
    assert found.subset == "b"
    assert "No difference from a random subset of the same size is shown" in found.sentence


def test_a_difference_to_random_is_reported_in_either_direction() -> None:
    assert "beats a random subset of the same size by 1.0 pp" in recommend([FULL, point("a", 500, 0.8, 0.0, random=0.01)]).sentence
    assert "random subset of the same size does better, by 1.0 pp" in recommend([FULL, point("a", 500, 0.8, 0.0, random=-0.01)]).sentence


def test_no_rule_is_named_that_was_not_measured() -> None:
    """Where nothing beats random the words say so; they name no rule on the ground of another study."""
    found = recommend([FULL, point("a", 500, 0.7, -0.1, random=-0.01), point("random@a", 500, 0.71, -0.09)])
    assert found.subset is None and "stratified" not in found.sentence and "study" not in found.sentence


def test_too_few_seeds_ask_for_more() -> None:
    found = recommend([FULL, point("a", 500, 0.8, 0.0, half=0.012)])
    assert found.subset is None
    assert 0 < found.more_seeds <= ENOUGH_SEEDS and found.measure == ("a",)
    assert "would probably settle it" in found.sentence


def test_a_clear_loss_is_not_recommended() -> None:
    found = recommend([FULL, point("a", 500, 0.7, -0.1)])
    assert (found.subset, found.more_seeds, found.measure) == (None, 0, ())
    assert "more than the 0.5 pp allowed" in found.sentence
    assert "may be chance" in recommend([FULL, point("a", 500, 0.79, -0.01, half=0.02)]).sentence


def test_two_seeds_that_happen_to_agree_recommend_nothing() -> None:
    found = recommend([FULL, point("a", 500, 0.8, 0.0, half=0.0, pairs=2)])
    assert (found.subset, found.more_seeds, found.measure) == (None, 1, ("a",))
    assert found.sentence == "None yet: measure 1 more seed of each subset."


def test_at_one_size_the_best_that_passes_is_taken_and_one_that_fails_does_not_stop_it() -> None:
    tickets = [point("a", 500, 0.79, -0.02), point("random@a", 500, 0.8, 0.0), point("ambiguous@a", 500, 0.801, 0.001)]
    assert recommend([FULL, *tickets]).subset == "ambiguous@a"
    found = recommend([FULL, *tickets[:2]])
    assert found.subset == "random@a"
    assert "a random draw: a was no better" in found.sentence


def test_the_significance_level_is_divided_among_subsets_of_one_size() -> None:
    """Lower bounds at 95%: -.0044, within half a point; at 1 - .05/3, needed for three of one size, they are not."""
    close = point("a", 500, 0.8, -0.002, half=0.0035)
    assert recommend([FULL, close]).subset == "a"
    assert recommend([FULL, close, point("random@a", 500, 0.7, -0.1), point("ambiguous@a", 500, 0.7, -0.1)]).subset is None


def test_nothing_is_recommended_while_it_is_measured() -> None:
    found = recommend([FULL, point("a", 500, 0.8, 0.0)], measuring=True)
    assert (found.subset, found.measure) == (None, ()) and "complete" in found.sentence


def test_a_later_look_needs_a_higher_confidence_level() -> None:
    """The lower bound at 96.5% of the first look is within half a point, that at 99.3% of the second is not."""
    close = point("a", 500, 0.8, 0.0, half=0.005)
    assert recommend([FULL, close]).subset == "a"
    again = recommend([FULL, replace(close, looks=2)])
    assert again.subset is None and again.measure == ("a",)
    assert recommend([FULL, replace(close, looks=3)]).more_seeds > again.more_seeds


def test_a_size_at_which_nothing_passes_stops_the_search() -> None:
    assert recommend([FULL, point("a", 500, 0.8, 0.0), point("b", 300, 0.7, -0.1), point("c", 200, 0.8, 0.0)]).subset == "a"


def test_without_full_data_nothing_is_recommended() -> None:
    assert recommend([point("a", 500, 0.8)]).subset is None


@pytest.mark.parametrize("wrong", [-0.5, 100, math.nan])
def test_an_invalid_margin_is_refused(wrong: float) -> None:
    with pytest.raises(UsageError, match="margin must be at least 0 and below 100"):
        margin_of(wrong)


@pytest.mark.process
@pytest.mark.parametrize("truth", [-0.005, -0.01, -0.03])
def test_a_worse_than_margin_subset_is_rarely_recommended(truth: float) -> None:
    """Simulated frontiers whose three subsets are all truly worse by `truth`: at most 5% (here with slack for 400 trials)."""
    random = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        noise = random.normal(0, 0.006, size=(4, 4))
        table = finetunings(full=list(0.8 + noise[0]), a=list(0.8 + truth - 1e-9 + noise[1]), b=list(0.8 + truth - 1e-9 + noise[2]))
        wrong += recommend(points(table, 1000)).subset is not None
    assert wrong / 400 <= 0.08


@pytest.mark.process
@pytest.mark.parametrize("evaluated", [30, 50, 100, 200])
def test_seeds_that_agree_on_few_evaluation_rows_recommend_nothing(evaluated: int) -> None:
    """Where a row is more than seeds differ by, most seeds have the very same accuracy; that does not make them certain."""
    random = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        truth = np.array([0.8, 0.792, 0.792])[:, None]
        full, a, b = np.round((truth + random.normal(0, 0.005, size=(3, 4))) * evaluated) / evaluated
        table = finetunings(full=list(full), a=list(a), b=list(b))
        wrong += recommend(points(table, 1000, evaluated=evaluated)).subset is not None
    assert wrong / 400 <= 0.08
