"""Trained parameters as one tensor per optimizer group: clipping, AdamW and clearing are a few calls instead of hundreds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def adjacent(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors that follow each other in one memory as one, stacked along the first dimension."""
    first = tensors[0]
    end = first.storage_offset()
    for tensor in tensors:
        same = tensor.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        assert same and tensor.storage_offset() == end, "joined parameters must follow each other"
        end += tensor.numel()
    return first.as_strided((sum(map(len, tensors)), *first.shape[1:]), first.stride())


class Flat:
    """Parameters as adjacent views of one fp32 tensor, and their gradients as views of another."""

    def __init__(self, parameters: Sequence[nn.Parameter], dtype: torch.dtype) -> None:
        self.whole = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
        self.grads = self.whole.grad = torch.zeros_like(self.whole)
        place = 0
        for parameter in parameters:
            end = place + parameter.numel()
            parameter.data = self.whole.data[place:end].view_as(parameter)
            parameter.grad = self.grads[place:end].view_as(parameter)
            place = end
        self.values, self.dtype = self.whole.data, dtype
        self.half: Tensor | None = None
        self.low, self.high = place, 0

    def joined(self, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """See `Flats.joined`."""
        values = adjacent([parameter.data for parameter in parameters])
        if self.half is None:
            self.half = self.values.to(self.dtype)
        low = int(values.storage_offset())
        high = low + values.numel()
        self.low, self.high = min(self.low, low), max(self.high, high)
        return self.half[low:high].view(values.shape), self.grads[low:high].view(values.shape)

    def renew(self) -> None:
        """See `Flats.renew`."""
        if self.half is not None and self.half is not self.values:
            self.half[self.low : self.high].copy_(self.values[self.low : self.high])


class Flats:
    """All trained parameters of a network, in up to two groups: those with weight decay (matrices), and biases and norms.

    The first factors of adapters come before all others, so that those of layers with the same input are adjacent.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        named = sorted(network.named_parameters(), key=lambda item: "lora_A" not in item[0])
        trained = [parameter for _, parameter in named if parameter.requires_grad]
        groups = {decays: [parameter for parameter in trained if (parameter.ndim >= 2) is decays] for decays in (True, False)}
        self.groups = {decays: Flat(parameters, dtype) for decays, parameters in groups.items() if parameters}
        self.separate: dict[Tensor, None] = dict.fromkeys(trained)
        self.dtype = dtype

    def joined(self, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return adjacent parameters, stacked along the first dimension: their values in the type of matrix products, current
        after each `renew`, and their gradients in fp32, which the caller overwrites in each step and `clear` leaves alone. Frozen
        parameters have no gradients; theirs are the values themselves if they are matrices (see `Base`), else a copy.
        """
        if not parameters[0].requires_grad:
            matrices = parameters[0].ndim >= 2
            return adjacent([p.data for p in parameters]) if matrices else torch.cat([p.data for p in parameters]).to(self.dtype), None
        for parameter in parameters:
            self.separate.pop(parameter, None)
        return self.groups[parameters[0].ndim >= 2].joined(parameters)

    def renew(self) -> None:
        """Bring the copies in another type up to date after the values changed."""
        for flat in self.groups.values():
            flat.renew()

    def clear(self) -> None:
        """Set the gradients to 0, but for those of joined parameters."""
        for parameter in self.separate:
            if parameter.grad is not None:
                parameter.grad.zero_()
