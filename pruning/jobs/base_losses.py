"""The base of generation's scores, made before the first run: answer lengths, and the unadapted model's losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.data import models
from pruning.data.tasks import TASKS
from pruning.data.tasks.generation.alone import alone, header
from pruning.errors import TrainingError
from pruning.experiment import Experiment
from pruning.jobs.progress import JobProgress, Listener, Stop
from pruning.jobs.runs import trainer
from pruning.records import Encoded, RunPlan, RunResult
from pruning.settings import TrainSettings
from pruning.store.base import CUT, LENGTH, LOSS0, LOSS0_ALONE, write_base


def lacks(experiment: Experiment) -> bool:
    """Return True for an experiment of generation whose base is not on disk."""
    settings = experiment.settings
    return TASKS[settings.task].kind == "generation" and settings.recorded_by == "winnow" and not experiment.folder.base.exists()


def ensure(experiment: Experiment, progress: JobProgress, listen: Listener, stop: Stop) -> Experiment:
    """Return the experiment with its base; nothing to do for other kinds of tasks, or where it is there.

    Two forward passes over the training data, no training. Raises what `training.train` raises.
    """
    if not lacks(experiment):
        return experiment
    settings = experiment.settings
    model = models.locate(settings.model)
    tokenizer = models.load_tokenizer(model, settings.template)
    task = TASKS[settings.task]
    data = task.encode(experiment.examples(), tokenizer, settings.max_length or task.max_length)
    assert data.answer_lengths is not None and data.cut is not None
    progress.say("note", message="Measuring the loss of each answer before training, with its prompt and without it: two forward passes.")
    listen(progress)
    with trainer(experiment, settings.train, progress, listen, stop) as train:
        losses = [_losses(train, part, str(model), settings.train, stop, progress) for part in (data, alone(data, header(tokenizer)))]
    write_base(experiment.folder, experiment.ids, {LENGTH: data.answer_lengths, CUT: data.cut, LOSS0: losses[0], LOSS0_ALONE: losses[1]})
    return Experiment(experiment.folder.root)


def _losses(
    train: Callable[..., Iterator[Any]], data: Encoded, model: str, recipe: TrainSettings, stop: Stop, progress: JobProgress
) -> NDArray[np.float32]:
    """Return [N] the mean loss of each answer's token under the model as it is: a run without an epoch."""
    plan = RunPlan(key="before training", seed=0, rows=np.zeros(1, dtype=np.int64), epochs=0, record=False)
    untrained = replace(recipe, learning_rate=recipe.learning_rate or 1.0)  # adapters add nothing before training
    for item in train([plan], data, data, model, untrained, stop=stop):
        progress.beat()
        if isinstance(item, RunResult) and item.outputs is not None:
            return item.outputs[:, 0]
    raise TrainingError("The model's losses before training could not be measured; resume the experiment.")
