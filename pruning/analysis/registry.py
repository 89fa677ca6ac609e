"""The registry of scores: the decorator that adds one, with its range, direction and source. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One score: its function, the meaning of its values, and its source."""

    name: str
    title: str
    of: Callable[..., NDArray[np.floating | np.integer]]
    """Function of the recorded quantity, [R, E, N] of the epochs counted; returns [N]."""
    needs: str
    """Name of that quantity: a field of `Dynamics`, or one of its `extras`, and the function's parameter where that is not `dynamics`."""
    high: Callable[[int, int], float]
    """(runs, epochs) -> upper bound of the score (inf if unbounded)."""
    higher: str
    """Meaning of a higher value: easier, harder, more ambiguous ..."""
    keep: str
    """Values that pruning by this score keeps: "high" or "low"."""
    source: str
    sentence: str
    """Description for people."""
    low: float = 0.0
    epochs: int = 1
    """Fewest epochs required."""
    runs: int = 1
    """Fewest runs required without a look."""
    whole: bool = False
    """True where the function takes the whole recording and the burn-in instead."""

    @property
    def explained(self) -> str:
        """Description for people, with the meaning of a higher value."""
        return f"{self.sentence} Higher: {self.higher}."


SCORES: dict[str, Score] = {}
"""Name -> score, in display order."""

_Of = TypeVar("_Of", bound=Callable[..., NDArray[np.floating | np.integer]])


def score(name: str, title: str, sentence: str, *, high: float | Callable[[int, int], float], **about: Any) -> Callable[[_Of], _Of]:
    """Register the decorated function; `about` are the other fields of `Score`.

    The function's first parameter names what it needs. One that takes the whole recording calls it `dynamics`, and may say with
    `needs` which of its quantities it cannot do without.
    """
    largest = high if callable(high) else lambda runs, epochs: float(high)

    def register(of: _Of) -> _Of:
        first = next(iter(signature(of).parameters))
        fields = {"needs": first, "whole": first == "dynamics", **about}
        SCORES[name] = Score(name=name, title=title, sentence=sentence, of=of, high=largest, **fields)
        return of

    return register
