"""Ways to select positions: by highest value, over all difficulties, by strata. Pure, numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HARDEST = 0.1
"""Default share of the hardest examples that coverage leaves out."""


def highest(values: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Return the positions of the `size` highest values, ascending; ties are in source order.

    >>> highest(np.array([1.0, 3.0, 2.0, 3.0]), 2)
    array([1, 3])
    """
    return np.sort(np.argsort(-values, kind="stable")[:size])


def coverage(values: NDArray[np.float64], size: int, hardest: float = HARDEST, bins: int = 50) -> NDArray[np.int64]:
    """Return the positions of `size` examples spread evenly over difficulty (`values`, higher = harder), without the hardest share.

    Coverage-centric selection (CCS, Zheng et al. 2023): equal-width bins, the smallest first; each gives an equal part of the
    remaining number, or all its examples. Within a bin, examples are taken at even steps in source order, so that nothing is
    random. If `size` exceeds the rest, a smaller hardest share is left out.

    >>> coverage(np.array([0.0, 0.1, 0.2, 5.0, 5.1, 9.9]), 3, hardest=0.17, bins=2)
    array([0, 2, 3])
    """
    dropped = min(int(len(values) * hardest), len(values) - size)
    pool = np.argsort(values, kind="stable")[: len(values) - dropped]
    low, high = values[pool].min(), values[pool].max()
    which = np.minimum(((values[pool] - low) / ((high - low) / bins or 1.0)).astype(np.int64), bins - 1)
    members = sorted((np.sort(pool[which == b]) for b in np.unique(which)), key=len)
    kept: list[NDArray[np.int64]] = []
    wanted = size
    for index, bin_members in enumerate(members):
        share = min(len(bin_members), wanted // (len(members) - index))
        kept.append(bin_members[np.linspace(0, len(bin_members) - 1, share).round().astype(np.int64)])
        wanted -= share
    return np.sort(np.concatenate(kept))


def stratified(strata: NDArray[np.int64], size: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return the positions of `size` random examples, ascending, with each stratum's share [N] as closely as possible.

    >>> stratified(np.array([0, 0, 0, 0, 1, 1]), 3, np.random.default_rng(0)) // 4
    array([0, 0, 1])
    """
    mixed = random.permutation(len(strata))
    return np.sort(np.concatenate([mixed[:0], *(mixed[strata[mixed] == value][:count] for value, count in quotas(strata, size))]))


def quotas(strata: NDArray[np.int64], size: int) -> list[tuple[int, int]]:
    """Return each stratum and its part of `size`, by largest remainder.

    >>> quotas(np.array([0, 0, 0, 0, 1, 1]), 4)
    [(0, 3), (1, 1)]
    """
    values, counts = np.unique(strata, return_counts=True)
    exact = size * counts / max(1, counts.sum())
    quota = np.floor(exact).astype(np.int64)
    quota[np.argsort(quota - exact, kind="stable")[: size - quota.sum()]] += 1
    return list(zip(values.tolist(), quota.tolist(), strict=True))
