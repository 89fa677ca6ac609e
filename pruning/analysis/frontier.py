"""The frontier: what finished fine-tunings say of each subset, with intervals. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from math import ceil, inf, isnan, nan, sqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from pruning.errors import UsageError
from pruning.fine_tunings import CLASS_ACCURACY, FineTuning
from pruning.formatting import counted
from pruning.records import DECISIONS, Difference, FrontierPoint, Subset
from pruning.settings import Settings

NOT_METRICS = frozenset(column.name for column in fields(FineTuning)) - {"metrics"}
"""Columns of the table of fine-tunings that say which one it is and what it cost; the others are metrics, or of one class."""

RANGES = {"mcc": (-1.0, 1.0), "loss": (0.0, inf), "perplexity": (1.0, inf)}
"""Range of each metric that is not a share, 0..1."""

CONFIDENCE = 0.95

FEWEST_SEEDS = 3
"""Fewer pairs are no ground for a judgement: two that happen to agree would look certain."""

ALIKE = 0.02
"""Difference of two sizes, as a share of the larger, up to which subsets share a random one."""

USUAL_SEEDS = FEWEST_SEEDS
"""Fine-tunings per point where nobody says how many."""


BUDGETS = {"epochs": "at equal epochs", "steps": "at equal steps", "enough": "with enough steps"}
"""How long each subset trains, in words; see `FrontierPoint.budget`."""


def check_budget(budget: str) -> None:
    """Raise UsageError for an unknown budget; see `FrontierPoint.budget`."""
    if budget not in BUDGETS:
        raise UsageError(f"budget must be epochs, steps or enough, got {budget!r}.", "budget")


def check_seeds(seeds: int) -> None:
    """Raise UsageError for fewer than one fine-tuning per point."""
    if seeds < 1:
        raise UsageError(f"seeds must be at least 1, got {seeds}; use at least 3 for a useful interval.", "seeds")


def rows_sha256(kept: NDArray[np.int64], labels: Mapping[int, str] | None = None) -> str:
    """sha256 over the kept ids (little-endian int64, in order), and over the labels changed by hand where there are any.

    It tells whether two subsets of one name are the same rows.
    """
    digest = hashlib.sha256(np.ascontiguousarray(kept, dtype="<i8").tobytes())
    if labels:
        digest.update(json.dumps(sorted(labels.items()), ensure_ascii=False).encode())
    return digest.hexdigest()


def subset_sha256(subset: Subset) -> str:
    """Return the hash of what a fine-tuning on the subset trains on."""
    return rows_sha256(subset.kept, subset.labels)


def of_subset(subset: Subset, budget: str, burn_in: int) -> dict[str, Any]:
    """The fields of a `FineTuning` that say what was trained on and why; where two names stand for the same rows, the others agree."""
    return {
        "subset": subset.name,
        "method": subset.method,
        "rule": subset.rule,
        "kept": subset.size,
        "kept_fraction": subset.kept_fraction,
        "rows_sha256": subset_sha256(subset),
        "budget": budget,
        "burn_in": burn_in,
    }


def epochs_within(budget: str, full: int, kept: int, epochs: int, plateau: int, batch_size: int) -> int:
    """Return the epochs over `kept` examples within a budget, at least those of full data.

    For "steps" they come closest to as many optimizer steps as `epochs` over `full` examples, for "enough" to those of the first `plateau`
    of them (`analysis.learned.plateau`).

    >>> [epochs_within(budget, 2000, 654, epochs=5, plateau=3, batch_size=32) for budget in BUDGETS]
    [5, 15, 9]
    """
    if budget == "epochs":
        return epochs
    steps = (plateau if budget == "enough" else epochs) * ceil(full / batch_size)
    return max(epochs, round(steps / ceil(kept / batch_size)))


def points(
    finished: pd.DataFrame, total: int, metric: str | None = None, starts: Sequence[float] = (), evaluated: int = 0
) -> list[FrontierPoint]:
    """One point per subset in `finished` (one row per fine-tuning), largest first.

    `finished` has the columns of `FineTuning.row`; `total` is the number of examples before pruning. Intervals are Student's t over
    seeds, nan with one seed. Differences are paired by seed, in `metric` (None: the headline). `starts` are the times at which jobs
    that measured started, in seconds since 1970 as in the column `finished`. `evaluated` is the number of evaluation examples: intervals
    are no narrower than that number allows (`interval`).
    """
    measured = [name for name in finished.columns if name not in NOT_METRICS and finished[name].notna().any()]
    metrics = [name for name in measured if not name.startswith(CLASS_ACCURACY)]
    if not metrics:
        return []
    compared = metric or headline_of(metrics)
    groups = {str(name): group.set_index("seed") for name, group in finished.groupby("subset", sort=False)}
    a_step = float(finished["seconds"].sum()) / max(1, int(finished["steps"].sum()))
    full = groups.get("full")
    made = [
        _point(name, group, _random_of(name, groups), full, metrics, compared, total, starts, a_step, evaluated)
        for name, group in groups.items()
    ]
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
    starts: Sequence[float],
    a_step: float,
    evaluated: int,
) -> FrontierPoint:
    kept = round(float(group["kept"].mean()))
    seconds, steps = float(group["seconds"].mean()), round(float(group["steps"].mean()))
    full_steps = round(float(full["steps"].mean())) if full is not None else steps
    a_row = 1 / evaluated if evaluated else 0.0
    return FrontierPoint(
        subset=name,
        method=str(group["method"].iloc[0]),
        kept=kept,
        kept_fraction=kept / total,
        seeds=len(group),
        budget=str(group["budget"].iloc[0]),
        metrics={metric: float(group[metric].mean()) for metric in metrics},
        ci95={metric: _inside(metric, *interval(group[metric].to_numpy(float), step=a_row)) for metric in metrics},
        vs_full=None if full is None or name == "full" else paired(group[compared], full[compared], evaluated),
        vs_random=None if random is None else paired(group[compared], random[compared], evaluated),
        seconds=seconds,
        seconds_saved=nan if full is None else (full_steps - steps) * a_step,
        steps=steps,
        steps_saved=full_steps - steps,
        tokens_saved=None if full is None else _tokens_saved(group, full),
        looks=_looks(group, full, starts) if starts and full is not None else 1,
        class_accuracy=_class_accuracy(group),
        class_accuracy_vs_full={} if full is None or name == "full" else _classes_of_both(group, full),
    )


def _inside(metric: str, low: float, high: float) -> tuple[float, float]:
    """An interval without what lies outside the metric's range: few seeds give wide ones."""
    least, most = RANGES.get(metric, (0.0, 1.0))
    return (nan, nan) if isnan(low) else (max(low, least), min(high, most))


def _class_accuracy(group: pd.DataFrame) -> dict[str, float]:
    columns = [str(column) for column in group.columns if str(column).startswith(CLASS_ACCURACY) and group[column].notna().any()]
    return {column.removeprefix(CLASS_ACCURACY): float(group[column].mean()) for column in columns}


def _classes_of_both(ours: pd.DataFrame, full: pd.DataFrame) -> dict[str, tuple[float, float]]:
    seeds = ours.index.intersection(full.index)
    base, own = _class_accuracy(full.loc[seeds]), _class_accuracy(ours.loc[seeds])
    return {name: (base[name], own[name]) for name in base if name in own}


def _tokens_saved(ours: pd.DataFrame, full: pd.DataFrame) -> int | None:
    """Mean tokens of full data's fine-tunings minus those of ours; None where one of them lacks the number."""
    if not all("tokens" in part and (part["tokens"] > 0).all() for part in (ours, full)):
        return None
    return round(float(full["tokens"].mean() - ours["tokens"].mean()))


def _looks(ours: pd.DataFrame, full: pd.DataFrame, starts: Sequence[float]) -> int:
    """After how many jobs there were new pairs, and FEWEST_SEEDS or more in all."""
    times = np.maximum(ours["finished"], full["finished"].reindex(ours.index)).dropna().sort_values()
    jobs = np.searchsorted(np.sort(starts), times.to_numpy(float))
    return max(1, len(np.unique(np.maximum(jobs, jobs[FEWEST_SEEDS - 1 : FEWEST_SEEDS].max(initial=0)))))


def alike(size: float, other: float) -> bool:
    """Return whether two subsets are near enough in size to be compared with the same random subset.

    >>> alike(696, 707), alike(500, 520)
    (True, False)
    """
    return abs(size - other) <= ALIKE * max(size, other)


def random_of(name: str, size: float, drawn: Mapping[str, float]) -> str | None:
    """Return the random subset to compare `name` with: its own, else the nearest in size; None where none is near enough.

    Full data and the random subsets themselves are compared with none.

    `drawn` has the size of each random subset.
    """
    if name == "full" or name in drawn:
        return None
    near = [other for other in drawn if alike(drawn[other], size)]
    return min(near, key=lambda other: (other != f"random@{name}", abs(drawn[other] - size)), default=None)


def _random_of(name: str, groups: dict[str, pd.DataFrame]) -> pd.DataFrame | None:
    """The fine-tunings of the random subset that `name` is compared with; None where there is none, or it is random or full data itself."""
    drawn = {
        other: float(group["kept"].mean())
        for other, group in groups.items()
        if group["method"].iloc[0] == "random" and DECISIONS not in other
    }
    found = random_of(name, float(groups[name]["kept"].mean()), drawn)
    return None if found is None else groups[found]


def interval(values: NDArray[np.float64], confidence: float = CONFIDENCE, step: float = 0.0) -> tuple[float, float]:
    """Student's t interval of the mean; (nan, nan) with one value.

    `step` is the least by which two values can differ: one evaluation example of 50 moves accuracy by 0.02. Values that agree may differ
    by less than that, so their variance counts as at least that of rounding to it, step ** 2 / 12.

    >>> [round(end, 3) for end in interval(np.array([0.80, 0.81, 0.82]))]
    [0.785, 0.835]
    >>> [round(end, 3) for end in interval(np.array([0.80, 0.80, 0.80]), step=0.02)]
    [0.786, 0.814]
    """
    if len(values) < 2:
        return nan, nan
    spread = sqrt(max(values.var(ddof=1), step**2 / 12))
    half = float(stdtrit(len(values) - 1, 0.5 + confidence / 2) * spread / sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def paired(ours: pd.Series, theirs: pd.Series, evaluated: int = 0) -> Difference:
    """Mean and 95% interval of ours - theirs over the seeds (the index) that both have; `evaluated` as in `paired_values`."""
    return paired_values((ours - theirs).dropna().to_numpy(float), evaluated)


def paired_values(differences: NDArray[np.float64], evaluated: int = 0) -> Difference:
    """Mean and 95% interval of differences, one per seed; both sides were measured on `evaluated` examples (0: not known)."""
    low, high = interval(differences, step=sqrt(2) / evaluated if evaluated else 0.0)
    return Difference(mean=float(differences.mean()) if len(differences) else nan, low=low, high=high, pairs=len(differences))


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


def expected(measured: Sequence[FrontierPoint], size: int) -> float | None:
    """The headline metric that a rule by H would reach with `size` examples, between the measured ones; None with fewer than two."""
    rules = sorted((point.kept, point.metrics[headline_of(point.metrics)]) for point in measured if point.method in ("h-score", "full"))
    if len(rules) < 2:
        return None
    return float(np.interp(size, [kept for kept, _ in rules], [value for _, value in rules]))


def cost_in_words(measured: Sequence[FrontierPoint], name: str, size: int) -> str:
    """The measured accuracy of the subset of that name and size, else what the measured ones suggest, in a sentence."""
    found, guess = next((point for point in measured if point.subset == name), None), expected(measured, size)
    if found is not None:
        metric = headline_of(found.metrics)
        return f"Measured: {metric} {found.metrics[metric]:.3f} over {counted(found.seeds, 'seed')}."
    if guess is None:
        return "What it costs in accuracy is not measured yet."
    return f"Not measured; the measured subsets of about this size suggest {headline_of(measured[0].metrics)} {guess:.3f}."


def score_seconds(finished: pd.DataFrame, settings: Settings) -> float | None:
    """Training time of the scoring runs, all together; None where that was not recorded: runs of another recipe, or another tool's.

    `finished` is as in `points`.
    """
    if not settings.scored_subset or settings.recorded_by != "winnow" or finished.empty:
        return None
    seconds = finished.loc[(finished["subset"] == settings.scored_subset) & finished["seed"].isin(settings.seeds), "seconds"]
    return float(seconds.sum()) if len(seconds) else None
