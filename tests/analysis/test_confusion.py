"""Counts of labels by predictions, checked against counting one by one."""

import numpy as np

from pruning.analysis.confusion import class_accuracy, confusion


def test_each_cell_is_the_mean_number_over_runs() -> None:
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 4, size=60), random.integers(-1, 4, size=(3, 60))
    found = confusion(predicted.astype(np.int16), labels, 4)
    for gold in range(4):
        for said in range(4):
            assert found[gold, said] == sum(int(((labels == gold) & (run == said)).sum()) for run in predicted) / 3
    assert np.isclose(found.sum(), (predicted >= 0).sum() / 3)


def test_accuracy_by_class_adds_up_to_the_accuracy() -> None:
    random = np.random.default_rng(1)
    labels, predicted = random.integers(0, 3, size=50), random.integers(0, 3, size=50)
    found = class_accuracy(predicted, labels, ("a", "b", "c", "unused"))
    assert list(found) == ["a", "b", "c"]
    weights = np.bincount(labels) / len(labels)
    assert np.isclose(sum(share * weight for share, weight in zip(found.values(), weights, strict=True)), (predicted == labels).mean())
