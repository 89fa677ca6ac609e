"""Expected success: the chance that one more run gets an example right in every epoch counted, from the probe and the runs so far.

Stacking (Wolpert 1992) fitted on the recording itself: each run's outcome is predicted from the probe and the *other* runs by
logistic regression, so that no outside truth is needed. How far single examples lie from their estimate follows from pairs of runs:
where two runs miss the estimate to the same side more often than chance, examples differ in ways that it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

from pruning.errors import ScoreError
from pruning.records import Dynamics

Floats = NDArray[np.float64]

LEAST = 1e-3
"""Probabilities lie between this and 1 minus this before their log-odds are taken, so that one very sure epoch does not decide."""

PAIRS = 15
"""Most pairs of runs that the interval rests on: all of six runs."""

UNSURE = 3.0
"""Precision of the interval with fewer than two runs: as that of a success rate known from so many runs. With the probe alone it
was measured as 2.3 to 3.6 on six sets (benchmarks/results/look.md)."""

AGREEMENT = {1: (0.62, 0.82), 2: (0.65, 0.84), 4: (0.67, 0.86)}
"""Runs -> least and greatest rank agreement (Spearman) of expected success, with a look, with the H of four other runs, over six sets of
1,000 to 4,000 rows (benchmarks/results/look.md). The H of four runs itself reaches 0.60 to 0.85."""

LEAST_PRECISION, MOST_PRECISION = 0.5, 1000.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExpectedSuccess:
    """Chance of success of each example, and how sure that is."""

    estimate: Floats
    """[N] expected share of new runs that get it right in every epoch counted, 0..1."""
    precision: float
    """The interval is that of a success rate known from so many runs, 0.5 to 1,000."""
    runs: int
    """Runs it rests on."""
    probe: bool
    """True where the probe is part of it."""
    weights: tuple[float, ...]
    """Intercept, weight of the other runs' log-odds and weight of the probe's; empty where nothing was fitted."""

    @property
    def interval(self) -> tuple[Floats, Floats]:
        """([N], [N]) 95% interval of each example's success rate: Beta quantiles around the estimate."""
        from scipy.stats import beta

        grid = np.linspace(LEAST, 1 - LEAST, 999)
        ends = (beta.ppf(share, grid * self.precision, (1 - grid) * self.precision) for share in (0.025, 0.975))
        low, high = (np.interp(self.estimate, grid, end) for end in ends)
        return np.minimum(low, self.estimate), np.maximum(high, self.estimate)

    @property
    def sentence(self) -> str:
        """Its sources in one sentence.

        >>> ExpectedSuccess(estimate=np.ones(1), precision=3.0, runs=2, probe=True, weights=()).sentence
        'Expected success from the probe and 2 runs.'
        """
        runs = f"{self.runs} run{'s' * (self.runs != 1)}"
        sources = [*["the probe"] * self.probe, *[runs] * (self.runs > 0)]
        return f"Expected success from {' and '.join(sources)}{'' if self.runs else ', before training'}."

    def histogram(self, bins: int = 10) -> NDArray[np.int64]:
        """[bins] examples by expected success, in equal steps from 0 to 1."""
        return np.histogram(self.estimate, bins=bins, range=(0.0, 1.0))[0].astype(np.int64)


def from_probe(gold: NDArray[np.floating]) -> ExpectedSuccess:
    """Return the estimate before any run: the probe's own probability of each label, [N].

    >>> from_probe(np.array([0.2, 0.9])).estimate
    array([0.2, 0.9])
    """
    return ExpectedSuccess(estimate=np.asarray(gold, dtype=np.float64), precision=UNSURE, runs=0, probe=True, weights=())


def expected_success(dynamics: Dynamics, burn_in: int = 0) -> ExpectedSuccess:
    """Return the estimate from a recording, and from its probe where there is one; the first `burn_in` epochs do not count.

    With two runs and more, the weights are fitted (see the module). With one run there is no other to predict: standardised log-odds
    of run and probe weigh one half each, the level is the run's own success rate, and the slope follows from how well the probe
    alone predicts the run. Raises ScoreError for one run without a probe.
    """
    outcomes: NDArray[np.bool_] = np.all(dynamics.correct[:, burn_in:], axis=1)
    probe = None if dynamics.probe is None else _log_odds(dynamics.probe)
    if dynamics.runs == 1 and probe is None:
        raise ScoreError("Expected success needs the look or two runs; with one run, add a look (python -m pruning look DIR).")
    sure = _surety(dynamics, burn_in)
    if dynamics.runs == 1 and probe is not None:
        return _of_one(outcomes[0], sure[0], probe)
    return _of_many(outcomes, sure, probe)


def _of_one(outcome: NDArray[np.bool_], sure: Floats, probe: Floats) -> ExpectedSuccess:
    """One run and the probe.

    For two standardised readings of the same hidden difficulty that correlate by r, their standardised sum follows it
    sqrt(2 / (1 + r)) times as closely as one of them, and so does its slope.
    """
    first, second = _standardised(sure), _standardised(probe)
    both = _standardised(first + second)
    agreement = float(np.clip((first * second).mean(), 0, 1))
    slope = float(max(0.0, _fitted(second[:, None], outcome)[1])) * np.sqrt(2 / (1 + agreement))
    level = _level(slope * both, float(outcome.mean()))
    return ExpectedSuccess(
        estimate=_chance(level + slope * both), precision=UNSURE, runs=1, probe=True, weights=(level, slope / 2, slope / 2)
    )


def _of_many(outcomes: NDArray[np.bool_], sure: Floats, probe: Floats | None) -> ExpectedSuccess:
    """Weights by leaving one run out, the interval by leaving two out; of two runs, that leaves the probe, or nothing.

    Certainty adds up over runs as precision does, so what the last two add is what each of the others added to the probe.
    """
    runs = len(outcomes)
    beside = [] if probe is None else [probe]
    total = sure.sum(axis=0)
    features = np.concatenate([np.stack([(total - sure[run]) / (runs - 1), *beside], axis=1) for run in range(runs)])
    weights = _fitted(features, outcomes.reshape(-1))
    estimate = _chance(weights[0] + np.stack([total / runs, *beside], axis=1) @ weights[1:])
    alone = np.zeros((len(total), 1)) if probe is None else probe[:, None]
    before = _fitted(alone, outcomes.mean(axis=0))

    def chance_without(left_out: tuple[int, int]) -> Floats:
        others = (total - sure[list(left_out)].sum(axis=0)) / (runs - 2)
        return _chance(weights[0] + np.stack([others, *beside], axis=1) @ weights[1:])

    pairs = list(islice(combinations(range(runs), 2), PAIRS))
    known = _certainty(outcomes, pairs, [_chance(before[0] + alone @ before[1:])] * len(pairs))
    if runs > 2:
        later = _certainty(outcomes, pairs, [chance_without(pair) for pair in pairs])
        known = later + max(0.0, later - known) * 2 / (runs - 2)  # two runs more than the pairs left in
    precision = float(np.clip(known - 1, LEAST_PRECISION, MOST_PRECISION))
    return ExpectedSuccess(
        estimate=estimate, precision=precision, runs=runs, probe=probe is not None, weights=tuple(float(weight) for weight in weights)
    )


def _certainty(outcomes: NDArray[np.bool_], pairs: list[tuple[int, int]], chances: list[Floats]) -> float:
    """Inverse share of the spread around these chances that both runs of a pair have in common: 1 = all of it, large = chance alone.

    For success rates that follow Beta(chance * precision, (1 - chance) * precision) it is precision + 1.
    """
    common = spread = 0.0
    for (one, two), chance in zip(pairs, chances, strict=True):
        common += float(((outcomes[one] - chance) * (outcomes[two] - chance)).mean())
        spread += float((chance * (1 - chance)).mean())
    return min(spread / max(common, 1e-12), 1 + MOST_PRECISION)


def _surety(dynamics: Dynamics, burn_in: int) -> Floats:
    """[R, N] log-odds of each run's mean gold probability over the epochs counted, or of its share of right epochs where none is known."""
    found = np.empty((dynamics.runs, dynamics.examples))
    unknown = bool(np.isnan(dynamics.first("gold_prob")).all())
    for run in range(dynamics.runs):
        values = dynamics.correct[run, burn_in:] if unknown else dynamics.gold_prob[run, burn_in:]
        found[run] = _log_odds(values.mean(axis=0, dtype=np.float64))
    return found


def _fitted(features: Floats, outcomes: NDArray[np.floating | np.bool_]) -> Floats:
    """[1 + F] intercept and weights of a logistic regression with a little shrinkage, by Newton's method; outcomes may be shares."""
    design = np.concatenate([np.ones((len(features), 1)), features], axis=1)
    target, weights = outcomes.astype(np.float64), np.zeros(design.shape[1])
    shrinkage = np.diag(np.r_[1e-3, np.ones(features.shape[1])])
    for _ in range(50):
        chance = _chance(design @ weights)
        slope = design.T @ (target - chance) - shrinkage @ weights
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + shrinkage
        step = np.linalg.solve(curve, slope)
        weights += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _level(values: Floats, mean: float) -> float:
    """Intercept with which the chances of `values` have that mean, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _chance(values + middle).mean() < mean else (low, middle)
    return (low + high) / 2


def _standardised(values: Floats) -> Floats:
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1.0)


def _log_odds(probabilities: NDArray[np.floating]) -> Floats:
    inside = np.clip(np.asarray(probabilities, dtype=np.float64), LEAST, 1 - LEAST)
    return np.log(inside / (1 - inside))


def _chance(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(values, -30, 30)))
