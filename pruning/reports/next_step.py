"""Verdict on an experiment and the next step, from its frontier; shared by the pages and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from pruning.analysis.frontier import random_of, score_seconds
from pruning.analysis.recommendation import payback, recommend
from pruning.formatting import counted, duration, possible
from pruning.reading import Reading
from pruning.records import DECISIONS, FrontierPoint
from pruning.subsets.rules import BASELINES, NOT_PROPOSED
from pruning.subsets.titles import short


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """Verdict of the frontier so far, and the next step."""

    headline: str
    detail: str
    choose: str | None = None
    """Subset to use."""
    measure: tuple[str, ...] = ()
    """Subsets to measure; empty, with `seeds` = 0, if nothing is left to measure."""
    seeds: int = 0
    """Total seeds for each of `measure`."""


def next_step(
    points: Sequence[FrontierPoint],
    ladder: Sequence[str],
    margin: float,
    usual_seeds: int,
    measuring: bool = False,
    refusal: str = "",
    unmeasurable: str = "",
) -> NextStep:
    """Return the verdict within `margin` (a share; 0.005 = 0.5 pp) and the next step.

    `ladder` are the subsets to measure if none was. With a `refusal` (`Learned.refusal`) no subset is chosen, and nothing is to be
    measured for a reason that is `unmeasurable`.
    """
    if refusal:
        return NextStep(headline="The model has not learned", detail=refusal)
    measured = [point for point in points if point.vs_full is not None]
    if measuring:
        return NextStep(headline="Measuring the frontier", detail="The verdict comes when every point is complete.")
    if not measured and unmeasurable:
        return NextStep(headline="Accuracy is not measured here", detail=unmeasurable)
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
    chosen = [point for point in measured if point.method not in NOT_PROPOSED] or measured
    best = max(chosen, key=lambda point: -1.0 if isnan(_mean(point)) else _mean(point))
    detail = f"The best so far keeps {best.kept_fraction:.0%} and {loss(best)}: {short(best.subset)}."
    headline = f"No smaller set is shown to hold accuracy within {margin * 100:g} pp"
    if found.more_seeds:
        fewest = min(point.seeds for point in points if point.subset in found.measure)
        return NextStep(headline=headline, detail=detail, measure=found.measure, seeds=fewest + found.more_seeds)
    return NextStep(headline=headline, detail=f"{detail} {against_random(best)}".strip())


def with_compared(points: Sequence[FrontierPoint], name: str) -> list[str]:
    """Return a measured subset and the measured ones of its size that it is compared with: its own baselines, and the random one."""
    drawn = {point.subset: point.kept for point in points if point.method == "random" and not point.subset.endswith(DECISIONS)}
    kept = next(point.kept for point in points if point.subset == name)
    own = [point.subset for point in points if point.subset in {f"{baseline}@{name}" for baseline in BASELINES}]
    shared = random_of(name, kept, drawn)
    return list(dict.fromkeys([name, *own, *([shared] if shared else [])]))


def loss(point: FrontierPoint) -> str:
    """Return the mean difference from full data in words, such as "loses 0.4 pp"."""
    mean = _mean(point) * 100
    if isnan(mean):
        return "was not compared with full data"
    if abs(mean) < 0.05:
        return "loses nothing"
    return f"{'loses' if mean < 0 else 'gains'} {abs(mean):.1f} pp"


def against_random(point: FrontierPoint) -> str:
    """Compare the rule with random of its size in one sentence; empty where that was not measured."""
    difference = point.vs_random
    if difference is None or not difference.pairs or isnan(difference.low):
        return ""
    if difference.low > 0:
        return f"It beats random of the same size by {difference.mean * 100:.1f} pp."
    if difference.high < 0:
        return f"Random of the same size does better by {-difference.mean * 100:.1f} pp."
    low, high = possible(difference.low, difference.high)
    return f"No difference from random of the same size is shown ({low * 100:+.1f} to {high * 100:+.1f} pp)."


def _mean(point: FrontierPoint) -> float:
    return float("nan") if point.vs_full is None or not point.vs_full.pairs else point.vs_full.mean


def seconds_to_measure(points: Sequence[FrontierPoint], fractions: Sequence[float], seeds: int, baselines: int) -> float | None:
    """Estimate the seconds to measure subsets of these sizes with their baselines, from full data's time; None where that is unknown."""
    full = next((point for point in points if point.subset == "full"), None)
    if full is None or isnan(full.seconds):
        return None
    return full.seconds * sum(fractions) * seeds * (1 + baselines)


def savings(experiment: Reading, point: FrontierPoint) -> str:
    """Say what each fine-tuning on the subset saves, and when scoring pays back; empty where that was not recorded.

    The time of scoring is not compared with fine-tunings of another model.
    """
    scoring = score_seconds(experiment.finished(), experiment.settings) if experiment.model == experiment.own_model else None
    saved = point.seconds_saved
    if scoring is None or isnan(saved):
        return ""
    times = payback(scoring, saved)
    back = f"; scoring ({duration(scoring)}) pays back after {counted(times, 'fine-tuning')}" if times else ""
    tokens = "" if point.tokens_saved is None else f" and {point.tokens_saved:,} tokens"
    return f"Saves {point.steps_saved:,} steps{tokens}, about {duration(max(0.0, saved))}, in each fine-tuning{back}."
