"""The paper's automatic subsets: the H-values that each removes, and their names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pruning.errors import SubsetError

TICKET = "winning-ticket"


def ladder(runs: int) -> list[tuple[int, ...]]:
    """Return the H-values removed by each automatic subset, in the order of the paper.

    All remove 0 and R, then more from the hard end, then from both ends. For R = 6 these are the seven published subsets.

    >>> ladder(6)
    [(0, 6), (0, 1, 6), (0, 1, 2, 6), (0, 1, 2, 3, 6), (0, 1, 5, 6), (0, 1, 2, 3, 4, 6), (0, 1, 2, 3, 5, 6)]
    >>> ladder(3)
    [(0, 3), (0, 1, 3)]
    """
    hard = [(*range(end), runs) for end in range(1, runs)]
    if runs < 5:
        return hard
    both = [(0, 1, runs - 1, runs), (*range(runs - 2), runs - 1, runs)]
    return [*hard[:-1], both[0], hard[-1], *both[1:]]


def subset_name(removes: Iterable[int], runs: int) -> str:
    """Return the name of the subset that removes these H-values.

    >>> subset_name((0, 6), 6), subset_name((0, 10, 12), 12)
    ('winning-ticket', 'remove-0-10-12')
    """
    values = sorted(set(removes))
    return TICKET if values == [0, runs] else "remove-" + "-".join(map(str, values))


def ladder_names(runs: int) -> list[str]:
    """Return the names of the ladder's subsets, in its order.

    >>> ladder_names(2)
    ['winning-ticket']
    """
    return [subset_name(removes, runs) for removes in ladder(runs)]


def parse_removes(name: str, runs: int) -> tuple[int, ...] | None:
    """Return the H-values that a name removes, or None for any other name. Raises SubsetError for values beyond 0..R.

    >>> parse_removes("remove-0-10-12", 12), parse_removes("drop-easy", 6), parse_removes("random@full", 6)
    ((0, 10, 12), (6,), None)
    """
    fixed = {TICKET: (0, runs), "drop-easy": (runs,), "drop-hard": (0,)}
    if name in fixed:
        return fixed[name]
    if not re.fullmatch(r"remove(-\d{1,6})+", name, re.ASCII):
        return None
    removes = tuple(sorted({int(value) for value in name.split("-")[1:]}))
    if removes[-1] > runs:
        raise SubsetError(f"{name} removes H = {removes[-1]}; with {runs} runs H is between 0 and {runs}.")
    return removes
