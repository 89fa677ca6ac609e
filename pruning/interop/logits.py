"""Convert the logits of any training to the record of an epoch. Pure, numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.errors import DataError
from pruning.records import EpochRecord

Ids = NDArray[np.int64]


def from_logits(
    key: str, epoch: int, logits: NDArray[np.floating], labels: Ids, position: NDArray[np.integer] | None = None
) -> EpochRecord:
    """Return one epoch's record from its logits [N, classes] and labels [N], both in the examples' order.

    `position` [N] is each example's position within the epoch, None if unknown.

    >>> record = from_logits("run 0", 0, np.array([[2.0, 0.0], [1.0, 3.0]]), np.array([0, 0]))
    >>> record.correct, record.gold_prob.round(3), record.gold_margin, record.predicted
    (array([ True, False]), array([0.881, 0.119], dtype=float32), array([ 2., -2.], dtype=float32), array([0, 1]))
    """
    rows = np.arange(len(labels))
    raised = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probability = raised / raised.sum(axis=1, keepdims=True)
    others = logits.astype(np.float64)
    others[rows, labels] = -np.inf
    margin = logits[rows, labels] - others.max(axis=1)
    gold = probability[rows, labels]
    probability[rows, labels] -= 1
    predicted = logits.argmax(axis=1).astype(np.int64)
    return EpochRecord(
        key=key,
        epoch=epoch,
        correct=predicted == labels,
        gold_prob=gold.astype(np.float32),
        gold_margin=margin.astype(np.float32),
        error_norm=np.linalg.norm(probability, axis=1).astype(np.float32),
        loss=(np.log(raised.sum(axis=1)) + logits.max(axis=1) - logits[rows, labels]).astype(np.float32),
        predicted=predicted,
        position=_whole(len(labels), np.int32) if position is None else position.astype(np.int32),
    )


def from_success(key: str, epoch: int, correct: NDArray[np.bool_], gold_prob: NDArray[np.floating] | None = None) -> EpochRecord:
    """Return one epoch's record from success [N] and optional gold probabilities [N]; other quantities are nan, integers -1."""
    nothing = np.full(len(correct), np.nan, dtype=np.float32)
    return EpochRecord(
        key=key,
        epoch=epoch,
        correct=correct,
        gold_prob=nothing if gold_prob is None else gold_prob.astype(np.float32),
        gold_margin=nothing,
        error_norm=nothing,
        loss=nothing,
        predicted=_whole(len(correct), np.int64),
        position=_whole(len(correct), np.int32),
    )


def aligned(logits: NDArray[np.floating], gold: Ids, labels: Ids, classes: int, what: str) -> NDArray[np.floating]:
    """Return the logits [N, classes] with their columns in the order of the data's classes; with 0 classes (options) as they are.

    `gold` [N] are the labels as the recording numbers them, `labels` [N] as the data does. The numbering may differ:
    raises DataError, starting with `what`, for another number of classes, or if no renumbering makes all labels equal.

    >>> aligned(np.array([[1.0, 9.0], [1.0, 9.0]]), np.array([1, 0]), np.array([0, 1]), 2, "The recording")
    array([[9., 1.],
           [9., 1.]])
    """
    if not classes and labels.max(initial=0) < logits.shape[1]:
        order = np.arange(logits.shape[1])
    elif logits.shape[1] != classes or (len(gold) and (gold.min() < 0 or gold.max() >= classes)):
        numbered = f"{logits.shape[1]} logits an example and classes numbered {gold.min()} to {gold.max()}"
        raise DataError(f"{what} has {numbered}, but the data has {classes or labels.max() + 1} classes.")
    else:
        order = class_order(gold, labels, classes)
    wrong = np.flatnonzero(order[labels] != gold)
    if len(wrong):
        raise DataError(
            f"{what} has labels or rows in another order than the data: {len(wrong):,} of {len(gold):,} examples differ, first row "
            f"{wrong[0]} with class {gold[wrong[0]]} instead of {labels[wrong[0]]}; train on the data's rows in their order."
        )
    return logits[:, order]


def class_order(gold: Ids, labels: Ids, classes: int) -> Ids:
    """Return [classes] the recording's number of each of the data's classes: the most frequent match, each used once."""
    pairs, counts = np.unique(labels * classes + gold, return_counts=True)  # never a table of classes x classes
    ours, theirs = np.divmod(pairs, classes)
    most = np.zeros(classes, dtype=np.int64)
    np.maximum.at(most, ours, counts)
    liked = np.lexsort((theirs, -counts, ours))
    first = np.searchsorted(ours[liked], np.arange(classes + 1))
    order, used, free = np.full(classes, -1, dtype=np.int64), np.zeros(classes, dtype=np.bool_), 0
    for one in np.argsort(-most, kind="stable"):
        candidates = theirs[liked[first[one] : first[one + 1]]]
        candidates = candidates[~used[candidates]]
        while used[free]:
            free += 1
        order[one] = candidates[0] if len(candidates) else free
        used[order[one]] = True
    return order


MOST_LOGITS = 2**31
"""Logits of one epoch (examples x classes) that fit into memory, 8 GiB as float32."""


def check_size(examples: int, classes: int) -> None:
    """Raise DataError for more logits an epoch than `MOST_LOGITS`."""
    if examples * classes > MOST_LOGITS:
        raise DataError(
            f"The logits of {examples:,} examples and {classes:,} classes would take {4 * examples * classes / 2**30:,.0f} GiB an epoch, "
            f"more than {4 * MOST_LOGITS / 2**30:.0f}; record fewer examples, or score with `winnow score`, which keeps no logits."
        )


def as_array(values: Any) -> NDArray[Any]:
    """Return an array of a tensor (of a library that has detach, cpu and numpy, half precision included) or of anything array-like."""
    if hasattr(values, "detach"):
        values = values.detach()
        values = (values.float() if values.is_floating_point() else values).cpu().numpy()
    return np.asarray(values)


def hard_labels(labels: NDArray[Any], what: str) -> NDArray[np.int64] | None:
    """Return class indices [b], or None if labels are not numbers. Raises DataError for soft labels: a share per class."""
    if labels.dtype.kind not in "iufb":
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or (labels.dtype.kind == "f" and not np.equal(np.mod(labels, 1), 0).all()):
        shape = f"shape {list(labels.shape)}" if labels.ndim != 1 else f"values such as {labels[np.mod(labels, 1) != 0][0]:g}"
        raise DataError(f"{what} holds soft labels ({shape}); a recording needs one class index per example, so use the argmax.")
    return labels.astype(np.int64)


def _whole(size: int, kind: type[np.integer]) -> NDArray[Any]:
    return np.full(size, -1, dtype=kind)
