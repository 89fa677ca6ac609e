"""From flat encoded examples to one step's tensors: ragged gather, no padding, no loop over examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pruning.records import Encoded

GROUPS, GROUP_SPAN = 4, 16
"""Attention pads a packed batch in up to 4 groups of similar length, one per 16 tokens of its longest sequence: each costs a little."""

ROUND, ROUND_LENGTH = 32, 8
"""A packed batch is filled up to a multiple of 32 tokens, each attention group to a multiple of 8: the CPU's kernels are prepared
once per size and kept, so sizes must recur. Without, a run's memory grew from 0.9 to 1.5 GB in 60 steps."""


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
    """Tokens of the longest, or a few more."""
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
    """[T] token ids; in a packed batch fillers come last, which nothing attends to or reads."""
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
    """Attention groups, covering all tokens but the fillers in order."""

    longest: int
    """Tokens of the longest sequence."""
    most: int
    """Sequences of the unit that has most."""

    @property
    def tokens(self) -> int:
        """Tokens that are no fillers."""
        return self.groups[-1].end


def sequence_lengths(data: Encoded) -> NDArray[np.int64]:
    """[S] tokens per sequence."""
    return np.diff(data.offsets)


def unit_lengths(data: Encoded) -> NDArray[np.int64]:
    """[N] tokens of each unit's longest sequence: what decides its padding."""
    return np.maximum.reduceat(sequence_lengths(data), data.unit_offsets[:-1])


def make_batch(data: Encoded, units: NDArray[np.int64], rows: NDArray[np.int64], device: torch.device, *, packed: bool) -> Batch:
    """The tensors of one step. `units` [n] are positions in `data`; `rows` [n] say where their recording goes."""
    sequences, per_unit = ragged(data.unit_offsets, units)
    lengths = data.offsets[sequences + 1] - data.offsets[sequences]
    by_length = np.argsort(lengths, kind="stable")
    tokens, lengths = ragged(data.offsets, sequences[by_length])
    starts = np.cumsum(lengths) - lengths
    fillers = -len(tokens) % ROUND if packed else 0
    groups = min(GROUPS, len(lengths), 1 + int(lengths[-1]) // GROUP_SPAN) if packed else 1
    parts = np.array_split(np.arange(len(lengths)), groups)

    def tensor(values: NDArray[Any]) -> torch.Tensor:
        made = torch.from_numpy(values)
        return made if device.type == "cpu" else made.to(device, non_blocking=True)

    def filled(values: NDArray[Any]) -> torch.Tensor:
        return tensor(np.pad(values.astype(np.int64), (0, fillers)))

    return Batch(
        rows=tensor(rows),
        ids=filled(data.tokens[tokens]),
        positions=filled(np.arange(len(tokens)) - np.repeat(starts, lengths)),
        types=None if data.token_types is None else filled(data.token_types[tokens]),
        first=tensor(starts),
        last=tensor(starts + lengths - 1),
        rank=tensor(np.argsort(by_length, kind="stable")),
        unit=tensor(np.repeat(np.arange(len(units)), per_unit)),
        labels=tensor(data.labels[sequences] if data.kind == "span" else data.labels[units]),
        groups=[_group(starts, lengths, part, ROUND_LENGTH if packed else 1, tensor) for part in parts],
        longest=int(lengths.max()),
        most=int(per_unit.max()),
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


def _group(
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    part: NDArray[np.int64],
    multiple: int,
    tensor: Callable[[NDArray[Any]], torch.Tensor],
) -> Group:
    begin, sizes = int(starts[part[0]]), lengths[part]
    length = -(-int(sizes.max()) // multiple) * multiple
    slots = keys = None
    if sizes.min() < length:
        shift = np.arange(len(part)) * length - (starts[part] - begin)
        slots = tensor(np.arange(sizes.sum()) + np.repeat(shift, sizes))
        keys = tensor((np.arange(length) < sizes[:, None])[:, None, None, :])
    return Group(begin, begin + int(sizes.sum()), len(part), length, slots, keys)
