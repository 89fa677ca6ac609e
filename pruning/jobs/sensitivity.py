"""Score an experiment again with one thing changed each time, and with other seeds alone as the noise floor.

Every variation is an experiment of its own in the folder's sensitivity/, scored by `worker.score`: it resumes like any other. All use the
same other seeds, so that what a change adds to the noise floor is the change alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from pruning.analysis.sensitivity import SEEDS, Sensitivity
from pruning.errors import Cancelled, ExperimentError, TrainingError, UsageError
from pruning.experiment import Experiment
from pruning.jobs import worker
from pruning.jobs.estimate import Estimate, estimate
from pruning.jobs.progress import Listener
from pruning.reports.sensitivity import RUNS, report
from pruning.settings import PAPER_SEEDS, Settings
from pruning.store.layout import Folder

OF_MODEL = "model"
"""Variation with another model, which needs its name."""


VARIATIONS: Mapping[str, Callable[[Settings], Settings]] = {
    SEEDS: lambda settings: settings,
    "rate-half": lambda settings: _rate(settings, 0.5),
    "rate-double": lambda settings: _rate(settings, 2),
    "batch-double": lambda settings: settings.with_changes(batch_size=2 * settings.train.batch_size),
    "epochs-more": lambda settings: _epochs(settings, 1.5),
    RUNS: lambda settings: settings.with_changes(seeds=settings.seeds[: max(1, settings.runs // 2)]),
    "batch-half": lambda settings: settings.with_changes(batch_size=max(1, settings.train.batch_size // 2)),
    "epochs-fewer": lambda settings: _epochs(settings, 2 / 3),
}
"""Name -> change of settings that have other seeds already; the first six are the default."""

DEFAULT = tuple(VARIATIONS)[:6]


def sensitivity(
    directory: str | Path,
    names: Sequence[str] = DEFAULT,
    model: str | None = None,
    listener: Callable[[str], AbstractContextManager[Listener]] = lambda title: nullcontext(lambda progress: None),
) -> Sensitivity:
    """Score the variations of these names that are not complete, and that with `model` where one is given; return the report on all.

    `listener` follows one variation's job under a title. A variation that diverges, or whose model does not fit, is reported
    as such, and the others are scored. Raises UsageError for an unknown name, ExperimentError where Winnow did not train the recording.
    """
    base = checked(directory, names)
    problems: dict[str, str] = {}
    for name, settings in planned(base, names, model).items():
        if name == RUNS:
            continue
        folder = base.folder.variation(name)
        try:
            with listener(f"Scoring {name}") as listen:
                worker.score(settings, folder, listen)
            _same_data(base, Experiment(folder))
        except Cancelled:
            raise
        except TrainingError as error:
            problems[name] = str(error)
    return report(Experiment(directory), problems)


def checked(directory: str | Path, names: Sequence[str]) -> Experiment:
    """Return the experiment that can be varied in these ways. Raises what `sensitivity` does."""
    if unknown := [name for name in names if name not in VARIATIONS]:
        raise UsageError(f"variations must be any of {', '.join(VARIATIONS)}, got {unknown[0]!r}.", "variations")
    base = Experiment(directory)
    if base.settings.recorded_by != "winnow":
        raise ExperimentError(f"{base.folder.root} was recorded by {base.settings.recorded_by}; Winnow cannot repeat its training.")
    if base.finished_runs() != list(range(base.settings.runs)):
        raise ExperimentError(f"{base.folder.root} is not scored completely; resume it first.")
    return base


def planned(base: Experiment, names: Sequence[str], model: str | None = None) -> dict[str, Settings]:
    """Return the settings of each variation by name: the noise floor first, which all others need, then those asked for."""
    asked = list(dict.fromkeys([SEEDS, *names]))
    start = base.settings.with_changes(seeds=other_seeds(base.settings), look=False, stop_when_stable=None)
    found = {name: VARIATIONS[name](start) for name in asked}
    if model is not None:
        found[f"{OF_MODEL}-{Path(model).name.lower()}"] = start.with_changes(model=model, learning_rate=None)
    return found


def other_seeds(settings: Settings) -> tuple[int, ...]:
    """Return as many seeds as the experiment has, none of them its own."""
    drawn = np.random.default_rng([*PAPER_SEEDS, 1]).integers(1, 2**31 - 1, size=2 * settings.runs)
    return tuple(seed for seed in map(int, drawn) if seed not in settings.seeds)[: settings.runs]


def estimated(base: Experiment, names: Sequence[str], model: str | None = None) -> dict[str, float]:
    """Return the expected seconds of each variation that is not complete yet; a few steps of each model are trained and thrown away."""
    found: dict[str, float] = {}
    costs: dict[str, Estimate] = {}
    for name, settings in planned(base, names, model).items():
        if name == RUNS or _complete(base.folder.variation(name), settings):
            continue
        if settings.model not in costs:
            recipe = base.settings.train
            costs[settings.model] = estimate(settings.with_changes(epochs=recipe.epochs, batch_size=recipe.batch_size))
        cost = costs[settings.model]
        training = (cost.score_seconds - cost.fit_seconds) / base.settings.scoring.epochs * settings.scoring.epochs
        found[name] = training + (cost.fit_seconds if settings.train.learning_rate is None else 0.0)
    return found


def _complete(folder: Path, settings: Settings) -> bool:
    return Folder(folder).manifest.exists() and Experiment(folder).finished_runs() == list(range(settings.runs))


def _same_data(base: Experiment, other: Experiment) -> None:
    if other.info["data"]["fingerprint"] != base.info["data"]["fingerprint"]:
        raise ExperimentError(f"{base.settings.data} has changed since {base.folder.root} was scored; restore it to vary the scoring.")


def _rate(settings: Settings, factor: float) -> Settings:
    own = settings.scoring_learning_rate
    return settings.with_changes(learning_rate=factor * settings.train.peak, scoring_learning_rate=None if own is None else factor * own)


def _epochs(settings: Settings, factor: float) -> Settings:
    before = settings.train.epochs
    epochs = max(before + 1, round(factor * before)) if factor > 1 else min(before - 1, round(factor * before))
    if epochs <= settings.burn_in:
        raise UsageError(
            f"epochs-fewer leaves {max(0, epochs)} of {before} epochs, which burn-in {settings.burn_in} does not count; leave it out."
        )
    return settings.with_changes(epochs=epochs)
