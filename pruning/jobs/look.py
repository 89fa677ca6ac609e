"""The first look as a step of a job: embed every text once, fit the probe, resumable part by part."""

from __future__ import annotations

import time

import numpy as np

from pruning.analysis import probe as probing
from pruning.analysis.probe import Probe
from pruning.data import model_checks, models
from pruning.data.tasks import TASKS
from pruning.errors import Cancelled, DataError, ExperimentError, UsageError, WinnowError
from pruning.experiment import Experiment
from pruning.jobs.progress import JobProgress, Listener, Stop
from pruning.records import Encoded
from pruning.store import look as stored


def applies(experiment: Experiment) -> str:
    """Why the task has no look, in one sentence; empty where it has one."""
    task = TASKS[experiment.settings.task]
    if task.kind == "classification":
        return ""
    return (
        f"There is no look at {task.name} data: it embeds one text, or pair of texts, per example and probes its label. "
        "Score it without a look."
    )


def step(experiment: Experiment, progress: JobProgress, listen: Listener, stop: Stop, later: int) -> Experiment:
    """Return the experiment with a look, the first step of scoring; where it cannot be had, a note says why and scoring continues.

    `later` counts the examples that the same job trains afterwards.
    """
    if not experiment.settings.look or experiment.settings.recorded_by != "winnow":
        return experiment
    try:
        return ensure(experiment, progress, listen, stop, later=later)
    except Cancelled:
        raise
    except WinnowError as error:
        progress.found = 0
        progress.say("note", message=f"Scored without a look. {error}")
        return experiment


def ensure(
    experiment: Experiment, progress: JobProgress, listen: Listener, stop: Stop, model: str | None = None, later: int = 0
) -> Experiment:
    """Return the experiment with its look; nothing to do where it has one of the same model, data and length of texts.

    `model` names the model where the experiment has none of its own. Raises DataError for a task without a look, UsageError for
    another model than the experiment's, ExperimentError for a full disk, ModelError for a model that cannot embed, and Cancelled.
    """
    if reason := applies(experiment):
        raise DataError(reason)
    source = _model(experiment, model)
    path = models.locate(source)
    if experiment.settings.model:
        models.check_unchanged(path, source, experiment.info["model"], experiment.folder.root)
    identity = {"source": source, **models.identity(path)}
    task, folder = TASKS[experiment.settings.task], experiment.folder
    max_length = experiment.settings.max_length or task.max_length
    recipe = stored.recipe(identity, experiment.info["data"]["fingerprint"], max_length)
    if stored.is_whole(folder, len(experiment.ids), experiment.info["model"], recipe):
        return experiment
    began = time.perf_counter()
    encoded = task.encode(experiment.examples(), models.load_tokenizer(path), max_length)
    model_checks.check_data(path, source, encoded)
    stored.refuse_full_disk(folder, encoded.units, model_checks.shape(path, source).hidden or 0, encoded.classes)
    parts = stored.Parts(folder, recipe)
    _embed(experiment, parts, encoded, str(path), progress, listen, stop, later)
    folder.look.unlink(missing_ok=True)  # it would speak of other embeddings
    parts.join()
    probe, left_out = _probe(experiment, progress, listen)
    stored.write_look(folder, identity, recipe, probe, left_out, encoded.truncated, time.perf_counter() - began)
    parts.remove()
    for note in (left_out, *(probe.notes if probe else ())):
        if note:
            progress.say("note", message=note)
    return Experiment(folder.root)


def _model(experiment: Experiment, model: str | None) -> str:
    own = experiment.settings.model
    if own and model not in (None, own):
        raise UsageError(f"{experiment.folder.root} was made with the model {own}, and its look uses the same, not {model}.", "model")
    if not (own or model):
        raise UsageError(f"{experiment.folder.root} was recorded elsewhere and names no model; choose one for its look.", "model")
    return own or str(model)


def _embed(
    experiment: Experiment,
    parts: stored.Parts,
    encoded: Encoded,
    model: str,
    progress: JobProgress,
    listen: Listener,
    stop: Stop,
    later: int,
) -> None:
    """Put the parts that are missing on disk, each at once. A pass of seconds waits for no training on the same device."""
    from pruning.training import embed

    start = parts.done
    if start == encoded.units:
        return
    progress.plan([], found=start, later=encoded.units - start + later)

    def show(done: int) -> None:
        progress.passed(done, timed=not later)
        listen(progress)
        progress.beat()

    with stop.between_steps():
        for item in embed(encoded, model, experiment.settings.train.device, first=start, stop=stop):
            if isinstance(item, int):
                show(item)
            else:
                parts.add(start, item)
                start += len(item)
    progress.passed(encoded.units, timed=not later)
    progress.end_pass()


def _probe(experiment: Experiment, progress: JobProgress, listen: Listener) -> tuple[Probe | None, str]:
    """Fit the probe and keep its probabilities; or None, and why not in one sentence."""
    labels, names = experiment.labels, experiment.label_names
    if labels is None:
        raise ExperimentError(f"{experiment.folder.root} has no labels to probe.")

    def tick(done: int, total: int) -> None:
        progress.beat()
        listen(progress)

    try:
        probing.refuse(np.bincount(labels, minlength=len(names)), names)
    except DataError as error:
        return None, str(error)
    embeddings = stored.load_array(experiment.folder.embeddings)
    with stored.probabilities_file(experiment.folder, len(labels), len(names)) as out:
        return probing.fit(embeddings, labels, len(names), out, tick, names), ""
