"""How far H and the winning ticket move when one thing about the scoring changes, beside other seeds alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import atanh, isnan, nan, sqrt, tanh
from typing import Any

from pruning.formatting import counted

SEEDS = "seeds"
"""Name of the variation that changes the seeds alone: the noise floor of all others."""

Z = 1.959964
"""Standard errors of a 95% interval."""

CERTAIN = 0.999999
"""Largest correlation that Fisher's transformation is applied to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One variation compared with the experiment."""

    name: str
    words: str
    """The change, e.g. "learning rate 2e-4 to 4e-4"."""
    runs: int = 0
    examples: int = 0
    rank_agreement: float = nan
    """Spearman's correlation of the two H, -1..1."""
    interval: tuple[float, float] = (nan, nan)
    """95% interval over examples; the luck of the seeds is what the noise floor shows."""
    overlap: float = nan
    """Overlap of the two winning tickets (Jaccard), 0..1."""
    by_chance: float = nan
    """Overlap that two random draws of these sizes would have."""
    kept_fraction: float = nan
    """Share of the examples that the variation's winning ticket keeps."""
    accuracy: float = nan
    """Mean accuracy of its runs on the evaluation data; nan where it was not measured."""
    matters: bool = False
    """True where H agrees less than between seeds alone, beyond the uncertainty of both."""
    problem: str = ""
    """Why there is no result, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """The variations of one experiment, the noise floor first, then the least agreement first."""

    rows: tuple[Moved, ...]

    @property
    def floor(self) -> Moved | None:
        """Other seeds and nothing else; None where that was not scored."""
        return next((row for row in self.rows if row.name == SEEDS and not row.problem), None)

    @property
    def sentence(self) -> str:
        """The result in one line."""
        if self.floor is None:
            return "There is no noise floor yet: score the variation seeds first."
        measured = [row for row in self.rows if row.name != SEEDS and not row.problem]
        if not measured:
            return f"Other seeds alone: rank agreement {self.floor.rank_agreement:.2f}, ticket overlap {self.floor.overlap:.0%}."
        found = [row for row in measured if row.matters]
        if not found:
            seeds = f"rank agreement {self.floor.rank_agreement:.2f}"
            return f"H depends on none of {counted(len(measured), 'change')} more than on the seeds ({seeds})."
        worst = min(found, key=lambda row: row.rank_agreement)
        return (
            f"H depends on {len(found)} of {counted(len(measured), 'change')} more than on the seeds, most on {worst.words}: "
            f"rank agreement {worst.rank_agreement:.2f}, {self.floor.rank_agreement:.2f} between seeds."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"sentence": self.sentence, "variations": [asdict(row) for row in self.rows]}


def ordered(rows: Sequence[Moved]) -> Sensitivity:
    """Return the report on these variations, with `matters` set where the noise floor is known.

    >>> floor = Moved(name="seeds", words="other seeds", examples=1000, rank_agreement=0.6)
    >>> rate = Moved(name="rate-double", words="learning rate 1e-4 to 2e-4", examples=1000, rank_agreement=0.4)
    >>> [(row.name, row.matters) for row in ordered([rate, floor]).rows]
    [('seeds', False), ('rate-double', True)]
    """
    floor = next((row for row in rows if row.name == SEEDS and not row.problem), None)
    judged = [row if floor is None or row.problem or row.name == SEEDS else _judged(row, floor) for row in rows]
    return Sensitivity(rows=tuple(sorted(judged, key=_place)))


def _place(row: Moved) -> tuple[bool, bool, float]:
    return row.name != SEEDS, bool(row.problem), 2.0 if isnan(row.rank_agreement) else row.rank_agreement


def _judged(row: Moved, floor: Moved) -> Moved:
    if isnan(row.rank_agreement) or isnan(floor.rank_agreement):
        return row
    apart = _fisher(floor.rank_agreement) - _fisher(row.rank_agreement)
    error = sqrt(_error(row.rank_agreement, row.examples) ** 2 + _error(floor.rank_agreement, floor.examples) ** 2)
    return replace(row, matters=bool(apart > Z * error))


def interval(rank_agreement: float, examples: int) -> tuple[float, float]:
    """Return the 95% interval of Spearman's correlation over examples (Bonett and Wright 2000); nan where it does not exist.

    >>> [round(end, 2) for end in interval(0.6, 1000)]
    [0.56, 0.64]
    """
    if isnan(rank_agreement) or examples < 4:
        return nan, nan
    half = Z * _error(rank_agreement, examples)
    return tanh(_fisher(rank_agreement) - half), tanh(_fisher(rank_agreement) + half)


def _fisher(value: float) -> float:
    return atanh(max(-CERTAIN, min(CERTAIN, value)))


def _error(value: float, examples: int) -> float:
    return sqrt((1 + value**2 / 2) / max(1, examples - 3))


def by_chance(first: float, second: float) -> float:
    """Return the expected overlap (Jaccard) of two random draws that keep these shares; nan where neither keeps any.

    >>> round(by_chance(0.5, 0.5), 3)
    0.333
    """
    both = first * second
    return both / (first + second - both) if first + second else nan
