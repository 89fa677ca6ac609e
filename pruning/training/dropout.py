"""Dropout on the CPU in a third of PyTorch's time: the same distribution, four decisions per random number."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import nn

LEVELS = 2**15
"""A decision compares 15 random bits with a threshold."""

ONE = np.int16(0x3F80)
"""The bits of 1 in bfloat16."""


class Noise:
    """Random source of one run's dropout.

    PyTorch draws one number per decision, which takes a tenth of a training step; here a 64-bit number makes four decisions. The
    dropped share is `p` rounded to 1/32768, and kept values are scaled by the inverse of the exact kept share.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.SFC64(seed)

    def drop(self, values: torch.Tensor, p: float) -> torch.Tensor:
        """Return `values` with a share `p` of its entries set to 0 and the others scaled to keep the mean; 0 <= p < 1."""
        return values * kept_scale(p) * self.mask(values.shape, p).to(values.dtype)

    def mask(self, shape: Sequence[int], p: float) -> torch.Tensor:
        """Return bfloat16 0 for a share `p` of the entries, 1 for the others. In integers, since PyTorch is slow with booleans."""
        count = prod(shape)
        drawn = np.asarray(self._bits.random_raw(count // 4 + 1)).view(np.int16)[:count]
        np.right_shift(drawn, 1, out=drawn)
        np.subtract(np.int16(_dropped(p) - 1 - LEVELS // 2), drawn, out=drawn)
        np.right_shift(drawn, 15, out=drawn)
        np.bitwise_and(drawn, ONE, out=drawn)
        return torch.from_numpy(drawn).view(torch.bfloat16).view(tuple(shape))

    @property
    def state(self) -> torch.Tensor:
        """State of the generator; assign it to continue from there."""
        return torch.from_numpy(self._bits.state["state"]["state"].view(np.int64).copy())

    @state.setter
    def state(self, state: torch.Tensor) -> None:
        whole = self._bits.state
        whole["state"]["state"] = state.numpy().view(np.uint64).copy()
        self._bits.state = whole


def kept_scale(p: float) -> float:
    """Return the factor that keeps the mean of what dropout keeps."""
    return LEVELS / (LEVELS - _dropped(p))


def _dropped(p: float) -> int:
    return round(p * LEVELS)


class Dropout(nn.Module):
    """`nn.Dropout` that draws from a run's own `Noise`."""

    def __init__(self, p: float, noise: Noise) -> None:
        super().__init__()
        self.p = p
        self.noise = noise

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Apply dropout in train mode only."""
        return self.noise.drop(values, self.p) if self.training and self.p > 0 else values


def draw_from(noise: Noise, module: nn.Module) -> None:
    """Make every `nn.Dropout` inside `module` draw from `noise`, in place."""
    for name, child in list(module.named_children()):
        if type(child) is nn.Dropout:
            setattr(module, name, Dropout(child.p, noise))
        else:
            draw_from(noise, child)
