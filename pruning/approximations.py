"""Cheaper ways to score, with how well their H agrees with the full recipe's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Approximation:
    """A cheaper way to score."""

    words: str
    agreement: float
    """Spearman's correlation of its H with that of the full recipe's other seeds, as measured (benchmarks/results/equivalence.md)."""


APPROXIMATIONS = {
    "epochs": Approximation("two thirds of the epochs", 0.63),
}

OWN_AGREEMENT = 0.63
"""The same for the full recipe itself: the maximum that an approximation can reach."""

FORMER = ("layers", "lora")
"""Approximations of earlier versions: half the layers (agreement .46, where as many full runs at the same cost reach .56) and LoRA adapters
(.60 at the whole cost). Their recordings are read like those of another tool."""

WAYS = ", ".join(f"{name} ({way.words}; rank agreement {way.agreement:.2f})" for name, way in APPROXIMATIONS.items())
"""All of them in words, for `--help`."""
