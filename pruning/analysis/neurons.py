"""Importance of neurons and of groups of heads, and which of them a narrower model keeps. Pure functions over arrays [layers, n]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pruning.errors import UsageError
from pruning.formatting import counted

MULTIPLE = 64
"""Kept widths are multiples of this, because matrix products of other widths are slower."""

TAYLOR, RANDOM = "taylor", "random"
"""Keep the neurons without which the loss changes most; or any, the baseline."""

SOURCES = {TAYLOR: "first-order change of the loss without the neuron (Molchanov et al. 2019, gates)", RANDOM: "neurons drawn at random"}
"""Importance -> where it is from, for people."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Importance:
    """How much the loss changes to first order without a neuron, or without a group of heads."""

    neurons: NDArray[np.float64]
    """[layers, neurons]."""
    groups: NDArray[np.float64]
    """[layers, groups]; [layers, 0] where heads were not measured."""


def kept_groups(share: float, groups: int, queries: int, hidden: int) -> int:
    """Return how many of a layer's `groups` of heads a share keeps: the nearest number whose heads, `queries` each, divide `hidden`.

    Raises UsageError for a share that is not above 0 and at most 1, or a share below 1 that would keep every group.

    >>> kept_groups(0.5, 4, 8, 2048), kept_groups(0.7, 4, 8, 2048), kept_groups(0.6, 3, 3, 576), kept_groups(1, 4, 8, 2048)
    (2, 2, 2, 4)
    """
    if not 0 < share <= 1:
        raise UsageError(f"heads must be above 0 and at most 1, got {share:g}; 0.5 keeps half of each layer's heads.", "heads")
    if share == 1:
        return groups
    kept = min((n for n in range(1, groups + 1) if hidden % (n * queries) == 0), key=lambda n: (abs(n - share * groups), n), default=groups)
    if kept == groups:
        raise UsageError(f"heads {share:g} of {counted(groups, 'group')} of heads would keep all of them; use a smaller share.", "heads")
    return kept


def kept_width(share: float, width: int) -> int:
    """Return how many of a layer's `width` neurons a share keeps: the nearest multiple of 64, at least 64; any number where `width` is not
    above 64.

    Raises UsageError for a share that is not above 0 and at most 1, or a share below 1 that would keep every neuron.

    >>> kept_width(0.5, 1536), kept_width(0.7, 1536), kept_width(0.01, 1536), kept_width(0.5, 48), kept_width(1, 100)
    (768, 1088, 64, 24, 100)
    """
    if not 0 < share <= 1:
        raise UsageError(f"width must be above 0 and at most 1, got {share:g}; 0.5 keeps half of each layer's neurons.", "width")
    if share == 1:
        return width
    kept = max(1, round(share * width)) if width <= MULTIPLE else max(MULTIPLE, MULTIPLE * round(share * width / MULTIPLE))
    if kept >= width:
        raise UsageError(f"width {share:g} of {width:,} neurons would keep all of them; use a smaller width.", "width")
    return kept


def most_important(importance: NDArray[np.float64], kept: int) -> NDArray[np.int64]:
    """Return [layers, kept] the neurons of the highest importance in each layer, in ascending order; the first of equal ones.

    >>> most_important(np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]]), 2)
    array([[1, 2],
           [0, 1]])
    """
    return np.sort(np.argsort(-importance, axis=1, kind="stable")[:, :kept], axis=1)


def any_neurons(layers: int, width: int, kept: int, seed: int) -> NDArray[np.int64]:
    """Return [layers, kept] neurons drawn at random in each layer, in ascending order."""
    random = np.random.default_rng(seed)
    return np.stack([np.sort(random.permutation(width)[:kept]) for _ in range(layers)])
