"""Does H tell difficulty or luck, and are the runs enough? Pure functions over a recording.

Two questions that a recording can answer about itself, each with numbers for a chart and one sentence for a person:
`burn_in_advice` (how much being right depended on when an example came up, and which epochs to leave out of H) and `stability`
(would another scoring rank the examples the same, and how much would more runs change).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import isnan, nan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from pruning.analysis.scores import check_burn_in, missing
from pruning.errors import ScoreError
from pruning.formatting import counted, from_to
from pruning.records import Dynamics

Floats = NDArray[np.float64]

BINS = 20
"""Places within an epoch that the order effect is shown at."""

LUCK = 0.25
"""Share of easy examples that luck may keep from the highest H before an epoch is better left out."""

UNTRAINED = 64
"""The first so many places of a run (but at most one bin): what a model that has learned nothing gets right there."""

BEGUN = 0.5
"""Share of what the model learns in all from which it counts as having begun to learn."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OrderEffect:
    """How being right depended on the place within one epoch."""

    epoch: int
    accuracy: Floats
    """[R, bins] share right, by run and place within the epoch; nan where a bin is empty."""
    early: float
    """Share right in the first fifth of the epoch, over all runs."""
    settled: float
    """Share right in the last quarter of the epoch, over all runs."""
    begun: bool
    """True when the model had learned at least BEGUN of what it knows in the end when the epoch ended."""
    lost: float
    """Share of looks lost to coming early: `settled` (of the last epoch where this one had not `begun`) minus the epoch's accuracy; 0
    where that is not beyond chance (2 errors)."""
    luck: float
    """Chance that an example which the settled model gets right is wrong in some run for coming early: 1 - (1 - lost)^R."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BurnInAdvice:
    """How many epochs to leave out of H, and why."""

    burn_in: int
    effects: tuple[OrderEffect, ...]
    """One per epoch."""
    sentence: str


def burn_in_advice(dynamics: Dynamics) -> BurnInAdvice:
    """Leave out the first epochs in which luck decides: those with `luck` above LUCK, but never the last epoch.

    Raises ScoreError when the recording does not say where in its epoch an example came.
    """
    effects = order_effects(dynamics)
    advised = next((effect.epoch for effect in effects if effect.luck <= LUCK), dynamics.epochs - 1)
    return BurnInAdvice(burn_in=advised, effects=effects, sentence=_advice(effects, advised, dynamics.runs))


def order_effects(dynamics: Dynamics) -> tuple[OrderEffect, ...]:
    """Of each epoch, the share right by place within it. Orders are random, so any trend is the model's, not the examples'.

    An epoch at whose end the model had learned less than BEGUN of what it knows in the end is compared with that end: there
    being right is a toss of a coin wherever an example came. Raises ScoreError when the recording has no position.
    """
    if "position" in missing(dynamics):
        raise ScoreError("The order effect needs position, which this recording does not have.")
    places = [_places(dynamics, epoch) for epoch in range(dynamics.epochs)]
    untrained = dynamics.position[:, 0] < min(UNTRAINED, -(-dynamics.examples // BINS))
    start, looks = float(dynamics.correct[:, 0][untrained].mean()), untrained.sum()
    end, at_end = _settled(*places[-1])
    learned = end - start if end - start > 3 * sqrt(0.25 / looks + 0.25 / max(1, at_end)) else 0.0
    effects = []
    for epoch, (right, seen) in enumerate(places):
        settled, _ = _settled(right, seen)
        begun = not learned or settled - start >= BEGUN * learned
        known, n, overall = settled if begun else end, seen.sum(), right.sum() / seen.sum()
        error = sqrt(max(known * (1 - known), overall * (1 - overall)) * 3 / n)  # of 3/4 (last quarter - the rest)
        lost = known - overall if known - overall > 2 * error else 0.0
        with np.errstate(invalid="ignore"):
            accuracy = right / seen
        fifth = BINS // 5
        effects.append(
            OrderEffect(
                epoch=epoch,
                accuracy=accuracy,
                early=float(right[:, :fifth].sum() / max(1, seen[:, :fifth].sum())),
                settled=settled,
                begun=begun,
                lost=float(lost),
                luck=float(1 - (1 - lost) ** dynamics.runs),
            )
        )
    return tuple(effects)


def _places(dynamics: Dynamics, epoch: int) -> tuple[Floats, Floats]:
    """[R, bins] how many were right, and how many came, at each place within that epoch."""
    right, seen = np.zeros((dynamics.runs, BINS)), np.zeros((dynamics.runs, BINS))
    for run in range(dynamics.runs):
        place = dynamics.position[run, epoch].astype(np.int64) * BINS // dynamics.examples
        right[run] = np.bincount(place, dynamics.correct[run, epoch], minlength=BINS)
        seen[run] = np.bincount(place, minlength=BINS)
    return right, seen


def _settled(right: Floats, seen: Floats) -> tuple[float, float]:
    """The share right in the last quarter of an epoch, and of how many looks."""
    looks = float(seen[:, BINS - BINS // 4 :].sum())
    return float(right[:, BINS - BINS // 4 :].sum()) / max(1.0, looks), looks


def _advice(effects: tuple[OrderEffect, ...], advised: int, runs: int) -> str:
    first, last = effects[0], effects[advised]
    trend = f"In the first epoch {first.early:.0%} were right early on and {first.settled:.0%} at its end"
    if advised == 0 and first.luck <= LUCK:
        return f"{trend}: when an example came up hardly matters, so H can count every epoch."
    why = "luck alone" if first.begun else "the model had hardly begun to learn, and luck alone"
    luck = f"{trend}: {why} keeps {first.luck:.0%} of the easy examples from H = {runs}"
    if len(effects) == 1:
        return f"{luck}, and there is no other epoch to count; score with more epochs."
    out = "that epoch" if advised == 1 else f"the first {advised} epochs"
    if last.luck > LUCK:
        return f"{luck}. Leave {out} out (burn-in {advised}), and score with more epochs: even the last one still depends on the order."
    return f"{luck}. Leave {out} out (burn-in {advised})."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Measured or expected result of a scoring with this many runs."""

    runs: int
    ticket: int
    """Expected size of the ticket (0 < H < R), which only grows with runs."""
    rank_agreement: float
    """Expected Spearman correlation of its H with that of another such scoring; nan where it cannot be estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """How far H rests on these very runs."""

    runs: int
    ticket: int
    """Examples with 0 < H < R."""
    last_run_added: float
    """Share of the ticket that the last run added, averaged over which run is last; nan for an empty ticket."""
    rank_agreement: float
    """Expected Spearman correlation of H with that of another scoring of as many runs; nan with one run."""
    rank_ci95: tuple[float, float]
    """Student's t interval over runs and examples (jackknife of runs, bootstrap of examples); (nan, nan) below three runs."""
    half_rank: float
    """Spearman correlation of H between disjoint halves of the runs; nan with one run."""
    half_rank_ci95: tuple[float, float]
    """Bootstrap interval over examples, for these very runs."""
    half_jaccard: float
    """Overlap of the tickets of two disjoint halves of the runs, 0..1; nan below four runs (a half of one run has no ticket)."""
    half_jaccard_ci95: tuple[float, float]
    by_runs: tuple[Outlook, ...]
    """One to R of these runs, the ticket averaged over which they are."""
    outlook: tuple[Outlook, ...]
    """Two and six runs more."""
    sentence: str

    @property
    def so_far(self) -> str:
        """The sentence as it is said while more runs are to come: after how many."""
        return f"After {counted(self.runs, 'run')}: {self.sentence}"

    @property
    def about_halves(self) -> str:
        """Agreement of two halves of the runs, in a sentence; empty where it cannot be estimated."""
        if isnan(self.half_rank):
            return ""
        ranks = f"Two halves of the runs rank the examples alike to {self.half_rank:.2f} ({from_to(self.half_rank_ci95, '.2f')})"
        if isnan(self.half_jaccard):
            return f"{ranks}."
        return f"{ranks}, and their tickets have {self.half_jaccard:.0%} in common ({from_to(self.half_jaccard_ci95, '.0%')})."

    @property
    def about_more(self) -> str:
        """Likely effect of more runs, in a sentence; empty where it cannot be estimated."""
        if isnan(self.rank_agreement):
            return ""
        told = [
            f"with {later.runs - self.runs} more runs the ticket would have about {later.ticket:,} examples and the ranks would agree to "
            f"{later.rank_agreement:.2f}"
            for later in self.outlook
        ]
        now = f"Now the ticket has {self.ticket:,} examples and the ranks agree to {self.rank_agreement:.2f}"
        return f"{now}; {'; '.join(told)}."

    def ranks_settled(self, threshold: float) -> bool:
        """Return True when the rank agreement is at least `threshold` with 95% confidence. The set itself keeps growing with runs."""
        return self.rank_ci95[0] >= threshold


def stability(correct: NDArray[np.bool_], burn_in: int = 0, resamples: int = 200, seed: int = 0) -> Stability:
    """What H of a recording [R, E, N] rests on. Everything follows from how often each pattern of runs occurs."""
    check_burn_in(burn_in, correct.shape[1])
    runs, examples = correct.shape[0], correct.shape[2]
    patterns, counts = _patterns(np.asarray(correct[:, burn_in:].all(axis=1)))
    histogram = np.bincount(patterns.sum(axis=0), counts, minlength=runs + 1).astype(np.int64)
    ticket = int(histogram[1:runs].sum())
    draws = np.random.default_rng(seed).multinomial(examples, counts / examples, size=resamples)
    ranks, overlaps = _halves(patterns, np.vstack([counts, draws]), seed)
    agreement = _stepped(ranks, runs // 2, runs)
    fewer = {n: _mean_ticket(histogram, n) for n in range(1, runs + 1)}
    more = {runs + n: _expected_ticket(histogram, n) for n in (2, 6)}
    by_runs, outlook = (
        tuple(Outlook(runs=n, ticket=size, rank_agreement=float(_stepped(ranks[:1], runs // 2, n)[0])) for n, size in tickets.items())
        for tickets in (fewer, more)
    )
    added = (histogram[1] + histogram[runs - 1]) / (runs * ticket) if ticket else nan
    return Stability(
        runs=runs,
        ticket=ticket,
        last_run_added=float(added),
        rank_agreement=float(agreement[0]),
        rank_ci95=_over_runs(patterns, counts, agreement, seed),
        half_rank=float(ranks[0]),
        half_rank_ci95=_percentiles(ranks[1:]),
        half_jaccard=float(overlaps[0]),
        half_jaccard_ci95=_percentiles(overlaps[1:]),
        by_runs=by_runs,
        outlook=outlook,
        sentence=_verdict(histogram, float(added), float(agreement[0]), outlook),
    )


def _patterns(whole: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """The different columns of [R, N], as [R, P], and how often each occurs, [P]."""
    code = np.zeros(whole.shape[1], dtype=np.int64)
    for run in whole:  # renumbered on the way, so that any number of runs fits
        _, code = np.unique(2 * code + run, return_inverse=True)
    _, first, counts = np.unique(code, return_index=True, return_counts=True)
    return whole[:, first], counts


def _halves(patterns: NDArray[np.bool_], counts: NDArray[np.int64], seed: int) -> tuple[Floats, Floats]:
    """Mean rank correlation of H, and mean Jaccard of tickets, between disjoint halves; for each row of counts [B, P]."""
    runs, half = len(patterns), len(patterns) // 2
    if half == 0:
        return np.full(len(counts), nan), np.full(len(counts), nan)
    ranks, overlaps = [], []
    for first, second in _splits(runs, seed):
        a, b = patterns[first].sum(axis=0), patterns[second].sum(axis=0)
        cells = np.zeros((patterns.shape[1], half + 1, half + 1))
        cells[np.arange(len(a)), a, b] = 1
        tables = np.tensordot(counts.astype(np.float64), cells, axes=1)
        ranks.append(_spearman(tables))
        inside_a, inside_b = (a > 0) & (a < half), (b > 0) & (b < half)
        either = counts @ (inside_a | inside_b)
        with np.errstate(invalid="ignore"):
            overlaps.append(np.where(either > 0, counts @ (inside_a & inside_b) / either, nan))
    return np.mean(ranks, axis=0), np.mean(overlaps, axis=0)


def _over_runs(patterns: NDArray[np.bool_], counts: NDArray[np.int64], agreement: Floats, seed: int) -> tuple[float, float]:
    """The interval of agreement[0], whose bootstrap over examples follows it: other runs would have other luck as well.

    Simulated, its lower end lies above the truth in at most 4% of scorings; that of the bootstrap alone in up to 39%.
    """
    runs = len(patterns)
    if runs < 3 or np.isnan(agreement).all():
        return nan, nan
    without = [_halves(np.delete(patterns, run, axis=0), counts[None], seed)[0] for run in range(runs)]
    left_out = _stepped(np.concatenate(without), (runs - 1) // 2, runs)
    by_runs = (runs - 1) ** 2 / runs * left_out.var(ddof=1)
    half = stats.t.ppf(0.975, runs - 1) * sqrt(by_runs + float(np.nanvar(agreement[1:])))
    low, high = np.clip([agreement[0] - half, agreement[0] + half], -1, 1)
    return float(low), float(high)


def _splits(runs: int, seed: int, most: int = 20) -> list[tuple[list[int], list[int]]]:
    """Different ways to take two disjoint halves of the runs: all of them, or `most` at random; a run left over sits out."""
    half = runs // 2
    if runs <= 6:
        pairs = [(a, b) for a in combinations(range(runs), half) for b in combinations(sorted(set(range(runs)) - set(a)), half) if a < b]
        return [(list(a), list(b)) for a, b in pairs]
    orders = [np.random.default_rng([seed, index]).permutation(runs) for index in range(most)]
    return [(order[:half].tolist(), order[half : 2 * half].tolist()) for order in orders]


def _spearman(tables: Floats) -> Floats:
    """[B] Spearman correlation (ties at their mean rank) of the two coordinates of each contingency table [B, m, m]."""
    total = tables.sum(axis=(1, 2))
    centred = []
    for axis in (2, 1):
        margin = tables.sum(axis=axis)
        centred.append(margin.cumsum(axis=1) - margin / 2 - total[:, None] / 2)
    rows, columns = centred
    spread = (tables.sum(axis=2) * rows**2).sum(axis=1) * (tables.sum(axis=1) * columns**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, np.einsum("bij,bi,bj->b", tables, rows, columns) / np.sqrt(spread), nan)


def _stepped(correlation: Floats, of: int, to: int) -> Floats:
    """Spearman-Brown: from the correlation between two sets of `of` runs, that between two sets of `to` runs.

    No agreement (0 or less) stays what it is: more of it is not more agreement.
    """
    if of == 0:
        return np.full_like(correlation, nan)
    agreed = np.maximum(correlation, 0.0)
    return np.where(correlation > 0, to * agreed / (of + (to - of) * agreed), correlation)


def _expected_ticket(histogram: NDArray[np.int64], more: int) -> int:
    """Ticket after `more` runs, if success rates follow the beta distribution that fits the histogram of H best."""
    runs = len(histogram) - 1
    h = np.arange(runs + 1)

    def misfit(logs: Floats) -> float:
        return -float(histogram @ stats.betabinom.logpmf(h, runs, *np.exp(logs)))

    a, b = np.exp(optimize.minimize(misfit, np.zeros(2), method="Nelder-Mead", bounds=[(-7, 7)] * 2).x)
    never = np.exp(special.betaln(a, b + runs + more) - special.betaln(a, b + runs))
    always = np.exp(special.betaln(a + runs + more, b) - special.betaln(a + runs, b))
    return round(float(histogram[1:runs].sum() + histogram[0] * (1 - never) + histogram[runs] * (1 - always)))


def _mean_ticket(histogram: NDArray[np.int64], fewer: int) -> int:
    """Mean size of the tickets that `fewer` of the runs have, over all ways to choose them."""
    runs = len(histogram) - 1
    h = np.arange(runs + 1)
    agreed = (special.comb(h, fewer) + special.comb(runs - h, fewer)) / special.comb(runs, fewer)
    return round(float(histogram @ (1 - agreed)))


def _percentiles(values: Floats) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return nan, nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _verdict(histogram: NDArray[np.int64], added: float, agreement: float, outlook: tuple[Outlook, ...]) -> str:
    runs, ticket, more = len(histogram) - 1, int(histogram[1:-1].sum()), outlook[0]
    if runs == 1:
        return "One run cannot say how steady H is; score with more runs."
    if np.count_nonzero(histogram) == 1:
        return "H is the same for every example."
    if isnan(agreement):
        return "In half of the runs H is the same for every example, so how steady it is cannot be told."
    grown = f"two more runs would let about {more.ticket - ticket:,} more examples into the ticket" if ticket else "the ticket is empty"
    share = "" if isnan(added) else f"the last run added {added:.0%} of the ticket, and "
    return f"Another {runs} runs would rank the examples alike to {agreement:.2f} (1 = exactly); {share}{grown}."
