"""A narrower model: the most important neurons and attention heads of an experiment's model, as a folder `from_pretrained` loads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pruning import __version__
from pruning.analysis.frontier import USUAL_SEEDS
from pruning.analysis.neurons import SOURCES, TAYLOR, Importance, any_neurons, kept_groups, kept_width, most_important
from pruning.data import model_checks, models
from pruning.data.models import TOKENIZER_FILES
from pruning.data.tasks import TASKS
from pruning.errors import Cancelled, ExperimentError, UsageError
from pruning.experiment import Experiment
from pruning.files import atomic_write, write_json
from pruning.jobs import worker
from pruning.jobs.measuring import check_measurable, choose
from pruning.jobs.progress import JobProgress, Listener, stop_on_signals
from pruning.jobs.runs import in_turn
from pruning.records import Progress, RunPlan

if TYPE_CHECKING:
    from pruning.training.width import Blocks, Heads, Kept

NOTES = "width.json"
"""File in the narrower model's folder that says how it was made."""

BASELINE = "random"
"""Baseline that a subset is measured beside, at its own size."""

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
    heads: tuple[int, int] | None = None
    """Attention heads of each layer, and before; None where all are kept."""

    @property
    def sentence(self) -> str:
        """The cut in words."""
        share = self.parameters / self.parameters_before
        heads = "" if self.heads is None else f" and {self.heads[0]:,} of {self.heads[1]:,} attention heads"
        return (
            f"{self.folder} keeps {self.width:,} of {self.width_before:,} neurons{heads} in each layer: {self.parameters:,} of "
            f"{self.parameters_before:,} parameters ({share:.0%} of the whole model)."
        )


def narrow(
    directory: str | Path,
    share: float,
    output: str | Path,
    importance: str = TAYLOR,
    listen: Listener = lambda progress: None,
    seed: int | None = None,
    measured: Importance | None = None,
    heads: float = 1.0,
) -> Narrowed:
    """Write the experiment's model with that share of each layer's neurons, and of its `heads`, to a new folder; nothing else changes.

    The importance is measured in one run on the experiment's training data, with the recipe of its frontier and its first seed; `seed`
    is another one, `measured` the result of an earlier `measure_neurons`. Raises UsageError for a share, an importance or an output that
    is not possible, ExperimentError for an experiment without a model, ModelError for a model that cannot be narrowed, Cancelled, and what
    training raises.
    """
    experiment, path = _opened(directory)
    cut = _planned(experiment, path, share, Path(output), importance, seed, heads)
    _refuse(cut.folder)
    return _written(cut, path, _kept(cut, experiment, path, listen, measured))


def narrow_widths(
    directory: str | Path,
    shares: Sequence[float],
    output: str | Path,
    importance: str = TAYLOR,
    listen: Listener = lambda progress: None,
    heads: float = 1.0,
) -> list[Narrowed]:
    """Write a model for each share: to `output`, or to a folder in it for each where there are several. Neurons are measured once.

    Each keeps that share of the `heads`.

    A folder that the same request has written before is kept as it is. Raises what `narrow` raises, before anything is measured.
    """
    experiment, path = _opened(directory)
    folders = {share: Path(output) if len(shares) == 1 else Path(output) / f"width-{share:g}" for share in shares}
    cuts = [_planned(experiment, path, share, folder, importance, None, heads) for share, folder in folders.items()]
    before = [_made_before(cut) for cut in cuts]
    for cut, made in zip(cuts, before, strict=True):
        if made is None:
            _refuse(cut.folder)
    measured, narrowed = None, []
    for cut, made in zip(cuts, before, strict=True):
        if made is None and measured is None and cut.by_importance:
            measured = _measured(experiment, path, listen, cut.seed, cut.heads)
        narrowed.append(made or _written(cut, path, _kept(cut, experiment, path, listen, measured)))
    return narrowed


def check(directory: str | Path, subset: str) -> None:
    """Raise what `measure_with` would raise of the experiment and the subset, before anything is trained."""
    experiment = Experiment(directory)
    check_measurable(experiment)
    choose(experiment, [subset], [BASELINE], refuse=True)


def measure_with(
    directory: str | Path,
    subset: str,
    narrower: Sequence[Narrowed],
    seeds: int = USUAL_SEEDS,
    learning_rate: float | None = None,
    listener: Callable[[str], AbstractContextManager[Listener]] = lambda title: nullcontext(lambda progress: None),
) -> Experiment:
    """Measure full data, a subset and random rows of its size with the experiment's model and with each narrower one.

    What is measured already is kept, so that the same call continues. `learning_rate` is that of every narrower model (None: fitted to
    each); `listener` follows each model's job under a title. Raises what `worker.frontier` raises.
    """
    for model in (None, *(str(each.folder) for each in narrower if each.parameters < each.parameters_before)):
        rate = None if model is None else learning_rate
        with listener(f"Measuring with {model or 'the whole model'}") as listen:
            worker.frontier(directory, [subset], [BASELINE], seeds, listen=listen, model=model, learning_rate=rate)
    return Experiment(directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """A narrower model to be written."""

    folder: Path
    source: str
    """The experiment's model, as given."""
    blocks: Blocks
    width: int
    heads: Heads | None
    """None = all are kept."""
    groups: int
    """Groups of heads that are kept in each layer; 0 = all."""
    importance: str
    seed: int
    notes: dict[str, Any]
    """Contents of `NOTES`, except which neurons are kept and how many parameters that leaves."""

    @property
    def whole(self) -> bool:
        """True if everything is kept."""
        return self.width == self.blocks.width and self.heads is None

    @property
    def by_importance(self) -> bool:
        """True if what is kept follows from a measured importance."""
        return self.importance == TAYLOR and not self.whole

    def narrowed(self, parameters: int, before: int) -> Narrowed:
        """Return the model that was written."""
        heads = None if self.heads is None else (self.groups * self.heads.queries, self.heads.groups * self.heads.queries)
        return Narrowed(self.folder, self.width, self.blocks.width, parameters, before, heads)


def _planned(
    experiment: Experiment, path: Path, share: float, output: Path, importance: str, seed: int | None, share_of_heads: float
) -> _Cut:
    """Return the cut of that share. Raises UsageError for what is not possible, ModelError for a model that cannot be narrowed."""
    from pruning.training import width

    if importance not in SOURCES:
        raise UsageError(f"importance must be one of {', '.join(SOURCES)}, got {importance!r}.", "importance")
    if output.resolve().is_relative_to(experiment.folder.root.resolve()):
        raise UsageError(f"{output} is in the experiment's folder; choose a folder elsewhere for the narrower model.", "output")
    source = experiment.settings.model
    found = width.blocks(path, source)
    count, draw = kept_width(share, found.width), experiment.settings.seeds[0] if seed is None else seed
    heads = None if share_of_heads == 1 else width.heads(path, source)
    groups = 0 if heads is None else kept_groups(share_of_heads, heads.groups, heads.queries, heads.hidden)
    notes = {
        "share": share,
        "width": count,
        "width_before": found.width,
        "importance": importance,
        "importance_source": SOURCES[importance],
        "seed": draw,
        "model": {"source": source, "fingerprint": experiment.info["model"]["fingerprint"]},
        "experiment": {"name": experiment.name, "data": experiment.info["data"]["fingerprint"]},
        "winnow": __version__,
    }
    if heads is not None:
        notes |= {"heads": groups * heads.queries, "heads_before": heads.groups * heads.queries}
    return _Cut(
        folder=output,
        source=source,
        blocks=found,
        width=count,
        heads=heads,
        groups=groups,
        importance=importance,
        seed=draw,
        notes=notes,
    )


def _made_before(cut: _Cut) -> Narrowed | None:
    """Return the model in the cut's folder if the same request wrote it: of the same model, data, widths, importance and seed."""
    try:
        found = json.loads((cut.folder / NOTES).read_text(encoding="utf-8"))
        same = all(found.get(name) == cut.notes.get(name) for name in ("width", "heads", "importance", "seed"))
        same = same and found["model"]["fingerprint"] == cut.notes["model"]["fingerprint"]
        same = same and found["experiment"]["data"] == cut.notes["experiment"]["data"]
        return cut.narrowed(int(found["parameters"]), int(found["parameters_before"])) if same else None
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None


def _kept(cut: _Cut, experiment: Experiment, path: Path, listen: Listener, measured: Importance | None) -> Kept:
    """Return what the cut keeps; neurons and groups are measured where they were not."""
    from pruning.training import width

    layers = cut.blocks.layers
    if cut.by_importance and (measured is None or (cut.heads is not None and not measured.groups.size)):
        measured = _measured(experiment, path, listen, cut.seed, cut.heads)

    def keep(importance: NDArray[np.float64] | None, of: int, count: int) -> NDArray[np.int64]:
        if count == of:
            return np.tile(np.arange(count), (layers, 1))
        return any_neurons(layers, of, count, cut.seed) if importance is None else most_important(importance, count)

    neurons, groups = (measured.neurons, measured.groups) if cut.by_importance and measured is not None else (None, None)
    of_heads = None if cut.heads is None else keep(groups, cut.heads.groups, cut.groups)
    return width.Kept(keep(neurons, cut.blocks.width, cut.width), cut.heads, of_heads)


def _written(cut: _Cut, path: Path, kept: Kept) -> Narrowed:
    """Write the model in the folder `path` with what is kept of it."""
    from pruning.training import width

    before = model_checks.shape(path, cut.source).parameters
    chosen = {"kept": kept.neurons.tolist()} | ({} if kept.groups is None else {"kept_groups": kept.groups.tolist()})
    with stop_on_signals() as stop, atomic_write(cut.folder) as temporary:
        temporary.mkdir()
        width.write(path, temporary, cut.blocks, kept, stop)
        for name in COPIED:
            if (path / name).is_file():
                shutil.copyfile(path / name, temporary / name)
        after = model_checks.shape(temporary, str(cut.folder)).parameters
        write_json(temporary / NOTES, {**cut.notes, "parameters": after, "parameters_before": before, **chosen})
        _refuse(cut.folder)
    return cut.narrowed(after, before)


def measure_neurons(directory: str | Path, listen: Listener = lambda progress: None, seed: int | None = None) -> Importance:
    """Train one run on all rows and return the importance of neurons that it measured, after waiting for the turn on the device.

    Raises what `narrow` raises.
    """
    experiment, path = _opened(directory)
    return _measured(experiment, path, listen, experiment.settings.seeds[0] if seed is None else seed)


def _measured(experiment: Experiment, path: Path, listen: Listener, seed: int, heads: Heads | None = None) -> Importance:
    """The same for an experiment that is open, whose model is in the folder `path`, and of the groups of its heads where they are given."""
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
        for item in width.measure(plan, data, str(path), width.blocks(path, settings.model), recipe, stop, heads):
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
