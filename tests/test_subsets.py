import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning import subsets
from pruning.errors import SubsetError
from pruning.scores import SCORES, h_score
from tests.recordings import gold_labels, recording

PAPER = [{0, 6}, {0, 1, 6}, {0, 1, 2, 6}, {0, 1, 2, 3, 6}, {0, 1, 5, 6}, {0, 1, 2, 3, 4, 6}, {0, 1, 2, 3, 5, 6}]
"""H-values removed by the paper's subsets for R = 6, in their published order."""

RULES = ["random", "ambiguous", "ccs", *(f"{name}-{end}" for name in SCORES for end in ("high", "low"))]


def test_the_ladder_of_six_runs_is_the_papers() -> None:
    assert [set(removes) for removes in subsets.ladder(6)] == PAPER


@given(st.integers(1, 15))
def test_every_ladder_removes_both_ends_once_and_never_everything(runs: int) -> None:
    ladder = subsets.ladder(runs)
    assert len(set(ladder)) == len(ladder)
    for removes in ladder:
        assert {0, runs} <= set(removes) < set(range(runs + 1)) or runs == 1
        assert subsets.parse_removes(subsets.subset_name(removes, runs), runs) == removes


def test_h_values_above_nine_are_numbers_not_digits() -> None:
    """The published code reads H-values as digits of a string, so that R > 9 is impossible."""
    assert subsets.parse_removes("remove-1-10", 12) == (1, 10)
    h = np.array([0, 1, 10, 11, 12])
    assert subsets.by_h("remove-1-10", h, np.arange(5), (1, 10)).kept.tolist() == [0, 3, 4]


@given(st.integers(1, 12), st.integers(1, 10), st.integers(4, 60), st.integers(2, 20), st.floats(1, 4), st.integers(0, 2**31))
def test_every_rule_keeps_known_ids_once_in_source_order(
    runs: int, epochs: int, examples: int, classes: int, skew: float, seed: int
) -> None:
    dynamics = recording(runs, epochs, examples, classes, seed, skew)
    labels = gold_labels(examples, classes, seed, skew)
    names = ["full", *(subsets.subset_name(removes, runs) for removes in subsets.ladder(runs)), "drop-easy", "drop-hard"]
    names += [f"{rule}@0.4" for rule in RULES if epochs >= SCORES.get(rule.rpartition("-")[0], SCORES["h"]).epochs]
    for name in names:
        subset = subsets.resolve(name, dynamics, labels, seed=seed)
        assert np.isin(subset.kept, dynamics.ids).all(), name
        assert (np.diff(subset.kept) > 0).all(), name
        assert subset.total == examples
        trainable = subset.size > 0 and len(np.unique(labels[np.isin(dynamics.ids, subset.kept)])) > 1
        if trainable:
            subsets.check_trainable(subset, labels, dynamics.ids)
        else:
            with pytest.raises(SubsetError, match=r"no example|one class"):
                subsets.check_trainable(subset, labels, dynamics.ids)


@pytest.mark.parametrize("rule", ["random", "ambiguous", "ccs", "aum-low", "el2n-high"])
def test_a_rule_at_a_subset_has_exactly_its_size(rule: str) -> None:
    dynamics, labels = recording(6, 3, 500, 3, 1), gold_labels(500, 3, 1)
    ticket = subsets.resolve("winning-ticket", dynamics, labels)
    assert subsets.resolve(f"{rule}@winning-ticket", dynamics, labels).size == ticket.size
    assert subsets.resolve(f"{rule}@0.25", dynamics, labels).size == 125


def test_the_winning_ticket_is_the_published_rule() -> None:
    dynamics = recording(6, 3, 300, 2, 5)
    h = h_score(dynamics.correct)
    assert subsets.resolve("winning-ticket", dynamics, None).kept.tolist() == dynamics.ids[(h > 0) & (h < 6)].tolist()


def test_random_is_drawn_anew_for_each_seed_and_repeats() -> None:
    dynamics = recording(6, 3, 300, 2, 5)
    first, again, other = (subsets.resolve("random@0.5", dynamics, None, seed=seed).kept.tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_coverage_reaches_every_difficulty_and_keeps_class_shares() -> None:
    dynamics, labels = recording(6, 3, 2000, 2, 7, skew=3), gold_labels(2000, 2, 7, skew=3)
    kept = np.isin(dynamics.ids, subsets.resolve("ccs@0.3", dynamics, labels).kept)
    assert labels[kept].mean() == pytest.approx(labels.mean(), abs=0.01)
    hardness = -dynamics.gold_margin.mean(axis=(0, 1))
    for decile in np.array_split(np.argsort(hardness)[:1800], 9):
        assert kept[decile].any()


def test_a_class_floor_adds_back_and_says_how_many() -> None:
    labels, ids = np.array([0] * 8 + [1] * 4), np.arange(12)
    subset = subsets.Subset(name="s", method="m", rule="r", kept=ids[:6], total=12)
    floored, added = subsets.balanced(subset, np.arange(12.0), ids, labels, 0.5)
    assert added == {1: 2}
    assert floored.kept.tolist() == [0, 1, 2, 3, 4, 5, 10, 11]


def test_subsets_combine() -> None:
    ids = np.arange(6)
    a, b = (subsets.Subset(name=n, method="m", rule=n, kept=np.array(k), total=6) for n, k in (("a", [0, 1, 2]), ("b", [2, 3])))
    assert subsets.combine(a, "or", b, ids).kept.tolist() == [0, 1, 2, 3]
    assert subsets.combine(a, "and", b, ids).kept.tolist() == [2]
    assert subsets.combine(a, "minus", b, ids).kept.tolist() == [0, 1]


@pytest.mark.parametrize(
    "name", ["loosing-ticket", "random", "luck@0.5", "random@nothing", "remove-", "remove-a", "remove-7", "random@1.5", "h-sideways@0.5"]
)
def test_names_that_do_not_exist_are_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(SubsetError, match=r"winning-ticket|between 0 and"):
        subsets.resolve(name, recording(6, 3, 20, 2, 0), None)
