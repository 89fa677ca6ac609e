"""Decoder layers of Llama, Mistral and Qwen2 on the CPU, forward and backward written out (see `layers`), with packed attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pruning.training.batches import Batch
from pruning.training.dropout import Noise
from pruning.training.encoder import Block, make_blocks
from pruning.training.flat import Flats
from pruning.training.layers import Affine, Put, Stack

aten = torch.ops.aten

LONG = 512
"""Tokens from which on attention is computed by PyTorch's kernel that does not keep its probabilities; up to there, batched products
take a fifth of its time."""

Layout = tuple[Sequence[tuple[Block, Tensor]], Tensor, Tensor]
"""Attention groups, each with [length, length] -inf at later tokens and 0 elsewhere; and [T, 1, D / 2] the cosines and sines of the tokens'
positions."""


class RootNorm:
    """Root-mean-square norm in fp32."""

    def __init__(self, layer: Any, flats: Flats) -> None:
        self.weight, self.eps = layer.weight, layer.variance_epsilon
        self.weight_grad = flats.joined([layer.weight])[1]

    def forward(self, values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """[T, H] -> [T, H] in `dtype`, and [T, 1] the inverse roots."""
        inverse = values.square().mean(-1, keepdim=True).add_(self.eps).rsqrt_()
        return (values * inverse).mul_(self.weight).to(dtype), inverse

    def backward(self, grad: Tensor, values: Tensor, inverse: Tensor, put: Put, into: Tensor) -> None:
        """Put the gradient of the weight if it is trained; add that of the input to `into`."""
        if self.weight_grad is not None:
            put(self.weight_grad, (values * inverse).mul_(grad).sum(0))
        weighted = grad * self.weight
        slope = (weighted * values).mean(-1, keepdim=True).mul_(inverse.pow(3))
        into.addcmul_(weighted, inverse).addcmul_(values, slope, value=-1)


def rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> None:
    """Rotate [T, heads, D] queries or keys by their positions, in place; with -sine, back."""
    low, high = heads.chunk(2, -1)
    turned = torch.addcmul(low * cosine, high, sine, value=-1)
    high.copy_(torch.addcmul(high * cosine, low, sine))
    low.copy_(turned)


class Attention:
    """Causal attention of one layer within the sequences of a packed batch; several queries may share keys and values.

    Each sequence's padding follows it, so no token sees it.
    """

    def __init__(self, own: Any) -> None:
        self.size, self.scaling = own.head_dim, own.scaling
        self.heads = own.config.num_attention_heads
        self.pairs = own.config.num_key_value_heads

    def parts(self, laid: Tensor) -> tuple[Tensor, ...]:
        """[count, length, heads + 2 pairs, D] -> views of queries, keys and values, [count, pairs, queries that share, length, D]."""
        return tuple(
            part.unflatten(2, (self.pairs, -1)).permute(0, 2, 3, 1, 4) for part in laid.split([self.heads, self.pairs, self.pairs], 2)
        )

    def forward(self, rows: Tensor, block: Block, hidden: Tensor) -> tuple[Tensor, tuple[Any, ...]]:
        """[T, (heads + 2 pairs) D] -> [tokens of the group, heads D], and what `backward` needs."""
        group = block.group
        own = rows[group.start : group.end] if group.slots is None else rows.index_select(0, block.tokens)
        parts = self.parts(own.view(group.count, group.length, -1, self.size))
        kept: tuple[Any, ...]
        if group.length > LONG:
            queries, keys, values = (part.flatten(1, 2) for part in parts)
            out, sums = aten._scaled_dot_product_flash_attention_for_cpu(queries, keys, values, 0.0, True, scale=self.scaling)
            kept = (queries, keys, values, out, sums)
        else:
            queries, keys, values = (part.reshape(group.count * self.pairs, -1, self.size) for part in parts)
            queries = queries * self.scaling
            scores = torch.bmm(queries, keys.transpose(1, 2)).float()
            scores.unflatten(1, (-1, group.length)).add_(hidden)
            probs = scores.softmax(-1).to(rows.dtype)
            out = torch.bmm(probs, values)
            kept = (queries, keys, values, probs)
        context = out.view(group.count, self.heads, group.length, self.size).transpose(1, 2).reshape(-1, self.heads * self.size)
        return context if group.slots is None else context.index_select(0, group.slots), kept

    def backward(self, grad: Tensor, block: Block, kept: tuple[Any, ...], rows: Tensor) -> None:
        """Write the group's part of the gradient of `rows`."""
        group = block.group
        if group.slots is not None:
            grad = grad.new_zeros(group.count * group.length, grad.shape[1]).index_copy_(0, group.slots, grad)
        grad = grad.view(group.count, group.length, -1, self.size).transpose(1, 2)
        if group.length > LONG:
            found = aten._scaled_dot_product_flash_attention_for_cpu_backward(grad, *kept, 0.0, True, scale=self.scaling)
        else:
            queries, keys, values, probs = kept
            grad = grad.reshape(group.count * self.pairs, -1, self.size)
            below = torch.bmm(grad, values.transpose(1, 2)).float()
            below = aten._softmax_backward_data(below, probs.float(), -1, torch.float32).to(rows.dtype)
            found = (
                torch.bmm(below, keys).mul_(self.scaling),
                torch.bmm(below.transpose(1, 2), queries),
                torch.bmm(probs.transpose(1, 2), grad),
            )
        laid = rows.new_empty(group.count, group.length, self.heads + 2 * self.pairs, self.size)
        for place, one in zip(self.parts(laid), found, strict=True):
            place.copy_(one.reshape(place.shape))
        below = laid.view(group.count * group.length, -1)
        rows[group.start : group.end] = below if group.slots is None else below.index_select(0, group.slots)


class Layer:
    """One decoder layer."""

    def __init__(self, layer: Any, flats: Flats) -> None:
        own, mlp = layer.self_attn, layer.mlp
        self.attention = Attention(own)
        self.project, self.out = Affine([own.q_proj, own.k_proj, own.v_proj], flats), Affine([own.o_proj], flats)
        self.up, self.down = Affine([mlp.gate_proj, mlp.up_proj], flats), Affine([mlp.down_proj], flats)
        self.first_norm, self.second_norm = RootNorm(layer.input_layernorm, flats), RootNorm(layer.post_attention_layernorm, flats)

    def turned(self, rows: Tensor) -> Tensor:
        """[T, (heads + 2 pairs) D] -> [T, heads + pairs, D] the view of what `rotate` turns."""
        return rows.view(len(rows), -1, self.attention.size)[:, : -self.attention.pairs]

    def forward(self, stream: Tensor, batch: Batch, layout: Layout, noise: Noise | None) -> tuple[Tensor, tuple[Any, ...]]:
        """[T, H] hidden states -> [T, H], and what `backward` needs."""
        blocks, cosine, sine = layout
        dtype = self.project.dtype
        normed, first = self.first_norm.forward(stream, dtype)
        rows = self.project.forward(normed)
        rotate(self.turned(rows), cosine, sine)
        attended = [self.attention.forward(rows, *block) for block in blocks]
        fillers = normed.new_zeros(len(normed) - batch.tokens, attended[0][0].shape[1])
        context = torch.cat([*(context for context, _ in attended), fillers])
        middle = stream + self.out.forward(context)
        middle_normed, second = self.second_norm.forward(middle, dtype)
        inner = self.up.forward(middle_normed)
        gate, value = inner.chunk(2, 1)
        out = middle + self.down.forward(functional.silu(gate).mul_(value))
        return out, (stream, normed, first, [kept for _, kept in attended], context, middle, middle_normed, second, inner)

    def backward(self, grad: Tensor, batch: Batch, layout: Layout, kept: tuple[Any, ...], put: Put) -> Tensor:
        """Gradient of the output, which is overwritten -> gradient of the hidden states before this layer."""
        stream, normed, first, attended, context, middle, middle_normed, second, inner = kept
        blocks, cosine, sine = layout
        gate, value = inner.chunk(2, 1)
        active = functional.silu(gate)
        below = self.down.backward(grad.to(inner.dtype), active * value, put)
        inner_grad = torch.cat([aten.silu_backward(below * value, gate), active.mul_(below)], 1)
        self.second_norm.backward(self.up.backward(inner_grad, middle_normed, put), middle, second, put, into=grad)
        below = self.out.backward(grad.to(inner.dtype), context, put)
        rows = inner.new_empty(len(stream), self.project.outputs)
        rows[batch.tokens :].zero_()
        for (block, _), one in zip(blocks, attended, strict=True):
            self.attention.backward(below[block.group.start : block.group.end], block, one, rows)
        rotate(self.turned(rows), cosine, -sine)
        self.first_norm.backward(self.project.backward(rows, normed, put), stream, first, put, into=grad)
        return grad


def can_write_out(model: Any) -> bool:
    """Return True for a body of the layers that are written out here: with SiLU, without dropout, each token seeing all before it."""
    config = model.config
    plain = config.model_type in ("llama", "mistral", "qwen2") and config.hidden_act == "silu"
    return plain and not config.attention_dropout and getattr(config, "sliding_window", None) is None


def make_stack(body: Any, flats: Flats) -> Stack:
    """Return the layers of a body, written out."""

    def layout(batch: Batch) -> Layout:
        cosine, sine = (part[0, :, None, : part.shape[-1] // 2] for part in body.rotary_emb(body.norm.weight, batch.positions[None]))
        blocks = make_blocks(batch)
        hidden = [torch.full((block.group.length,) * 2, float("-inf")).triu_(1) for block in blocks]
        return list(zip(blocks, hidden, strict=True)), cosine, sine

    return Stack([Layer(layer, flats) for layer in body.layers], layout)
