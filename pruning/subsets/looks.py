"""Rules on right looks: `sometimes-right`, and bands of their number or share. Pure.

For sampled answers, dropping prompts that are right at no look or at every look is dynamic sampling (DAPO, Yu et al. 2025), done once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.looks import looks
from pruning.errors import SubsetError
from pruning.formatting import counted
from pruning.records import Dynamics, Subset

SOMETIMES = "sometimes-right"
BAND = "looks-"

_NUMBER = r"\d+(?:\.\d+)?|\.\d+"


@dataclass(frozen=True, slots=True)
class Looks:
    """A rule on right looks, as typed."""

    word: str
    low: float
    """Fewest right looks kept, or their smallest share of all looks."""
    high: float
    shares: bool
    """True where `low` and `high` are shares, 0..1."""
    always: float = 0.0
    """Share of the examples right at every look that are kept too, at random."""


def looks_rule(word: str) -> Looks | None:
    """Return the rule that a word names, or None for any other word. Raises SubsetError for a band or share that is impossible.

    >>> looks_rule("looks-2-6"), looks_rule("sometimes")
    (Looks(word='looks-2-6', low=2.0, high=6.0, shares=False, always=0.0), None)
    >>> looks_rule("looks-0.2-0.8").shares, looks_rule("sometimes-right-0.1").always
    (True, 0.1)
    """
    if word == SOMETIMES:
        return Looks(word, 0, 0, shares=False)
    if word.startswith(f"{SOMETIMES}-"):
        return Looks(word, 0, 0, shares=False, always=_share(word, word.removeprefix(f"{SOMETIMES}-")))
    if not word.startswith(BAND):
        return None
    ends = re.fullmatch(rf"({_NUMBER})-({_NUMBER})", word.removeprefix(BAND), re.ASCII)
    if ends is None:
        raise SubsetError(f"{word} is not a band; use two numbers of right looks such as looks-2-6, or two shares such as looks-0.2-0.8.")
    low, high, shares = float(ends[1]), float(ends[2]), "." in word
    if low > high or (shares and high > 1):
        raise SubsetError(f"{word} keeps nothing; a band is from the smaller to the larger number of right looks, or share up to 1.0.")
    return Looks(word, low, high, shares)


def _share(word: str, argument: str) -> float:
    share = float(argument) if re.fullmatch(_NUMBER, argument, re.ASCII) else 0.0
    if not 0 < share < 1:
        raise SubsetError(f"{word} needs a share of the always right between 0 and 1, such as {SOMETIMES}-0.1.")
    return share


def by_looks(rule: Looks, dynamics: Dynamics, random: np.random.Generator) -> Subset:
    """Return the examples that the rule keeps; examples without any look are kept, because nothing is known against them."""
    right, every = looks(dynamics)
    unknown = every == 0
    if rule.word.startswith(BAND):
        kept, words = _in_band(rule, right, every)
    else:
        kept, words = (right > 0) & (right < every), "keep 0 < right looks < all looks"
        if rule.always:
            more = _at_random(np.flatnonzero((right == every) & ~unknown), rule.always, random)
            kept[more] = True
            words += f", and {rule.always:.0%} of those always right ({len(more):,} at random)"
    if unknown.any():
        kept |= unknown
        words += f"; {counted(int(unknown.sum()), 'example')} without a look kept"
    return Subset(name=rule.word, method="looks", rule=words, kept=dynamics.ids[kept], total=dynamics.examples)


def _in_band(rule: Looks, right: NDArray[np.int64], every: NDArray[np.int64]) -> tuple[NDArray[np.bool_], str]:
    if not rule.shares:
        most = int(every.max(initial=0))
        if rule.low > most:
            raise SubsetError(f"{rule.word} keeps nothing; no example has more than {most} looks.")
        return (right >= rule.low) & (right <= rule.high), f"keep {rule.low:.0f} to {rule.high:.0f} right looks"
    share = right / np.maximum(every, 1)
    tiny = 1e-9  # 0.8 of 5 looks is 4
    return (share >= rule.low - tiny) & (share <= rule.high + tiny), f"keep {rule.low:g} to {rule.high:g} of the looks right"


def _at_random(members: NDArray[np.int64], share: float, random: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(random.permutation(members)[: round(share * len(members))])
