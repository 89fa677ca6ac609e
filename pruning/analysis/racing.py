"""Choose a subset with few fine-tunings: which candidate gets which seed next, and when the choice is made. Pure.

Every candidate is fine-tuned with one seed. These first results alone decide the order: the smallest candidate with a good chance is tested
first; while candidates pass, the next smaller one is tested; while they fail, the next larger one. A test is the paired test of
`recommendation` after three seeds and after all of them, so a clear case takes three; a candidate that will probably fail is dropped. The
error allowed is divided among the tests on the way up; a test that follows a success needs none of its own (fixed sequence). Measured: a
wrong choice in at most 5% of simulated decisions (benchmarks/results/racing.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, nan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from pruning.analysis.frontier import CONFIDENCE, FEWEST_SEEDS, paired_values
from pruning.analysis.recommendation import MARGIN, at_look, lower_bound

BUDGET = 6.0
"""Default budget, in fine-tunings of full data."""

GOOD = 0.4
"""Estimated chance of passing, after its first seed, from which the smallest candidate is tested first."""

FUTILE = 0.1
"""Estimated chance of passing below which a candidate is not tested, or gets no more seeds."""

EARLY = 0.25
"""Share of a test's allowed error that its look after three seeds may spend."""

HONEST = 0.75
"""Share of the allowed error that the tests spend in all: a first seed decides the order and counts in the test as well, which favours
candidates whose first seed was lucky."""

AT_ONCE = 2
"""Seeds of one candidate that are trained side by side before the race is judged again."""

PRIOR_FREEDOM = 4
"""Degrees of freedom given to full data's variance over seeds as a first estimate of the variance of a difference."""


class State(StrEnum):
    """State of a candidate in the race."""

    WAITING = "waiting"
    OPEN = "open"
    DROPPED = "dropped"
    FAILED = "failed"
    PASSED = "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A subset that may be chosen."""

    name: str
    kept: int
    """Examples."""
    cost: float
    """One fine-tuning, in fine-tunings of full data, by optimizer steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Seeds, margin and budget of a race."""

    seeds: int
    """Seeds of the test that accepts a candidate, at least 3."""
    margin: float = MARGIN
    """Accuracy that may be given up, as a share."""
    budget: float = BUDGET
    """Most fine-tunings of full data that the candidates may cost together."""
    confidence: float = CONFIDENCE
    evaluated: int = 0
    """Evaluation examples; 0 if not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A candidate's state, with its paired difference to full data so far."""

    candidate: Candidate
    state: State
    seeds: int
    mean: float
    """Mean difference to full data, as a share; nan before the first seed."""
    chance: float
    """Estimated probability that it passes with all seeds; 1 if it passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The state of the race, and what to train next."""

    standings: tuple[Standing, ...]
    """Smallest first."""
    spent: float
    """Cost of the candidates' fine-tunings so far, in fine-tunings of full data."""
    pieces: tuple[tuple[str, int], ...] = ()
    """Fine-tunings to train next: name and place of the seed, 0 to seeds - 1; empty once the race has ended."""
    chosen: str | None = None
    out_of_budget: bool = False
    """True if the race ended although a candidate was still open."""


def advance(candidates: Sequence[Candidate], full: Sequence[float], seen: Mapping[str, Sequence[float]], rules: Rules) -> Step:
    """Judge the race and say what to train next; the same values always give the same step, so a race can continue at any point.

    Parameters
    ----------
    candidates
        Subsets smaller than full data; a name occurs once.
    full
        [seeds] metric of full data, by seed.
    seen
        Metric of each candidate for its first seeds, in the order of `full`.
    rules
        Seeds, margin, budget and confidence.
    """
    race = _Race(sorted(candidates, key=lambda each: (each.kept, each.name)), np.asarray(full, dtype=float), seen, rules)
    left = rules.budget - race.spent
    if first := race.unseen(left):
        return race.step(pieces=first)
    chosen, place, test, down = None, race.start(), 1, True
    while place is not None:
        found = race.judge(place, test)
        if found.state is State.OPEN:
            pieces = race.next_seeds(place)
            if race.order[place].cost * len(pieces) > left + 1e-9:
                return race.step(chosen=chosen, out_of_budget=True)
            return race.step(chosen=chosen, pieces=pieces)
        if found.state is State.PASSED:
            chosen = race.order[place].name
            if not down:
                break
            place = race.next(place, -1)
        elif chosen is not None:
            break
        else:
            down, test = False, test + (found.state is State.FAILED)
            place = race.next(place, +1)
    return race.step(chosen=chosen, out_of_budget=chosen is None and any(not len(values) for values in race.differences))


class _Race:
    """The candidates, smallest first, and their paired differences to full data."""

    def __init__(self, order: Sequence[Candidate], full: NDArray[np.float64], seen: Mapping[str, Sequence[float]], rules: Rules) -> None:
        self.order, self.full, self.rules = order, full, rules
        values = [np.asarray(seen.get(each.name, ()), dtype=float)[: rules.seeds] for each in order]
        self.differences = [each - full[: len(each)] for each in values]
        self.spent = float(sum(each.cost * len(found) for each, found in zip(order, self.differences, strict=True)))
        self.standings: dict[int, Standing] = {}

    def step(self, pieces: tuple[tuple[str, int], ...] = (), chosen: str | None = None, out_of_budget: bool = False) -> Step:
        """Return the step with every candidate's standing."""
        standings = tuple(self.standings.get(place) or self._untested(place) for place in range(len(self.order)))
        return Step(standings=standings, spent=self.spent, pieces=pieces, chosen=chosen, out_of_budget=out_of_budget)

    def unseen(self, left: float) -> tuple[tuple[str, int], ...]:
        """Return the first seed of every candidate that has none, smallest first, as far as the budget left allows."""
        pieces = []
        for each, found in zip(self.order, self.differences, strict=True):
            if not len(found) and each.cost <= left + 1e-9:
                pieces.append((each.name, 0))
                left -= each.cost
        return tuple(pieces)

    def start(self) -> int | None:
        """Return the smallest candidate with a good chance, else the one with the best; None if every chance is futile."""
        chances = [(self._chance(found[:1], 1), place) for place, found in enumerate(self.differences) if len(found)]
        good = [place for chance, place in chances if chance >= GOOD]
        if good:
            return good[0]
        chance, place = max(chances, default=(0.0, 0), key=lambda found: found[0])
        return place if chance >= FUTILE else None

    def next(self, place: int, way: int) -> int | None:
        """Return the next smaller (-1) or larger (+1) candidate whose chance after its first seed is not futile."""
        place += way
        while 0 <= place < len(self.order):
            if len(self.differences[place]) and self._chance(self.differences[place][:1], 1) >= FUTILE:
                return place
            place += way
        return None

    def judge(self, place: int, test: int) -> Standing:
        """Judge a candidate as the `test`-th on the way up."""
        values = self.differences[place]
        state, chance = self._state(values, test)
        found = Standing(candidate=self.order[place], state=state, seeds=len(values), mean=float(values.mean()), chance=chance)
        self.standings[place] = found
        return found

    def _state(self, values: NDArray[np.float64], test: int) -> tuple[State, float]:
        early, last = min(FEWEST_SEEDS, self.rules.seeds), self.rules.seeds
        doubt = self._doubt(test)
        if len(values) >= early and early < last and self._passes(values[:early], 1 - EARLY * doubt):
            return State.PASSED, 1.0
        if len(values) >= last:
            passed = self._passes(values, 1 - (1 - EARLY if early < last else 1) * doubt)
            return (State.PASSED if passed else State.FAILED), float(passed)
        for seeds in range(1, len(values) + 1):  # dropped once is dropped for good
            chance = self._chance(values[:seeds], test)
            if chance < FUTILE:
                return (State.DROPPED if seeds < early else State.FAILED), chance
        return State.OPEN, chance

    def _doubt(self, test: int) -> float:
        return HONEST * (1 - at_look(test, self.rules.confidence))

    def _passes(self, values: NDArray[np.float64], confidence: float) -> bool:
        return lower_bound(paired_values(values, self.rules.evaluated), confidence) > -self.rules.margin

    def _chance(self, values: NDArray[np.float64], test: int) -> float:
        """Estimate the probability that a candidate with these differences passes the last look."""
        seeds, last = len(values), self.rules.seeds
        total, freedom = PRIOR_FREEDOM * float(np.var(self.full, ddof=1)), PRIOR_FREEDOM
        if seeds > 1:
            total, freedom = total + float(((values - values.mean()) ** 2).sum()), freedom + seeds - 1
        spread = sqrt(total / freedom)
        needed = -self.rules.margin + float(stdtrit(last - 1, 1 - self._doubt(test))) * spread / sqrt(last)
        error = spread * sqrt(max(0.0, 1 / seeds - 1 / last))
        return float(ndtr((values.mean() - needed) / error)) if error > 0 else float(values.mean() >= needed)

    def next_seeds(self, place: int) -> tuple[tuple[str, int], ...]:
        """Return the next seeds of a candidate: up to its next look, at most `AT_ONCE`."""
        seen, early = len(self.differences[place]), min(FEWEST_SEEDS, self.rules.seeds)
        look = early if seen < early else self.rules.seeds
        return tuple((self.order[place].name, seed) for seed in range(seen, min(look, seen + AT_ONCE)))

    def _untested(self, place: int) -> Standing:
        values = self.differences[place]
        if not len(values):
            return Standing(candidate=self.order[place], state=State.WAITING, seeds=0, mean=nan, chance=nan)
        chance = self._chance(values[:1], 1)
        state = State.DROPPED if chance < FUTILE else State.OPEN
        return Standing(candidate=self.order[place], state=state, seeds=len(values), mean=float(values.mean()), chance=chance)


def explain(step: Step, rules: Rules, beside: float = 0.0) -> str:
    """Say why nothing was chosen and what a decision would take, in a sentence or two; empty if a subset was chosen.

    `beside` is what full data's further seeds cost: the budget that a person gives holds them, that of `rules` does not.
    """
    if step.chosen is not None:
        return ""
    known = [found for found in step.standings if found.seeds]
    if not known:
        return "No candidate was fine-tuned; raise the budget (--budget-runs)."
    best = max(known, key=lambda found: found.mean)
    start = (
        f"No smaller set was shown to be within {rules.margin * 100:g} pp of full data. "
        f"The best, {best.candidate.name}, is at {best.mean * 100:+.1f} pp after {best.seeds} of {rules.seeds} seeds."
    )
    if step.out_of_budget:
        left = min((found.candidate.cost * (rules.seeds - found.seeds) for found in step.standings if _open(found)), default=0.0)
        return f"{start} The budget is spent: deciding on one more candidate takes --budget-runs {_up(step.spent + left + beside)}."
    if best.mean >= -rules.margin:
        return f"{start} That is within the {rules.margin * 100:g} pp, but so few seeds do not show it; measure more seeds of it."
    return f"{start} To accept it, give up more (--give-up {_up(-best.mean * 100 + 0.05, 1)} or above), or measure more seeds of it."


def _open(found: Standing) -> bool:
    return found.state in (State.OPEN, State.WAITING)


def _up(value: float, digits: int = 1) -> str:
    scale = 10**digits
    return f"{max(0.0, ceil(value * scale - 1e-9) / scale):g}"
