"""Labels against predictions: the confusion of a recording, and accuracy by class. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def confusion(predicted: NDArray[np.integer], labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Return [classes, classes] how many examples of each class (row) got each prediction (column), averaged over runs.

    Parameters
    ----------
    predicted
        [R, N] class indices that each run predicted in one epoch; -1 where none was recorded, which is not counted.
    labels
        [N] class indices of the examples.
    classes
        Number of classes.

    >>> confusion(np.array([[0, 1, 1], [0, 1, 0]]), np.array([0, 1, 1]), 2)
    array([[1. , 0. ],
           [0.5, 1.5]])
    """
    counts = np.zeros(classes * classes, dtype=np.int64)
    for run in predicted:
        known = run >= 0
        counts += np.bincount(labels[known] * classes + run[known].astype(np.int64), minlength=classes * classes)
    return counts.reshape(classes, classes) / max(1, len(predicted))


def row_shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row of a confusion as shares of its sum, 0..1; zeros where a class has no example.

    >>> row_shares(np.array([[3.0, 1.0], [0.0, 0.0]])).tolist()
    [[0.75, 0.25], [0.0, 0.0]]
    """
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-9)


def most_confused(shares: NDArray[np.float64]) -> tuple[int, int]:
    """Return the class (row) with the largest share predicted as one other class (column); (0, 0) where no prediction is wrong.

    >>> most_confused(np.array([[0.9, 0.1], [0.3, 0.7]])), most_confused(np.eye(2))
    ((1, 0), (0, 0))
    """
    wrong = np.where(np.eye(len(shares), dtype=bool), 0.0, shares)
    gold, said = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return int(gold), int(said)


def class_accuracy(predicted: NDArray[np.integer], labels: NDArray[np.int64], names: Sequence[str]) -> dict[str, float]:
    """Return the share of each class's examples that are predicted right, 0..1; classes without an example are left out.

    >>> class_accuracy(np.array([0, 1, 0]), np.array([0, 1, 1]), ("bad", "good", "unused"))
    {'bad': 1.0, 'good': 0.5}
    """
    totals = np.bincount(labels, minlength=len(names))
    right = np.bincount(labels[predicted == labels], minlength=len(names))
    return {name: float(right[place] / totals[place]) for place, name in enumerate(names) if totals[place]}
