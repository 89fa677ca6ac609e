"""Fit the learning rate in rounds: what each of them tries, the choice from held-out losses, and the correction for steps. Pure.

Candidates train on a small draw of the training rows, each with its own whole schedule: those in the middle first, then the neighbour
of the best one as long as the best is at an end. The next round does the same on a larger draw, from that best one downwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import ceil, exp, inf, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.formatting import counted, scientific

CANDIDATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3)
"""Peak rates tried where all weights are trained; adapters get `ADAPTERS` times these."""

ADAPTERS = 10
"""Factor between the candidates of adapters and those of all weights."""

FEWEST_HELD_OUT, MOST_HELD_OUT = 200, 2000
"""Bounds of the held-out tenth of the training rows; a fifth of them is never exceeded."""

LADDERS: tuple[tuple[float, tuple[float, ...]], ...] = ((1500, (0.1, 0.35)), (4000, (0.1, 0.25)), (inf, (0.05, 0.15)))
"""Below how many rows: the share of the rows that a candidate trains on in each round."""

FIRST, LATER = 4, 2
"""Candidates that the first round starts with, those in the middle; and a later one: the best of the round before and the next smaller
one, since more steps want smaller rates."""

EXPONENT = 0.3
"""The best rate falls like steps to the power of minus this: with it, what won in draws of 33 to 57 steps is the best or next to the best
of a full grid in whole runs of 96 to 375 steps (benchmarks/results/learning_rate.md)."""

FEWEST_ROWS = 200
"""Fewest rows of a draw, where there are as many: on fewer, untrained models have the lowest loss and the slowest candidate would win."""

SEEDS = (7919,)
"""Seeds of the search; no scoring run uses them."""

RULE = (
    "lowest mean held-out loss at the best temperature, between candidates by a parabola through the best one and its neighbours; "
    "every seed must beat the majority class"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of the search."""

    candidates: int
    """Rates that it starts with."""
    rows: int
    """Training rows that each of them is trained on."""
    seeds: tuple[int, ...]
    """One run of each candidate per seed."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Trial:
    """One run of the search on the held-out examples, every array [n]."""

    rate: float
    seed: int
    loss: NDArray[np.float64]
    """Loss of each example in nats; not finite where training diverged."""
    compared: NDArray[np.float64]
    """The loss that candidates are compared by: in the last round the same at the best temperature (`predictions.scaled_loss`)."""
    correct: NDArray[np.bool_]
    seconds: float = 0.0
    """Training time."""

    @property
    def diverged(self) -> bool:
        """True where a loss is not a number or infinite."""
        return not bool(np.isfinite(self.loss).all())


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Baseline:
    """Predictions that need no text, on the same held-out examples: the most frequent answer, and the answers' frequencies."""

    correct: NDArray[np.bool_]
    """[n] True where the most frequent answer is right."""
    loss: NDArray[np.float64]
    """[n] Loss of predicting the frequencies; nan where the task has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateFit:
    """A fitted learning rate and how it was found, as kept in experiment.json."""

    rate: float | None
    """The fitted peak rate; None where no candidate learned anything."""
    sentence: str
    """The result in words."""
    rounds: tuple[Mapping[str, Any], ...]
    """Each round's rows, steps, seeds and, per candidate, rate, mean held-out loss (null where it diverged) and accuracy."""
    rows: int
    """Training rows of the experiment."""
    held_out: int
    """Training rows held out to judge by."""
    majority: float
    """Accuracy of the most frequent answer on them, 0..1."""
    few_rows: bool
    """True where fewer than `FEWEST_HELD_OUT` could be held out."""
    runs: float
    """Training cost in full runs."""
    seconds: float
    """Training time of all its runs together."""
    rule: str = RULE
    best: float | None = None
    """The best candidate of the last round, before the correction for steps."""
    taken_from: str = ""
    """Name of the experiment that the rate was taken over from."""
    diverged: tuple[float, ...] = field(default=())
    """Candidates whose loss became NaN."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `from_dict` is the inverse."""
        return {**asdict(self), "rounds": [dict(each) for each in self.rounds], "diverged": list(self.diverged)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RateFit:
        """Return the fit that `to_dict` gave these values; unknown names are ignored."""
        known = {each.name for each in fields(cls)}
        kept = {name: value for name, value in values.items() if name in known}
        return cls(**{**kept, "rounds": tuple(kept["rounds"]), "diverged": tuple(kept.get("diverged", ()))})


def candidates(lora_rank: int | None = 0) -> tuple[float, ...]:
    """Return the candidate rates, ascending.

    >>> candidates(lora_rank=8)[0]
    0.0001
    """
    return tuple(float(f"{ADAPTERS * rate:.0e}") for rate in CANDIDATES) if lora_rank else CANDIDATES


def held_out_size(rows: int) -> int:
    """Return how many of the training rows are held out: a tenth within bounds, at most a fifth.

    >>> [held_out_size(rows) for rows in (300, 1000, 4000, 100_000)]
    [60, 200, 400, 2000]
    """
    return min(max(rows // 10, FEWEST_HELD_OUT), MOST_HELD_OUT, rows // 5)


def rounds(rows: int) -> tuple[Round, ...]:
    """Return the rounds of a search on so many training rows; what is held out trains in none of them.

    >>> [(each.candidates, each.rows) for each in rounds(4000)]
    [(4, 200), (2, 600)]
    >>> [(each.candidates, each.rows) for each in rounds(1000)]
    [(4, 200), (2, 350)]
    """
    pool = rows - held_out_size(rows)
    shares = next(shares for below, shares in LADDERS if rows < below)
    sizes = [min(pool, max(FEWEST_ROWS, round(share * rows))) for share in shares]
    return tuple(Round(candidates=LATER if number else FIRST, rows=size, seeds=SEEDS) for number, size in enumerate(sizes))


def start(offered: Sequence[float], best: float | None = None) -> tuple[float, ...]:
    """Return the rates that a round starts with, ascending: those in the middle, or after another round its best and the next smaller.

    >>> start(CANDIDATES), start(CANDIDATES, best=1e-4)
    ((5e-05, 0.0001, 0.0002, 0.0005), (5e-05, 0.0001))
    """
    if best is None:
        first = max(0, (len(offered) - FIRST + 1) // 2)
        return tuple(offered[first : first + FIRST])
    return below(offered, best)[-LATER:]


def below(offered: Sequence[float], best: float | None) -> tuple[float, ...]:
    """Return the rates that a round may try: after another round those up to its best."""
    return tuple(rate for rate in offered if best is None or rate <= best)


def further(trials: Sequence[Trial], offered: Sequence[float]) -> float | None:
    """Return the rate to try next, the neighbour of the best one; None where the best is at no end of those tried, or there is no other."""
    tried, best = sorted({trial.rate for trial in trials}), lowest(trials)
    smaller, larger = [rate for rate in offered if rate < tried[0]], [rate for rate in offered if rate > tried[-1]]
    if best == tried[0] and smaller:
        return smaller[-1]
    return larger[0] if best == tried[-1] and larger else None


def by_plain_loss(trial: Trial) -> Trial:
    """Return the trial to be compared by its plain loss, as in every round but the last.

    On few rows a rate at which a whole run is unstable may tell examples apart, but it is wrongly sure. That keeps it out of the last
    round (benchmarks/results/learning_rate.md).
    """
    return replace(trial, compared=trial.loss)


def mean_loss(trials: Sequence[Trial], rate: float) -> float:
    """Return a candidate's mean held-out loss over examples and seeds; infinite where a seed diverged or there is none."""
    own = [trial for trial in trials if trial.rate == rate]
    return inf if not own or any(trial.diverged for trial in own) else float(np.mean([trial.compared.mean() for trial in own]))


def lowest(trials: Sequence[Trial]) -> float:
    """Return the candidate of the lowest mean held-out loss; of equal losses the smaller rate."""
    return min(sorted({trial.rate for trial in trials}), key=lambda rate: mean_loss(trials, rate))


def handed_on(trials: Sequence[Trial]) -> float:
    """Return the rate that the next round starts from: the smallest within one standard error of the lowest mean held-out loss.

    The standard error is that of the difference to the best candidate, paired by example, with losses averaged over seeds (Breiman et al.
    1984, Classification and Regression Trees). Few rows favour rates at which a whole run is unstable.
    """
    best = lowest(trials)
    reference = _by_example(trials, best)
    for rate in sorted({trial.rate for trial in trials if mean_loss(trials, trial.rate) < inf}):
        difference = _by_example(trials, rate) - reference
        if difference.mean() <= (difference.std(ddof=1) / sqrt(len(difference)) if len(difference) > 1 else 0.0):
            return rate
    return best


def optimum(trials: Sequence[Trial]) -> float | None:
    """Return the rate of the lowest mean held-out loss, not only among candidates; None where every candidate diverged.

    It is where a parabola over log rates through the best candidate and its two neighbours is lowest, or the best one itself where a
    neighbour was not tried or diverged.
    """
    rates, best = sorted({trial.rate for trial in trials}), lowest(trials)
    place = rates.index(best)
    near = rates[max(0, place - 1) : place + 2]
    losses = [mean_loss(trials, rate) for rate in near]
    if mean_loss(trials, best) == inf:
        return None
    if len(near) < 3 or max(losses) == inf or min(losses[0], losses[2]) == losses[1]:
        return best
    bend, slope, _ = np.polyfit(np.log(near) - log(best), losses, 2)
    return best * exp(-slope / (2 * bend))


def beats_majority(trials: Sequence[Trial], rate: float, baseline: Baseline) -> bool:
    """Return True if a candidate predicts better than an answer that needs no text.

    No seed may be right less often than the most frequent answer is; and over all seeds the candidate must beat, by two standard
    errors, either that answer in accuracy or the frequencies of the answers in loss. The second way counts for rare classes:
    there a model learns long before it is right more often than the majority class is.
    """
    own = [trial for trial in trials if trial.rate == rate]
    if any(trial.correct.mean() < baseline.correct.mean() for trial in own):
        return False
    right = np.mean([trial.correct for trial in own], axis=0) - baseline.correct
    return _above_zero(right) or _above_zero(baseline.loss - np.mean([trial.loss for trial in own], axis=0))


def corrected(rate: float, steps: int, full_steps: int, exponent: float = EXPONENT) -> float:
    """Return `rate` scaled from `steps` to `full_steps` optimizer steps, with two digits.

    The best rate falls with the steps of a run like steps to the power of -`exponent`.

    >>> corrected(5e-4, steps=100, full_steps=400, exponent=0.5)
    0.00025
    """
    return float(f"{rate * (max(1, full_steps) / max(1, steps)) ** -exponent:.1e}")


def steps(rows: int, epochs: int, batch_size: int) -> int:
    """Return the optimizer steps of a run."""
    return epochs * ceil(rows / batch_size)


def cost_in_runs(told: Sequence[Mapping[str, Any]], rows: int) -> float:
    """Return what the rounds trained, each as `round_dict` gives it, in runs on all the rows."""
    return sum(len(each["candidates"]) * len(each["seeds"]) * each["rows"] for each in told) / rows


def round_dict(trials: Sequence[Trial], rows: int, steps_each: int) -> dict[str, Any]:
    """Return one round as kept in experiment.json."""
    told = []
    for rate in sorted({trial.rate for trial in trials}):
        loss = mean_loss(trials, rate)
        accuracy = float(np.mean([trial.correct.mean() for trial in trials if trial.rate == rate]))
        known = loss < inf
        told.append({"rate": rate, "loss": round(loss, 6) if known else None, "accuracy": round(accuracy, 6) if known else None})
    return {"rows": rows, "steps": steps_each, "seeds": sorted({trial.seed for trial in trials}), "candidates": told}


def praise(rate: float, count: int, held_out: int, runs: float, diverged: Sequence[float], few: bool) -> str:
    """Return the sentence about a fitted rate."""
    text = (
        f"Learning rate {scientific(rate)}, fitted with {count} candidates on {counted(held_out, 'held-out training example')}, "
        f"at the cost of {runs:.1f} runs."
    )
    if few:
        text += " Few rows to judge by."
    if diverged:
        text += f" {_listed(diverged)} diverged: the loss became NaN."
    return text


def nothing_generated(tried: Sequence[float], held_out: int, loss: float, frequencies: float) -> str:
    """Return the sentence where no candidate learned to write answers; both losses are nats a token, means over answers."""
    span = f"from {scientific(min(tried))} to {scientific(max(tried))}"
    return (
        f"No learning rate {span} predicts {counted(held_out, 'held-out answer')} better than the frequencies of their tokens do "
        f"(loss {loss:.3f}, frequencies {frequencies:.3f}): train longer (--epochs), use another --model, or give a number with "
        "--learning-rate."
    )


def nothing_learned(tried: Sequence[float], held_out: int, accuracy: float | None, majority: float) -> str:
    """Return the sentence where no candidate learned anything."""
    span = f"from {scientific(min(tried))} to {scientific(max(tried))}"
    if accuracy is None:
        return f"The loss became NaN at every learning rate {span}; use --precision fp32, or another --model."
    return (
        f"No learning rate {span} beats the majority class on {counted(held_out, 'held-out training example')} "
        f"(accuracy {accuracy:.3f}, majority class {majority:.3f}): train longer (--epochs), use another --model, "
        "or check whether the labels follow from the text."
    )


def _by_example(trials: Sequence[Trial], rate: float) -> NDArray[np.float64]:
    return np.asarray(np.mean([trial.compared for trial in trials if trial.rate == rate], axis=0))


def _above_zero(values: NDArray[np.float64]) -> bool:
    """Return True if the mean is more than two standard errors above 0."""
    if len(values) < 2 or not np.isfinite(values).all():
        return False
    return bool(values.mean() > 2 * values.std(ddof=1) / sqrt(len(values)))


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(scientific(rate) for rate in rates)
