"""Frozen linear layers in four bits (QLoRA, Dettmers et al. 2023): NF4 in blocks of 64 weights, whose scales have 8 bits in turn.

The arithmetic is that of bitsandbytes. A layer keeps four bits of each weight; its matrix is made for a product, forward or backward, and
freed after it. Gradients pass through it to the adapters.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from pruning.errors import UsageError

SETTING = "load_in_4bit"

NF4 = "nf4"

BLOCK = 64
"""Weights that share a scale, as in the paper."""

GROUP = 256
"""Scales that share a scale of their own, as in the paper."""

ALIGNMENT = 64
"""Bytes; what a matrix takes is a multiple of it."""

MISSING = object()

logging.getLogger("bitsandbytes.backends.cpu").setLevel(logging.ERROR)  # it warns of a kernel for inference that is not used here


def check_installed() -> None:
    """Raise UsageError where bitsandbytes is not installed."""
    if find_spec("bitsandbytes") is None:
        raise UsageError(
            f"{SETTING} needs the package bitsandbytes; install it (pip install 'winnow-pruning[qlora]'), or leave it out.", SETTING
        )


def check(device: torch.device) -> None:
    """Raise UsageError where bitsandbytes is not installed, or does not compute on that device; a few weights are tried."""
    check_installed()
    try:
        tried = torch.linspace(-1, 1, BLOCK, device=device)
        memory = torch.empty(room(BLOCK), dtype=torch.uint8, device=device)
        packed = Packed(memory, tried.shape, torch.float32)
        packed.fill(tried)
        worst = float((packed.matrix() - tried).abs().max())
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        words = " ".join(str(error).split())[:200]
        raise UsageError(f"{SETTING} does not work on {device} with this bitsandbytes ({words}); use another device.", SETTING) from error
    if not worst < 0.2:  # the widest step of NF4 is 0.3
        raise UsageError(f"{SETTING} does not work on {device}: bitsandbytes returns wrong weights there; use another device.", SETTING)


def layers(network: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of a network that adapters are on."""
    return [layer.base_layer for layer in network.modules() if hasattr(layer, "lora_A") and isinstance(layer.base_layer, nn.Linear)]


def room(count: int) -> int:
    """Return the bytes that a matrix of `count` weights takes.

    >>> room(64 * 256 * 10) / (64 * 256 * 10) * 8
    4.128125
    """
    return -(-sum(_sizes(count)) // ALIGNMENT) * ALIGNMENT


class Packed:
    """A matrix in four bits, in memory that is given: [room(weights)] uint8, on the device that computes."""

    def __init__(self, memory: Tensor, shape: torch.Size, dtype: torch.dtype) -> None:
        self.shape, self.count = shape, prod(shape)
        ranges, offset, self.codes, self.scales = memory[: sum(_sizes(self.count))].split(_sizes(self.count))
        self.ranges, self.offset = ranges.view(torch.float32), offset.view(torch.float32)
        made, maps = _library().QuantState, _maps(memory.device)
        self.state = made(
            absmax=self.scales,
            shape=torch.Size((len(self.scales), BLOCK)),  # its kernels for the CPU need rows of whole blocks
            code=maps[0],
            blocksize=BLOCK,
            quant_type=NF4,
            dtype=dtype,
            offset=self.offset[0],
            state2=made(absmax=self.ranges, code=maps[1], blocksize=GROUP, dtype=torch.float32),
        )

    def fill(self, matrix: Tensor) -> None:
        """Write the four bits of a matrix of this shape."""
        flat = matrix.detach().flatten().to(self.codes.device, torch.float32)
        whole = nn.functional.pad(flat, (0, -self.count % BLOCK))
        codes, state = _library().quantize_4bit(whole, blocksize=BLOCK, compress_statistics=True, quant_type=NF4)
        self.codes.copy_(codes.flatten())
        self.scales.copy_(state.absmax)
        self.ranges.copy_(state.state2.absmax)
        self.offset.copy_(state.offset)

    def matrix(self) -> Tensor:
        """Return the matrix, made from its four bits."""
        return _library().dequantize_4bit(self.codes[:, None], self.state).view(-1)[: self.count].view(self.shape)


def keep_in(packed: Packed, layer: nn.Linear) -> None:
    """Let a layer compute with those four bits from now on; its own weights are freed, and are NaN to whoever still reads them."""
    nothing = torch.full((), torch.nan, dtype=packed.state.dtype, device=packed.codes.device)
    layer.weight.data = nothing.expand(layer.weight.shape)
    layer.packed = packed  # type: ignore[assignment]
    layer.forward = partial(_product, packed, layer.bias)  # type: ignore[method-assign]


def of(layers: Sequence[Any]) -> list[Packed]:
    """Return the matrices of the layers that are kept in four bits."""
    return [layer.packed for layer in layers if hasattr(layer, "packed")]


def _product(packed: Packed, bias: Tensor | None, values: Tensor) -> Tensor:
    return _Product.apply(values, packed, bias)


class _Product(torch.autograd.Function):
    """A linear layer's product; nothing is kept of the matrix for the backward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, packed: Packed, bias: Tensor | None) -> Tensor:
        ctx.packed = packed
        return nn.functional.linear(values, packed.matrix(), bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad @ ctx.packed.matrix().to(grad.dtype), None, None


def _sizes(count: int) -> list[int]:
    """Bytes of the scales' ranges and their offset (float32), of the weights, and of their scales."""
    blocks = -(-count // BLOCK)
    return [4 * -(-blocks // GROUP), 4, blocks * BLOCK // 2, blocks]


@cache
def _library() -> Any:
    """Return bitsandbytes.functional. Its import would fetch compiled code from the hub where the package `kernels` is installed."""
    before = sys.modules.get("kernels", MISSING)
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        return import_module("bitsandbytes.functional")
    finally:
        if before is MISSING:
            del sys.modules["kernels"]
        else:
            sys.modules["kernels"] = before  # type: ignore[assignment]


@cache
def _maps(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the values of the codes of weights and of scales."""
    library = _library()
    return library.get_4bit_type(NF4, device=device), library.create_dynamic_map().to(device)
