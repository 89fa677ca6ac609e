"""What is recorded of one example's logits, worked by hand from probabilities .7, .2, .1."""

import time
import tracemalloc
from math import log, sqrt

import numpy as np
import pytest

from pruning.analysis import scores
from pruning.errors import DataError
from pruning.interop.logits import aligned, check_size, class_order, from_logits

LOGITS = np.log([[0.7, 0.2, 0.1]]) + 5


@pytest.mark.parametrize(
    ("label", "correct", "probability", "margin", "error"),
    [
        (0, True, 0.7, log(0.7 / 0.2), sqrt(0.3**2 + 0.2**2 + 0.1**2)),
        (1, False, 0.2, log(0.2 / 0.7), sqrt(0.7**2 + 0.8**2 + 0.1**2)),
        (2, False, 0.1, log(0.1 / 0.7), sqrt(0.7**2 + 0.2**2 + 0.9**2)),
    ],
)
def test_quantities_by_hand(label: int, correct: bool, probability: float, margin: float, error: float) -> None:
    found = from_logits("run 0", 0, LOGITS, np.array([label]))
    assert (bool(found.correct[0]), int(found.predicted[0]), int(found.position[0])) == (correct, 0, -1)
    numbers = [float(values[0]) for values in (found.gold_prob, found.gold_margin, found.error_norm, found.loss)]
    assert numbers == pytest.approx([probability, margin, error, -log(probability)], abs=1e-6)


def test_the_published_scores_of_them_by_hand() -> None:
    """EL2N (Paul et al.) and AUM (Pleiss et al., on logits) of two runs of one epoch: the first two cases above for one example."""
    first, second = (from_logits("", 0, LOGITS, np.array([label])) for label in (0, 1))
    norms, margins = (np.stack([getattr(one, name) for one in (first, second)])[:, None] for name in ("error_norm", "gold_margin"))
    assert scores.el2n(norms)[0] == pytest.approx((sqrt(0.14) + sqrt(1.14)) / 2, abs=1e-6)
    assert scores.aum(margins)[0] == pytest.approx(0, abs=1e-6)  # log(.7 / .2) and log(.2 / .7)


def test_very_large_logits_stay_finite() -> None:
    found = from_logits("", 0, np.array([[1e4, 0.0], [0.0, 1e4]]), np.array([0, 0]))
    assert found.gold_prob.tolist() == [1, 0] and found.loss.tolist() == [0, 1e4]


def test_classes_are_put_in_order_and_others_refused() -> None:
    """Their class 1 is our class 0; options have no such order, so there only the same numbers will do."""
    logits, labels = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 1])
    assert aligned(logits, np.array([1, 0]), labels, 2, "It").tolist() == [[2, 1], [4, 3]]
    assert aligned(logits, labels, labels, 0, "It").tolist() == logits.tolist()
    for gold, classes, sentence in (([1, 0], 0, "2 of 2 examples differ"), ([0, 2], 2, "numbered 0 to 2"), ([0, 1], 3, "has 3 classes")):
        with pytest.raises(DataError, match=sentence):
            aligned(logits, np.array(gold), labels, classes, "It")


def by_table(gold: np.ndarray, labels: np.ndarray, classes: int) -> list[int]:
    """The order of the classes from the whole table of classes x classes."""
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (labels, gold), 1)
    order = np.full(classes, -1)
    for ours in np.argsort(-table.max(axis=1), kind="stable"):
        order[ours] = np.argmax(np.where(np.isin(np.arange(classes), order), -1, table[ours]))
    return order.tolist()


@pytest.mark.parametrize("classes", [1, 2, 5, 40])
def test_the_order_of_classes_needs_no_table(classes: int) -> None:
    random = np.random.default_rng(classes)
    for size in (0, 1, 7, 60, 500):
        labels = random.integers(classes, size=size)
        for noise in (0, 0.2, 1):
            gold = np.where(random.random(size) < noise, random.integers(classes, size=size), (labels * 3 + 1) % classes)
            assert class_order(gold, labels, classes).tolist() == by_table(gold, labels, classes)


@pytest.mark.process
def test_100_000_classes_are_ordered_in_bounded_memory() -> None:
    """A table of them would take 74 GiB. Their logits are refused, naming the size."""
    classes = 100_000
    labels = np.random.default_rng(0).permutation(classes)
    tracemalloc.start()
    begun = time.monotonic()
    assert (class_order((labels + 7) % classes, labels, classes) == (np.arange(classes) + 7) % classes).all()
    assert tracemalloc.get_traced_memory()[1] < 50e6 and time.monotonic() - begun < 60
    tracemalloc.stop()
    with pytest.raises(DataError, match="100,000 examples and 100,000 classes would take 37 GiB an epoch"):
        check_size(classes, classes)
    check_size(100_000, 20_000)
