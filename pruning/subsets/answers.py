"""Ways to choose generated answers: clusters of loss trajectories (S2L), and random answers of matching lengths. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pruning.subsets.selection import quotas

MOST_CLUSTERS, PER_CLUSTER = 100, 10
"""S2L's number of clusters, and the examples per cluster below which there are fewer."""

ITERATIONS = 20
"""Iterations of K-means, as in S2L's code."""

BINS = 10
"""Groups of equal size by length."""


def s2l(loss: NDArray[np.float32], size: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return the positions of `size` examples, ascending: the same number from each cluster of loss trajectories, at random within it.

    S2L (Yang et al. 2024): K-means of [N, R*E] losses; the smallest cluster first, each gives an equal part of the remaining number, or
    all it has. Here K is 100, or N / 10 where that is less, and all sources are one.
    """
    from sklearn.cluster import KMeans

    trajectories = loss.reshape(-1, loss.shape[-1]).T.astype(np.float64)
    clusters = max(1, min(MOST_CLUSTERS, len(trajectories) // PER_CLUSTER))
    means = KMeans(clusters, n_init=1, max_iter=ITERATIONS, random_state=int(random.integers(2**31)))
    which = means.fit_predict(trajectories)
    members = sorted((np.flatnonzero(which == cluster) for cluster in np.unique(which)), key=len)
    kept: list[NDArray[np.int64]] = []
    wanted = size
    for place, own in enumerate(members):
        share = min(len(own), wanted // (len(members) - place))
        kept.append(random.permutation(own)[:share])
        wanted -= share
    return np.sort(np.concatenate(kept))


def length_matched(
    length: NDArray[np.float64], size: int, like: NDArray[np.bool_] | None, random: np.random.Generator
) -> NDArray[np.int64]:
    """Return the positions of `size` random examples, ascending, whose lengths are distributed as those of the examples in `like`.

    Lengths are compared in ten groups of equal size; without `like` [N], as all examples.

    >>> length_matched(np.array([1.0, 1, 1, 9, 9, 9]), 2, np.array([1, 1, 0, 0, 0, 0], bool), np.random.default_rng(0)).max() < 3
    np.True_
    """
    edges = np.unique(np.quantile(length, np.linspace(0, 1, BINS + 1)[1:-1]))
    group = np.searchsorted(edges, length, side="left")
    wanted = quotas(group if like is None else group[like], size)
    mixed = random.permutation(len(length))
    return np.sort(np.concatenate([mixed[:0], *(mixed[group[mixed] == value][:count] for value, count in wanted)]))
