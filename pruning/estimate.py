"""What a job would cost on this machine, before it starts: data read, a few real steps measured, the rest is arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pruning import data as datasource
from pruning import models
from pruning.records import RunPlan
from pruning.settings import Settings
from pruning.subsets import ladder
from pruning.tasks import TASKS

FRONTIER_SEEDS = 3
"""Fine-tunings per point that the frontier's estimate counts on."""

BASELINES = 2
"""Equal-size baselines beside each of its subsets."""

MEAN_KEPT = 0.5
"""Share of the examples that the ladder's subsets keep on average; which ones is known only after scoring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Wall clock on this machine as it is now, and what the probe saw on its way."""

    score_seconds: float
    """The scoring runs."""
    frontier_seconds: float
    """The whole ladder with its baselines, FRONTIER_SEEDS each; full data comes from the scoring."""
    examples: int
    """Training examples."""
    truncated: int
    """Of which so many are longer than the maximum length."""


def estimate(settings: Settings) -> Estimate:
    """Reads the data and trains a few throw-away steps, under 10 seconds beside reading. Raises what `worker.score` raises."""
    from pruning.training import probe

    train, held_out = datasource.load_pair(settings)
    task, model = TASKS[train.task], models.locate(settings.model)
    tokenizer, max_length = models.load_tokenizer(model), settings.max_length or TASKS[train.task].max_length
    encoded, evaluation = (task.encode(part.table, tokenizer, max_length) for part in (train, held_out))
    cost = probe(encoded, str(model), settings.scoring)
    rows = np.arange(encoded.units)
    scoring = [RunPlan(key=str(seed), seed=seed, rows=rows, epochs=settings.scoring.epochs) for seed in settings.seeds]
    points = len(ladder(settings.runs)) * (1 + BASELINES) * FRONTIER_SEEDS
    half = rows[: max(1, round(MEAN_KEPT * len(rows)))]
    measuring = [RunPlan(key=str(point), seed=point, rows=half, epochs=settings.train.epochs) for point in range(points)]
    seconds = [cost.seconds(plans, encoded, evaluation, batch_size=settings.train.batch_size) for plans in (scoring, measuring)]
    return Estimate(score_seconds=seconds[0], frontier_seconds=seconds[1], examples=encoded.units, truncated=encoded.truncated)
