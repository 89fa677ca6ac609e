"""Fine-tune subsets within a job: which ones, with which seeds, and what is kept of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from pruning.analysis.frontier import alike, epochs_within, of_subset, subset_sha256
from pruning.errors import ExperimentError, SubsetError, UsageError
from pruning.experiment import Experiment
from pruning.fine_tunings import FineTuning
from pruning.jobs.progress import JobProgress, Listener, Stop
from pruning.jobs.runs import Done, train_runs
from pruning.records import DECISIONS, RunDiverged, RunPlan, Subset
from pruning.reports import choices
from pruning.settings import Settings, default_seeds
from pruning.subsets import rules
from pruning.subsets.trainable import check_trainable, trainable


def tidy(experiment: Experiment) -> None:
    """Remove checkpoints of finished work: a killed worker may have left one."""
    finished = experiment.finished_runs()
    wanted = {experiment.folder.checkpoint(f"run={run}") for run in range(experiment.settings.runs) if run not in finished}
    for path in set(experiment.folder.checkpoints.glob("*.pt")) - wanted:
        path.unlink()
    with suppress(OSError):  # there is none, or an unfinished run's is in it
        experiment.folder.checkpoints.rmdir()


def checkpoint(experiment: Experiment, name: str) -> str | None:
    """Return the path of a checkpoint, or None where the settings want none."""
    return str(experiment.folder.checkpoint(name)) if experiment.settings.checkpoints else None


def check_measurable(experiment: Experiment) -> None:
    """Raise ExperimentError where no subset of the experiment can be fine-tuned."""
    experiment.need_a_run()
    if reason := choices.unmeasurable(experiment):
        raise ExperimentError(f"{experiment.folder.root} {reason}")


def choose(experiment: Experiment, wanted: Sequence[str], baselines: Sequence[str], refuse: bool) -> tuple[list[str], list[str]]:
    """Return the subsets to measure with their baselines, full data first, and those that cannot be trained on.

    Subsets of nearly one size share their baselines. With `refuse`, a subset of `wanted` that cannot be trained on raises SubsetError.
    """
    for baseline in baselines:
        if baseline not in rules.BASELINES:
            raise UsageError(f"baselines must be any of {', '.join(rules.BASELINES)}, got {baseline!r}.", "baselines")
    chosen, left_out = ["full"], []
    sizes: list[int] = []
    for name in wanted:
        subset = experiment.named(name)
        if refuse:
            check_trainable(subset, experiment.labels_of(subset), experiment.ids)
        elif not trainable(subset, experiment.labels_of(subset), experiment.ids):
            left_out.append(name)
            continue
        chosen.append(name)
        if name != "full" and subset.method != "random" and not any(alike(subset.size, size) for size in sizes):
            sizes.append(subset.size)
            size = _size_in_words(experiment, subset)
            for beside in (f"{baseline}@{size}" for baseline in baselines):
                fits = trainable(experiment.named(beside), experiment.labels, experiment.ids)
                (chosen if fits else left_out).append(beside)
    return list(dict.fromkeys(chosen)), list(dict.fromkeys(left_out))


def _size_in_words(experiment: Experiment, subset: Subset) -> str:
    """Return what follows the @ in the name of a baseline of equal size: the subset's source if that has the same size, else the number."""
    name = subset.name.partition("@")[2] or subset.name
    if DECISIONS not in name:
        with suppress(SubsetError):  # the name is more than one rule and what it is cut to
            if experiment.named(f"random@{name}").size == subset.size:
                return name
    return str(subset.size)


def all_seeds(settings: Settings, count: int) -> tuple[int, ...]:
    """Return `count` seeds of fine-tunings: those of the scoring runs first, whose results full data has already."""
    return (*settings.seeds, *(seed for seed in default_seeds(count + settings.runs) if seed not in settings.seeds))[:count]


def fine_tune(
    experiment: Experiment,
    progress: JobProgress,
    pieces: Sequence[tuple[str, int]],
    budget: str,
    listen: Listener,
    stop: Stop,
    later: int = 0,
    on_diverged: Callable[[str, str], None] | None = None,
) -> None:
    """Fine-tune subsets within a job that is under way; what is finished is not repeated.

    `pieces` are names of subsets with a seed each; `later` counts the examples that the same job trains afterwards. `on_diverged` is
    called with the subset's name and a sentence where a loss became NaN (default: raise TrainingError once the others have finished).
    """
    work = _unfinished(experiment, progress, pieces, budget)
    plans = [plan for _, plan in work.values()]

    def keep(done: Done) -> None:
        for subset in work[done.plan.key][0]:
            own_budget = "epochs" if subset.name == "full" else budget
            experiment.add_finished(fine_tuning(subset, own_budget, experiment.burn_in, done).row)

    def drop(plan: RunPlan, found: RunDiverged) -> None:
        assert on_diverged is not None
        for subset in work[plan.key][0]:
            on_diverged(subset.name, found.sentence)

    progress.plan(plans, found=progress.found, later=later)
    train_runs(
        experiment,
        experiment.settings.measuring,
        plans,
        progress,
        listen,
        stop,
        on_epoch=lambda plan, record: None,
        on_result=keep,
        on_diverged=None if on_diverged is None else drop,
    )
    tidy(experiment)


def _unfinished(
    experiment: Experiment, progress: JobProgress, pieces: Sequence[tuple[str, int]], budget: str
) -> dict[str, tuple[list[Subset], RunPlan]]:
    """Return the runs left to train by key, each with the subsets it measures; rows trained already are kept under the new name."""
    work = left(experiment, pieces, budget)
    for name, seed in work.untrainable:
        progress.say("note", message=f"{name} with seed {seed} was not trained: only one class of it was drawn.")
    for row in work.renamed:
        experiment.add_finished(row)
    return work.runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The part of some fine-tunings that is not finished."""

    runs: dict[str, tuple[list[Subset], RunPlan]]
    """Key -> run to train, and the subsets it measures."""
    renamed: list[dict[str, Any]]
    """Rows of frontier.parquet that need no training: the same rows were trained under another name, or for as many epochs."""
    untrainable: list[tuple[str, int]]
    """Name and seed of subsets whose draw has only one class."""


def left(experiment: Experiment, pieces: Sequence[tuple[str, int]], budget: str) -> Left:
    """Return what is left of these fine-tunings (name of a subset, seed). Nothing is written."""
    settings = experiment.settings
    rows_before = experiment.finished(right=True).to_dict("records")
    finished = {(row["subset"], row["rows_sha256"], row["seed"], row["budget"]) for row in rows_before}
    trained = {(row["rows_sha256"], row["seed"], row["epochs"]): row for row in rows_before}
    found = Left(runs={}, renamed=[], untrainable=[])
    planned: dict[tuple[str, int, int], str] = {}
    for name, seed in pieces:
        subset = experiment.named(name, seed=seed)
        own_budget, sha256 = "epochs" if subset.name == "full" else budget, subset_sha256(subset)
        if (subset.name, sha256, seed, own_budget) in finished:
            continue
        labels = experiment.labels_of(subset)
        if not trainable(subset, labels, experiment.ids):
            found.untrainable.append((name, seed))
            continue
        recipe, plateau = settings.measuring, experiment.plateau if budget == "enough" else 0
        epochs = epochs_within(budget, len(experiment.ids), subset.size, recipe.epochs, plateau, recipe.batch_size)
        if same := trained.get((sha256, seed, epochs)):
            found.renamed.append({**same, **of_subset(subset, own_budget, experiment.burn_in)})
            continue
        if (sha256, seed, epochs) in planned:
            found.runs[planned[sha256, seed, epochs]][0].append(subset)
            continue
        rows = np.flatnonzero(subset.mask(experiment.ids))
        new = labels[rows] if subset.labels and labels is not None else None
        key = f"{name} seed {seed}"
        other = "" if experiment.model == experiment.own_model else f"-model={experiment.model[:12]}"
        state = checkpoint(experiment, f"rows={sha256[:16]}-seed={seed}-epochs={epochs}{other}")
        planned[sha256, seed, epochs] = key
        plan = RunPlan(key=key, seed=seed, rows=rows, epochs=epochs, record=False, checkpoint=state, labels=new)
        found.runs[key] = [subset], plan
    return found


def fine_tuning(subset: Subset, budget: str, burn_in: int, done: Done) -> FineTuning:
    """Return the record of a fine-tuning of that subset."""
    return FineTuning(
        **of_subset(subset, budget, burn_in),
        seed=done.plan.seed,
        epochs=done.plan.epochs,
        seconds=done.result.seconds,
        steps=done.result.steps,
        finished=time.time(),
        metrics=done.metrics,
        micro_batch=done.result.micro_batch,
        tokens=done.result.tokens,
        stuck=done.stuck,
        class_accuracy=done.class_accuracy,
        compute_seconds=done.result.compute_seconds,
        evaluation_seconds=done.result.evaluation_seconds,
        right=done.right.tolist(),
    )
