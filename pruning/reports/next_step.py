"""The verdict on an experiment and the one thing to do next, from its frontier. Face-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from pruning.analysis.recommendation import recommend
from pruning.formatting import counted
from pruning.records import FrontierPoint
from pruning.subsets.titles import short


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What the frontier says so far, and the one thing to do about it."""

    headline: str
    detail: str
    choose: str | None = None
    """The subset to take."""
    measure: tuple[str, ...] = ()
    """The subsets to measure; empty with `seeds` = 0 when nothing is left to measure."""
    seeds: int = 0
    """Seeds that each of `measure` needs in all."""


def next_step(points: Sequence[FrontierPoint], ladder: Sequence[str], margin: float, usual_seeds: int, measuring: bool = False) -> NextStep:
    """The verdict within `margin` (a share, 0.005 = half a point). `ladder` are the subsets to measure where none is."""
    measured = [point for point in points if point.vs_full is not None]
    if measuring:
        return NextStep(headline="Measuring the frontier", detail="The verdict comes when every point is complete.")
    if not measured:
        detail = f"Train {counted(len(ladder), 'smaller set')} with {usual_seeds} seeds each, beside random ones of equal size."
        return NextStep(headline="Not measured yet", detail=detail, measure=tuple(ladder), seeds=usual_seeds)
    found = recommend(points, margin)
    if found.subset is not None:
        point = next(point for point in points if point.subset == found.subset)
        return NextStep(
            headline=f"{short(point.subset)} keeps {point.kept_fraction:.0%} and {loss(point)}",
            detail=against_random(point),
            choose=point.subset,
        )
    best = max(measured, key=lambda point: -1.0 if isnan(_mean(point)) else _mean(point))
    detail = f"The best, {short(best.subset)}, keeps {best.kept_fraction:.0%} and {loss(best)}."
    headline = f"No smaller set is shown to hold accuracy within {margin * 100:g} pp"
    if found.more_seeds:
        fewest = min(point.seeds for point in points if point.subset in found.measure)
        return NextStep(headline=headline, detail=detail, measure=found.measure, seeds=fewest + found.more_seeds)
    safe = found.safe
    if safe is None:
        return NextStep(headline=headline, detail=detail)
    seeds = max(point.seeds for point in measured)
    return NextStep(headline=headline, detail=f"{detail} Next: measure {short(safe)}.", measure=(safe,), seeds=seeds)


def loss(point: FrontierPoint) -> str:
    """The mean difference to full data as a person says it: "loses 0.4 pp"."""
    mean = _mean(point) * 100
    if isnan(mean):
        return "was not compared with full data"
    if abs(mean) < 0.05:
        return "loses nothing"
    return f"{'loses' if mean < 0 else 'gains'} {abs(mean):.1f} pp"


def against_random(point: FrontierPoint) -> str:
    """Whether the rule is better than chance at its size, in one sentence; empty where that is not known."""
    difference = point.vs_random
    if difference is None or not difference.pairs or isnan(difference.low):
        return ""
    if difference.low > 0:
        return f"It beats random of the same size by {difference.mean * 100:.1f} pp."
    if difference.high < 0:
        return f"Random of the same size does better by {-difference.mean * 100:.1f} pp."
    return f"Random of the same size does as well ({difference.low * 100:+.1f} to {difference.high * 100:+.1f} pp)."


def _mean(point: FrontierPoint) -> float:
    return float("nan") if point.vs_full is None or not point.vs_full.pairs else point.vs_full.mean


def seconds_to_measure(points: Sequence[FrontierPoint], fractions: Sequence[float], seeds: int, baselines: int) -> float | None:
    """Estimate of measuring subsets of these sizes and a baseline beside each, from full data's own time; None where that is not known."""
    full = next((point for point in points if point.subset == "full"), None)
    if full is None or isnan(full.seconds):
        return None
    return full.seconds * sum(fractions) * seeds * (1 + baselines)


def seconds_saved(point: FrontierPoint) -> float:
    """Training time that the subset saves in each fine-tuning: full data's own time by the share of optimizer steps saved.

    Wall clock of two fine-tunings compares what else the machine did; steps do not. nan where full data was not timed.
    """
    full_steps, full_seconds = point.steps + point.steps_saved, point.seconds + point.seconds_saved
    return full_seconds * point.steps_saved / full_steps if full_steps else float("nan")
