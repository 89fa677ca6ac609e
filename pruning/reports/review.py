"""Review queues, suggested labels, and warnings about the kept examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.duplicates import leaks, repeated
from pruning.formatting import counted
from pruning.reports.browse import View
from pruning.reports.conditions import ALWAYS, DOUBTED, DUPLICATES, NEVER, SUSPECTS, Filter
from pruning.subsets.decisions import DECIDED_BY_HAND

QUEUES = {
    "suspected": "Suspected labels",
    "never": "Never right",
    "always": "Always right",
    "duplicates": "Duplicates",
    "decided": "Decided",
}
"""Key of a review queue -> its title."""

OF_ANSWERS = {
    "doubted": "Doubted keys",
    "never": "Never right",
    "always": "Always right",
    "duplicates": "Duplicates",
    "decided": "Decided",
}
"""The same for sampled answers."""

_ONLY = {"suspected": SUSPECTS, "duplicates": DUPLICATES, "decided": DECIDED_BY_HAND}
_ONLY_OF_ANSWERS = {**_ONLY, "never": NEVER, "always": ALWAYS, "doubted": DOUBTED}


def queues(view: View) -> dict[str, str]:
    """Return the review queues that this experiment has: key -> title."""
    return OF_ANSWERS if view.experiment.sampled else QUEUES


def queued(wanted: Filter, queue: str | None, runs: int, sampled: bool = False) -> Filter:
    """Return the filter narrowed to a queue; unchanged if `queue` is None. H-values in the filter override the queue's.

    `sampled` answers are never right where no answer was, not where H = 0.

    >>> queued(Filter(text="film"), "always", 6).levels
    (6,)
    """
    levels, only = ({}, _ONLY_OF_ANSWERS) if sampled else ({"never": (0,), "always": (runs,)}, _ONLY)
    if queue in levels:
        return replace(wanted, levels=wanted.levels or levels[queue])
    return replace(wanted, only=wanted.only or only[queue]) if queue in only else wanted


def counts(view: View) -> dict[str, int | None]:
    """Return the number of examples in each queue; None for a queue that is not computed yet."""
    runs, size = view.experiment.dynamics.runs, len(view.h)
    found: dict[str, int | None] = dict.fromkeys(queues(view))
    if view.experiment.sampled:
        repeats = int((view.duplicates.group[:size] >= 0).sum()) if view.audited else None
        masks = {"doubted": view.rates.doubted, "never": view.rates.never, "always": view.rates.always}
        sizes = {queue: int(mask.sum()) for queue, mask in masks.items()}
        return {**found, **sizes, "duplicates": repeats, "decided": len(view.decided.touched)}
    if view.audited:
        errors = view.label_errors
        found["suspected"] = 0 if errors is None else int(errors.suspect.sum())
        found["duplicates"] = int((view.duplicates.group[:size] >= 0).sum())
    return {**found, "never": int((view.h == 0).sum()), "always": int((view.h == runs).sum()), "decided": len(view.decided.touched)}


def suggested(view: View, position: int) -> int | None:
    """Return the suggested class index: of the label error, else the majority prediction; None if it equals the label."""
    labels = view.labels
    if labels is None:
        return None
    errors = view.label_errors if view.audited else None
    suspect = errors is not None and errors.suspect[position]
    found = int(errors.suggested[position] if errors is not None and suspect else view.said[position])
    return found if found >= 0 and found != labels[position] else None


def flags(view: View, kept: NDArray[np.bool_]) -> list[tuple[str, str]]:
    """Return problems of the kept examples: a sentence and the queue with the examples. Empty if there are none."""
    if not view.audited:
        return []
    size, errors = len(view.h), view.label_errors
    suspects = 0 if errors is None else int((errors.suspect & kept).sum())
    leaked = int((leaks(view.duplicates, size)[:size] & kept).sum())
    twice, _ = repeated(view.duplicates.group[:size][kept])
    found = [
        (suspects, f"{counted(suspects, 'kept example has a suspected label', 'kept examples have suspected labels')}.", "suspected"),
        (leaked, f"{counted(leaked, 'kept example is', 'kept examples are')} in the evaluation data too, exactly or nearly.", "duplicates"),
        (twice, f"{counted(twice, 'group')} of duplicates kept more than once.", "duplicates"),
    ]
    return [(sentence, queue) for count, sentence, queue in found if count]
