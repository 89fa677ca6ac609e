"""Recommend a subset of a measured frontier, or the seeds that would settle it; when scoring has paid for itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, isnan, sqrt

from scipy.special import stdtrit

from pruning.analysis.frontier import CONFIDENCE, FEWEST_SEEDS
from pruning.errors import UsageError
from pruning.formatting import counted, duration
from pruning.records import DECISIONS, Difference, FrontierPoint

MARGIN = 0.005
"""Default for the accuracy that may be given up for a smaller set, as a share: 0.5 pp."""

FIRST_LOOK, LATER_LOOKS = 0.7, 0.2
"""Share of the allowed error that a subset's first look may spend, and the ratio of each later look to the one before; all looks together
spend less than is allowed."""

ENOUGH_SEEDS = 12
"""Most seeds that are asked for; a difference that needs more does not matter in practice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The recommended subset, or the reason why there is none yet."""

    subset: str | None
    """None if no subset is shown to be good enough."""
    sentence: str
    more_seeds: int = 0
    """Additional seeds that would probably settle it; 0 if more would not help."""
    measure: tuple[str, ...] = ()
    """The subsets to spend those seeds on."""


def margin_of(points: float) -> float:
    """Return a margin given in percentage points as a share. Raises UsageError unless it is at least 0 and below 100.

    >>> margin_of(0.5)
    0.005
    """
    if not 0 <= points < 100:
        raise UsageError(f"margin must be at least 0 and below 100 (pp), got {points:g}.", "margin")
    return points / 100


def recommend(
    measured: Sequence[FrontierPoint],
    margin: float = MARGIN,
    confidence: float = CONFIDENCE,
    measuring: bool = False,
    refusal: str = "",
) -> Recommendation:
    """Recommend the smallest subset that is shown to hold accuracy; see `_smallest`.

    While a job is `measuring`, nothing is recommended: each look at part of its seeds would be another chance of error. With a `refusal`
    (`Learned.refusal`) nothing is recommended either, and the refusal is the sentence.
    """
    if refusal:
        return Recommendation(subset=None, sentence=refusal)
    if measuring:
        return Recommendation(subset=None, sentence="The recommendation follows when the measurement is complete.")
    return _smallest(measured, margin, confidence)


def _smallest(measured: Sequence[FrontierPoint], margin: float, confidence: float) -> Recommendation:
    """Recommend the smallest subset shown, with `confidence`, to lose no more than `margin` to full data.

    One-sided paired t-tests of non-inferiority, from the largest size down to the first size at which none passes. At one size the
    allowed error (1 - confidence) is divided among the subsets, and each subset's part among its looks. The chance of recommending any
    subset that loses more than the margin is thus at most 1 - confidence, however many were measured together and however often seeds
    were added after a look (benchmarks/results/recommendation.md); subsets added after a look bring an error of their own. Among those
    that pass at the smallest size, the best is recommended. Subsets with too few seeds to be judged are left out where others have enough:
    `prune` gives most candidates one seed.
    """
    if not any(point.subset == "full" for point in measured):
        return Recommendation(subset=None, sentence="Full data was not measured, so no subset can be compared with it.")
    sizes: dict[int, list[FrontierPoint]] = {}
    compared = [point for point in measured if point.vs_full is not None]
    judged = [point for point in compared if _to_full(point).pairs >= FEWEST_SEEDS]
    for point in judged or compared:
        sizes.setdefault(point.kept, []).append(point)
    if not sizes:
        return Recommendation(subset=None, sentence="No subset was measured yet; measure the frontier.")
    best: FrontierPoint | None = None
    for size in sorted(sizes, reverse=True):
        each = 1 - (1 - confidence) / len(sizes[size])
        passed = [point for point in sizes[size] if _passes(point, margin, each)]
        if not passed:
            if best is None:
                everything = tuple(point.subset for point in measured if point.vs_full is not None)
                return _none_yet(max(sizes[size], key=_mean), margin, each, everything)
            break
        best = max(passed, key=_mean)
    assert best is not None
    return Recommendation(subset=best.subset, sentence=_praise(best, margin, confidence))


def _passes(point: FrontierPoint, margin: float, confidence: float) -> bool:
    difference = _to_full(point)
    return difference.pairs >= FEWEST_SEEDS and lower_bound(difference, at_look(point.looks, confidence)) > -margin


def at_look(look: int, confidence: float) -> float:
    """Return the confidence that the given look at a subset needs.

    >>> [round(at_look(look, 0.95), 4) for look in (1, 2, 3)]
    [0.965, 0.993, 0.9986]
    """
    return 1 - (1 - confidence) * FIRST_LOOK * LATER_LOOKS ** (look - 1)


def lower_bound(difference: Difference, confidence: float = CONFIDENCE) -> float:
    """One-sided lower confidence bound of a paired difference; -inf with fewer than two pairs."""
    if difference.pairs < 2 or isnan(difference.low):
        return -inf
    freedom = difference.pairs - 1
    error = (difference.high - difference.mean) / stdtrit(freedom, 0.5 + CONFIDENCE / 2)
    return float(difference.mean - stdtrit(freedom, confidence) * error)


def payback(score_seconds: float, seconds_saved: float) -> int | None:
    """Return the number of fine-tunings after which scoring has paid for itself; None if the subset saves none.

    >>> payback(600, 45), payback(600, -1)
    (14, None)
    """
    return ceil(score_seconds / seconds_saved) if seconds_saved > 0 else None


def cost(scoring: float, point: FrontierPoint) -> str:
    """Say what scoring took, what the subset saves per fine-tuning, and when that has paid for scoring."""
    took = f"Scoring took {duration(scoring)} of training"
    if isnan(point.seconds_saved):
        return f"{took}."
    times = payback(scoring, point.seconds_saved)
    if times is None:
        tokens = f", but {point.tokens_saved:,} tokens each time" if point.tokens_saved else ""
        return f"{took}; {point.subset} saves no optimizer steps{tokens}."
    exactly = f"{point.steps_saved:,} steps" + ("" if point.tokens_saved is None else f", {point.tokens_saved:,} tokens")
    saved = f"{point.subset} saves {duration(point.seconds_saved)} per fine-tuning ({exactly})"
    return f"{took}; {saved}, so it pays back after {counted(times, 'fine-tuning')}."


def _to_full(point: FrontierPoint) -> Difference:
    assert point.vs_full is not None
    return point.vs_full


def _mean(point: FrontierPoint) -> float:
    mean = _to_full(point).mean
    return -inf if isnan(mean) else mean


def _praise(point: FrontierPoint, margin: float, confidence: float) -> str:
    seeds = counted(_to_full(point).pairs, "seed")
    text = (
        f"Recommended: {point.subset}, {point.kept:,} examples ({point.kept_fraction:.0%}): with {confidence:.0%} confidence at most "
        f"{margin * 100:g} pp worse than full data (measured: {_mean(point) * 100:+.1f} pp, paired over {seeds})."
    )
    return f"{text} {_against_random(point)}".strip()


def _against_random(point: FrontierPoint) -> str:
    """Compare the rule with a random subset of its size, in words."""
    if point.subset.startswith("random@") and not point.subset.endswith(DECISIONS):
        return f"It is a random draw: {point.subset.removeprefix('random@')} was no better at this size."
    if point.vs_random is None or isnan(point.vs_random.low):
        return ""
    if point.vs_random.low > 0:
        return f"It beats a random subset of the same size by {point.vs_random.mean * 100:.1f} pp."
    if point.vs_random.high < 0:
        return f"But a random subset of the same size does better, by {-point.vs_random.mean * 100:.1f} pp; use that instead."
    return "No difference from a random subset of the same size is shown."


def _none_yet(point: FrontierPoint, margin: float, confidence: float, everything: tuple[str, ...]) -> Recommendation:
    difference = _to_full(point)
    if difference.pairs < FEWEST_SEEDS:
        more = FEWEST_SEEDS - difference.pairs
        sentence = f"None yet: measure {counted(more, 'more seed')} of each subset."
        return Recommendation(subset=None, sentence=sentence, more_seeds=more, measure=everything)
    room = difference.mean + margin
    against = f"{difference.mean * 100:+.1f} pp from full data, paired over {counted(difference.pairs, 'seed')}"
    start = f"None yet: {point.subset}, the best of the largest measured, is {against}"
    if difference.high < -margin:
        return Recommendation(subset=None, sentence=f"{start}; that is more than the {margin * 100:g} pp allowed.")
    if room <= 0:
        return Recommendation(subset=None, sentence=f"{start}; that seems more than the {margin * 100:g} pp allowed, but may be chance.")
    error = (difference.high - difference.mean) / stdtrit(difference.pairs - 1, 0.5 + CONFIDENCE / 2)
    spread = error * sqrt(difference.pairs)
    then = at_look(point.looks + 1, confidence)
    needed = next((n for n in range(difference.pairs + 1, 200) if stdtrit(n - 1, then) * spread / sqrt(n) < room), 200)
    more = needed - difference.pairs
    if more > ENOUGH_SEEDS:
        return Recommendation(subset=None, sentence=f"{start}; its seeds differ too much to decide within {margin * 100:g} pp.")
    sentence = f"{start}; {counted(more, 'more seed')} would probably settle it."
    return Recommendation(subset=None, sentence=sentence, more_seeds=more, measure=(point.subset,))
