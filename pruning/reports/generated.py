"""Sentences about generated answers: how much H and right looks spread, and which rules to look at."""

from __future__ import annotations

from pruning.reading import Reading
from pruning.subsets.looks import SOMETIMES
from pruning.subsets.rules import TICKET

LITTLE = 0.25
"""Share of the examples that the winning ticket keeps, below which H hardly spreads."""


def looks_sentence(reading: Reading) -> str:
    """Return why looks are counted for generated answers, with what the winning ticket and sometimes-right keep here."""
    ticket, sometimes = (reading.subset(name).kept_fraction for name in (TICKET, SOMETIMES))
    agree = "the runs agree, so H has few values" if ticket < LITTLE else "H spreads here"
    return (
        f"The winning ticket keeps {ticket:.0%}: {agree}; {SOMETIMES} keeps {sometimes:.0%}. Runs that start from the same weights agree, "
        "and epochs tell examples apart. Nothing is recommended here that was not measured: an example that is never right may be just "
        "what is to be learned."
    )
