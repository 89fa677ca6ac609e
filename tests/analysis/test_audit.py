import tracemalloc

import numpy as np
import pytest

from pruning.analysis import audit
from pruning.errors import ScoreError
from pruning.records import Dynamics
from tests.support.recordings import gold_labels


def test_a_model_that_is_very_sure_of_another_class_gives_numbers() -> None:
    """Logits [110, 0, -5] and [40, 0, -5] of an example of the second class: e^-110 is less than 32 bits can say."""
    gold = np.exp(np.array([-110, -40], np.float64)).astype(np.float32)
    found = audit.rebuilt(gold, np.array([-110, -40], np.float32), np.array([0, 0]), np.array([1, 1]), 3)
    assert found[:, 0] == pytest.approx([1, 1]) and np.isfinite(found).all() and found.sum(axis=1) == pytest.approx([1, 1])


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


def made(correct: np.ndarray, classes: int) -> Dynamics:
    """A recording in which the class after the label is predicted where the label is not; labels are positions modulo `classes`."""
    examples = correct.shape[-1]
    empty = np.zeros(correct.shape, dtype=np.float32)
    labels = np.arange(examples) % classes
    return Dynamics(
        ids=np.arange(examples),
        seeds=tuple(range(len(correct))),
        correct=correct,
        gold_prob=np.where(correct, 0.6, 0.3).astype(np.float32),
        gold_margin=np.where(correct, 1, -0.5).astype(np.float32),
        error_norm=empty,
        loss=empty,
        predicted=np.where(correct, labels, (labels + 1) % classes),
        position=empty.astype(np.int32),
    )


def test_label_errors_of_100_000_classes_end_in_a_sentence_and_take_no_memory() -> None:
    """The probabilities would be 37 GiB, and be held twice."""
    classes = 100_000
    labels = np.arange(classes)
    dynamics = made(np.ones((2, 1, classes), dtype=bool), classes)
    tracemalloc.start()
    with pytest.raises(ScoreError, match=r"the probabilities of 100,000 examples and 100,000 classes take 37\.3 GiB, more than 1 GiB"):
        audit.label_errors(dynamics, labels, classes)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_probabilities_rebuilt_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    labels, dynamics = np.arange(50) % 5, made(random.random((2, 2, 50)) < 0.7, 5)
    whole = audit.class_probabilities(dynamics, labels, 5, epochs=2)
    monkeypatch.setattr(audit, "BLOCK", 35)
    assert np.array_equal(audit.class_probabilities(dynamics, labels, 5, epochs=2), whole)
