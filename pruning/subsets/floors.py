"""Floors for slices of any column: pruned examples added back until each keeps a number of them. Pure.

For classes the grammar has a rule, `floor-0.2@Y`; other columns are not in the recording that names are resolved with, so that a subset
with such floors is saved under a name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pruning.records import Subset


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Floor:
    """A number of examples to keep of one slice."""

    name: str
    """The slice in words, e.g. "source = s2"."""
    members: NDArray[np.bool_]
    """[N] True for its training examples."""
    at_least: int


def add_back(
    kept: NDArray[np.bool_],
    members: NDArray[np.bool_],
    at_least: int,
    choose: Callable[[NDArray[np.int64], int], NDArray[np.int64]],
) -> int:
    """Keep pruned members too, in place, until at least that many are kept; return the number added.

    `choose` picks so many of the pruned members' positions.
    """
    missing = max(0, at_least - int((members & kept).sum()))
    kept[choose(np.flatnonzero(members & ~kept), missing)] = True
    return missing


def with_floors(subset: Subset, floors: Sequence[Floor], ids: NDArray[np.int64], seed: int) -> Subset:
    """Return the subset with random pruned examples of each slice added back until it keeps at least that many.

    >>> subset = Subset(name="mine", method="saved", rule="mine", kept=np.array([0]), total=4)
    >>> floor = Floor(name="source = s2", members=np.array([False, True, True, True]), at_least=2)
    >>> found = with_floors(subset, [floor], np.arange(4), seed=1)
    >>> found.size, found.rule
    (3, 'mine; at least 2 of source = s2')
    """
    kept, random = subset.mask(ids), np.random.default_rng(seed)
    for floor in floors:
        add_back(kept, floor.members, floor.at_least, lambda pruned, count: random.permutation(pruned)[:count])
    rule = "; ".join([subset.rule, *(f"at least {floor.at_least:,} of {floor.name}" for floor in floors)])
    return replace(subset, method="floor", rule=rule, kept=ids[kept], removes=None)
