"""The verdict and the one next step, from frontiers made up by hand."""

from dataclasses import replace

import pytest

from pruning.reports import next_step
from pruning.subsets.rules import BASELINES
from tests.support.points import FULL, point

LADDER = ("winning-ticket", "remove-0-1-3")


def step(*points: object, measuring: bool = False) -> next_step.NextStep:
    return next_step.next_step([FULL, *points], LADDER, 0.005, 3, measuring)  # type: ignore[list-item]


def test_before_anything_is_measured_the_ladder_is_next() -> None:
    found = step()
    assert found.headline == "Not measured yet" and (found.measure, found.seeds) == (LADDER, 3)


def test_a_set_that_holds_accuracy_is_to_be_chosen() -> None:
    found = step(point("remove-0", 500, 0.799, mean=-0.001, half=0.0005, random=0.01))
    assert found.choose == "remove-0" and found.headline == "Drop H = 0 keeps 50% and loses 0.1 pp"
    assert found.detail == "It beats random of the same size by 1.0 pp."


def test_a_set_that_loses_too_much_is_not_chosen() -> None:
    found = step(point("remove-0", 500, 0.75, mean=-0.05, half=0.001, random=0.01))
    assert found.choose is None and found.headline == "No smaller set is shown to hold accuracy within 0.5 pp"
    assert found.detail == "The best so far keeps 50% and loses 5.0 pp: Drop H = 0. It beats random of the same size by 1.0 pp."


@pytest.mark.parametrize("baseline", BASELINES)
def test_the_best_so_far_is_a_choice_and_no_baseline(baseline: str) -> None:
    drawn = replace(point(f"{baseline}@remove-0", 500, 0.79, mean=-0.01, half=0.02), method=baseline)
    found = step(point("remove-0", 500, 0.75, mean=-0.05, half=0.001, random=-0.04), drawn)
    assert "loses 5.0 pp: Drop H = 0." in found.detail


def test_where_more_seeds_would_settle_it_they_are_next() -> None:
    found = step(point("remove-0", 500, 0.8, mean=0.0, half=0.009, random=0.02))
    assert found.measure == ("remove-0",) and found.seeds > 3


def test_where_no_rule_beats_random_and_nothing_is_left_to_measure_that_is_said() -> None:
    found = step(point("remove-0", 500, 0.75, mean=-0.05, half=0.001, random=0.0))
    assert found.measure == () and found.detail.endswith("No difference from random of the same size is shown (-0.1 to +0.1 pp).")


def test_a_model_that_has_not_learned_chooses_nothing() -> None:
    held = point("remove-0", 500, 0.799, mean=-0.001, half=0.0005, random=0.01)
    found = next_step.next_step([FULL, held], LADDER, 0.005, 3, refusal="Not learned: fit the rate.")
    assert (found.headline, found.detail, found.choose, found.measure) == (
        "The model has not learned",
        "Not learned: fit the rate.",
        None,
        (),
    )


def test_while_it_is_measured_there_is_no_verdict() -> None:
    found = step(point("remove-0", 500, 0.799, mean=-0.001, half=0.0005), measuring=True)
    assert found.choose is None and not found.measure


def test_more_seeds_are_for_a_subset_and_what_it_is_compared_with() -> None:
    """Winnow's choice shares the random subset of the winning ticket, which has nearly its size; full data is compared with none."""
    drawn = [replace(point(f"{rule}@winning-ticket", 505, 0.7), method=rule) for rule in ("random", "ambiguous")]
    points = [FULL, point("winning-ticket", 505, 0.7), point("choice", 500, 0.7), *drawn]
    assert next_step.with_compared(points, "choice") == ["choice", "random@winning-ticket"]
    assert set(next_step.with_compared(points, "winning-ticket")) == {"winning-ticket", "random@winning-ticket", "ambiguous@winning-ticket"}
    assert next_step.with_compared(points, "random@winning-ticket") == ["random@winning-ticket"]
