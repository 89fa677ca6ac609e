from dataclasses import replace
from math import isnan

import numpy as np
import pandas as pd
import pytest

from pruning.analysis import frontier
from pruning.analysis.frontier import cost_in_words, expected
from pruning.reports import composition
from tests.support.points import FULL, finetunings, point


def test_points_by_hand() -> None:
    """Means .80 and .79; paired differences -.02, 0, -.01: mean -.01, t interval -.01 +- 4.303 * .01 / sqrt(3)."""
    table = finetunings(full=[0.80, 0.81, 0.79], a=[0.78, 0.81, 0.78], random_at_a=[0.70, 0.75, 0.71])
    points = {point.subset: point for point in frontier.points(table, 1000)}
    a = points["a"]
    assert a.metrics["accuracy"] == pytest.approx(0.79)
    assert a.vs_full is not None and a.vs_random is not None
    assert (a.vs_full.mean, a.vs_full.pairs) == (pytest.approx(-0.01), 3)
    assert a.vs_full.low == pytest.approx(-0.01 - 4.3027 * 0.01 / 3**0.5, abs=1e-5)
    assert a.vs_random.mean == pytest.approx(0.07)
    assert (a.kept_fraction, a.seconds_saved, a.steps_saved) == (0.5, 50, 50)
    assert points["full"].vs_full is None
    assert points["random@a"].vs_random is None


def test_a_rule_cut_to_a_size_is_compared_with_random_of_that_size() -> None:
    """ambiguous@a has as many examples as random@a; b has another size and no random of its own."""
    table = finetunings(full=[0.9, 0.9], ambiguous_at_a=[0.8, 0.7], random_at_a=[0.7, 0.7], b=[0.5, 0.5])
    points = {point.subset: point for point in frontier.points(table, 1000)}
    against = points["ambiguous@a"].vs_random
    assert against is not None and against.mean == pytest.approx(0.05)
    assert points["b"].vs_random is None and points["full"].vs_random is None


def test_differences_are_in_the_metric_asked_for() -> None:
    table = finetunings(full=[0.90], a=[0.89], random_at_a=[0.80]).assign(macro_f1=[0.60, 0.75, 0.70])
    for metric, to_full, to_random in ((None, -0.01, 0.09), ("macro_f1", 0.15, 0.05)):
        a = {point.subset: point for point in frontier.points(table, 1000, metric)}["a"]
        assert a.vs_full is not None and a.vs_random is not None
        assert (a.vs_full.mean, a.vs_random.mean) == (pytest.approx(to_full), pytest.approx(to_random))


def test_a_random_subset_of_another_size_is_no_comparison() -> None:
    table = finetunings(full=[0.90], a=[0.89], random_at_a=[0.80])
    for kept, compared in ((480, False), (491, True), (500, True)):
        a = {point.subset: point for point in frontier.points(table.assign(kept=[1000, kept, 500]), 1000)}["a"]
        assert (a.vs_random is not None) == compared


def test_full_data_is_compared_with_no_random_subset() -> None:
    table = finetunings(full=[0.90], random_at_a=[0.80]).assign(kept=[1000, 985])
    assert all(point.vs_random is None for point in frontier.points(table, 1000))


def test_of_several_random_subsets_its_own_is_compared_then_the_nearest_in_size() -> None:
    assert frontier.random_of("a", 500, {"random@499": 499, "random@a": 502}) == "random@a"
    assert frontier.random_of("b", 500, {"random@499": 499, "random@a": 502}) == "random@499"
    assert frontier.random_of("b", 500, {"random@520": 520}) is None


def test_a_random_subset_with_decisions_is_not_a_random_baseline() -> None:
    table = finetunings(full=[0.90], a=[0.89], random_at_a=[0.80])
    changed = table.replace({"subset": {"random@a": "random@a+decisions"}})
    points = {point.subset: point for point in frontier.points(pd.concat([changed, finetunings(random_at_a=[0.7])]), 1000)}
    assert points["a"].vs_random.mean == pytest.approx(0.19) and points["random@a+decisions"].vs_random.mean == pytest.approx(0.1)
    assert all(point.vs_random is None for point in frontier.points(changed, 1000))


def test_differences_pair_only_seeds_that_both_have() -> None:
    table = finetunings(full=[0.9, 0.8], a=[0.85, 0.75, 0.1])
    difference = next(point for point in frontier.points(table, 1000) if point.subset == "a").vs_full
    assert difference is not None
    assert (difference.mean, difference.pairs) == (pytest.approx(-0.05), 2)


def test_only_jobs_that_added_to_three_or_more_paired_seeds_count_as_looks() -> None:
    """Pairs of the times 1, 2, 3 | 5 | 9: judged at the ends of the jobs that started at 0, 4 and 6; never with two pairs."""
    table = finetunings(full=[0.9] * 5, a=[0.8] * 5, b=[0.8] * 2)
    table["finished"] = [0.0] * 4 + [9.0] + [3.0, 1.0, 2.0, 5.0, 8.0] + [1.0, 5.0]
    looks = {point.subset: point.looks for point in frontier.points(table, 1000, starts=[6.0, 4.0, 0.0])}
    assert looks["a"] == 3 and frontier.points(table[table["seed"] < 4], 1000, starts=[0.0, 4.0, 6.0])[1].looks == 2
    assert frontier.points(table[table["seed"] < 3], 1000, starts=[0.0, 4.0, 6.0, 7.0])[1].looks == 1
    assert all(point.looks == 1 for point in frontier.points(table, 1000))


def test_intervals_end_where_a_metric_ends() -> None:
    """.9 and .5: mean .7, half 12.706 * .2 = 2.54; the difference keeps its own ends, from which bounds at other levels follow."""
    table = finetunings(full=[0.9, 0.5], a=[0.5, 0.9]).assign(mcc=[0.9, -0.9, 0.1, -0.1], loss=[0.1, 3.0, 0.1, 3.0])
    full, a = frontier.points(table, 1000)
    assert full.ci95["accuracy"] == (0.0, 1.0) and full.ci95["mcc"] == (-1.0, 1.0)
    assert full.ci95["loss"] == (0.0, pytest.approx(1.55 + 12.7062 * 1.45, abs=1e-3))
    assert full.plus_minus("accuracy") == pytest.approx(0.7)
    assert a.vs_full is not None and a.vs_full.high == pytest.approx(12.7062 * 0.4, abs=1e-3)


def test_accuracy_by_class_is_paired_by_seed() -> None:
    """Full data's third seed, which the subset lacks, counts in its own mean alone."""
    table = finetunings(full=[0.9, 0.9, 0.9], a=[0.8, 0.8]).assign(**{"class_accuracy.x": [1.0, 1.0, 0.4, 0.5, 0.7]})
    full, a = frontier.points(table, 1000)
    assert full.class_accuracy == {"x": pytest.approx(0.8)} and full.class_accuracy_vs_full == {}
    assert a.class_accuracy_vs_full == {"x": (pytest.approx(1.0), pytest.approx(0.6))}
    assert composition.class_accuracy(a)["pp"].tolist() == [-40.0]


def test_one_seed_has_no_interval() -> None:
    point = frontier.points(finetunings(full=[0.9]), 1000)[0]
    assert isnan(point.ci95["accuracy"][0])


def test_a_frontier_without_measurements_has_no_points() -> None:
    assert frontier.points(pd.DataFrame(), 10) == []


def test_no_point_dominates_a_point_of_the_pareto_front() -> None:
    front = frontier.pareto([FULL, point("a", 500, 0.81), point("b", 200, 0.7), point("c", 300, 0.69)])
    assert [p.subset for p in front] == ["b", "a"]


def test_equal_steps() -> None:
    """2,000 examples x 3 epochs at 32 are 189 steps; 490 examples have 16 a epoch: 12 epochs, as measured in practice."""
    assert [frontier.epochs_within("steps", 2000, kept, 3, 1, 32) for kept in (490, 2000)] == [12, 3]


def test_enough_steps_are_those_until_full_data_stops_improving_and_never_fewer_than_its_epochs() -> None:
    assert [frontier.epochs_within("enough", 2000, 490, 3, plateau, 32) for plateau in (1, 2, 3)] == [4, 8, 12]
    assert frontier.epochs_within("enough", 2000, 1900, 3, 1, 32) == 3


def test_the_fingerprint_of_rows_follows_order_and_content() -> None:
    assert frontier.rows_sha256(np.array([1, 2])) == frontier.rows_sha256(np.array([1, 2], dtype=np.int32).astype(np.int64))
    assert frontier.rows_sha256(np.array([1, 2])) != frontier.rows_sha256(np.array([2, 1]))


def test_the_cost_of_a_subset_is_measured_or_read_between_the_measured_rules() -> None:
    """750 lies halfway between 500 (0.7) and 1,000 (0.8); points of rules that do not go by H do not count."""
    by_h = [replace(FULL, method="full"), replace(point("remove-0", 500, 0.7), method="h-score")]
    other = point("random@500", 500, 0.1)
    assert expected([*by_h, other], 750) == pytest.approx(0.75) and expected([by_h[0], other], 750) is None
    assert cost_in_words([*by_h, other], "remove-0", 500) == "Measured: accuracy 0.700 over 3 seeds."
    assert cost_in_words([*by_h, other], "mine", 600).endswith("suggest accuracy 0.720.")
    assert cost_in_words([], "mine", 600) == cost_in_words(by_h[:1], "mine", 600) == "What it costs in accuracy is not measured yet."


def test_a_busy_machine_changes_no_saving() -> None:
    """Subset a was measured while something else ran, so that its half of the steps took as long as all of full data's."""
    table = finetunings(full=[0.8, 0.8, 0.8], a=[0.8, 0.8, 0.8])
    table.loc[table["subset"] == "a", "seconds"] = 100.0
    found = next(each for each in frontier.points(table, 1000) if each.subset == "a")
    assert (found.steps_saved, found.seconds) == (50, 100.0)
    assert found.seconds_saved == pytest.approx(50 * (300 + 300) / (300 + 150))
