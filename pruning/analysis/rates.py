"""Success rates of few samples: intervals, what more samples would show, and how well a rate ranks examples. Pure.

Successes k of attempts n are binomial for each example. Intervals are Jeffreys' (Beta(k + 1/2, n - k + 1/2)); the empirical-Bayes
model adds one Beta(a, b) over all examples, fitted by maximum likelihood (a beta-binomial). No number of failures shows that an example
is impossible: 0 of 8 only says that its rate is under 31%, with 95% confidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize
from scipy.special import betaln

from pruning.formatting import counted

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

CONFIDENCE = 0.95
FLATTEST, SHARPEST = 0.01, 500.0
"""Range of the fitted a and b: beyond it more samples would show the same."""

FEW = 20
"""Examples below which the absence of groups that are all right or all wrong says nothing about a filter."""


def jeffreys(successes: Counts, attempts: Counts, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Return [N] lower and [N] upper end of the two-sided Jeffreys interval of each rate, 0..1; (0, 1) without attempts.

    Brown, Cai and DasGupta (2001).

    >>> low, high = jeffreys(np.array([0, 2, 8]), np.array([8, 8, 8]))
    >>> low.round(3), high.round(3)
    (array([0.   , 0.056, 0.738]), array([0.262, 0.592, 1.   ]))
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(attempts, dtype=np.float64)
    tail = (1 - confidence) / 2
    low = stats.beta.ppf(tail, k + 0.5, n - k + 0.5)
    high = stats.beta.ppf(1 - tail, k + 0.5, n - k + 0.5)
    return np.where(k > 0, low, 0.0), np.where(k < n, high, 1.0)


def upper_bound(attempts: int, confidence: float = CONFIDENCE) -> float:
    """Return the rate that an example with 0 successes is under, with that one-sided confidence (exact: 1 - (1 - c)^(1/n)); 1 for none.

    >>> [round(upper_bound(n), 3) for n in (4, 8, 16, 32, 64)]
    [0.527, 0.312, 0.171, 0.089, 0.046]
    """
    return float(1 - (1 - confidence) ** (1 / attempts)) if attempts else 1.0


def pass_at(k: int, successes: Counts, attempts: Counts) -> Floats:
    """Return [N] unbiased estimate of the chance that at least one of k samples is right: 1 - C(n - c, k) / C(n, k); nan where n < k.

    Chen et al. (2021).

    >>> pass_at(2, np.array([0, 1, 3, 1]), np.array([4, 4, 4, 1]))
    array([0. , 0.5, 1. , nan])
    """
    c, n = np.asarray(successes, dtype=np.float64), np.asarray(attempts, dtype=np.float64)
    missed = np.ones(len(c))
    for step in range(k):
        with np.errstate(divide="ignore", invalid="ignore"):
            missed *= np.clip((n - c - step) / (n - step), 0.0, None)
    return np.where(n >= k, 1 - missed, np.nan)


@dataclass(frozen=True, slots=True)
class Prior:
    """Beta(a, b): the distribution of success rates over the examples."""

    a: float
    b: float

    @property
    def mean(self) -> float:
        """Mean success rate, 0..1."""
        return self.a / (self.a + self.b)

    def posterior_mean(self, successes: Counts, attempts: Counts) -> Floats:
        """Return [N] expected rate of each example, (k + a) / (n + a + b); the set's own mean without attempts."""
        return (np.asarray(successes) + self.a) / (np.asarray(attempts) + self.a + self.b)

    def interval(self, successes: Counts, attempts: Counts, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
        """Return [N] lower and [N] upper end of the central credible interval of each rate, 0..1."""
        tail, k, n = (1 - confidence) / 2, np.asarray(successes), np.asarray(attempts)
        both = stats.beta.ppf([[tail], [1 - tail]], k + self.a, n - k + self.b)
        return both[0], both[1]

    def reliability(self, attempts: float) -> float:
        """Return how well a rate of that many attempts ranks examples: n / (n + a + b), 0..1."""
        return attempts / (attempts + self.a + self.b)

    def solved_with_more(self, successes: Counts, attempts: Counts, more: int) -> Floats:
        """Return [N] chance that at least one of `more` further samples is right."""
        k, n = np.asarray(successes, dtype=np.float64), np.asarray(attempts, dtype=np.float64)
        a, b = k + self.a, n - k + self.b
        return 1 - np.exp(betaln(a, b + more) - betaln(a, b))


def fit_prior(successes: Counts, attempts: Counts) -> Prior:
    """Return the Beta(a, b) whose beta-binomial fits the counts best (maximum likelihood); Beta(1/2, 1/2) for fewer than two examples.

    a and b are between `FLATTEST` and `SHARPEST`. Examples without attempts say nothing.
    """
    pairs, weight = np.unique(np.stack([successes, attempts])[:, np.asarray(attempts) > 0], axis=1, return_counts=True)
    if weight.sum() < 2:
        return Prior(0.5, 0.5)
    k, n = pairs.astype(np.float64)

    def loss(logs: Floats) -> float:
        a, b = np.exp(logs)
        return -float(weight @ (betaln(k + a, n - k + b) - betaln(a, b)))

    bounds = [(np.log(FLATTEST), np.log(SHARPEST))] * 2
    starts = [np.log([0.5, 0.5]), np.log([2.0, 2.0])]
    found = min((minimize(loss, start, method="L-BFGS-B", bounds=bounds) for start in starts), key=lambda fit: float(fit.fun))
    return Prior(*map(float, np.exp(found.x)))


def above_chance(successes: Counts, attempts: Counts, chance: float) -> NDArray[np.bool_]:
    """Return [N] True where so many successes are unlikely (5%) for somebody who guesses with probability `chance`.

    A one-sided binomial test for each example; with chance 0, True from one success on.

    >>> above_chance(np.array([0, 1, 4, 6]), np.array([8, 8, 8, 8]), 0.25)
    array([False, False, False,  True])
    """
    k = np.asarray(successes)
    if chance <= 0:
        return np.asarray(k > 0)
    return np.asarray((k > 0) & (stats.binom.sf(k - 1, np.asarray(attempts), chance) < 1 - CONFIDENCE))


def already_filtered(successes: Counts, attempts: Counts) -> str:
    """Return a warning where no example is all right or all wrong, as after dynamic sampling; empty otherwise."""
    several = np.asarray(attempts) >= 2
    uniform = (np.asarray(successes) == 0) | (np.asarray(successes) == np.asarray(attempts))
    if several.sum() < FEW or (uniform & several).any():
        return ""
    return (
        f"None of {int(several.sum()):,} prompts is all right or all wrong: the log looks filtered already (dynamic sampling drops such "
        "prompts), so it says nothing about what was left out; import the unfiltered log if there is one."
    )


def never_solved(successes: Counts, attempts: Counts, prior: Prior, more: int = 8) -> str:
    """Return what few samples say about the examples that were never right, in a sentence; empty where there are none.

    >>> sentence = never_solved(np.array([0, 0, 4, 8]), np.array([8, 8, 8, 8]), Prior(0.5, 0.5))
    >>> sentence.partition(" With 8")[0]
    '2 of 4 prompts were never right. 0 of 8: under 31% with 95% confidence.'
    """
    sampled = np.asarray(attempts) > 0
    never = (np.asarray(successes) == 0) & sampled
    if not never.any():
        return ""
    tried = np.unique(np.asarray(attempts)[never])
    ends = list(dict.fromkeys([int(tried[0]), int(tried[-1])]))
    bounds = "; ".join(f"0 of {n}: under {100 * upper_bound(n):.0f}% with 95% confidence" for n in ends)
    expected = float(prior.solved_with_more(np.asarray(successes)[never], np.asarray(attempts)[never], more).sum())
    count = int(never.sum())
    about = f"about {expected:,.0f}" if expected >= 0.5 else "fewer than 1"
    return (
        f"{count:,} of {counted(int(sampled.sum()), 'prompt')} {'was' if count == 1 else 'were'} never right. {bounds}. "
        f"With {more} more samples each, {about} of them would be right once or more."
    )
