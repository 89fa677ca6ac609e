"""CUDA graphs: a whole step - forward, backward, clip, AdamW, recording - recorded once per size and replayed with one launch.

At batch size 32, a small model's step is about a thousand kernel launches of a few microseconds each; a replayed graph no longer
waits for Python. Batches need fixed shapes: filled up to a multiple of 64 tokens, attention padded to the longest sequence.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pruning.records import Encoded
from pruning.training.batches import Batch, Group, make_batch, sequence_lengths

BUCKET = 64
"""Batches are filled up to a multiple of this many tokens: few sizes to record, few fillers to compute."""

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes that are fixed in a recorded step."""

    tokens: int
    """T, fillers included."""
    units: int
    sequences: int
    length: int
    """L, number of tokens of the longest sequence."""

    @property
    def rows(self) -> int:
        """Rows of the attention layout: the sequences, then enough rows for the fillers."""
        return self.sequences + -(-(BUCKET - 1) // self.length)

    @property
    def parts(self) -> dict[str, int]:
        """Name and size of each part of a flattened batch."""
        per_token = dict.fromkeys(("ids", "positions", "types", "slots"), self.tokens)
        per_row = dict.fromkeys(("first", "last", "sizes"), self.rows)
        per_sequence = dict.fromkeys(("rank", "unit"), self.sequences)
        return {**per_token, **per_row, **per_sequence, "labels": self.units, "rows": self.units}


def flatten(batch: Batch, shape: Shape) -> torch.Tensor:
    """Return an unpacked batch as one int64 vector of fixed layout, which is copied to the device at once.

    The fillers get separate rows after the sequences; nothing reads what is computed there.
    """
    sizes = batch.last - batch.first + 1
    place = torch.arange(shape.sequences).repeat_interleave(sizes) * shape.length + batch.positions
    fillers, spare = shape.tokens - len(batch.ids), shape.rows - shape.sequences
    behind = shape.sequences * shape.length + torch.arange(fillers)
    values = {
        "ids": functional.pad(batch.ids, (0, fillers)),
        "positions": functional.pad(batch.positions, (0, fillers)),
        "types": functional.pad(torch.zeros_like(batch.ids) if batch.types is None else batch.types, (0, fillers)),
        "slots": torch.cat([place, behind]),
        "first": functional.pad(batch.first, (0, spare)),
        "last": functional.pad(batch.last, (0, spare)),
        "sizes": functional.pad(sizes, (0, spare), value=shape.length),
        **{name: getattr(batch, name) for name in ("rank", "unit", "labels", "rows")},
    }
    return torch.cat([values[name] for name in shape.parts])


def unflatten(flat: torch.Tensor, shape: Shape, *, types: bool) -> Batch:
    """Return the batch that `flatten` wrote as views of `flat`; copying another batch into `flat` changes the views."""
    part = dict(zip(shape.parts, flat.split(list(shape.parts.values())), strict=True))
    keys = (torch.arange(shape.length, device=flat.device) < part["sizes"][:, None])[:, None, None, :]
    return Batch(
        ids=part["ids"],
        positions=part["positions"],
        types=part["types"] if types else None,
        groups=[Group(0, shape.tokens, shape.rows, shape.length, part["slots"], keys)],
        longest=shape.length,
        most=shape.sequences // shape.units,
        **{name: part[name] for name in ("first", "last", "rank", "unit", "labels", "rows")},
    )


def can_graph(data: Encoded, packed: bool, device: torch.device, dtype: torch.dtype) -> bool:
    """Return True if steps on this data can have fixed shapes: one kind of unit, packed, on CUDA, without loss scaling."""
    alike = len(np.unique(np.diff(data.unit_offsets))) == 1
    return device.type == "cuda" and packed and alike and data.kind not in ("span", "generation") and dtype is not torch.float16


class GraphedSteps:
    """Steps of one run, replayed from a graph if their size occurred before.

    The first batch of a size trains in the plain loop, which also warms up its kernels; the second is recorded and replayed.
    """

    def __init__(self, data: Encoded, batch_size: int, update: Callable[[Batch], None]) -> None:
        self.data = data
        self.units = batch_size
        self.update = update
        self.length = int(sequence_lengths(data).max())
        self.seen: set[int] = set()
        self.recorded: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor, Shape]] = {}
        self.pool = torch.cuda.graph_pool_handle()
        self.failed = False

    def replay(self, units: NDArray[np.int64], rows: NDArray[np.int64]) -> bool:
        """Train one step if its size was recorded or can be recorded now; return False if the plain loop has to train it."""
        if self.failed or len(units) != self.units:
            return False
        batch = make_batch(self.data, units, rows, torch.device("cpu"), packed=False)
        size = -(-len(batch.ids) // BUCKET) * BUCKET
        if size not in self.seen:
            self.seen.add(size)
            return False
        if size not in self.recorded and not self._record(Shape(size, self.units, len(batch.first), self.length)):
            return False
        graph, flat, shape = self.recorded[size]
        flat.copy_(flatten(batch, shape).pin_memory(), non_blocking=True)
        graph.replay()
        return True

    def _record(self, shape: Shape) -> bool:
        graph = torch.cuda.CUDAGraph()
        flat = torch.zeros(sum(shape.parts.values()), dtype=torch.int64, device="cuda")
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=torch.cuda.current_stream()):
                self.update(unflatten(flat, shape, types=self.data.token_types is not None))
        except RuntimeError as error:
            LOG.warning("CUDA graphs are off for this run; it continues step by step: %s", " ".join(str(error).split())[:200])
            self.failed = True
            return False
        self.recorded[shape.tokens] = (graph, flat, shape)
        return True
