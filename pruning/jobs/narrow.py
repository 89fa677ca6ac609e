"""A narrower model: the most important feed-forward neurons of an experiment's model, as a folder that `from_pretrained` loads."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pruning import __version__
from pruning.analysis.neurons import RANDOM, SOURCES, TAYLOR, any_neurons, kept_width, most_important
from pruning.data import model_checks, models
from pruning.data.models import TOKENIZER_FILES
from pruning.data.tasks import TASKS
from pruning.errors import Cancelled, ExperimentError, UsageError
from pruning.experiment import Experiment
from pruning.files import atomic_write, write_json
from pruning.jobs.progress import JobProgress, Listener, stop_on_signals
from pruning.jobs.runs import in_turn
from pruning.records import Progress, RunPlan

NOTES = "width.json"
"""File in the narrower model's folder that says how it was made."""

COPIED = (*TOKENIZER_FILES, "chat_template.jinja", "chat_template.json", "generation_config.json")


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A narrower model and what it was cut from."""

    folder: Path
    width: int
    """Neurons of each layer."""
    width_before: int
    parameters: int
    """Of the whole model."""
    parameters_before: int

    @property
    def sentence(self) -> str:
        """The cut in words."""
        share = self.parameters / self.parameters_before
        return (
            f"{self.folder} keeps {self.width:,} of {self.width_before:,} neurons in each layer: {self.parameters:,} of "
            f"{self.parameters_before:,} parameters ({share:.0%} of the whole model)."
        )


def narrow(
    directory: str | Path,
    share: float,
    output: str | Path,
    importance: str = TAYLOR,
    listen: Listener = lambda progress: None,
    seed: int | None = None,
    measured: NDArray[np.float64] | None = None,
) -> Narrowed:
    """Write the experiment's model with that share of each layer's neurons to a new folder. The experiment is not changed.

    The importance is measured in one run on the experiment's training data, with the recipe of its frontier and its first seed; `seed`
    is another one, `measured` the result of an earlier `measure_neurons`. Raises UsageError for a share, an importance or an output that
    is not possible, ExperimentError for an experiment without a model, ModelError for a model that cannot be narrowed, Cancelled, and what
    training raises.
    """
    from pruning.training import width

    if importance not in SOURCES:
        raise UsageError(f"importance must be one of {', '.join(SOURCES)}, got {importance!r}.", "importance")
    output = Path(output)
    _refuse(output)
    experiment, path = _opened(directory)
    if output.resolve().is_relative_to(experiment.folder.root.resolve()):
        raise UsageError(f"{output} is in the experiment's folder; choose a folder elsewhere for the narrower model.", "output")
    source = experiment.settings.model
    found = width.blocks(path, source)
    count = kept_width(share, found.width)
    seed = experiment.settings.seeds[0] if seed is None else seed
    if count == found.width:
        kept = np.tile(np.arange(count), (found.layers, 1))
    elif importance == RANDOM:
        kept = any_neurons(found.layers, found.width, count, seed)
    else:
        kept = most_important(_measured(experiment, path, listen, seed) if measured is None else measured, count)
    before = model_checks.shape(path, source).parameters
    notes = {
        "share": share,
        "width": count,
        "width_before": found.width,
        "importance": importance,
        "importance_source": SOURCES[importance],
        "seed": seed,
        "model": {"source": source, "fingerprint": experiment.info["model"]["fingerprint"]},
        "experiment": {"name": experiment.name, "data": experiment.info["data"]["fingerprint"]},
        "winnow": __version__,
    }
    with stop_on_signals() as stop, atomic_write(output) as temporary:
        temporary.mkdir()
        width.write(path, temporary, found, kept, stop)
        for name in COPIED:
            if (path / name).is_file():
                shutil.copyfile(path / name, temporary / name)
        after = model_checks.shape(temporary, str(output)).parameters
        write_json(temporary / NOTES, {**notes, "parameters": after, "parameters_before": before, "kept": kept.tolist()})
        _refuse(output)
    return Narrowed(output, count, found.width, after, before)


def measure_neurons(directory: str | Path, listen: Listener = lambda progress: None, seed: int | None = None) -> NDArray[np.float64]:
    """Train one run on all rows and return [layers, neurons] the importance it measured, after waiting for the turn on the device.

    Raises what `narrow` raises.
    """
    experiment, path = _opened(directory)
    return _measured(experiment, path, listen, experiment.settings.seeds[0] if seed is None else seed)


def _measured(experiment: Experiment, path: Path, listen: Listener, seed: int) -> NDArray[np.float64]:
    """The same for an experiment that is open, whose model is in the folder `path`."""
    from pruning.training import width
    from pruning.training.devices import pick_device

    settings, recipe = experiment.settings, experiment.settings.measuring
    task = TASKS[settings.task]
    data = task.encode(experiment.examples(), models.load_tokenizer(path, settings.template), settings.max_length or task.max_length)
    plan = RunPlan(key="importance", seed=seed, rows=np.arange(data.units), epochs=recipe.epochs, record=False)
    progress = JobProgress(experiment.folder, "narrow")  # writes no event: the experiment is only read
    progress.plan([plan])
    device = str(pick_device(recipe.device))

    def say(sentence: str) -> None:
        progress.waiting = sentence
        listen(progress)

    with stop_on_signals() as stop, in_turn([device], say, str(experiment.folder.root), stop):
        progress.waiting = ""
        for item in width.measure(plan, data, str(path), width.blocks(path, settings.model), recipe, stop):
            if not isinstance(item, Progress):
                return item
            progress.update(item)
            listen(progress)
    raise Cancelled("Cancelled; nothing was written.")


def _opened(directory: str | Path) -> tuple[Experiment, Path]:
    """Return the experiment and the folder of its model."""
    experiment = Experiment(directory)
    source = experiment.settings.model
    if not source:
        raise ExperimentError(f"{experiment.folder.root} has no model to narrow; score its data with one first.")
    path = models.locate(source)
    models.check_unchanged(path, source, experiment.info["model"], experiment.folder.root)
    return experiment, path


def _refuse(output: Path) -> None:
    if os.path.lexists(output):
        raise UsageError(f"{output} exists; choose another folder for the narrower model.", "output")
