"""From flat encoded examples to one step's tensors: ragged gather, no padding, no loop over examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pruning.records import Encoded

GROUPS = 4
"""Groups of similar length that attention pads separately within a batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Neighbouring sequences of a batch that attention pads to one length."""

    start: int
    """First token of the group within the batch."""
    end: int
    """One past its last token."""
    count: int
    """Sequences."""
    length: int
    """Tokens of the longest."""
    slots: torch.Tensor | None
    """[end - start] each token's place in the padded [count * length] layout; None where nothing is padded."""
    keys: torch.Tensor | None
    """[count, 1, 1, length] True at real tokens; None where nothing is padded."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step: whole units, their sequences laid end to end, shortest first."""

    rows: torch.Tensor
    """[n] each unit's position in the run's rows: where its recording goes."""
    ids: torch.Tensor
    """[T] token ids."""
    positions: torch.Tensor
    """[T] place of each token within its sequence, from 0."""
    types: torch.Tensor | None
    """[T] segment ids."""
    first: torch.Tensor
    """[S] index of each sequence's first token, shortest sequence first."""
    last: torch.Tensor
    """[S] index of each sequence's last token, shortest sequence first."""
    rank: torch.Tensor
    """[S] place in `first` and `last` of the units' sequences in their own order."""
    unit: torch.Tensor
    """[S] which of the batch's n units each sequence belongs to, ascending."""
    labels: torch.Tensor
    """[n] right class or option; [S, 2] right start and end for spans."""
    groups: Sequence[Group]
    """Attention groups, covering 0..T in order."""


def sequence_lengths(data: Encoded) -> NDArray[np.int64]:
    """[S] tokens per sequence."""
    return np.diff(data.offsets)


def unit_lengths(data: Encoded) -> NDArray[np.int64]:
    """[N] tokens of each unit's longest sequence: what decides its padding."""
    return np.maximum.reduceat(sequence_lengths(data), data.unit_offsets[:-1])


def make_batch(data: Encoded, units: NDArray[np.int64], rows: NDArray[np.int64], device: torch.device, groups: int = GROUPS) -> Batch:
    """The tensors of one step. `units` [n] are positions in `data`; `rows` [n] say where their recording goes."""
    sequences, per_unit = ragged(data.unit_offsets, units)
    lengths = data.offsets[sequences + 1] - data.offsets[sequences]
    by_length = np.argsort(lengths, kind="stable")
    tokens, lengths = ragged(data.offsets, sequences[by_length])
    starts = np.cumsum(lengths) - lengths
    labels = data.labels[sequences] if data.kind == "span" else data.labels[units]

    def tensor(values: NDArray[np.generic]) -> torch.Tensor:
        made = torch.from_numpy(values)
        return made if device.type == "cpu" else made.to(device, non_blocking=True)

    return Batch(
        rows=tensor(rows),
        ids=tensor(data.tokens[tokens].astype(np.int64)),
        positions=tensor(np.arange(len(tokens)) - np.repeat(starts, lengths)),
        types=None if data.token_types is None else tensor(data.token_types[tokens].astype(np.int64)),
        first=tensor(starts),
        last=tensor(starts + lengths - 1),
        rank=tensor(np.argsort(by_length, kind="stable")),
        unit=tensor(np.repeat(np.arange(len(units)), per_unit)),
        labels=tensor(labels),
        groups=[_group(starts, lengths, part, tensor) for part in np.array_split(np.arange(len(lengths)), min(groups, len(lengths)))],
    )


def ragged(offsets: NDArray[np.int64], which: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of all members of the chosen ragged rows, end to end, and how many each has.

    >>> indices, counts = ragged(np.array([0, 2, 3, 6]), np.array([2, 0]))
    >>> indices.tolist(), counts.tolist()
    ([3, 4, 5, 0, 1], [3, 2])
    """
    counts = offsets[which + 1] - offsets[which]
    shift = offsets[which] - (np.cumsum(counts) - counts)
    return np.arange(counts.sum()) + np.repeat(shift, counts), counts


def _group(starts: NDArray[np.int64], lengths: NDArray[np.int64], part: NDArray[np.int64], tensor) -> Group:  # type: ignore[no-untyped-def]
    begin, sizes = int(starts[part[0]]), lengths[part]
    longest = int(sizes.max())
    slots = keys = None
    if sizes.min() < longest:
        shift = np.arange(len(part)) * longest - (starts[part] - begin)
        slots = tensor(np.arange(sizes.sum()) + np.repeat(shift, sizes))
        keys = tensor((np.arange(longest) < sizes[:, None])[:, None, None, :])
    return Group(begin, begin + int(sizes.sum()), len(part), longest, slots, keys)
