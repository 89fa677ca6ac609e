"""Build one step's tensors from flat encoded examples: ragged gather, no padding, no loop over examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pruning.records import Encoded

GROUPS, GROUP_SPAN = 8, 16
"""Most attention groups of a packed batch: one per 16 tokens of its longest sequence, up to 8, because each group has a cost."""

ROUND, ROUND_LENGTH = 32, 8
"""A packed batch is filled up to a multiple of 32 tokens, each attention group to a multiple of 8. CPU kernels are prepared and
cached once per size, so sizes must recur: without filling, a run's memory grew from 0.9 to 1.5 GB in 60 steps."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Adjacent sequences of a batch that attention pads to one length."""

    start: int
    """First token of the group within the batch."""
    end: int
    """Index after its last token."""
    count: int
    """Sequences."""
    length: int
    """Tokens of the longest sequence, or a few more."""
    slots: torch.Tensor | None
    """[end - start] index of each token in the padded [count * length] layout; None without padding."""
    keys: torch.Tensor | None
    """[count, 1, 1, length] True at real tokens; None without padding."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The learned tokens of a batch, for generation; A of them."""

    places: torch.Tensor
    """[A] index of the token before each, whose hidden state predicts it."""
    unit: torch.Tensor
    """[A] index of the unit that each belongs to."""
    order: torch.Tensor
    """[A] place of each within its unit's answer, from 0."""
    lengths: torch.Tensor
    """[n] learned tokens of each unit."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Tensors of one step: whole units, their sequences concatenated, shortest first."""

    rows: torch.Tensor
    """[n] each unit's position in the run's rows, where its recording is written."""
    ids: torch.Tensor
    """[T] token ids; a packed batch ends with fillers, which nothing attends to or reads."""
    positions: torch.Tensor
    """[T] position of each token within its sequence, from 0."""
    types: torch.Tensor | None
    """[T] segment ids."""
    first: torch.Tensor
    """[S] index of each sequence's first token, shortest sequence first."""
    last: torch.Tensor
    """[S] index of each sequence's last token, shortest sequence first."""
    rank: torch.Tensor
    """[S] index into `first` and `last` of each sequence, in the units' order."""
    unit: torch.Tensor
    """[S] index of the unit that each sequence belongs to, ascending."""
    labels: torch.Tensor
    """[n] correct class or option; [S, 2] correct start and end token for spans."""
    groups: Sequence[Group]
    """Attention groups in order; together they cover all tokens except the fillers."""

    longest: int
    """Tokens of the longest sequence."""
    most: int
    """Most sequences of any unit."""
    answers: Answers | None = None
    """The tokens that are learned; None for other kinds than generation."""

    @property
    def tokens(self) -> int:
        """Tokens without the fillers."""
        return self.groups[-1].end


def sequence_lengths(data: Encoded) -> NDArray[np.int64]:
    """[S] number of tokens of each sequence."""
    return np.diff(data.offsets)


def unit_lengths(data: Encoded) -> NDArray[np.int64]:
    """[N] tokens of each unit's longest sequence, which determines its padding."""
    return np.maximum.reduceat(sequence_lengths(data), data.unit_offsets[:-1])


def make_batch(data: Encoded, units: NDArray[np.int64], rows: NDArray[np.int64], device: torch.device, *, packed: bool) -> Batch:
    """Return the tensors of one step. `units` [n] are positions in `data`; `rows` [n] are the rows their recording is written to."""
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
        answers=None if data.answer is None else _answers(data.answer[tokens], lengths, by_length, tensor),
    )


def ragged(offsets: NDArray[np.int64], which: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of all members of the chosen ragged rows, concatenated, and the number of members of each row.

    >>> indices, counts = ragged(np.array([0, 2, 3, 6]), np.array([2, 0]))
    >>> indices.tolist(), counts.tolist()
    ([3, 4, 5, 0, 1], [3, 2])
    """
    counts = offsets[which + 1] - offsets[which]
    shift = offsets[which] - (np.cumsum(counts) - counts)
    return np.arange(counts.sum()) + np.repeat(shift, counts), counts


def _answers(
    learned: NDArray[np.bool_],
    lengths: NDArray[np.int64],
    units: NDArray[np.int64],
    tensor: Callable[[NDArray[Any]], torch.Tensor],
) -> Answers:
    """`units` [S] is the unit of each sequence; a unit of generation has one."""
    targets = np.flatnonzero(learned)
    sequence = np.repeat(np.arange(len(lengths)), lengths)[targets]
    counts = np.bincount(sequence, minlength=len(lengths))
    order = np.arange(len(targets)) - (np.cumsum(counts) - counts)[sequence]
    of_units = np.zeros(len(units), dtype=np.int64)
    of_units[units] = counts
    return Answers(places=tensor(targets - 1), unit=tensor(units[sequence]), order=tensor(order), lengths=tensor(of_units))


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
