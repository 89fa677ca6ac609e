"""Order of the rows in training: pure functions of seed and epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WINDOW = 50
"""Batches that are sorted by length together if sequences cannot be packed."""


def epoch_batches(
    seed: int, epoch: int, count: int, batch_size: int, *, fixed: bool = False, lengths: NDArray[np.int64] | None = None
) -> list[NDArray[np.int64]]:
    """Return the batches of one epoch: every position 0..count-1 exactly once; the last batch can be smaller.

    Drawn from `np.random.default_rng([seed, epoch])`, with epoch 0 for all epochs where `fixed`. With `lengths`
    ([count]) batches hold positions of similar length, sorted within windows of 50 batches and shuffled again as batches.

    >>> [batch.tolist() for batch in epoch_batches(seed=1, epoch=0, count=5, batch_size=2)]
    [[4, 0], [1, 2], [3]]
    """
    rng = np.random.default_rng([seed, 0 if fixed else epoch])
    order = rng.permutation(count)
    if lengths is None:
        return _split(order, batch_size)
    batches: list[NDArray[np.int64]] = []
    for window in _split(order, batch_size * WINDOW):
        cut = _split(window[np.argsort(lengths[window], kind="stable")], batch_size)
        whole = len(cut) - (len(cut[-1]) < batch_size)
        batches += [cut[i] for i in rng.permutation(whole)] + cut[whole:]
    return batches


def places(batches: Sequence[NDArray[np.int64]], count: int) -> NDArray[np.int32]:
    """Return [count] the place of each position within the epoch. Raises AssertionError unless each occurs exactly once."""
    order = np.concatenate(batches)
    assert len(order) == count and np.array_equal(np.sort(order), np.arange(count)), "an epoch must train every row exactly once"
    place = np.empty(count, np.int32)
    place[order] = np.arange(count, dtype=np.int32)
    return place


def rate(step: int, total: int, warmup_ratio: float = 0.0) -> float:
    """Return the share of the peak learning rate at `step` of `total`: linear warm-up from 0, then linear decay to 0, as in the Trainer.

    >>> [rate(step, 4) for step in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    """
    warmup = int(np.ceil(total * warmup_ratio))
    if step < warmup:
        return step / warmup
    return (total - step) / max(1, total - warmup)


def _split(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [order[start : start + size] for start in range(0, len(order), size)]
