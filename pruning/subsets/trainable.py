"""The check that a subset can be trained on. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pruning.errors import SubsetError
from pruning.records import Subset

Ids = NDArray[np.int64]


def check_trainable(subset: Subset, labels: Ids | None, ids: Ids) -> None:
    """Raise SubsetError if a subset is empty or has only one class (`labels` None: no classes)."""
    if subset.size == 0:
        raise SubsetError(f"{subset.name} ({subset.rule}) keeps no examples; there is nothing to train on.")
    if labels is None:
        return
    present = np.unique(labels[subset.mask(ids)])
    if len(present) < 2:
        raise SubsetError(f"All {subset.size} examples that {subset.name} keeps have one class; a model would learn nothing.")


def trainable(subset: Subset, labels: Ids | None, ids: Ids) -> bool:
    """Return True if `check_trainable` accepts the subset."""
    try:
        check_trainable(subset, labels, ids)
    except SubsetError:
        return False
    return True
