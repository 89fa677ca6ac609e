"""Fine-tunings that went wrong: the same answer to everything, or a loss that became NaN. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SHARE = 0.1
"""Answers other than the commonest one, as a share of the labels other than it, below which one class has taken over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DivergedRun:
    """A scoring run that should not be counted as it is."""

    run: int
    seed: int
    sentence: str
    """The reason, naming run and seed."""


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


def nan_losses(run: int, events: Sequence[Mapping[str, Any]], redone: Iterable[Mapping[str, Any]]) -> list[str]:
    """Messages of the times the loss of a run became NaN, those before its seed was last replaced left out.

    `events` are the "diverged" events, oldest first; `redone` are the manifest's entries of replaced seeds.
    """
    said = [event["message"] for event in events if event["key"] == f"run {run}"]
    return said[max((entry.get("diverged", 0) for entry in redone if entry["run"] == run), default=0) :]


def redo(folder: Path) -> str:
    """Return the sentence with the command that trains an experiment's diverged runs again.

    >>> redo(Path("my experiments/demo"))
    "python -m pruning resume 'my experiments/demo' --redo-diverged trains diverged runs again, each with the next seed."
    """
    return f"python -m pruning resume {quote(str(folder))} --redo-diverged trains diverged runs again, each with the next seed."


def warnings(diverged: Iterable[DivergedRun], finished: pd.DataFrame, folder: Path) -> list[str]:
    """Return one sentence per diverged run, and one about all fine-tunings in `finished` that predict nearly one class only."""
    found = [f"{run.sentence[0].upper()}{run.sentence[1:]} {redo(folder)}" for run in diverged]
    stuck = finished[finished["stuck"].fillna(False).astype(bool)] if "stuck" in finished else finished[:0]
    if len(stuck):
        which = "; ".join(
            f"{name} (seed{'s' * (len(rows) > 1)} {', '.join(map(str, rows['seed']))})" for name, rows in stuck.groupby("subset")
        )
        many = "1 fine-tuning predicts" if len(stuck) == 1 else f"{len(stuck)} fine-tunings predict"
        found.append(
            f"{many} one class for nearly every evaluation example; the means include {'it' if len(stuck) == 1 else 'them'}: {which}."
        )
    return found
