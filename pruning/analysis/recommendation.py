"""Which subset of a measured frontier to take, what to measure where that is not settled, and when scoring has paid. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, isnan, sqrt

from scipy.special import stdtrit

from pruning.analysis.frontier import CONFIDENCE, FEWEST_SEEDS
from pruning.errors import UsageError
from pruning.formatting import counted, duration
from pruning.records import DECISIONS, Difference, FrontierPoint

MARGIN = 0.005
"""Accuracy that a person would give up for a smaller set, unless said otherwise: half a point."""

SAFE = "stratified"
"""Of the rules that no regime of the study showed to be worse than random, the one whose worst mean is best
(benchmarks/results/regimes.md)."""

FIRST_LOOK, LATER_LOOKS = 0.7, 0.2
"""Of the doubt allowed, the part that a subset's first look may use up, and the part of it that each later look may use as the one
before; so that all its looks together use up less than is allowed."""

ENOUGH_SEEDS = 12
"""More seeds than this are not asked for: a difference that small does not matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """Which subset to take, or why none yet."""

    subset: str | None
    """None when no subset is shown to be good enough."""
    sentence: str
    more_seeds: int = 0
    """Further seeds that would probably settle it; 0 when more would not help."""
    measure: tuple[str, ...] = ()
    """The subsets to spend those seeds on."""
    safe: str | None = None
    """Subset worth measuring where no rule measured beats random: a subset by `SAFE`, of the size of the largest one measured."""


def margin_of(points: float) -> float:
    """A margin given in points, as a share. Raises UsageError for what is none.

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
    """Recommend a subset; where no rule measured beats random, also which one is safe to try (`SAFE`). See `_smallest` for the choice.

    While a job is `measuring` nothing is recommended: every look at a part of its seeds would be one more chance to be wrong. Nor is
    anything where there is a `refusal` (`Learned.refusal`), which is then the sentence.
    """
    if refusal:
        return Recommendation(subset=None, sentence=refusal)
    if measuring:
        return Recommendation(subset=None, sentence="A recommendation comes when what is being measured is complete.")
    found, safe = _smallest(measured, margin, confidence), _safe_rule(measured)
    if safe is None:
        return found
    advice = (
        f"No rule measured here beats chance at its size for certain. Where fewer examples are wanted anyway, try {safe}: "
        "at random with the share of every class and H, which our study never showed to be worse than random."
    )
    return replace(found, safe=safe, sentence=f"{found.sentence} {advice}")


def _smallest(measured: Sequence[FrontierPoint], margin: float, confidence: float) -> Recommendation:
    """The smallest subset shown not to be worse than full data by more than `margin`, with `confidence`.

    One-sided paired t-tests of non-inferiority, from the largest size down and stopping at the first size where none passes; at
    one size the doubt allowed (1 - confidence) is divided among its subsets, and each subset's part among its looks. So the chance of
    recommending any worse-than-margin subset stays at 1 - confidence, however many were measured together and however often seeds
    were added after looking (benchmarks/results/recommendation.md); subsets that are added after looking bring a doubt of their own.
    Of those that pass at the smallest size, the best.
    """
    if not any(point.subset == "full" for point in measured):
        return Recommendation(subset=None, sentence="Full data was not measured, so nothing can be compared with it.")
    sizes: dict[int, list[FrontierPoint]] = {}
    for point in measured:
        if point.vs_full is not None:
            sizes.setdefault(point.kept, []).append(point)
    if not sizes:
        return Recommendation(subset=None, sentence="No subset was measured yet; run the frontier.")
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
    return difference.pairs >= FEWEST_SEEDS and lower_bound(difference, _at_look(point.looks, confidence)) > -margin


def _at_look(look: int, confidence: float) -> float:
    """The confidence that a subset's so many-th look needs.

    >>> [round(_at_look(look, 0.95), 4) for look in (1, 2, 3)]
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
    """Fine-tunings after which scoring has paid for itself; None when the subset saves no time.

    >>> payback(600, 45), payback(600, -1)
    (14, None)
    """
    return ceil(score_seconds / seconds_saved) if seconds_saved > 0 else None


def cost(scoring: float, point: FrontierPoint) -> str:
    """Sentence about the time scoring took, the time a subset saves per fine-tuning, and when that has paid for scoring."""
    took = f"Scoring took {duration(scoring)} of training"
    if isnan(point.seconds_saved):
        return f"{took}."
    times = payback(scoring, point.seconds_saved)
    if times is None:
        return f"{took}; {point.subset} saves no time."
    saved = f"{point.subset} saves {duration(point.seconds_saved)} a fine-tuning"
    return f"{took}; {saved}, so that has paid for itself after {counted(times, 'fine-tuning')}."


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
        f"{margin * 100:g} points worse than full data (measured {_mean(point) * 100:+.1f} with the same {seeds})."
    )
    return f"{text} {_against_random(point)}".strip()


def _against_random(point: FrontierPoint) -> str:
    """Return in words how the rule compares with chance."""
    if point.subset.startswith("random@") and not point.subset.endswith(DECISIONS):
        return f"It is drawn at random: {point.subset.removeprefix('random@')} did no better at this size."
    if point.vs_random is None or isnan(point.vs_random.low):
        return ""
    if point.vs_random.low > 0:
        return f"It beats a random subset of the same size by {point.vs_random.mean * 100:.1f} points."
    if point.vs_random.high < 0:
        return f"But a random subset of the same size does better, by {-point.vs_random.mean * 100:.1f} points: take that instead."
    return "A random subset of the same size does as well here."


def _safe_rule(measured: Sequence[FrontierPoint]) -> str | None:
    rules = [point for point in measured if point.vs_random is not None and point.vs_random.pairs >= FEWEST_SEEDS]
    beaten = any(point.vs_random is not None and point.vs_random.low > 0 for point in rules)
    if not rules or beaten or any(point.subset.startswith(SAFE) for point in measured):
        return None
    largest = max(rules, key=lambda point: point.kept)
    alike = (point.subset for point in measured if point.subset.startswith("random@") and point.kept == largest.kept)
    size = next(alike, f"random@{largest.kept}").removeprefix("random@")
    return f"{SAFE}@{size}"


def _none_yet(point: FrontierPoint, margin: float, confidence: float, everything: tuple[str, ...]) -> Recommendation:
    difference = _to_full(point)
    if difference.pairs < FEWEST_SEEDS:
        more = FEWEST_SEEDS - difference.pairs
        sentence = f"None yet: measure {counted(more, 'more seed')} of each subset."
        return Recommendation(subset=None, sentence=sentence, more_seeds=more, measure=everything)
    room = difference.mean + margin
    against = f"{difference.mean * 100:+.1f} points to full data with the same {counted(difference.pairs, 'seed')}"
    start = f"None yet: {point.subset}, the best of the largest measured, is {against}"
    if difference.high < -margin:
        return Recommendation(subset=None, sentence=f"{start}, which is more than the {margin * 100:g} allowed.")
    if room <= 0:
        return Recommendation(subset=None, sentence=f"{start}; it looks worse than the {margin * 100:g} allowed, but that may be chance.")
    error = (difference.high - difference.mean) / stdtrit(difference.pairs - 1, 0.5 + CONFIDENCE / 2)
    spread = error * sqrt(difference.pairs)
    then = _at_look(point.looks + 1, confidence)
    needed = next((n for n in range(difference.pairs + 1, 200) if stdtrit(n - 1, then) * spread / sqrt(n) < room), 200)
    more = needed - difference.pairs
    if more > ENOUGH_SEEDS:
        return Recommendation(subset=None, sentence=f"{start}; its seeds differ too much for a verdict within {margin * 100:g} points.")
    sentence = f"{start}; {counted(more, 'more seed')} would probably settle it."
    return Recommendation(subset=None, sentence=sentence, more_seeds=more, measure=(point.subset,))
