"""Conditions on the examples to show, and their choices. `pruning.reports.browse` finds what matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pruning.analysis.audit import Hard
from pruning.subsets.decisions import DECIDED_BY_HAND

SUSPECTS, DUPLICATES = "suspected label errors", "duplicates"
HARD = {f"H = 0: {kind}": kind for kind in Hard}
"""Filter name -> kind of example with H = 0."""

NEVER, ALWAYS, DOUBTED = "never right", "always right", "doubted keys"
"""Choices for sampled answers: by all answers of a prompt, and a chance level where there is one."""

ONLY = (SUSPECTS, *HARD, DUPLICATES, DECIDED_BY_HAND, NEVER, ALWAYS, DOUBTED)
"""Choices of the "Only" filter."""

LABELS_DOUBTED = (SUSPECTS, *(name for name, kind in HARD.items() if kind is Hard.MISLABELLED))
"""Choices whose examples all have a suspected label; in source order the worst are listed first."""

SOURCE_ORDER = "source order"
LABEL = "label"
"""Name of the label column in filters, whatever it is called in the source."""


MEANING = ("meaning-across", "meaning-up")
"""The two axes of the map by meaning; the other names of axes are scores."""


@dataclass(frozen=True, slots=True)
class Area:
    """An area of a map: its axes, and two opposite corners of a box or more of a polygon."""

    x: str
    y: str
    corners: tuple[tuple[float, float], ...]

    def words(self) -> list[str]:
        """Return the area as words for an address; `from_words` is the inverse.

        >>> Area("aum", "loss", ((0.0, 1.0), (0.5, 2.0))).words()
        ['aum', 'loss', '0,1', '0.5,2']
        """
        return [self.x, self.y, *(f"{x:.6g},{y:.6g}" for x, y in self.corners)]

    @classmethod
    def from_words(cls, words: Sequence[str]) -> Area:
        """Return the area of these words. Raises ValueError where they are none."""
        corners = tuple((float(x), float(y)) for x, _, y in (word.partition(",") for word in words[2:]))
        if len(corners) < 2:
            raise ValueError(f"an area has two corners or more, got {len(corners)}")
        return cls(words[0], words[1], corners)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Conditions on the examples to show. The default shows all."""

    show: str = "all"
    """"kept", "pruned", "all", or a comparison with the other subset: "only here", "only there"."""
    text: str = ""
    """Words that must all occur, ignoring case; a phrase in quotes must occur as a whole."""
    levels: tuple[int, ...] = ()
    """H-values wanted."""
    labels: tuple[str, ...] = ()
    predicted: tuple[str, ...] = ()
    """Majority predictions of the last epoch."""
    answered: tuple[str, ...] = ()
    """Predictions wanted from at least one run in its last epoch."""
    column: str = ""
    values: tuple[str, ...] = ()
    """Slices of `column` (see `slices.slices`)."""
    only: str | None = None
    """One of ONLY."""
    beside: str = ""
    beside_levels: tuple[int, ...] = ()
    """H-values wanted in the experiment named `beside`, in the same folder."""
    score: str = ""
    between: tuple[float, float] | None = None
    """Range of `score`, both ends included."""
    area: Area | None = None
    sort: str = SOURCE_ORDER
    """A score's name."""
    descending: bool = False
