"""Frozen weights, once for all runs: of one process, and of processes that share memory."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Base:
    """Frozen matrices in the type of matrix products, in one tensor that every run reads; all runs are of the same model."""

    def __init__(self, memory: int | None = None, start: int = 0) -> None:
        """`memory` is the handle of a file in memory that other processes have too, used from its byte `start` on; None = no others."""
        self.memory, self.start = memory, -(-start // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self.whole: Tensor | None = None

    def hold(self, network: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
        """Replace the values of a network's frozen matrices by views of the one tensor, in `dtype` on `device`; its vectors become fp32.

        What embeddings return becomes fp32, as it is when their weights are.
        """
        frozen = [parameter for parameter in network.parameters() if not parameter.requires_grad]
        matrices = [parameter for parameter in frozen if parameter.ndim >= 2]
        for vector in (parameter for parameter in frozen if parameter.ndim < 2):
            vector.data = vector.data.to(torch.float32, copy=True)  # a view would keep the whole file mapped
        if not matrices:
            return
        if self.whole is None:
            size = sum(parameter.numel() for parameter in matrices)
            if self.memory is None or device.type != "cpu":
                self.whole = torch.empty(size, dtype=dtype, device=device)
                _fill(self.whole, matrices)
            else:
                self.whole = self._shared(self.memory, matrices, size, dtype)
        for parameter, part in zip(matrices, self.whole.split([parameter.numel() for parameter in matrices]), strict=True):
            parameter.data = part.view(parameter.shape)
        for module in network.modules():
            if isinstance(module, nn.Embedding) and dtype is not torch.float32:
                module.register_forward_hook(_widen)

    def _shared(self, memory: int, matrices: Sequence[Tensor], size: int, dtype: torch.dtype) -> Tensor:
        """Return the matrices in the shared memory, written by the first process that asks. One byte after them says that all are there."""
        length = size * dtype.itemsize
        fcntl.lockf(memory, fcntl.LOCK_EX)
        try:
            if os.fstat(memory).st_size != self.start + length + 1:
                os.ftruncate(memory, self.start + length)
                view = mmap.mmap(memory, length, offset=self.start)  # referenced until the end, as closing it releases the lock
                _fill(torch.frombuffer(view, dtype=dtype), matrices)
                os.ftruncate(memory, self.start + length + 1)
        finally:
            fcntl.lockf(memory, fcntl.LOCK_UN)
        return torch.frombuffer(mmap.mmap(memory, length, access=mmap.ACCESS_COPY, offset=self.start), dtype=dtype)


def _fill(whole: Tensor, matrices: Sequence[Tensor]) -> None:
    for part, matrix in zip(whole.split([matrix.numel() for matrix in matrices]), matrices, strict=True):
        part.copy_(matrix.detach().flatten())


def _widen(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output.float()
