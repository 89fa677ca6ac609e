"""What a job would cost on this machine, before it starts: data read, a few real steps measured, the rest is arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.frontier import USUAL_SEEDS
from pruning.data import examples as datasource
from pruning.data import models
from pruning.data.tasks import TASKS
from pruning.records import RunPlan
from pruning.settings import Settings
from pruning.subsets.rules import USUAL_BASELINES, ladder

MEAN_KEPT = 0.5
"""Share of the examples that the ladder's subsets keep on average; which ones is known only after scoring."""

ROUGH = "These are rough: a step takes so long here that only one of each kind was measured."
"""What an estimate says of itself when it rests on little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Wall clock on this machine as it is now, and what the probe saw on its way."""

    score_seconds: float
    """The scoring runs."""
    frontier_seconds: float
    """The whole ladder with USUAL_BASELINES, USUAL_SEEDS each, and of full data what the scoring runs do not give."""
    examples: int
    """Training examples."""
    truncated: int
    """Of which so many are longer than the maximum length."""
    rough: bool = False
    """Whether the probe could measure only one step of each kind, because a step takes so long."""


def estimate(settings: Settings) -> Estimate:
    """Reads the data, loads the model and trains a few throw-away steps: some seconds of them, up to 8 where a step is long.

    Twice that where scoring is an approximation whose steps cost their own.
    Raises what `worker.score` raises.
    """
    from pruning.training import probe

    train, held_out = datasource.load_pair(settings)
    task, model = TASKS[train.task], models.locate(settings.model)
    tokenizer, max_length = models.load_tokenizer(model), settings.max_length or TASKS[train.task].max_length
    encoded, evaluation = (task.encode(part.table, tokenizer, max_length) for part in (train, held_out))
    rows = np.arange(encoded.units)
    scoring = [RunPlan(key=str(seed), seed=seed, rows=rows, epochs=settings.scoring.epochs) for seed in settings.seeds]
    cost = probe(encoded, str(model), settings.scoring)
    full_cost = cost if steps_cost_alike(settings) else probe(encoded, str(model), settings.measuring)
    size = settings.train.batch_size
    return Estimate(
        score_seconds=cost.seconds(scoring, encoded, evaluation, batch_size=size),
        frontier_seconds=full_cost.seconds(frontier_plans(settings, rows), encoded, evaluation, batch_size=size),
        examples=encoded.units,
        truncated=encoded.truncated,
        rough=cost.rough or full_cost.rough,
    )


def steps_cost_alike(settings: Settings) -> bool:
    """Whether a step takes as long in scoring as in the frontier: their epochs and rates may differ, what they train does not."""
    return settings.measuring == replace(settings.scoring, epochs=settings.measuring.epochs, learning_rate=settings.measuring.learning_rate)


def frontier_plans(settings: Settings, rows: NDArray[np.int64]) -> list[RunPlan]:
    """The fine-tunings that the whole frontier of these rows is taken to need after scoring."""
    measured = settings.runs if settings.scoring == settings.measuring else 0
    half = rows[: max(1, round(MEAN_KEPT * len(rows)))]
    of_subsets = len(ladder(settings.runs)) * (1 + len(USUAL_BASELINES)) * USUAL_SEEDS
    sizes = [rows] * max(0, USUAL_SEEDS - measured) + [half] * of_subsets
    return [RunPlan(key=str(number), seed=number, rows=kept, epochs=settings.measuring.epochs) for number, kept in enumerate(sizes)]
