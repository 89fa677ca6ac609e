"""Data x model: full data, a subset and random rows of its size as each model measured them, and what each model costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pruning.analysis.frontier import headline_of, paired, random_of
from pruning.reading import Reading
from pruning.records import DECISIONS, Difference, FrontierPoint
from pruning.subsets.rules import NOT_PROPOSED


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPoint:
    """A point of the frontier as one model measured it."""

    model: str
    """As given: a folder, a hub name or "sample"."""
    fingerprint: str
    parameters: int | None
    """Of the whole model; None where they were not recorded."""
    learning_rate: float | None
    point: FrontierPoint
    metric: str
    """The metric that is compared, a name of `point.metrics`."""
    change: Difference | None
    """The metric minus that of full data with the experiment's own model, paired by seed; None for that point itself."""
    training_seconds: float | None
    """Of one fine-tuning, by CPU time on the CPU: its steps times the model's mean per step; None where that was not recorded."""
    tokens: int | None
    """Tokens of one fine-tuning; None where they were not recorded."""
    milliseconds: float | None
    """To predict one evaluation example: the median over the model's fine-tunings, by CPU time on the CPU; None where not recorded."""

    @property
    def name(self) -> str:
        """The model as people read it: the last part of an absolute path, else as given."""
        return Path(self.model).name if Path(self.model).is_absolute() else self.model

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the point by its name and numbers."""
        values = {name: value for name, value in asdict(self).items() if name != "point"}
        point = self.point
        return values | {
            "subset": point.subset,
            "kept": point.kept,
            "seeds": point.seeds,
            "value": point.metrics[self.metric],
            "ci95": point.ci95[self.metric],
            "steps": point.steps,
        }


def by_model(reading: Reading, names: Sequence[str] | None = None, budget: str = "epochs", metric: str | None = None) -> list[ModelPoint]:
    """Return full data, each named subset and random rows of its size with every model, the experiment's own first, then by size.

    Empty where no other model measured anything. `names` None = the subsets that two models or more have measured; `metric` None = the
    headline. `reading` is one of the experiment's own model.
    """
    if not reading.other_models:
        return []
    others = [reading.with_model(fingerprint) for fingerprint in reading.other_models]
    frontiers = [(read, points) for read in (reading, *others) if (points := read.frontier(budget, metric))]
    if len(frontiers) < 2 or frontiers[0][0] is not reading:
        return []
    if names is None:
        elsewhere = {point.subset for _, points in frontiers[1:] for point in points}
        names = [point.subset for point in frontiers[0][1] if point.subset in elsewhere and point.method not in NOT_PROPOSED]
    compared = metric or headline_of(frontiers[0][1][0].metrics)
    own = reading.measured(budget)
    full = own[own["subset"] == "full"].set_index("seed")[compared]
    first, *rest = frontiers
    rest.sort(key=lambda each: -(each[0].parameters or 0))
    return [row for read, points in (first, *rest) for row in _of_model(read, _asked(points, names), budget, compared, full)]


def _asked(points: Sequence[FrontierPoint], names: Sequence[str]) -> list[FrontierPoint]:
    """Return full data, then each named point with the random draw of its size."""
    by_name = {point.subset: point for point in points}
    found = [by_name[name] for name in ("full",) if name in by_name]
    for name in names:
        if (point := by_name.get(name)) is None or point in found:
            continue
        drawn = {each.subset: each.kept for each in points if each.method == "random" and DECISIONS not in each.subset}
        beside = None if point.method == "random" else random_of(name, point.kept, drawn)
        found += [each for each in (point, by_name.get(beside or "")) if each is not None and each not in found]
    return found


def _of_model(read: Reading, points: Sequence[FrontierPoint], budget: str, metric: str, full: pd.Series) -> list[ModelPoint]:
    rows = read.measured(budget)
    once = rows.drop_duplicates(["rows_sha256", "seed", "epochs"])
    a_step, milliseconds = _a_step(once), _milliseconds(once, read.evaluated)
    found = []
    for point in points:
        own = rows[rows["subset"] == point.subset].set_index("seed")
        reference = point.subset == "full" and read.model == read.own_model
        tokens = own["tokens"] if "tokens" in own else pd.Series(dtype=float)
        found.append(
            ModelPoint(
                model=read.settings.model,
                fingerprint=read.model,
                parameters=read.parameters,
                learning_rate=read.settings.measuring.learning_rate,
                point=point,
                metric=metric,
                change=None if reference or metric not in own else paired(own[metric], full, read.evaluated),
                training_seconds=None if a_step is None else point.steps * a_step,
                tokens=round(float(tokens.mean())) if len(tokens) and (tokens > 0).all() else None,
                milliseconds=milliseconds,
            )
        )
    return found


def _a_step(rows: pd.DataFrame) -> float | None:
    """Mean seconds per optimizer step over the fine-tunings that recorded them."""
    if "compute_seconds" not in rows:
        return None
    timed = rows[rows["compute_seconds"] > 0]
    return float(timed["compute_seconds"].sum()) / int(timed["steps"].sum()) if len(timed) else None


def _milliseconds(rows: pd.DataFrame, examples: int) -> float | None:
    """Median over the fine-tunings that recorded it."""
    if "evaluation_seconds" not in rows or not examples:
        return None
    timed = rows.loc[rows["evaluation_seconds"] > 0, "evaluation_seconds"]
    return 1000 * float(timed.median()) / examples if len(timed) else None
