import numpy as np
import pytest
from scipy import stats

from pruning import audit
from pruning.errors import UsageError
from pruning.records import Dynamics
from tests.recordings import gold_labels


def test_shares_by_hand() -> None:
    """80 of a keep 40, 20 of b keep 1: chi-square of [[40, 40], [19, 1]], and b keeps far less than the whole's 41%."""
    kept = np.array([True] * 40 + [False] * 40 + [True] + [False] * 19)
    found = audit.kept_shares("column", ["a"] * 80 + ["b"] * 20, kept)
    assert [(row.value, row.kept_fraction, row.flag) for row in found.rows] == [("a", 0.5, ""), ("b", 0.05, "thin")]
    assert found.p_value == pytest.approx(stats.chi2_contingency([[40, 40], [19, 1]], correction=False).pvalue)
    assert 0 < found.cramers_v < 1


def test_one_value_or_nothing_pruned_has_no_test() -> None:
    assert np.isnan(audit.kept_shares("column", ["a"] * 5, np.array([True, False, True, True, False])).p_value)
    with pytest.raises(UsageError, match="no examples"):
        audit.kept_shares("column", [], np.array([], dtype=bool))


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
    rows = np.arange(examples)
    others = logits.copy()
    others[..., rows, labels] = -np.inf
    dynamics = Dynamics(
        ids=np.arange(examples),
        seeds=tuple(range(6)),
        correct=logits.argmax(-1) == labels,
        gold_prob=probs[..., rows, labels].astype(np.float32),
        gold_margin=(logits[..., rows, labels] - others.max(axis=-1)).astype(np.float32),
        error_norm=empty,
        loss=empty,
        predicted=logits.argmax(-1),
        position=empty.astype(np.int32),
    )
    assert np.allclose(audit.class_probabilities(dynamics, labels, classes).sum(axis=1), 1, atol=1e-5)
    found = audit.label_errors(dynamics, labels, classes)
    positions = np.flatnonzero(found.suspect)
    assert flipped[positions].mean() > 0.5
    assert flipped[positions].sum() / flipped.sum() > 0.6
    hits = positions[flipped[positions]]
    assert (found.suggested[hits] == truth[hits]).mean() > 0.8
