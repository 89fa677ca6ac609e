"""Frozen weights, once for all runs: of one process, and of processes that share memory."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pruning.errors import ModelError
from pruning.training import four_bits
from pruning.training.four_bits import Packed


class Base:
    """Frozen matrices in the type of matrix products or in four bits, in one tensor that all runs read; they are of the same model."""

    def __init__(self, memory: int | None = None, start: int = 0) -> None:
        """`memory` is the handle of a file in memory that other processes have too, used from its byte `start` on; None = no others."""
        self.memory, self.start = memory, -(-start // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self.whole: Tensor | None = None

    def hold(self, network: nn.Module, dtype: torch.dtype, device: torch.device, *, in_4bit: bool = False) -> None:
        """Replace the values of a network's frozen matrices by views of the one tensor, in `dtype` on `device`; its vectors become fp32.

        What embeddings return becomes fp32, as it is when their weights are. With `in_4bit`, linear layers under adapters are kept in four
        bits. Raises ModelError where there are none.
        """
        frozen = [parameter for parameter in network.parameters() if not parameter.requires_grad]
        layers = {layer.weight: layer for layer in four_bits.layers(network)} if in_4bit else {}
        if in_4bit and not layers:
            raise ModelError("The model has no linear layers under adapters that could be kept in four bits; leave out --load-in-4bit.")
        matrices = sorted((parameter for parameter in frozen if parameter.ndim >= 2), key=lambda parameter: parameter not in layers)
        for vector in (parameter for parameter in frozen if parameter.ndim < 2):
            vector.data = vector.data.to(torch.float32, copy=True)  # a view would keep the whole file mapped
        if not matrices:
            return
        sizes = [four_bits.room(one.numel()) // dtype.itemsize if one in layers else one.numel() for one in matrices]

        def fill(whole: Tensor) -> None:
            for matrix, part in zip(matrices, whole.split(sizes), strict=True):
                if matrix in layers:
                    Packed(part.view(torch.uint8), matrix.shape, dtype).fill(matrix)
                else:
                    part.copy_(matrix.detach().flatten())

        if self.whole is None:
            if self.memory is None or device.type != "cpu":
                self.whole = torch.empty(sum(sizes), dtype=dtype, device=device)
                fill(self.whole)
            else:
                self.whole = self._shared(self.memory, fill, sum(sizes), dtype)
        for parameter, part in zip(matrices, self.whole.split(sizes), strict=True):
            if parameter in layers:
                four_bits.keep_in(Packed(part.view(torch.uint8), parameter.shape, dtype), layers[parameter])
            else:
                parameter.data = part.view(parameter.shape)
        for module in network.modules():
            if isinstance(module, nn.Embedding) and dtype is not torch.float32:
                module.register_forward_hook(_widen)

    def _shared(self, memory: int, fill: Callable[[Tensor], None], size: int, dtype: torch.dtype) -> Tensor:
        """Return the matrices in the shared memory, written by the first process that asks. One byte after them says that all are there."""
        length = size * dtype.itemsize
        fcntl.lockf(memory, fcntl.LOCK_EX)
        try:
            if os.fstat(memory).st_size != self.start + length + 1:
                os.ftruncate(memory, self.start + length)
                view = mmap.mmap(memory, length, offset=self.start)  # referenced until the end, as closing it releases the lock
                fill(torch.frombuffer(view, dtype=dtype))
                os.ftruncate(memory, self.start + length + 1)
        finally:
            fcntl.lockf(memory, fcntl.LOCK_UN)
        return torch.frombuffer(mmap.mmap(memory, length, access=mmap.ACCESS_COPY, offset=self.start), dtype=dtype)


def _widen(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output.float()
