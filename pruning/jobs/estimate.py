"""Estimate the time of a job on this machine from a few measured training steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.expected_success import AGREEMENT
from pruning.analysis.frontier import USUAL_SEEDS
from pruning.analysis.learning_rate import candidates, held_out_size
from pruning.data import examples as datasource
from pruning.data import model_checks, models
from pruning.data.tasks import TASKS
from pruning.experiment import Experiment
from pruning.formatting import counted, duration
from pruning.jobs.measuring import left
from pruning.jobs.rate_search import planned
from pruning.jobs.usual import decided
from pruning.records import FULL, Encoded, RunPlan
from pruning.settings import Settings, TrainSettings
from pruning.subsets.rules import USUAL_BASELINES, ladder

if TYPE_CHECKING:
    from pruning.training.cost import Cost

SLOTS = (1, 4, 16, 64)
"""Numbers of cores or GPUs that an estimate is given for."""

MEAN_KEPT = 0.5
"""Share of the examples that the ladder's subsets keep on average; which ones is known only after scoring."""

ROUGH = "This is a rough estimate: a step takes so long here that only one of each kind was measured."
"""Note on an estimate that rests on one step of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Expected wall-clock time on this machine in its present state, and what the probe counted."""

    score_seconds: float
    """The look, the search for the learning rate, and the scoring runs."""
    frontier_seconds: float
    """The whole ladder with USUAL_BASELINES, USUAL_SEEDS each, and of full data what the scoring runs do not give."""
    runs: int
    """Scoring runs."""
    examples: int
    """Training examples."""
    truncated: int
    """Training examples longer than the maximum length."""
    fit_seconds: float = 0.0
    """The part of `score_seconds` that the search for the learning rate takes; 0 where the rate is given."""
    look_seconds: float = 0.0
    """The part of `score_seconds` that the look's pass takes; 0 without a look."""
    by_runs: Mapping[int, float] = field(default_factory=dict)
    """Number of runs -> `score_seconds` with so many, for those in `AGREEMENT`; empty without a look."""
    scaling: Mapping[int, float] = field(default_factory=dict)
    """Seconds of scoring and the frontier by number of slots (cores, or GPUs) like the one measured."""
    useful: int = 0
    """Slots beyond which scoring and the frontier gain less than 5%."""
    critical_seconds: float = 0.0
    """Seconds on any number of slots: the longest run of each part that has to wait for the one before."""
    rough: bool = False
    """True if a step takes so long that the probe measured only one of each kind."""


def fewer_runs(seconds: Mapping[Any, float]) -> str:
    """Say what fewer runs take and give (`Estimate.by_runs`, also as read from JSON); empty where nothing is known of them.

    >>> fewer_runs({1: 30.0, 2: 60.0})
    'With 1 run 30 s, and expected success agrees with other runs to .62 to .82; with 2 runs 60 s, .65 to .84 (Spearman, six other sets).'
    """
    parts: list[str] = []
    for runs, taken in seconds.items():
        low, high = (f"{share:.2f}".removeprefix("0") for share in AGREEMENT[int(runs)])
        said = "" if parts else "and expected success agrees with other runs to "
        parts.append(f"with {counted(int(runs), 'run')} {duration(taken)}, {said}{low} to {high}")
    return f"{'; '.join(parts).capitalize()} (Spearman, six other sets)." if parts else ""


def estimate(settings: Settings, runs_given: bool = True) -> Estimate:
    """Read the data, load the model and train a few steps for a few seconds (up to 8 if a step is long), which are thrown away.

    Without `runs_given`, generation has its usual number of runs, as in `worker.score`. Raises what `worker.score` raises.
    """
    from pruning.training.cost import useful_slots

    probed = _probed(settings, runs_given)
    settings, encoded, cost = probed.settings, probed.data, probed.cost
    rows = np.arange(encoded.units)

    def search(recipe: TrainSettings) -> list[list[float]]:
        """Seconds of each run of the search for that recipe's learning rate, round by round."""
        if recipe.learning_rate is not None:
            return []
        return [probed.durations(plans, probed.held_out) for plans in planned(encoded.units, recipe)]

    fit = search(settings.scoring)
    fit_again = search(settings.measuring) if settings.approximate else []
    runs, subsets = (probed.durations(plans, probed.evaluation) for plans in (probed.scoring(rows), frontier_plans(settings, rows)))
    look = probed.look_seconds
    jobs = [[*fit, runs], [*fit_again, subsets]]
    phases = [phase for job in jobs for phase in job]
    by_runs = {count: look + cost.total([*fit, runs[:1] * count]) for count in AGREEMENT} if look else {}
    return Estimate(
        score_seconds=look + cost.total([*fit, runs]),
        frontier_seconds=cost.total([*fit_again, subsets]),
        fit_seconds=cost.total(fit),
        look_seconds=look,
        runs=settings.runs,
        examples=encoded.units,
        truncated=encoded.truncated,
        by_runs=by_runs,
        scaling={slots: look * cost.slots / min(slots, cost.slots) + sum(cost.total(job, slots) for job in jobs) for slots in SLOTS},
        useful=useful_slots(phases),
        critical_seconds=look + sum(cost.total(job, max(map(len, phases))) for job in jobs),
        rough=cost.rough,
    )


def seconds_by_size(settings: Settings, sizes: Sequence[int], fractions: Sequence[float]) -> dict[int, float]:
    """Return, by number of examples, the seconds to look at and score so many of the data, then to fine-tune once on each fraction of them.

    A number beyond the data means all of them. Measures the machine as `estimate` does; the learning rate is given. Raises what
    `worker.score` raises.
    """
    probed, found = _probed(settings), {}
    look, epochs = probed.look_seconds / probed.data.units, probed.settings.measuring.epochs
    for size in sizes:
        rows = np.arange(min(size, probed.data.units))
        kept = [rows[: round(fraction * len(rows))] for fraction in fractions]
        subsets = [RunPlan(key=str(number), seed=number, rows=part, epochs=epochs) for number, part in enumerate(kept)]
        found[size] = look * len(rows) + sum(map(probed.seconds, (probed.scoring(rows), subsets)))
    return found


def measuring_seconds(experiment: Experiment, pieces: Sequence[tuple[str, int]], budget: str) -> float:
    """Return the expected seconds of these fine-tunings (subset and seed) that are not finished, and of the search for their rate."""
    from pruning.training import probe

    settings, task = experiment.settings, TASKS[experiment.settings.task]
    model = models.locate(settings.model)
    tokenizer, longest = models.load_tokenizer(model, settings.template), settings.max_length or task.max_length
    encoded, evaluation = (task.encode(part, tokenizer, longest) for part in (experiment.examples(), experiment.evaluation()))
    model_checks.check_data(model, settings.model, encoded, evaluation, own=experiment.model == experiment.own_model)
    recipe, plans = settings.measuring, [plan for _, plan in left(experiment, pieces, budget).runs.values()]
    cost = probe(encoded, str(model), _at_some_rate(recipe))
    phases = [cost.durations(plans, encoded, evaluation, batch_size=recipe.batch_size)]
    if recipe.learning_rate is None:
        held_out = task.encode(experiment.examples().slice(0, held_out_size(encoded.units)), tokenizer, longest)
        phases += [cost.durations(each, encoded, held_out, batch_size=recipe.batch_size) for each in planned(encoded.units, recipe)]
    return cost.total(phases)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probed:
    """Encoded data, and what training on it costs in a slot of this machine."""

    settings: Settings
    """With what the data decide filled in."""
    data: Encoded
    evaluation: Encoded | None
    held_out: Encoded | None
    """The rows that a search for the learning rate evaluates; None where the rate is given."""
    cost: Cost

    @property
    def look_seconds(self) -> float:
        """Seconds of the look's pass; 0 without a look."""
        looks = self.settings.look and self.data.kind == "classification"
        return self.cost.evaluation_token * len(self.data.tokens) / self.cost.slots if looks else 0.0

    def scoring(self, rows: NDArray[np.int64]) -> list[RunPlan]:
        return [RunPlan(key=str(seed), seed=seed, rows=rows, epochs=self.settings.scoring.epochs) for seed in self.settings.seeds]

    def durations(self, plans: Sequence[RunPlan], evaluation: Encoded | None) -> list[float]:
        """Seconds of each plan in a slot."""
        return self.cost.durations(plans, self.data, evaluation, batch_size=self.settings.train.batch_size)

    def seconds(self, plans: Sequence[RunPlan]) -> float:
        """Seconds of a job of these plans."""
        return self.cost.seconds(plans, self.data, self.evaluation, batch_size=self.settings.train.batch_size)


def _probed(settings: Settings, runs_given: bool = True) -> _Probed:
    """Read and encode the data, load the model and measure this machine."""
    from pruning.training import probe

    train, held_out = datasource.load_pair(settings)
    task, model = TASKS[train.task], models.locate(settings.model)
    settings = decided(settings, train.task, model, runs_given)
    tokenizer, longest = models.load_tokenizer(model, settings.template), settings.max_length or task.max_length
    data, evaluation = (task.encode(part.table, tokenizer, longest) for part in (train, held_out))
    model_checks.check_data(model, settings.model, data, evaluation)
    searches = None in (settings.scoring.learning_rate, settings.measuring.learning_rate)
    return _Probed(
        settings=settings,
        data=data,
        evaluation=evaluation,
        held_out=task.encode(train.table.slice(0, held_out_size(data.units)), tokenizer, longest) if searches else None,
        cost=probe(data, str(model), _at_some_rate(settings.scoring)),
    )


def _at_some_rate(recipe: TrainSettings) -> TrainSettings:
    """Return a recipe that can train: a rate that is still to be fitted changes nothing about what a step costs."""
    return recipe if recipe.learning_rate is not None else replace(recipe, learning_rate=candidates(recipe.lora_rank)[0])


def frontier_plans(settings: Settings, rows: NDArray[np.int64]) -> list[RunPlan]:
    """Return the fine-tunings that the whole frontier of these rows is expected to need after scoring."""
    measured = settings.runs if settings.scored_subset == FULL else 0
    half = rows[: max(1, round(MEAN_KEPT * len(rows)))]
    of_subsets = len(ladder(settings.runs)) * (1 + len(USUAL_BASELINES)) * USUAL_SEEDS
    sizes = [rows] * max(0, USUAL_SEEDS - measured) + [half] * of_subsets
    return [RunPlan(key=str(number), seed=number, rows=kept, epochs=settings.measuring.epochs) for number, kept in enumerate(sizes)]
