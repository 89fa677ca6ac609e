"""Summary of one experiment as plain values: what `show --json` prints."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from pruning.analysis.frontier import BUDGETS, score_seconds
from pruning.analysis.recommendation import recommend
from pruning.reading import Reading
from pruning.records import FrontierPoint, Subset
from pruning.reports import answers
from pruning.reports.by_model import by_model
from pruning.subsets.decisions import Decided, without_suffix
from pruning.success import right_looks_histogram


def summary(reading: Reading, budget: str, margin: float) -> dict[str, Any]:
    """Summarise an experiment in plain values, null where a number cannot be computed.

    Parameters
    ----------
    reading
        The experiment; its burn-in and decisions made by hand count throughout, except that each point of the frontier says itself
        whether it is of decided rows.
    budget
        The budget whose points the recommendation and the comparison of models rest on; the frontier has those of every budget.
    margin
        Accuracy the recommended subset may lose, as a share.
    """
    dynamics = reading.dynamics
    recommended = recommend(reading.frontier(budget), margin, measuring=reading.status().measuring, refusal=reading.learned.refusal)
    found = {
        "examples": dynamics.examples,
        "runs": dynamics.runs,
        "epochs": dynamics.epochs,
        "burn_in": reading.burn_in,
        **_of_answers(reading),
        "caveat": reading.settings.caveat,
        "learned": reading.learned.to_dict(),
        "learning_rates": {name: fit.to_dict() for name, fit in reading.learning_rates.items()},
        "diverged": reading.warnings(),
        "decisions": counts(reading.applied),
        "h_histogram": reading.h_histogram().tolist(),
        "subsets": [_subset(subset) for subset in reading.subsets()],
        "frontier": [_point(point) for each in BUDGETS for point in reading.frontier(each) if each == "epochs" or point.subset != "full"],
        "groups": [{"budget": each, **found.to_dict()} for each in BUDGETS for found in reading.groups_of_points(each)],
        "other_models": [_other_model(reading, fingerprint) for fingerprint in reading.other_models],
        "by_model": [row.to_dict() for row in by_model(reading, budget=budget)],
        "recommendation": {**asdict(recommended), "margin": margin, "budget": budget},
        "score_seconds": score_seconds(reading.finished(), reading.settings),
        "stability": None if reading.sampled else asdict(reading.stability()),
        "rollouts": _rollouts(reading) if reading.sampled else None,
    }
    plain: dict[str, Any] = without_nan(found)
    return plain


def _other_model(reading: Reading, fingerprint: str) -> dict[str, Any]:
    """The frontier of the same subsets as another model measured it."""
    read = reading.with_model(fingerprint)
    points = [point for each in BUDGETS for point in read.frontier(each) if each == "epochs" or point.subset != "full"]
    return {
        "model": reading.other_models[fingerprint],
        "fingerprint": fingerprint,
        "learning_rate": read.settings.measuring.learning_rate,
        "frontier": [_point(point) for point in points],
    }


def _rollouts(reading: Reading) -> dict[str, Any]:
    found = answers.rates(reading)
    return {
        **reading.info.get("rollouts", {}),
        "successes": int(found.successes.sum()),
        "attempts": int(found.attempts.sum()),
        "never": int(found.never.sum()),
        "always": int(found.always.sum()),
        "doubted_keys": int(found.doubted.sum()),
        "prior": asdict(found.prior),
        "histogram": dict(answers.histogram(found)),
        "sentences": answers.sentences(found),
    }


def _of_answers(reading: Reading) -> dict[str, Any]:
    """The success rule and the examples by right looks; nothing for other kinds than generation."""
    if reading.success is None:
        return {}
    return {
        "success": reading.success.name,
        "success_reason": reading.success_reason,
        "right_looks_histogram": right_looks_histogram(reading.dynamics.correct).tolist(),
    }


def counts(decided: Decided) -> dict[str, int]:
    """Number of examples kept, dropped and relabelled by hand."""
    return {"kept": len(decided.kept), "dropped": len(decided.dropped), "relabelled": len(decided.labels)}


def _subset(subset: Subset) -> dict[str, Any]:
    name, _ = without_suffix(subset.name)
    removes = list(subset.removes or ())
    return {"name": name, "removes": removes, "kept": subset.size, "kept_fraction": round(subset.kept_fraction, 6)}


def _point(point: FrontierPoint) -> dict[str, Any]:
    """Everything of a point, and its accuracy under names of its own: null where another metric was measured."""
    return {**asdict(point), "accuracy_mean": point.metrics.get("accuracy"), "accuracy_ci95": point.ci95.get("accuracy")}


def without_nan(value: Any) -> Any:
    """Return the same plain value with null in the place of NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {name: without_nan(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
