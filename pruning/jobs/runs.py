"""Train a job's runs with the engine and hand on what each of them reports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pruning.analysis.divergence import REDO, stuck_at
from pruning.data import model_checks, models
from pruning.data.tasks import TASKS
from pruning.errors import Diverged, TrainingError
from pruning.experiment import Experiment
from pruning.formatting import counted
from pruning.jobs.progress import JobProgress, Listener, Stop
from pruning.records import Encoded, EpochRecord, Progress, RunPlan, RunResult
from pruning.settings import TrainSettings
from pruning.store.lock import turn

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Done:
    """A plan that was trained to its end, and its results."""

    plan: RunPlan
    result: RunResult
    metrics: Mapping[str, float]
    stuck: bool
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
    on_diverged: Callable[[RunPlan, Diverged], None] | None = None,
) -> None:
    """Train the plans and pass on each record and result.

    `held_out` are the examples to predict at the end of each run (default: the experiment's evaluation data). `on_diverged` is called
    for a run whose loss became NaN (default: raise TrainingError naming these runs once the others have finished).
    """
    from pruning.training import checkpoint, train
    from pruning.training.devices import pick_device

    if not plans:
        return
    settings = experiment.settings
    task = TASKS[settings.task]
    model = models.locate(settings.model)
    models.check_unchanged(model, settings.model, experiment.info["model"], experiment.folder.root)
    tokenizer = models.load_tokenizer(model)
    examples, held_out = experiment.examples(), experiment.evaluation() if held_out is None else held_out
    max_length = settings.max_length or task.max_length
    encoded = task.encode(examples, tokenizer, max_length)
    evaluation = task.encode(held_out, tokenizer, max_length)
    model_checks.check_data(model, settings.model, encoded, evaluation)
    if encoded.truncated:
        progress.say(
            "note", message=f"{counted(encoded.truncated, 'example is', 'examples are')} longer than {max_length} tokens and truncated."
        )
    if settings.checkpoints:
        size = models.checkpoint_bytes(model) / 1e6
        progress.say("note", message=f"Each run saves its state on disk, up to {size:,.0f} MB; --no-checkpoints turns this off.")
    for plan in plans:
        if plan.checkpoint and (problem := checkpoint.discard_damaged(plan.checkpoint)):
            progress.say("note", message=problem)
    waiting = {plan.key: plan for plan in plans}

    def take(item: Progress | EpochRecord | RunResult) -> None:
        plan = waiting[item.key]
        if isinstance(item, Progress):
            progress.update(item)
            listen(progress)
        elif isinstance(item, EpochRecord):
            on_epoch(plan, item)
            logger.info("%s epoch %d recorded", item.key, item.epoch + 1)
        else:
            assert item.outputs is not None
            if item.micro_batch:
                progress.say(
                    "note", message=f"{item.key} trained {item.micro_batch} examples at a time to save memory; batches are unchanged."
                )
            metrics = task.metrics(held_out, item.outputs, evaluation)
            on_result(Done(plan=plan, result=item, metrics=metrics, stuck=_stuck(evaluation, item), evaluation=evaluation))
            logger.info("%s finished in %.1f s: %s", item.key, item.seconds, dict(metrics))
            progress.end(waiting.pop(item.key))
            listen(progress)
        progress.beat()

    diverged = []
    device = str(pick_device(recipe.device))

    def wait(holder: str) -> None:
        progress.queue(device, holder)
        listen(progress)

    with turn(device, wait, str(experiment.folder.root)), stop.between_steps():
        progress.waiting = ""
        logger.info("training on %s: %s", device, ", ".join(waiting))
        while waiting:
            try:
                for item in train([*waiting.values()], encoded, evaluation, str(model), recipe, stop=stop):
                    take(item)
            except Diverged as error:  # the others go on after their last whole epoch
                plan = waiting.pop(error.key)
                progress.runs.clear()
                if on_diverged is not None:
                    on_diverged(plan, error)
                    continue
                diverged.append(str(error))
                progress.say("diverged", message=str(error), key=error.key)
    if diverged:
        raise TrainingError(f"{' '.join(diverged)} What did not diverge is finished. {REDO}")


def _stuck(evaluation: Encoded, result: RunResult) -> bool:
    """Return True if a fine-tuning gives nearly every evaluation example one answer; see `analysis.divergence.stuck_at`."""
    if evaluation.kind != "classification" or result.outputs is None:
        return False
    return stuck_at(result.outputs.argmax(axis=1), evaluation.labels) is not None
