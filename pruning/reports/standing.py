"""Where an experiment stands: the next step with its cost, and the numbers of the first screen. Face-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pruning.analysis.duplicates import leaks
from pruning.analysis.frontier import USUAL_SEEDS, headline_of
from pruning.analysis.recommendation import MARGIN
from pruning.records import FrontierPoint
from pruning.reports import choices, next_step
from pruning.reports.browse import View
from pruning.reports.next_step import NextStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Numbers of an experiment with a complete run; None where they are not known yet."""

    metric: str
    full: FrontierPoint | None
    """Full data."""
    smallest: FrontierPoint | None
    """The smallest subset that is shown to hold `metric` within the margin."""
    always: int
    """Examples that every run got right."""
    suspects: int | None
    """Labels that look wrong; None also where the recording cannot tell."""
    reviewed: int
    """Those of them that were decided by hand."""
    duplicates: int | None
    """Training examples with (nearly) the same text as another one."""
    leaked: int | None
    """Training examples that are in the evaluation data too."""


def step(view: View, points: Sequence[FrontierPoint]) -> NextStep:
    """Return the verdict and the next step."""
    experiment = view.experiment
    ladder, measuring = choices.ladder(experiment), experiment.status().measuring
    reason = choices.unmeasurable(experiment)
    lacking = f"{experiment.name} {reason}" if reason else ""
    return next_step.next_step(points, ladder, MARGIN, USUAL_SEEDS, measuring, experiment.learned.refusal, lacking)


def seconds(view: View, points: Sequence[FrontierPoint], found: NextStep) -> float | None:
    """Return how long the next measurement takes, with random subsets of equal size; None where that is unknown."""
    fractions = [view.subset(name).kept_fraction for name in found.measure]
    return next_step.seconds_to_measure(points, fractions, found.seeds, 1) if fractions else None


def standing(view: View, points: Sequence[FrontierPoint], choose: str | None) -> Standing:
    """Return the numbers; `choose` is the subset that the verdict names, if any."""
    size, known = len(view.h), view.audited
    full = next((point for point in points if point.subset == "full"), None)
    errors = view.label_errors if known else None
    suspects = view.experiment.ids[errors.suspect] if errors is not None else np.empty(0, dtype=np.int64)
    return Standing(
        metric=headline_of(full.metrics) if full else "accuracy",
        full=full,
        smallest=next((point for point in points if point.subset == choose), None),
        always=int((view.h == view.experiment.dynamics.runs).sum()),
        suspects=None if errors is None else len(suspects),
        reviewed=len(view.decided.touched & set(suspects.tolist())),
        duplicates=int((view.duplicates.group[:size] >= 0).sum()) if known else None,
        leaked=int(leaks(view.duplicates, size)[:size].sum()) if known else None,
    )
