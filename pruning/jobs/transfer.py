"""Another model that measures the subsets chosen from an experiment's scores: checked, entered, with its own learning rate and ticket."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning.data import models
from pruning.data.models import changed_parts
from pruning.errors import ExperimentError, UsageError
from pruning.experiment import Experiment
from pruning.jobs import rate_search
from pruning.jobs.estimate import measuring_seconds
from pruning.jobs.measuring import all_seeds, choose
from pruning.settings import FULL_RECIPE
from pruning.subsets.rules import TICKET


@dataclass(frozen=True, slots=True)
class OtherModel:
    """A model that is not the one that scored the data."""

    source: str
    """As given: a folder or a hub name."""
    identity: Mapping[str, Any]
    learning_rate: float | None
    """None = to be fitted."""
    own: Experiment | None
    """Its own experiment on the same data."""


def other_model(experiment: Experiment, model: str | None, learning_rate: float | None, own: str | None) -> OtherModel | None:
    """Return the model to measure with; None for the experiment's own.

    Raises ModelError where there is no such model, UsageError for a rate or an experiment without a model, and ExperimentError where
    `own` is of other data or of another model.
    """
    if model is None:
        for value, field in ((learning_rate, "learning_rate"), (own, "own")):
            if value is not None:
                raise UsageError(f"{field} needs --model: without it, the model that scored the data is measured, at its rate.", field)
        return None
    if learning_rate is not None and learning_rate <= 0:
        raise UsageError(f"learning_rate must be above 0, got {learning_rate:g}.", "learning_rate")
    identity = models.identity(models.locate(model))
    if identity["fingerprint"] == experiment.own_model:
        raise UsageError(f"{model} is the model that scored {experiment.folder.root}; leave out --model to measure with it.", "model")
    beside = None if own is None else Experiment(own)
    if beside is not None:
        if beside.info["data"]["fingerprint"] != experiment.info["data"]["fingerprint"]:
            raise ExperimentError(
                f"{beside.folder.root} was made from other data than {experiment.folder.root}; score the same data with {model}."
            )
        if changed_parts(beside.info["model"], identity):
            raise ExperimentError(
                f"{beside.folder.root} was not scored with {model} but with {beside.settings.model}; name its own experiment."
            )
        if learning_rate is None and FULL_RECIPE in beside.learning_rates:
            rate_search.check_recipe(experiment, beside, "--own")
    return OtherModel(model, identity, learning_rate, beside)


def save_own_ticket(experiment: Experiment, other: OtherModel) -> str:
    """Save the winning ticket of the model's own experiment as a subset of this one, and return its name."""
    assert other.own is not None
    name = "ticket-of-" + re.sub(r"[^a-z0-9._-]+", "-", other.own.name.lower())[:50]
    experiment.save(name, other.own.rule(TICKET))
    return name


def entered(experiment: Experiment, other: OtherModel) -> Experiment:
    """Return the experiment read with that model, after entering it; a rate that its own experiment has fitted is taken over."""
    experiment.add_model(other.source, other.identity, other.learning_rate)
    read = experiment.with_model(other.identity["fingerprint"])
    fit = None if other.own is None else other.own.learning_rates.get(FULL_RECIPE)
    if other.learning_rate is None and other.own is not None and fit is not None and fit.rate is not None and not read.learning_rates:
        return rate_search.take_over(read, other.own)
    return read


def sentence(experiment: Experiment, other: OtherModel) -> str:
    """Say which model measures, and that it reads the texts as tokens of its own where its tokenizer is another one."""
    scored = Experiment(experiment.folder.root).info["model"]
    same = (scored.get("parts") or {}).get("tokenizer") == other.identity["parts"]["tokenizer"]
    tokens = "" if same else f"; it has a tokenizer of its own, so that texts are cut at {experiment.settings.max_length} of its own tokens"
    return f"Subsets chosen with {scored['source']} are measured with {other.source}{tokens}."


def estimated(
    directory: str | Path,
    names: Sequence[str],
    baselines: Sequence[str],
    seeds: int,
    budget: str,
    model: str,
    learning_rate: float | None,
    own: str | None,
) -> float:
    """Return the expected seconds of a frontier of another model: what is not measured yet, and the search for its rate.

    A few steps are trained and thrown away; nothing is written. Raises what `worker.frontier` raises.
    """
    experiment = Experiment(directory)
    other = other_model(experiment, model, learning_rate, own)
    assert other is not None
    wanted = [*(names or experiment.ladder()), *([TICKET] if other.own else [])]
    chosen, _ = choose(experiment, wanted, baselines, refuse=bool(names))
    experiment.add_model(other.source, other.identity, other.learning_rate, write=False)
    read = experiment.with_model(other.identity["fingerprint"])
    return measuring_seconds(read, [(name, seed) for name in chosen for seed in all_seeds(read.settings, seeds)], budget)
