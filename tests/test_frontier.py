from math import isnan

import numpy as np
import pandas as pd
import pytest

from pruning import frontier
from pruning.records import Difference, FrontierPoint


def finetunings(**accuracy: list[float]) -> pd.DataFrame:
    """One row per fine-tuning; keyword = subset (with _at_ for @), its accuracies by seed 0, 1, ..."""
    sizes = {"full": 1000, "a": 500, "b": 200}
    rows = []
    for name, values in accuracy.items():
        subset = name.replace("_at_", "@")
        kept = sizes[subset.rpartition("@")[2]]
        rows += [
            {
                "subset": subset,
                "method": subset.partition("@")[0],
                "kept": kept,
                "seed": seed,
                "budget": "epochs",
                "accuracy": value,
                "macro_f1": value,
                "seconds": kept / 10,
                "steps": kept // 10,
            }
            for seed, value in enumerate(values)
        ]
    return pd.DataFrame(rows)


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
    table = finetunings(full=[0.90], a=[0.89], random_at_a=[0.80]).assign(kept=[1000, 499, 500])
    assert {point.subset: point for point in frontier.points(table, 1000)}["a"].vs_random is None


def test_differences_pair_only_seeds_that_both_have() -> None:
    table = finetunings(full=[0.9, 0.8], a=[0.85, 0.75, 0.1])
    difference = next(point for point in frontier.points(table, 1000) if point.subset == "a").vs_full
    assert difference is not None
    assert (difference.mean, difference.pairs) == (pytest.approx(-0.05), 2)


def test_one_seed_has_no_interval() -> None:
    point = frontier.points(finetunings(full=[0.9]), 1000)[0]
    assert isnan(point.ci95["accuracy"][0])


def test_nothing_measured_is_no_points() -> None:
    assert frontier.points(pd.DataFrame(), 10) == []


def point(
    subset: str, kept: int, accuracy: float, mean: float | None = None, half: float = 0.001, pairs: int = 3, random: float | None = None
) -> FrontierPoint:
    def difference(value: float) -> Difference:
        return Difference(mean=value, low=value - half, high=value + half, pairs=pairs)

    return FrontierPoint(
        subset=subset,
        method="m",
        kept=kept,
        kept_fraction=kept / 1000,
        seeds=pairs,
        budget="epochs",
        metrics={"accuracy": accuracy},
        ci95={"accuracy": (accuracy - half, accuracy + half)},
        vs_full=None if mean is None else difference(mean),
        vs_random=None if random is None else difference(random),
        seconds=1,
        seconds_saved=1,
        steps=1,
        steps_saved=1,
    )


FULL = point("full", 1000, 0.8)


def test_the_smallest_that_is_not_worse_is_recommended() -> None:
    found = frontier.recommend(
        [FULL, point("a", 500, 0.8, 0.0, random=0.01), point("b", 200, 0.799, -0.001, random=0.0), point("c", 100, 0.7, -0.1)]
    )
    assert found.subset == "b"
    assert "random subset of the same size does as well" in found.sentence


def test_a_rule_that_beats_random_and_one_that_loses_are_told_apart() -> None:
    assert "beats a random subset" in frontier.recommend([FULL, point("a", 500, 0.8, 0.0, random=0.01)]).sentence
    assert "random subset of the same size does better" in frontier.recommend([FULL, point("a", 500, 0.8, 0.0, random=-0.01)]).sentence


def test_where_no_rule_beats_random_the_safe_one_is_named() -> None:
    lost = [FULL, point("a", 500, 0.7, -0.1, random=-0.01), point("ambiguous@a", 500, 0.7, -0.1, random=0.0)]
    lost.append(point("random@a", 500, 0.71, -0.09))
    found = frontier.recommend(lost)
    assert found.safe == "stratified@a" and "try stratified@a: " in found.sentence
    assert "try stratified@400: " in frontier.recommend([FULL, point("a+decisions", 400, 0.7, -0.1, random=-0.01)]).sentence
    composite = [point("(ccs@0.3) or b", 450, 0.7, -0.1, random=0.0), point("random@450", 450, 0.7, -0.1)]
    assert "try stratified@450: " in frontier.recommend([FULL, *composite]).sentence
    for more in (point("b", 200, 0.7, -0.1, random=0.02), point("stratified@a", 500, 0.7, -0.1, random=0.0)):
        found = frontier.recommend([*lost, more])
        assert found.safe is None and "try " not in found.sentence
    assert "try " not in frontier.recommend([FULL, point("a", 500, 0.8, 0.0)]).sentence


def test_too_few_seeds_ask_for_more() -> None:
    found = frontier.recommend([FULL, point("a", 500, 0.8, 0.0, half=0.02)])
    assert found.subset is None
    assert 0 < found.more_seeds <= frontier.ENOUGH_SEEDS and found.measure == ("a",)
    assert "would probably settle it" in found.sentence


def test_a_clear_loss_is_not_recommended() -> None:
    found = frontier.recommend([FULL, point("a", 500, 0.7, -0.1)])
    assert (found.subset, found.more_seeds, found.measure) == (None, 0, ())
    assert "more than the 0.5 allowed" in found.sentence
    assert "may be chance" in frontier.recommend([FULL, point("a", 500, 0.79, -0.01, half=0.02)]).sentence


def test_two_seeds_that_happen_to_agree_recommend_nothing() -> None:
    found = frontier.recommend([FULL, point("a", 500, 0.8, 0.0, half=0.0, pairs=2)])
    assert (found.subset, found.more_seeds, found.measure) == (None, 1, ("a",))
    assert found.sentence == "None yet: measure 1 more seed of each subset."


def test_at_one_size_the_best_that_passes_is_taken_and_one_that_fails_does_not_stop_it() -> None:
    tickets = [point("a", 500, 0.79, -0.02), point("random@a", 500, 0.8, 0.0), point("ambiguous@a", 500, 0.801, 0.001)]
    assert frontier.recommend([FULL, *tickets]).subset == "ambiguous@a"
    found = frontier.recommend([FULL, *tickets[:2]])
    assert found.subset == "random@a"
    assert "drawn at random: a did no better" in found.sentence


def test_the_doubt_allowed_is_divided_among_subsets_of_one_size() -> None:
    """Lower bounds at 95%: -.0044, within half a point; at 1 - .05/3, needed for three of one size, they are not."""
    close = point("a", 500, 0.8, -0.002, half=0.0035)
    assert frontier.recommend([FULL, close]).subset == "a"
    assert frontier.recommend([FULL, close, point("random@a", 500, 0.7, -0.1), point("ambiguous@a", 500, 0.7, -0.1)]).subset is None


def test_a_size_at_which_nothing_passes_stops_the_search() -> None:
    assert frontier.recommend([FULL, point("a", 500, 0.8, 0.0), point("b", 300, 0.7, -0.1), point("c", 200, 0.8, 0.0)]).subset == "a"


def test_without_full_data_nothing_is_recommended() -> None:
    assert frontier.recommend([point("a", 500, 0.8)]).subset is None


def test_the_pareto_front_holds_what_nothing_beats() -> None:
    front = frontier.pareto([FULL, point("a", 500, 0.81), point("b", 200, 0.7), point("c", 300, 0.69)])
    assert [p.subset for p in front] == ["b", "a"]


def test_equal_steps() -> None:
    """2,000 examples x 3 epochs at 32 are 189 steps; 490 examples have 16 a epoch: 12 epochs, as measured in practice."""
    assert frontier.equal_steps_epochs(2000, 490, 3, 32) == 12
    assert frontier.equal_steps_epochs(2000, 2000, 3, 32) == 3


def test_the_fingerprint_of_rows_follows_order_and_content() -> None:
    assert frontier.rows_sha256(np.array([1, 2])) == frontier.rows_sha256(np.array([1, 2], dtype=np.int32).astype(np.int64))
    assert frontier.rows_sha256(np.array([1, 2])) != frontier.rows_sha256(np.array([2, 1]))


@pytest.mark.parametrize("truth", [-0.005, -0.01, -0.03])
def test_a_worse_than_margin_subset_is_rarely_recommended(truth: float) -> None:
    """Simulated frontiers whose three subsets are all truly worse by `truth`: at most 5% (here with slack for 400 trials)."""
    random = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        noise = random.normal(0, 0.006, size=(4, 4))
        table = finetunings(full=list(0.8 + noise[0]), a=list(0.8 + truth - 1e-9 + noise[1]), b=list(0.8 + truth - 1e-9 + noise[2]))
        wrong += frontier.recommend(frontier.points(table, 1000)).subset is not None
    assert wrong / 400 <= 0.08
