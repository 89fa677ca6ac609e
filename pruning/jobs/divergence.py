"""Fine-tunings that went wrong: one answer for everything, or a loss that is no number. Found, named, and put aside on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.experiment import Experiment
from pruning.files import write_json
from pruning.settings import PAPER_SEEDS, default_seeds
from pruning.store import manifest
from pruning.store.layout import read_table

REDO = "`python -m pruning resume DIR --redo-diverged` trains diverged runs again, each with the next seed."

SHARE = 0.1
"""Answers other than the commonest one, as a share of the labels other than it, below which one class has taken over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DivergedRun:
    """A run that should not be counted as it is."""

    run: int
    seed: int
    sentence: str
    """What went wrong, naming run and seed."""


def stuck_at(answers: NDArray[np.int64], labels: NDArray[np.int64]) -> int | None:
    """The class that (nearly) every answer names though the labels [N] do not; None where there is none.

    A fine-tuning no better than the majority class is a failed run (Mosbach et al. 2021, "On the Stability of Fine-tuning BERT");
    here it has failed when fewer than a tenth as many examples are answered otherwise as are labelled otherwise, so that good
    answers on lopsided labels pass.

    >>> stuck_at(np.array([1, 1, 1, 1]), np.array([0, 1, 0, 1]))
    1
    >>> stuck_at(np.array([1] * 99 + [0]), np.array([1] * 99 + [0])) is None
    True
    """
    if not len(answers):
        return None
    classes, counts = np.unique(answers, return_counts=True)
    commonest = int(classes[counts.argmax()])
    answered, labelled = int((answers != commonest).sum()), int((labels != commonest).sum())
    return commonest if answered < SHARE * labelled else None


def find(experiment: Experiment) -> list[DivergedRun]:
    """Runs that should not be counted as they are: those that gave one answer to everything, and those whose loss became NaN."""
    settings, labels, finished = experiment.settings, experiment.labels, experiment.finished_runs()
    if settings.recorded_by != "winnow":
        return []
    found = []
    for run in finished:
        if labels is None:
            break
        path = experiment.folder.epoch(run, settings.scoring.epochs - 1)
        answer = stuck_at(np.asarray(read_table(path, ["predicted"])["predicted"]), labels)
        if answer is not None:
            sentence = f"run {run} (seed {settings.seeds[run]}) says {experiment.label_names[answer]!r} of nearly every example."
            found.append(DivergedRun(run=run, seed=settings.seeds[run], sentence=sentence))
    unfinished = sorted(set(range(settings.runs)) - set(finished))
    events = _nan_events(experiment) if unfinished else []
    for run in unfinished:
        seed, nan = settings.seeds[run], _nan(experiment, run, events)
        if nan:
            found.append(DivergedRun(run=run, seed=seed, sentence=nan[-1]))
        elif _aside(experiment, seed).exists() and not experiment.folder.epoch(run, 0).parent.exists():
            found.append(
                DivergedRun(run=run, seed=seed, sentence=f"run {run} (seed {seed}) diverged; its recording was put aside already.")
            )
    return found


def _nan_events(experiment: Experiment) -> list[Mapping[str, Any]]:
    return [event for event in experiment.events(but="progress") if event["event"] == "diverged"]


def _nan(experiment: Experiment, run: int, events: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was said each time the loss of a run became NaN, those times left out after which another seed took its place."""
    said = [event["message"] for event in events if event["key"] == f"run {run}"]
    return said[max((entry.get("diverged", 0) for entry in experiment.info.get("redone", ()) if entry["run"] == run), default=0) :]


def _aside(experiment: Experiment, seed: int, again: int = 1) -> Path:
    return experiment.folder.diverged / (f"seed={seed}" if again == 1 else f"seed={seed}-{again}")


def warnings(experiment: Experiment) -> list[str]:
    """What makes the recording or the frontier less than it seems, in sentences; nothing that diverged is counted in silence."""
    found = [f"{run.sentence[0].upper()}{run.sentence[1:]} {REDO}" for run in find(experiment)]
    finished = experiment.finished()
    finished = finished[~experiment.set_aside(finished)]
    stuck = finished[finished["stuck"].fillna(False).astype(bool)] if "stuck" in finished else finished[:0]
    for name, group in stuck.groupby("subset"):
        seeds = ", ".join(map(str, group["seed"]))
        which = f"the fine-tuning with seed {seeds} gives" if len(group) == 1 else f"the fine-tunings with seeds {seeds} give"
        found.append(f"{name}: {which} nearly everything one answer, and {'counts' if len(group) == 1 else 'count'} in the mean.")
    return found


def set_aside(experiment: Experiment, diverged: DivergedRun) -> None:
    """Put the next unused seed in a diverged run's place; what it recorded moves to diverged/. For the owner only.

    The recording moves first: killed in between, the run is missing, and never another seed's; `find` names it still, or again once
    `resume` has trained it anew, and that recording goes beside the first.
    """
    info = manifest.read(experiment.folder.manifest)
    used = {*info["settings"]["seeds"], *(entry["seed"] for entry in info.get("redone", ()))}
    seed = next(seed for seed in default_seeds(len(used) + len(PAPER_SEEDS) + 1) if seed not in used)
    recording = experiment.folder.epoch(diverged.run, 0).parent
    if recording.exists():
        experiment.folder.diverged.mkdir(exist_ok=True)
        places = (_aside(experiment, diverged.seed, again) for again in count(1))
        recording.rename(next(place for place in places if not place.exists()))
    experiment.folder.checkpoint(f"run={diverged.run}").unlink(missing_ok=True)
    info["settings"]["seeds"][diverged.run] = seed
    times = sum(event["key"] == f"run {diverged.run}" for event in _nan_events(experiment))
    entry = {"run": diverged.run, "seed": diverged.seed, "with": seed, "reason": diverged.sentence, "diverged": times}
    write_json(experiment.folder.manifest, {**info, "redone": [*info.get("redone", ()), entry]})
