"""Parts of layers whose forward and backward passes are written out, for the CPU.

The computation of transformers' layers under autocast: matrix products in bf16; norms, softmax and the stream of hidden states in fp32.
Weights are read from a copy in bf16 that follows each optimizer step, or, where they are frozen, are kept in bf16 (or four bits) only; so
nothing is cast here. Layers with the same input are one product; gradients are written where AdamW reads them; frozen weights have none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pruning.training import four_bits
from pruning.training.batches import Batch
from pruning.training.dropout import Noise
from pruning.training.flat import Flats

aten = torch.ops.aten


class Put:
    """Writes a gradient at its place in a step's first backward pass, and adds it in further ones."""

    def __init__(self) -> None:
        self.adds = False

    def __call__(self, place: Tensor, grad: Tensor) -> None:
        """Write or add `grad` at `place`."""
        if self.adds:
            place.add_(grad)
        else:
            place.copy_(grad)


class Affine:
    """Adjacent linear layers with the same input, as one product; those that peft has wrapped, with their adapters."""

    def __init__(self, layers: Sequence[Any], flats: Flats) -> None:
        inner = [getattr(layer, "base_layer", layer) for layer in layers]
        self.dtype, self.outputs = flats.dtype, sum(layer.out_features for layer in inner)
        self.packed = four_bits.of(inner)
        assert len(self.packed) in (0, len(inner)), "joined layers must be kept alike"
        self.kept: Tensor | None = None
        self.weight_grad: Tensor | None = None
        if not self.packed:
            self.kept, self.weight_grad = flats.joined([layer.weight for layer in inner])
        biases = [layer.bias for layer in inner if layer.bias is not None]
        self.bias: Tensor | None = None
        self.bias_grad: Tensor | None = None
        if biases:
            self.bias, self.bias_grad = flats.joined(biases)
        self.adapters = Adapters(layers, flats) if any(hasattr(layer, "lora_A") for layer in layers) else None

    @property
    def weight(self) -> Tensor:
        """[out, in] in the type of matrix products; made for each use if it is kept in four bits."""
        return torch.cat([packed.matrix() for packed in self.packed]) if self.kept is None else self.kept

    def forward(self, values: Tensor) -> Tensor:
        """[n, in] -> [n, out]."""
        weight = self.weight.t()
        out = values @ weight if self.bias is None else torch.addmm(self.bias, values, weight)
        if self.adapters is not None:
            self.adapters.forward(values, out)
        return out

    def backward(self, grad: Tensor, values: Tensor, put: Put) -> Tensor:
        """Put the gradients of what is trained; return that of the input."""
        if self.weight_grad is not None:
            turned = grad.t()
            if grad.shape[1] < values.shape[1]:  # a third faster than a product that turns its operand itself
                turned = turned.contiguous()
            put(self.weight_grad, turned @ values)
        if self.bias_grad is not None:
            put(self.bias_grad, grad.sum(0))
        below = grad @ self.weight
        if self.adapters is not None:
            self.adapters.backward(grad, values, below, put)
        return below


class Adapters:
    """Low-rank adapters of some of an `Affine`'s layers: the first factors as one product."""

    def __init__(self, layers: Sequence[Any], flats: Flats) -> None:
        self.parts: list[tuple[slice, slice, Tensor, Tensor]] = []
        column = rank = 0
        for layer in layers:
            if hasattr(layer, "lora_A"):
                second, grad = flats.joined([layer.lora_B["default"].weight])
                assert grad is not None
                self.parts.append((slice(column, column + len(second)), slice(rank, rank + second.shape[1]), second, grad))
                self.scale, rank = float(layer.scaling["default"]), rank + second.shape[1]
            column += layer.out_features
        self.first, self.first_grad = flats.joined([layer.lora_A["default"].weight for layer in layers if hasattr(layer, "lora_A")])

    def inner(self, values: Tensor) -> Tensor:
        """[n, in] -> [n, ranks], scaled."""
        return (values @ self.first.t()).mul_(self.scale)

    def forward(self, values: Tensor, out: Tensor) -> None:
        """Add what the adapters make of `values` to `out`."""
        inner = self.inner(values)
        for columns, ranks, second, _ in self.parts:
            out[:, columns].addmm_(inner[:, ranks], second.t())

    def backward(self, grad: Tensor, values: Tensor, below: Tensor, put: Put) -> None:
        """Put the gradients of both factors; add that of the input to `below`."""
        inner, middle = self.inner(values).t().contiguous(), []
        for columns, ranks, second, second_grad in self.parts:
            put(second_grad, (inner[ranks] @ grad[:, columns]).t())
            middle.append(grad[:, columns] @ second)
        joined = torch.cat(middle, 1).mul_(self.scale)
        assert self.first_grad is not None
        put(self.first_grad, joined.t().contiguous() @ values)
        below.addmm_(joined, self.first)


class Norm:
    """Layer norm in fp32."""

    def __init__(self, layer: nn.LayerNorm, flats: Flats) -> None:
        self.weight, self.bias = layer.weight, layer.bias
        self.weight_grad, self.bias_grad = (flats.joined([parameter])[1] for parameter in (layer.weight, layer.bias))
        self.shape, self.eps = list(layer.normalized_shape), layer.eps

    def forward(self, values: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """[n, H] -> [n, H], and what `backward` needs."""
        out, mean, inverse = torch.native_layer_norm(values, self.shape, self.weight, self.bias, self.eps)
        return out, (values, mean, inverse)

    def backward(self, grad: Tensor, kept: tuple[Tensor, Tensor, Tensor], put: Put) -> Tensor:
        """Put the gradients of weight and bias if they are trained; return that of the input."""
        values, mean, inverse = kept
        trained = self.weight_grad is not None
        below, weight, bias = aten.native_layer_norm_backward(
            grad, values, self.shape, mean, inverse, self.weight, self.bias, [True, trained, trained]
        )
        if self.weight_grad is not None and self.bias_grad is not None:
            put(self.weight_grad, weight)
            put(self.bias_grad, bias)
        return below


class LayerPasses(Protocol):
    """A layer that is written out; `layout` is what the stack prepares once per batch."""

    def forward(self, stream: Tensor, batch: Batch, layout: Any, noise: Noise | None, /) -> tuple[Tensor, tuple[Any, ...]]:
        """[T, H] hidden states -> those after the layer, and what `backward` needs."""

    def backward(self, grad: Tensor, batch: Batch, layout: Any, kept: tuple[Any, ...], put: Put, /) -> Tensor:
        """Gradient of the output, which may be overwritten -> gradient of the hidden states before this layer."""


class Stack:
    """All layers of a body, on the CPU."""

    def __init__(self, layers: Sequence[LayerPasses], layout: Callable[[Batch], Any]) -> None:
        self.layers, self.layout = layers, layout
        self.put = Put()

    def __call__(self, stream: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """[T, H] fp32 embeddings -> last hidden states, [T, H] or what a trimmed layer keeps. `noise` None: no dropout."""
        if torch.is_grad_enabled() and not stream.requires_grad:
            stream = stream.detach().requires_grad_()  # frozen embeddings, but the layers have trained weights
        with torch.autocast("cpu", enabled=False):
            return _Passes.apply(stream, self, batch, noise)

    def clear(self) -> None:
        """Forget the gradients: the next backward pass overwrites them."""
        self.put.adds = False


class _Passes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stream: Tensor, stack: Stack, batch: Batch, noise: Noise | None) -> Tensor:
        layout, tape = stack.layout(batch), []
        for layer in stack.layers:
            stream, kept = layer.forward(stream, batch, layout, noise)
            if ctx.needs_input_grad[0]:
                tape.append(kept)
        ctx.kept = (stack, batch, layout, tape)
        return stream

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        stack, batch, layout, tape = ctx.kept
        grad = grad.clone()
        for layer in reversed(stack.layers):
            grad = layer.backward(grad, batch, layout, tape.pop(), stack.put)
        stack.put.adds = True
        return grad, None, None, None
