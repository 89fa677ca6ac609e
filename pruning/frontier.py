"""The frontier: what finished fine-tunings say of each subset, with intervals, and which subset to take. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, isnan, nan, sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from pruning.errors import UsageError
from pruning.records import Difference, FrontierPoint
from pruning.settings import Settings
from pruning.words import counted

NOT_METRICS = frozenset(
    [
        "subset",
        "method",
        "rule",
        "kept",
        "kept_fraction",
        "rows_sha256",
        "seed",
        "budget",
        "burn_in",
        "epochs",
        "seconds",
        "steps",
        "finished",
        "stuck",
        "micro_batch",
    ]
)
"""Columns of the table of fine-tunings that say which one it is and what it cost; every other column is a metric."""

MARGIN = 0.005
"""Accuracy that a person would give up for a smaller set, unless said otherwise: half a point."""

CONFIDENCE = 0.95

FEWEST_SEEDS = 3
"""Fewer pairs are no ground for a recommendation: two that happen to agree would look certain."""

SAFE = "stratified"
"""The rule that no regime of the study showed to be worse than random (benchmarks/results/regimes.md)."""

ENOUGH_SEEDS = 12
"""More seeds than this are not asked for: a difference that small does not matter."""


def rows_sha256(kept: NDArray[np.int64]) -> str:
    """sha256 over the kept ids (little-endian int64, in order): whether two subsets of one name are the same rows."""
    return hashlib.sha256(np.ascontiguousarray(kept, dtype="<i8").tobytes()).hexdigest()


def equal_steps_epochs(full: int, kept: int, epochs: int, batch_size: int) -> int:
    """Epochs over `kept` examples that come closest to as many optimizer steps as `epochs` over `full` ones, at least `epochs`.

    >>> equal_steps_epochs(2000, 654, 3, 32)
    9
    """
    steps = epochs * ceil(full / batch_size)
    return max(epochs, round(steps / ceil(kept / batch_size)))


def points(finished: pd.DataFrame, total: int, metric: str | None = None) -> list[FrontierPoint]:
    """One point per subset in `finished` (one row per fine-tuning), largest first.

    `finished` has the columns of NOT_METRICS and one per metric; `total` is the number of examples before pruning. Intervals
    are Student's t over seeds, nan with one seed. Differences are paired by seed, in `metric` (None: the headline).
    """
    if finished.empty:
        return []
    metrics = [name for name in finished.columns if name not in NOT_METRICS and finished[name].notna().any()]
    compared = metric or headline_of(metrics)
    groups = {str(name): group.set_index("seed") for name, group in finished.groupby("subset", sort=False)}
    full = groups.get("full")
    made = [_point(name, group, _random_of(name, groups), full, metrics, compared, total) for name, group in groups.items()]
    return sorted(made, key=lambda point: -point.kept)


def headline_of(metrics: Iterable[str]) -> str:
    """The metric a frontier is read by: f1 where there is one (answers to questions), else accuracy, else the first."""
    names = list(metrics)
    return next((name for name in ("f1", "accuracy") if name in names), names[0])


def _point(
    name: str,
    group: pd.DataFrame,
    random: pd.DataFrame | None,
    full: pd.DataFrame | None,
    metrics: Sequence[str],
    compared: str,
    total: int,
) -> FrontierPoint:
    kept = round(float(group["kept"].mean()))
    seconds, steps = float(group["seconds"].mean()), round(float(group["steps"].mean()))
    full_seconds, full_steps = (float(full["seconds"].mean()), round(float(full["steps"].mean()))) if full is not None else (nan, steps)
    return FrontierPoint(
        subset=name,
        method=str(group["method"].iloc[0]),
        kept=kept,
        kept_fraction=kept / total,
        seeds=len(group),
        budget=str(group["budget"].iloc[0]),
        metrics={metric: float(group[metric].mean()) for metric in metrics},
        ci95={metric: interval(group[metric].to_numpy(float)) for metric in metrics},
        vs_full=None if full is None or name == "full" else paired(group[compared], full[compared]),
        vs_random=None if random is None else paired(group[compared], random[compared]),
        seconds=seconds,
        seconds_saved=full_seconds - seconds,
        steps=steps,
        steps_saved=full_steps - steps,
    )


def _random_of(name: str, groups: dict[str, pd.DataFrame]) -> pd.DataFrame | None:
    """The fine-tunings of a random subset of the very size of `name`, its own first; None where there is none, or it is random itself."""
    if groups[name]["method"].iloc[0] == "random":
        return None
    size = groups[name]["kept"].mean()
    same = {other: group for other, group in groups.items() if group["method"].iloc[0] == "random" and group["kept"].mean() == size}
    return same.get(f"random@{name}", next(iter(same.values()), None))


def interval(values: NDArray[np.float64], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Student's t interval of the mean; (nan, nan) with one value.

    >>> [round(end, 3) for end in interval(np.array([0.80, 0.81, 0.82]))]
    [0.785, 0.835]
    """
    if len(values) < 2:
        return nan, nan
    half = float(stdtrit(len(values) - 1, 0.5 + confidence / 2) * values.std(ddof=1) / sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def paired(ours: pd.Series, theirs: pd.Series) -> Difference:
    """Mean and 95% interval of ours - theirs over the seeds (the index) that both have."""
    both = (ours - theirs).dropna().to_numpy(float)
    low, high = interval(both)
    return Difference(mean=float(both.mean()) if len(both) else nan, low=low, high=high, pairs=len(both))


def pareto(measured: Sequence[FrontierPoint], metric: str | None = None) -> list[FrontierPoint]:
    """The points that no other beats: none keeps at most as much and scores at least as high. Smallest first."""
    front: list[FrontierPoint] = []
    best = -inf
    for point in sorted(measured, key=lambda p: (p.kept, -p.metrics[metric or headline_of(p.metrics)])):
        value = point.metrics[metric or headline_of(point.metrics)]
        if value > best:
            front.append(point)
            best = value
    return front


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
    """What is worth measuring where no rule measured beats random: a subset by `SAFE`, of the size of the largest one measured."""


def margin_of(points: float) -> float:
    """A margin given in points, as a share. Raises UsageError for what is none.

    >>> margin_of(0.5)
    0.005
    """
    if not 0 <= points < 100:
        raise UsageError(f"--margin is {points:g}; it is in points, 0 or more and below 100, such as 0.5.")
    return points / 100


def recommend(measured: Sequence[FrontierPoint], margin: float = MARGIN, confidence: float = CONFIDENCE) -> Recommendation:
    """What to take; where no rule measured beats random, also which one is safe to try (`SAFE`). See `_smallest` for the choice."""
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
    one size the doubt allowed (1 - confidence) is divided among its subsets. So the chance of recommending any worse-than-margin
    subset stays at 1 - confidence, however many were measured. Of those that pass at the smallest size, the best.
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
        passed = [point for point in sizes[size] if _to_full(point).pairs >= FEWEST_SEEDS and lower_bound(_to_full(point), each) > -margin]
        if not passed:
            if best is None:
                everything = tuple(point.subset for point in measured if point.vs_full is not None)
                return _none_yet(max(sizes[size], key=_mean), margin, each, everything)
            break
        best = max(passed, key=_mean)
    assert best is not None
    return Recommendation(subset=best.subset, sentence=_praise(best, margin, confidence))


def lower_bound(difference: Difference, confidence: float = CONFIDENCE) -> float:
    """One-sided lower confidence bound of a paired difference; -inf with fewer than two pairs."""
    if difference.pairs < 2 or isnan(difference.low):
        return -inf
    freedom = difference.pairs - 1
    error = (difference.high - difference.mean) / stdtrit(freedom, 0.5 + CONFIDENCE / 2)
    return float(difference.mean - stdtrit(freedom, confidence) * error)


def score_seconds(finished: pd.DataFrame, settings: Settings) -> float | None:
    """Training time of the scoring runs, all together; None where that was not recorded: runs of another recipe, or another tool's.

    `finished` is as in `points`.
    """
    if settings.scoring != settings.measuring or settings.recorded_by != "winnow" or finished.empty:
        return None
    seconds = finished.loc[(finished["subset"] == "full") & finished["seed"].isin(settings.seeds), "seconds"]
    return float(seconds.sum()) if len(seconds) else None


def payback(score_seconds: float, seconds_saved: float) -> int | None:
    """Fine-tunings after which scoring has paid for itself; None when the subset saves no time.

    >>> payback(600, 45), payback(600, -1)
    (14, None)
    """
    return ceil(score_seconds / seconds_saved) if seconds_saved > 0 else None


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
    """Whether the rule is worth anything over chance, in words."""
    if point.subset.startswith("random@"):
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
    needed = next((n for n in range(difference.pairs + 1, 200) if stdtrit(n - 1, confidence) * spread / sqrt(n) < room), 200)
    more = needed - difference.pairs
    if more > ENOUGH_SEEDS:
        return Recommendation(subset=None, sentence=f"{start}; its seeds differ too much for a verdict within {margin * 100:g} points.")
    sentence = f"{start}; {counted(more, 'more seed')} would probably settle it."
    return Recommendation(subset=None, sentence=sentence, more_seeds=more, measure=(point.subset,))
