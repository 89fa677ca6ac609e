"""Importance of feed-forward neurons, and which of them a narrower model keeps. Pure functions over arrays [layers, neurons]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pruning.errors import UsageError

MULTIPLE = 64
"""Kept widths are multiples of this, because matrix products of other widths are slower."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Means and standard deviations over the batches of a training run of two quantities of each neuron, [layers, neurons] each."""

    removal: Array
    """|sum of weight x gradient over the neuron's outgoing weights|: how much the loss changes, to first order, without the neuron."""
    removal_sd: Array
    elements: Array
    """Sum of |weight x gradient| over all the neuron's weights."""
    elements_sd: Array


@dataclass(frozen=True, slots=True)
class Importance:
    """A rule that gives each neuron a number; the highest are kept."""

    source: str
    """Where the rule is from, for people."""
    of: Callable[[Measured], Array]


def taylor(measured: Measured) -> Array:
    """Return how much the loss changes, to first order, without the neuron; the mean over batches."""
    return measured.removal


def elements(measured: Measured) -> Array:
    """Return the sum of |weight x gradient| over the neuron's weights; the mean over batches."""
    return measured.elements


def fused(measured: Measured) -> Array:
    """Return both as shares of their layer, weighted in each layer by how steady they are over batches (softmax of log mean / sd).

    >>> steady, noise = np.array([[3.0, 1.0]]), np.array([[1.0, 3.0]])
    >>> fused(Measured(steady, steady / 9, noise, noise)).round(2)
    array([[0.7, 0.3]])
    """
    pairs = [(measured.removal, measured.removal_sd), (measured.elements, measured.elements_sd)]
    tiny = np.finfo(np.float64).tiny
    ratios = [(mean.mean(axis=1) + tiny) / (sd.mean(axis=1) + tiny) for mean, sd in pairs]
    shares = [mean / (mean.sum(axis=1, keepdims=True) + tiny) for mean, _ in pairs]
    return np.asarray(sum(ratio[:, None] * share for ratio, share in zip(ratios, shares, strict=True)) / sum(ratios)[:, None])


IMPORTANCES: Mapping[str, Importance] = {
    "taylor": Importance("first-order change of the loss without the neuron (Molchanov et al. 2019, gates)", taylor),
    "elements": Importance("sum of |weight x gradient| over the neuron's weights (LLM-Pruner, Ma et al. 2023)", elements),
    "fused": Importance("both, weighted by their steadiness; after the idea of adaptive estimation fusion, formula of Winnow's own", fused),
}

RANDOM = "random"
"""Name of the choice without importance, the baseline of the others."""


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


def most_important(importance: Array, kept: int) -> NDArray[np.int64]:
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
