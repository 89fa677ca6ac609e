"""Generated answers: how much H and right looks spread under each success rule, and which answers are never right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pruning.reading import Reading
from pruning.subsets.looks import SOMETIMES
from pruning.subsets.rules import TICKET
from pruning.success import EXACT, LOSS, TOKENS, median_share, right_looks_histogram

LITTLE = 0.25
"""Share of the examples that the winning ticket keeps, below which H hardly spreads."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Spread:
    """How one success rule spreads the examples of a recording."""

    rule: str
    """The rule by name."""
    h: NDArray[np.int64]
    """[R + 1] examples with H = 0 .. R."""
    looks: NDArray[np.int64]
    """[R*E + 1] examples with 0 .. R*E right looks."""
    ticket: float
    """Share of the examples that the winning ticket keeps, 0..1."""
    sometimes: float
    """Share that is right at some look and not at every one, 0..1."""


def spreads(reading: Reading) -> list[Spread]:
    """Return the spread under `exact`, under the share of right tokens of the median look, and under its loss; a rule once.

    Empty where the experiment has no success rule.
    """
    wrong, lengths = reading.recorded.wrong, reading.answer_lengths
    if reading.success is None or wrong is None or lengths is None:
        return []
    middle = float(np.median(reading.recorded.loss))
    names = [EXACT, f"{TOKENS}{median_share(wrong, lengths)}", f"{LOSS}{middle:.2g}" if middle >= 0.001 else f"{LOSS}0.001"]
    if names[1] == f"{TOKENS}1":
        del names[1]  # the same as exact
    return [_spread(reading, name) for name in names]


def _spread(reading: Reading, name: str) -> Spread:
    ruled = reading.reading(burn_in=reading.burn_in, decisions=reading.with_decisions, success=name)
    ticket, sometimes = (ruled.subset(rule).kept_fraction for rule in (TICKET, SOMETIMES))
    looks = right_looks_histogram(ruled.dynamics.correct)
    return Spread(rule=name, h=ruled.h_histogram(), looks=looks, ticket=ticket, sometimes=sometimes)


def never_right(reading: Reading) -> NDArray[np.int64]:
    """Return the places of the examples that are right at no look, highest mean loss first."""
    dynamics = reading.dynamics
    loss = dynamics.loss.mean(axis=(0, 1))
    never = np.flatnonzero(~dynamics.correct.any(axis=(0, 1)))
    return never[np.argsort(-loss[never], kind="stable")]


def looks_sentence(reading: Reading) -> str:
    """Return why looks are counted for generated answers, with what the winning ticket and sometimes-right keep here."""
    ticket, sometimes = (reading.subset(name).kept_fraction for name in (TICKET, SOMETIMES))
    agree = "the runs agree, so H has few values" if ticket < LITTLE else "H spreads here"
    return (
        f"The winning ticket keeps {ticket:.0%}: {agree}; {SOMETIMES} keeps {sometimes:.0%}. Runs that start from the same weights agree, "
        "and epochs tell examples apart. Nothing is recommended here that was not measured: an example that is never right may be just "
        "what is to be learned."
    )
