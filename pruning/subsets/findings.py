"""Subsets that remove what was found in the data: suspected labels, copies; and Winnow's choice, which is made of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pruning.errors import SubsetError
from pruning.records import DISTINCT, Subset
from pruning.subsets.ladder import TICKET

SUSPECTS = "drop-suspects"
CHOICE = "choice"

MANY_COPIES = 0.05
"""Share of the examples that are copies from which Winnow's choice keeps one of each meaning in place of the winning ticket."""

Finding = Callable[[], NDArray[np.bool_] | None]
"""Returns [N] True for each example that a subset removes; None where it cannot be found."""

FINDINGS = {
    SUSPECTS: ("remove labels that look wrong", "needs classes and recorded probabilities; this recording has none"),
    DISTINCT: (
        "keep one of each group of examples with the same label and nearly the same meaning",
        "needs a first look (winnow look) by a model whose embeddings tell texts apart; there is none here",
    ),
}
"""Their rule, and why there may be none."""


def without(word: str, findings: Mapping[str, Finding], ids: NDArray[np.int64]) -> Subset:
    """Return the subset `word` of `FINDINGS`. Raises SubsetError where what it removes cannot be found."""
    rule, needs = FINDINGS[word]
    removed = findings[word]() if word in findings else None
    if removed is None:
        raise SubsetError(f"{word} {needs}.")
    return Subset(name=word, method=word, rule=rule, kept=ids[~removed], total=len(ids))


def many(copies: NDArray[np.bool_]) -> bool:
    """Return True where so many examples are copies, [N], that one of each meaning comes first."""
    return bool(copies.mean() > MANY_COPIES)


def chosen(findings: Mapping[str, Finding]) -> str:
    """Return the name that Winnow's choice stands for.

    The winning ticket without suspected labels, which no training set of the study showed to be worse than random rows, but for the
    one with copies: what stands there three times is learned by repetition, and a high H says "copied" as much as "easy". So with
    many copies it is one of each meaning without suspected labels (benchmarks/results/study.md).

    >>> chosen({}), chosen({DISTINCT: lambda: np.array([True, False]), SUSPECTS: lambda: np.array([False, False])})
    ('winning-ticket', 'distinct and drop-suspects')
    """
    copies, suspects = (findings[word]() if word in findings else None for word in (DISTINCT, SUSPECTS))
    first = DISTINCT if copies is not None and many(copies) else TICKET
    return first if suspects is None else f"{first} and {SUSPECTS}"
