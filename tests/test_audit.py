import numpy as np
import pytest
from scipy import stats

from pruning import audit
from pruning.records import Dynamics
from tests.recordings import gold_labels, recording


def test_shares_by_hand() -> None:
    """80 of a keep 40, 20 of b keep 1: chi-square of [[40, 40], [19, 1]], and b keeps far less than the whole's 41%."""
    values = ["a"] * 80 + ["b"] * 20
    kept = np.array([True] * 40 + [False] * 40 + [True] + [False] * 19)
    found = audit.shares(values, kept)
    assert found.table["kept"].tolist() == [0.5, 0.05]
    assert found.table["flagged"].tolist() == [False, True]
    assert found.p_value == pytest.approx(stats.chi2_contingency([[40, 40], [19, 1]], correction=False).pvalue)
    assert 0 < found.cramers_v < 1


def test_one_value_or_nothing_pruned_has_no_test() -> None:
    assert np.isnan(audit.shares(["a"] * 5, np.array([True, False, True, True, False])).p_value)
    assert np.isnan(audit.shares(["a", "b"], np.array([True, True])).cramers_v)


def test_duplicates_ignore_case_spacing_and_punctuation() -> None:
    assert audit.duplicate_groups(["The film!", "x", "the  film", "Y", "y.", "z"]).tolist() == [0, -1, 0, 1, 1, -1]


def test_leakage_between_training_and_evaluation() -> None:
    assert audit.leaked(["one", "Two!", "three"], ["two", "four"]).tolist() == [False, True, False]


@pytest.mark.parametrize("classes", [2, 4])
def test_flipped_labels_are_found_from_epoch_zero(classes: int) -> None:
    """A tenth of the labels flipped in a recording whose model is right about the true class: precision far above the base rate."""
    examples, random = 1000, np.random.default_rng(0)
    truth = gold_labels(examples, classes, 0)
    flipped = random.random(examples) < 0.1
    labels = np.where(flipped, (truth + 1) % classes, truth)
    logits = random.normal(0, 1, (6, 1, examples, classes))
    logits[..., np.arange(examples), truth] += 2
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    empty = np.zeros((6, 1, examples), dtype=np.float32)
    dynamics = Dynamics(
        ids=np.arange(examples),
        seeds=tuple(range(6)),
        correct=logits.argmax(-1) == labels,
        gold_prob=probs[..., np.arange(examples), labels].astype(np.float32),
        gold_margin=empty,
        error_norm=empty,
        loss=empty,
        predicted=logits.argmax(-1),
        position=empty.astype(np.int32),
    )
    assert np.allclose(audit.out_of_sample(dynamics, labels, classes).sum(axis=1), 1)
    found = audit.label_errors(dynamics, labels, classes)
    positions = found["position"].to_numpy()
    assert flipped[positions].mean() > 0.5
    assert flipped[positions].sum() / flipped.sum() > 0.6
    hits = positions[flipped[positions]]
    assert (found.set_index("position").loc[hits, "suggested"].to_numpy() == truth[hits]).mean() > 0.8


def test_the_order_effect_is_caught_and_a_steady_epoch_is_not() -> None:
    steady = recording(6, 3, 1000, 2, 3)
    assert audit.order_effect(steady).burn_in == 0
    place = steady.position[:, :1] / 1000
    lucky = steady.correct.copy()
    lucky[:, :1] = np.random.default_rng(0).random(place.shape) < 0.5 + 0.4 * place
    changed = Dynamics(**{name: getattr(steady, name) for name in steady.__slots__ if name != "correct"}, correct=lucky)
    found = audit.order_effect(changed)
    assert found.burn_in == 1
    assert found.late > found.early + 0.2
    assert "burn-in 1" in found.sentence
