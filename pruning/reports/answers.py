"""Findings about sampled answers, in sentences and counts: pass rates, what is never right and how sure that is, doubted keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.looks import looks
from pruning.analysis.rates import Prior, above_chance, fit_prior, never_solved
from pruning.formatting import counted
from pruning.reading import Reading

DOUBTED = 0.5
"""Share of the most frequent answer from which a key that it contradicts is doubted."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rates:
    """Counts of an experiment of sampled answers, over all checkpoints."""

    successes: NDArray[np.int64]
    """[N]"""
    attempts: NDArray[np.int64]
    """[N]"""
    prior: Prior
    """Distribution of pass rates fitted to them."""
    chance: float
    """Probability that a guess is right, 0..1."""
    disagrees: NDArray[np.float64] | None
    """[N] share of the most frequent answer where it was judged wrong, else 0; None where the log has no answers."""

    @property
    def never(self) -> NDArray[np.bool_]:
        """[N] True where no answer was right; with a chance level, where the right ones are not more than guessing explains."""
        return (self.attempts > 0) & ~above_chance(self.successes, self.attempts, self.chance)

    @property
    def always(self) -> NDArray[np.bool_]:
        """[N] True where every answer was right."""
        return (self.attempts > 0) & (self.successes == self.attempts)

    @property
    def doubted(self) -> NDArray[np.bool_]:
        """[N] True where at least half of the answers agree with each other and not with the key."""
        return np.zeros(len(self.attempts), dtype=np.bool_) if self.disagrees is None else self.disagrees >= DOUBTED


def rates(reading: Reading) -> Rates:
    """Return the counts of an experiment of sampled answers."""
    right, every = looks(reading.dynamics)
    chance = float(reading.info.get("rollouts", {}).get("chance", 0.0))
    disagrees = reading.dynamics.extras.get("key_disagrees")
    return Rates(successes=right, attempts=every, prior=fit_prior(right, every), chance=chance, disagrees=disagrees)


def sentences(found: Rates) -> list[str]:
    """Return what few samples can and cannot say, a sentence each."""
    said = [never_solved(found.successes, found.attempts, found.prior)]
    if found.chance > 0:
        said.append(f"{counted(int(found.never.sum()), 'prompt')} not above a chance of {found.chance:g} (one-sided binomial test, 5%).")
    if doubted := int(found.doubted.sum()):
        said.append(
            f"{counted(doubted, 'key is', 'keys are')} doubted: at least half of the answers agree with each other and not with the key; a "
            "wrong key or a verifier's error looks like that."
        )
    tried = found.attempts[found.attempts > 0]
    if len(tried):
        typical = float(np.median(tried))
        a, b = found.prior.a, found.prior.b
        said.append(
            f"Reliability of the pass rate as a ranking with {typical:g} samples: {found.prior.reliability(typical):.2f} "
            f"(beta-binomial, a = {a:.2g}, b = {b:.2g})."
        )
    return [sentence for sentence in said if sentence]


def histogram(found: Rates) -> list[tuple[str, int]]:
    """Return the number of prompts by pass count where all have as many attempts, else by tenths of the pass rate; never and always apart.

    Prompts that were not sampled are counted apart.
    """
    sampled = found.attempts > 0
    numbers = np.unique(found.attempts[sampled])
    bars: list[tuple[str, int]] = []
    if len(numbers) == 1 and numbers[0] <= 64:
        counts = np.bincount(found.successes[sampled], minlength=int(numbers[0]) + 1)
        bars = [(f"{k} of {numbers[0]}", int(count)) for k, count in enumerate(counts)]
    elif len(numbers):
        rate = found.successes[sampled] / found.attempts[sampled]
        edges = np.clip(np.floor(rate * 10), 0, 9)
        inner = (rate > 0) & (rate < 1)
        bars = [("never right", int((rate == 0).sum()))]
        bars += [(f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}", int((inner & (edges == tenth)).sum())) for tenth in range(10)]
        bars += [("always right", int((rate == 1).sum()))]
    return [*bars, *([("not sampled", int((~sampled).sum()))] if not sampled.all() else [])]
