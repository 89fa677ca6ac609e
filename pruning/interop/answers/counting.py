"""From samples to successes and attempts: which reward is a success, which steps count together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.answers import agreement, final_answer
from pruning.errors import DataError, UsageError
from pruning.interop.answers.log import Sample

Counts = NDArray[np.int64]

FEW_STEPS = 12
"""Steps up to which each is a checkpoint of its own, if every prompt was sampled equally often at each."""


def successes_of(samples: Sequence[Sample], threshold: float | None) -> tuple[list[bool | None], float]:
    """Return for each sample whether it is right (None = unscorable, not a failure), and the reward from which on it is.

    Rewards of 0 and 1, or of -1 and 1, are successes by themselves; others need a threshold, because partial credit and format
    rewards are no success. Raises DataError naming the first other reward.
    """
    if threshold is None:
        strange = next((sample for sample in samples if not isnan(sample.reward) and sample.reward not in (0.0, 1.0, -1.0)), None)
        if strange is None and {0.0, -1.0} <= {sample.reward for sample in samples}:
            strange = next(sample for sample in samples if sample.reward == -1.0)
        if strange is not None:
            raise DataError(
                f"{strange.where} has the reward {strange.reward:g}, so rewards are not success or failure; say from which reward on an "
                "answer counts as right (--threshold)."
            )
    least = 1.0 if threshold is None else threshold
    right: list[bool | None] = [None if isnan(sample.reward) else sample.reward >= least for sample in samples]
    if all(one is None for one in right):
        raise DataError(
            f"{samples[0].where} and all other answers have no reward, so nothing says which are right; name the reward (--reward), or "
            "verify the answers (--verify)."
        )
    return right, least


def windows_of(steps: Sequence[int], positions: Counts, windows: int | None) -> tuple[Counts, list[tuple[int, int]]]:
    """Return [samples] the window of each sample's step, and each window's first and last step.

    By default every step is a window of its own where there are few and each has all prompts equally often; else all are one.
    Raises UsageError for more windows than steps.
    """
    values, index = np.unique(np.asarray(steps), return_inverse=True)
    if windows is None:
        windows = len(values) if len(values) <= FEW_STEPS and _balanced(index, positions) else 1
    if not 1 <= windows <= len(values):
        raise UsageError(f"The log has {len(values)} steps; windows must be between 1 and that, got {windows}.", "windows")
    parts = np.array_split(np.arange(len(values)), windows)
    of_step = np.concatenate([np.full(len(part), number) for number, part in enumerate(parts)])
    return of_step[index].astype(np.int64), [(int(values[part[0]]), int(values[part[-1]])) for part in parts]


def _balanced(index: NDArray[np.int64], positions: Counts) -> bool:
    known = positions >= 0
    _, place = np.unique(positions[known], return_inverse=True)
    table = np.zeros((index.max() + 1, place.max(initial=0) + 1), dtype=np.int64)
    np.add.at(table, (index[known], place), 1)
    return bool((table == table[0, 0]).all())


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """Counts of a log over the rows of the data."""

    successes: Counts
    """[E, N]"""
    attempts: Counts
    """[E, N]; unscorable answers are not among them."""
    cube: NDArray[np.bool_] | None
    """[K, E, N] where every row has K answers in every window, in the log's order; else None."""


def counted(right: Sequence[bool | None], windows: Counts, positions: Counts, epochs: int, rows: int) -> Counted:
    """Return the counts of [samples] outcomes, windows and positions (-1 = not in the data)."""
    known = np.asarray([ok is not None for ok in right], dtype=np.bool_) & (positions >= 0)
    ok = np.asarray([bool(one) for one in right], dtype=np.bool_)[known]
    where, epoch = positions[known], windows[known]
    successes, attempts = np.zeros((epochs, rows), dtype=np.int64), np.zeros((epochs, rows), dtype=np.int64)
    np.add.at(attempts, (epoch, where), 1)
    np.add.at(successes, (epoch, where), ok)
    each = int(attempts.flat[0])
    if each == 0 or not (attempts == each).all():
        return Counted(successes, attempts, None)
    order = np.lexsort((np.arange(len(where)), where, epoch))
    return Counted(successes, attempts, np.moveaxis(ok[order].reshape(epochs, rows, each), -1, 0))


def extras_of(samples: Sequence[Sample], right: Sequence[bool | None], positions: Counts, rows: int) -> dict[str, NDArray[np.float64]]:
    """Return [N] what the texts add: consensus, key_disagrees, answer_tokens, share_cut; only what the log has."""
    found: dict[str, NDArray[np.float64]] = {}
    members: list[list[int]] = [[] for _ in range(rows)]
    for index, position in enumerate(positions.tolist()):
        if position >= 0:
            members[position].append(index)
    if any(sample.answer for sample in samples):
        finals = [final_answer(sample.answer) for sample in samples]
        agreed = [agreement([finals[i] for i in own], [right[i] for i in own]) for own in members]
        found["consensus"] = np.asarray([one.consensus for one in agreed])
        found["key_disagrees"] = np.asarray([one.disagrees for one in agreed])
        sizes = [_length(sample) for sample in samples]
        found["answer_tokens"] = np.asarray([float(np.mean([sizes[i] for i in own])) if own else 0.0 for own in members])
    if any(sample.cut is not None for sample in samples):
        found["share_cut"] = np.asarray([float(np.mean([bool(samples[i].cut) for i in own])) if own else 0.0 for own in members])
    return found


def _length(sample: Sample) -> int:
    return sample.tokens if sample.tokens is not None else len((sample.answer or "").split())
