"""Right looks: in how many of its predictions an example was right. One axis for fine-tuning runs and for sampled answers.

A look is one prediction: one epoch of one run, or one sampled answer. Burn-in leaves out none of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pruning.records import Dynamics

Counts = NDArray[np.int64]


def looks(dynamics: Dynamics) -> tuple[Counts, Counts]:
    """Return [N] right looks and [N] all looks, over runs and epochs; 0 <= right <= all, higher = easier.

    An example that was never sampled has 0 looks: nothing is known about it, which is not a failure.
    """
    by_epoch = looks_by_epoch(dynamics)
    return by_epoch[0].sum(axis=0), by_epoch[1].sum(axis=0)


def looks_by_epoch(dynamics: Dynamics) -> tuple[Counts, Counts]:
    """Return [E, N] right looks and [E, N] all looks of each epoch (a checkpoint, for sampled answers)."""
    if dynamics.successes is not None and dynamics.attempts is not None:
        return dynamics.successes, dynamics.attempts
    right = dynamics.correct.sum(axis=0, dtype=np.int64)
    return right, np.full(right.shape, dynamics.runs, dtype=np.int64)
