"""Encoder layers of BERT and RoBERTa on the CPU, forward and backward written out (see `layers`), with packed attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pruning.training.batches import Batch, Group
from pruning.training.dropout import Noise, kept_scale
from pruning.training.flat import Flats
from pruning.training.layers import Affine, Norm, Put, Stack

aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Block:
    """One attention group's padded layout, the same in all layers."""

    group: Group
    sequences: slice
    """Its sequences within the batch."""
    tokens: Tensor
    """[count * length] the token at each padded place; where it is padding, any token."""
    bias: Tensor | None
    """[count, 1, 1, length] 0 at real keys and -inf at padding; None without padding."""


def make_blocks(batch: Batch) -> list[Block]:
    """Return the layout of each attention group of a batch."""
    found: list[Block] = []
    for group in batch.groups:
        first = found[-1].sequences.stop if found else 0
        tokens, bias = torch.arange(group.start, group.end), None
        if group.slots is not None and group.keys is not None:
            tokens = torch.full((group.count * group.length,), group.start).index_copy_(0, group.slots, tokens)
            bias = torch.zeros(group.keys.shape).masked_fill_(~group.keys, float("-inf"))
        found.append(Block(group, slice(first, first + group.count), tokens, bias))
    return found


class Attention:
    """Attention of one layer within the sequences of a packed batch."""

    def __init__(self, own: Any) -> None:
        self.heads, self.size, self.scaling, self.p = own.num_attention_heads, own.attention_head_size, own.scaling, own.dropout.p

    def forward(self, rows: Tensor, query: Tensor | None, block: Block, noise: Noise | None) -> tuple[Tensor, tuple[Any, ...]]:
        """[T, 3 H] queries, keys and values -> [tokens of the group, H], and what `backward` needs.

        With `query` [S, H], one per sequence, `rows` are [T, 2 H] keys and values, and the output is [sequences of the group, H].
        """
        group, heads, size = block.group, self.heads, self.size
        laid = rows.index_select(0, block.tokens).view(group.count, group.length, -1, heads, size)
        parts = laid.permute(2, 0, 3, 1, 4).contiguous().view(-1, group.count * heads, group.length, size)
        keys, values = parts[-2], parts[-1]
        queries = (parts[0] if query is None else query[block.sequences].reshape(-1, 1, size)).mul_(self.scaling)
        scores = torch.bmm(queries, keys.transpose(1, 2)).float()
        if block.bias is not None:
            scores.view(group.count, heads, -1, group.length).add_(block.bias)
        probs = scores.softmax(-1)  # in fp32: with bf16 PyTorch takes five times as long
        used, mask = probs.to(rows.dtype, copy=True), None
        if noise is not None and self.p > 0:
            mask = noise.mask(used.shape, self.p)
            used.mul_(mask)
        context = torch.bmm(used, values)
        if mask is not None:
            context.mul_(kept_scale(self.p))
        kept = (queries, keys, values, probs, mask, used)
        if query is not None:
            return context.view(group.count, heads * size), kept
        context = context.view(group.count, heads, group.length, size).transpose(1, 2).reshape(-1, heads * size)
        return context if group.slots is None else context.index_select(0, group.slots), kept

    def backward(self, grad: Tensor, block: Block, kept: tuple[Any, ...], rows: Tensor) -> Tensor | None:
        """Write the group's part of the gradient of `rows`; return that of `query` where there was one."""
        queries, keys, values, probs, mask, used = kept
        group, heads, size = block.group, self.heads, self.size
        trimmed = queries.shape[1] == 1 and rows.shape[1] == 2 * heads * size
        if not trimmed and group.slots is not None:
            grad = grad.new_zeros(group.count * group.length, heads * size).index_copy_(0, group.slots, grad)
        grad = grad.reshape(group.count, -1, heads, size).transpose(1, 2).reshape(group.count * heads, -1, size)
        if mask is not None:
            grad = grad.mul_(kept_scale(self.p))
        below = torch.bmm(grad, values.transpose(1, 2))
        if mask is not None:
            below.mul_(mask)
        below = aten._softmax_backward_data(below.float(), probs, -1, torch.float32).to(rows.dtype)
        laid = rows.new_empty(2 if trimmed else 3, *keys.shape)
        query = torch.bmm(below, keys, **({} if trimmed else {"out": laid[0]})).mul_(self.scaling)
        torch.bmm(below.transpose(1, 2), queries, out=laid[-2])
        torch.bmm(used.transpose(1, 2), grad, out=laid[-1])
        parts = laid.view(-1, group.count, heads, group.length, size).permute(1, 3, 0, 2, 4)
        found = parts.reshape(group.count * group.length, -1)
        place = rows[group.start : group.end]
        if group.slots is None:
            place.copy_(found)
        else:
            torch.index_select(found, 0, group.slots, out=place)
        return query.view(group.count, heads * size) if trimmed else None


class Layer:
    """One encoder layer. If `trimmed` it computes only the classified token of each sequence."""

    def __init__(self, layer: Any, flats: Flats, *, trimmed: bool) -> None:
        own = layer.attention.self
        self.attention, self.p, self.trimmed = Attention(own), layer.output.dropout.p, trimmed
        self.query = Affine([own.query], flats) if trimmed else None
        self.project = Affine([own.key, own.value] if trimmed else [own.query, own.key, own.value], flats)
        self.out = Affine([layer.attention.output.dense], flats)
        self.middle_norm = Norm(layer.attention.output.LayerNorm, flats)
        self.up, self.down = Affine([layer.intermediate.dense], flats), Affine([layer.output.dense], flats)
        self.last_norm = Norm(layer.output.LayerNorm, flats)

    def forward(self, stream: Tensor, batch: Batch, blocks: Sequence[Block], noise: Noise | None) -> tuple[Tensor, tuple[Any, ...]]:
        """[T, H] hidden states -> [T, H], or [S, H] if trimmed, and what `backward` needs."""
        half = stream.to(self.project.dtype)
        rows = self.project.forward(half)
        chosen, residual, query = half, stream, None
        if self.query is not None:
            chosen, residual = half[batch.first], stream[batch.first]
            query = self.query.forward(chosen)
        attended = [self.attention.forward(rows, query, block, noise) for block in blocks]
        contexts = [context for context, _ in attended]
        fillers = 0 if self.trimmed else len(half) - batch.tokens
        context = torch.cat([*contexts, half.new_zeros(fillers, half.shape[1])])
        mixed, first_mask = _add_dropped(residual, self.out.forward(context), self.p, noise)
        middle, middle_kept = self.middle_norm.forward(mixed)
        middle_half = middle.to(half.dtype)
        inner = self.up.forward(middle_half)
        active = functional.gelu(inner)
        mixed, last_mask = _add_dropped(middle, self.down.forward(active), self.p, noise)
        out, last_kept = self.last_norm.forward(mixed)
        kept = [kept for _, kept in attended]
        return out, (half, chosen, kept, context, first_mask, middle_kept, middle_half, inner, active, last_mask, last_kept)

    def backward(self, grad: Tensor, batch: Batch, blocks: Sequence[Block], kept: tuple[Any, ...], put: Put) -> Tensor:
        """Gradient of the output -> gradient of the hidden states before this layer."""
        half, chosen, attended, context, first_mask, middle_kept, middle_half, inner, active, last_mask, last_kept = kept
        grad = self.last_norm.backward(grad, last_kept, put)
        below = self.down.backward(_dropped(grad, last_mask, self.p, half.dtype), active, put)
        below = self.up.backward(aten.gelu_backward(below, inner), middle_half, put)
        grad = self.middle_norm.backward(grad.add_(below), middle_kept, put)
        below = self.out.backward(_dropped(grad, first_mask, self.p, half.dtype), context, put)
        rows = half.new_empty(len(half), self.project.outputs)
        rows[batch.tokens :].zero_()
        queries = []
        for block, one in zip(blocks, attended, strict=True):
            part = block.sequences if self.trimmed else slice(block.group.start, block.group.end)
            queries.append(self.attention.backward(below[part], block, one, rows))
        stream = self.project.backward(rows, half, put)
        if self.query is None:
            return grad.add_(stream)
        grad.add_(self.query.backward(torch.cat(queries), chosen, put))  # type: ignore[arg-type]
        return stream.float().index_add_(0, batch.first, grad)


def can_write_out(model: Any) -> bool:
    """Return True for a body of the layers that are written out here: BERT's, with GELU."""
    config = model.config
    layered = hasattr(getattr(model.base_model, "encoder", None), "layer")
    return layered and config.hidden_act == "gelu" and not config.is_decoder


def make_stack(body: Any, flats: Flats, *, trimmed: bool) -> Stack:
    """Return the layers of a body, written out; if `trimmed` its last hidden states are [S, H], those of the classified tokens."""
    layers = [getattr(layer, "layer", layer) for layer in body.encoder.layer]
    return Stack([Layer(layer, flats, trimmed=trimmed and layer is layers[-1]) for layer in layers], make_blocks)


def _add_dropped(residual: Tensor, values: Tensor, p: float, noise: Noise | None) -> tuple[Tensor, Tensor | None]:
    """Return residual + dropout(values) in fp32, and the mask."""
    if noise is None or p == 0:
        return residual + values, None
    mask = noise.mask(values.shape, p)
    return torch.add(residual, values.mul_(mask), alpha=kept_scale(p)), mask


def _dropped(grad: Tensor, mask: Tensor | None, p: float, dtype: torch.dtype) -> Tensor:
    """Return the gradient of `_add_dropped`'s values."""
    return grad.to(dtype) if mask is None else (grad * kept_scale(p)).to(dtype).mul_(mask)
