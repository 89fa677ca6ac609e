"""Two recordings of the same examples compared: H against H, rank agreement, tickets in common, who changed most. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pruning.errors import UsageError
from pruning.formatting import counted

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Side:
    """One of the two experiments: all of its N examples."""

    name: str
    h: Ids
    """[N] H-scores."""
    runs: int
    ticket: NDArray[np.bool_]
    """[N] whether the winning ticket keeps it."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Comparison:
    """Two experiments over the M examples that both have."""

    first: Side
    second: Side
    places: tuple[Ids, Ids]
    """[M] positions of the common examples in the first and in the second experiment."""
    counts: Ids
    """[R1 + 1, R2 + 1] number of examples by H in the first and in the second experiment."""
    rank_agreement: float
    """Spearman correlation of the two H-scores, -1..1; nan where one of them has a single value."""
    overlap: float
    """Common examples in both winning tickets as a share of those in either (Jaccard), 0..1; nan where neither keeps any."""
    change: NDArray[np.float64]
    """[M] H as a share of the runs, second minus first, -1..1."""

    @property
    def most_changed(self) -> Ids:
        """Return [M] places among the common examples, the largest change first."""
        return np.argsort(-np.abs(self.change), kind="stable")

    @property
    def h_in_second(self) -> Ids:
        """Return [N1] H in the second experiment of each example of the first; -1 for one that is not in both."""
        found = np.full(len(self.first.h), -1, dtype=np.int64)
        found[self.places[0]] = self.second.h[self.places[1]]
        return found

    @property
    def sentences(self) -> list[str]:
        """Return the result in words, for people."""
        sizes = f"{len(self.first.h):,} in {self.first.name}, {len(self.second.h):,} in {self.second.name}"
        said = [f"{counted(len(self.change), 'example is', 'examples are')} in both ({sizes})."]
        if not isnan(self.rank_agreement):
            said.append(f"Rank agreement (Spearman) of H: {self.rank_agreement:.2f}.")
        if not isnan(self.overlap):
            said.append(f"Winning tickets in common (Jaccard): {self.overlap:.0%}.")
        return said


def compare(first: Side, second: Side, places: tuple[Ids, Ids]) -> Comparison:
    """Compare two experiments on the examples at `places` (see `matched`). Raises UsageError where there are none.

    >>> one = Side(name="one", h=np.array([0, 2, 1]), runs=2, ticket=np.array([False, False, True]))
    >>> two = Side(name="two", h=np.array([4, 2]), runs=4, ticket=np.array([False, True]))
    >>> found = compare(one, two, (np.array([1, 2]), np.array([0, 1])))
    >>> found.counts.tolist(), found.rank_agreement, found.overlap, found.change.tolist()
    ([[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]], 1.0, 1.0, [0.0, 0.0])
    """
    if not len(places[0]):
        raise UsageError(f"{first.name} and {second.name} have no example in common: no text is the same in both.")
    one, two = first.h[places[0]], second.h[places[1]]
    cells = np.bincount(one * (second.runs + 1) + two, minlength=(first.runs + 1) * (second.runs + 1))
    differ = len(np.unique(one)) > 1 and len(np.unique(two)) > 1
    mine, theirs = first.ticket[places[0]], second.ticket[places[1]]
    either = int((mine | theirs).sum())
    return Comparison(
        first=first,
        second=second,
        places=places,
        counts=cells.reshape(first.runs + 1, second.runs + 1),
        rank_agreement=round(float(stats.spearmanr(one, two).statistic), 12) if differ else nan,
        overlap=int((mine & theirs).sum()) / either if either else nan,
        change=two / second.runs - one / first.runs,
    )


def matched(first: Sequence[str], second: Sequence[str]) -> tuple[Ids, Ids]:
    """Return the positions of equal texts; the k-th copy of a text in one is paired with the k-th copy in the other.

    >>> matched(["a", "b", "a"], ["a", "c", "a", "a"])
    (array([0, 2]), array([0, 2]))
    """
    tables = [pd.DataFrame({"text": texts, "place": np.arange(len(texts))}) for texts in (first, second)]
    for table in tables:
        table["copy"] = table.groupby("text", sort=False).cumcount()
    both = tables[0].merge(tables[1], on=["text", "copy"], suffixes=("", "_there")).sort_values("place")
    return both["place"].to_numpy(dtype=np.int64), both["place_there"].to_numpy(dtype=np.int64)
