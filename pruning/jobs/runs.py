"""Train a job's runs with the engine and hand on what each of them reports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pruning.analysis.confusion import class_accuracy
from pruning.analysis.divergence import redo, stuck_at
from pruning.analysis.predictions import outcomes
from pruning.data import model_checks, models
from pruning.data.tasks import TASKS, Task
from pruning.errors import TrainingError
from pruning.experiment import Experiment
from pruning.files import visible_gpu
from pruning.formatting import counted
from pruning.jobs.progress import JobProgress, Listener, Stop
from pruning.records import Encoded, EpochRecord, Notice, Progress, RunDiverged, RunLost, RunPlan, RunResult, RunStarted
from pruning.settings import TrainSettings
from pruning.store.lock import turn

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Done:
    """A plan that was trained to its end, and its results."""

    plan: RunPlan
    result: RunResult
    metrics: Mapping[str, float]
    class_accuracy: Mapping[str, float]
    stuck: bool
    right: NDArray[np.bool_]
    """[N] whether each held-out example was predicted right."""
    evaluation: Encoded
    """The data that `result.outputs` and `metrics` are of."""


def train_runs(
    experiment: Experiment,
    recipe: TrainSettings,
    plans: Sequence[RunPlan],
    progress: JobProgress,
    listen: Listener,
    stop: Stop,
    on_epoch: Callable[[RunPlan, EpochRecord], None],
    on_result: Callable[[Done], None],
    held_out: pa.Table | None = None,
    on_diverged: Callable[[RunPlan, RunDiverged], None] | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Train the plans and pass on each record and result.

    `held_out` are the examples to predict at the end of each run (default: the experiment's evaluation data). `on_diverged` is called
    for a run whose loss became NaN (default: raise TrainingError naming these runs once the others have finished). No further run
    starts once `enough()` is true.
    """
    if not plans:
        return
    data = _encode(experiment, held_out)
    if progress.connection is not None:
        plans = progress.connection.with_checkpoints(experiment, plans)
    _announce(data, plans, progress)
    waiting = {plan.key: plan for plan in plans}

    diverged = []
    with trainer(experiment, recipe, progress, listen, stop) as train:
        logger.info("training %s", ", ".join(waiting))
        for item in train(plans, data.training, data.evaluation, str(data.model), recipe, stop=stop, enough=enough):
            if isinstance(item, RunDiverged):
                plan = waiting.pop(item.key)
                progress.runs.pop(item.key, None)
                if on_diverged is not None:
                    on_diverged(plan, item)
                else:
                    diverged.append(item.sentence)
                    progress.say("diverged", message=item.sentence, key=item.key)
                continue
            _take(item, waiting, data, progress, on_epoch, on_result)
            if not isinstance(item, EpochRecord):
                listen(progress)
            progress.beat()
    if diverged:
        raise TrainingError(f"{' '.join(diverged)} The other runs are complete. {redo(experiment.folder.root)}")


@contextmanager
def trainer(
    experiment: Experiment, recipe: TrainSettings, progress: JobProgress, listen: Listener, stop: Stop
) -> Iterator[Callable[..., Iterator[Any]]]:
    """Wait for the turn on each of the recipe's devices, hold them, and yield the function that trains, or one that trains on the cluster.

    The job's processes, or its workers on the cluster, wait for its next training. All jobs wait for the devices in one order, that of
    the machine, so that no two wait for each other.
    """
    if progress.connection is not None:
        from pruning.training.cluster import train_on_cluster

        pool = progress.keep(progress.connection.pool, experiment)
        with stop.between_steps():
            yield partial(train_on_cluster, pool)
        return
    from pruning.training import kept_processes, train
    from pruning.training.devices import pick_devices

    progress.keep(kept_processes)
    devices = [str(device) for device in sorted(pick_devices(recipe.device), key=lambda device: visible_gpu(device.index or 0))]

    def say(sentence: str) -> None:
        progress.queue(sentence)
        listen(progress)

    with in_turn(devices, say, str(experiment.folder.root), stop):
        progress.waiting = ""
        yield train


@contextmanager
def in_turn(devices: Sequence[str], say: Callable[[str], None], name: str, stop: Stop) -> Iterator[None]:
    """Hold the turn on each device, in that order; `say` gets a sentence for each holder that `name` waits for."""

    def wait(device: str, holder: str) -> None:
        say(f"Waiting for {holder or 'another experiment'}, which trains on {device}.")

    with ExitStack() as turns:
        for device in devices:
            turns.enter_context(turn(device, partial(wait, device), name))
        turns.enter_context(stop.between_steps())
        yield


def _take(
    item: RunStarted | Progress | EpochRecord | RunResult | RunLost | Notice,
    waiting: dict[str, RunPlan],
    data: _Data,
    progress: JobProgress,
    on_epoch: Callable[[RunPlan, EpochRecord], None],
    on_result: Callable[[Done], None],
) -> None:
    """Pass on what a run yields; a finished run is removed from `waiting`."""
    if isinstance(item, RunStarted):
        progress.start(waiting[item.key], item.where)
    elif isinstance(item, RunLost):
        progress.lose(item)
    elif isinstance(item, Notice):
        progress.notice(item)
    elif isinstance(item, Progress):
        progress.update(item)
    elif isinstance(item, EpochRecord):
        on_epoch(waiting[item.key], item)
        logger.info("%s epoch %d recorded", item.key, item.epoch + 1)
    else:
        plan = waiting.pop(item.key)
        on_result(_done(plan, item, data, progress))
        progress.end(plan)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Data:
    """Data of a job as the engine reads it, with the model that encoded it."""

    task: Task
    model: Path
    max_length: int
    training: Encoded
    evaluation: Encoded
    held_out: pa.Table
    """The rows of `evaluation`."""
    label_names: Sequence[str]


def _encode(experiment: Experiment, held_out: pa.Table | None) -> _Data:
    """Encode the training and held-out examples. Raises ModelError if the model changed or does not fit the data."""
    settings = experiment.settings
    task = TASKS[settings.task]
    model = models.locate(settings.model)
    models.check_unchanged(model, settings.model, experiment.info["model"], experiment.folder.root)
    tokenizer = models.load_tokenizer(model, settings.template)
    rows = experiment.evaluation() if held_out is None else held_out
    max_length = settings.max_length or task.max_length
    training, evaluation = (task.encode(each, tokenizer, max_length) for each in (experiment.examples(), rows))
    model_checks.check_data(model, settings.model, training, evaluation, own=experiment.model == experiment.own_model)
    return _Data(
        task=task,
        model=model,
        max_length=max_length,
        training=training,
        evaluation=evaluation,
        held_out=rows,
        label_names=experiment.label_names,
    )


def _announce(data: _Data, plans: Sequence[RunPlan], progress: JobProgress) -> None:
    """Write an event for each fact about the training that the user should know before it starts."""
    from pruning.training import checkpoint

    for note in data.training.notes:
        progress.say("note", message=note)
    if truncated := data.training.truncated:
        sentence = f"{counted(truncated, 'example is', 'examples are')} longer than {data.max_length} tokens and truncated."
        progress.say("note", message=sentence)
    if any(plan.checkpoint for plan in plans):
        size = models.checkpoint_bytes(data.model) / 1e6
        progress.say("note", message=f"Each run saves its state on disk, up to {ceil(size):,} MB; --no-checkpoints turns this off.")
    for plan in plans:
        if plan.checkpoint and (problem := checkpoint.discard_damaged(plan.checkpoint)):
            progress.say("note", message=problem)


def _done(plan: RunPlan, result: RunResult, data: _Data, progress: JobProgress) -> Done:
    """Return a finished plan with its metrics on the held-out data."""
    assert result.outputs is not None
    if result.micro_batch:
        sentence = f"{plan.key} trained {result.micro_batch} examples at a time to save memory; batches are unchanged."
        progress.say("note", message=sentence)
    metrics = data.task.metrics(data.held_out, result.outputs, data.evaluation)
    logger.info("%s finished in %.1f s: %s", plan.key, result.seconds, dict(metrics))
    return Done(
        plan=plan,
        result=result,
        metrics=metrics,
        class_accuracy=_class_accuracy(data.evaluation, result, data.label_names),
        stuck=_stuck(data.evaluation, result),
        right=outcomes(result.outputs, data.evaluation)[1],
        evaluation=data.evaluation,
    )


def _stuck(evaluation: Encoded, result: RunResult) -> bool:
    """Return True if a fine-tuning gives nearly every evaluation example one answer; see `analysis.divergence.stuck_at`."""
    if evaluation.kind != "classification" or result.outputs is None:
        return False
    return stuck_at(result.outputs.argmax(axis=1), evaluation.labels) is not None


def _class_accuracy(evaluation: Encoded, result: RunResult, names: Sequence[str]) -> dict[str, float]:
    """Return a fine-tuning's accuracy on each class of the evaluation examples; empty where the task has no classes."""
    if evaluation.kind != "classification" or result.outputs is None:
        return {}
    return class_accuracy(result.outputs.argmax(axis=1), evaluation.labels, names)
