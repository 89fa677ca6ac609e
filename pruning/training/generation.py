"""Generation: only the tokens of answers are projected onto the vocabulary, in parts, and reduced to a few numbers each at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from pruning.training.batches import Answers
from pruning.training.objective import Outcome

LOGITS = 2**22
"""Most logits that exist at once: 16 MB in float32."""

Head = Callable[[torch.Tensor], torch.Tensor]


class Column(NamedTuple):
    """Columns of a table of answer tokens, [A, 4]."""

    loss: int = 0
    """Cross-entropy in nats; carries the gradient."""
    margin: int = 1
    """Logit of the right token minus the best other."""
    squared_error: int = 2
    """Squared norm of (probabilities - one-hot), 0..2."""
    right: int = 3
    """1 where the right token has the highest logit."""


COLUMN = Column()


def answer_tokens(
    hidden: torch.Tensor, head: Head, ids: torch.Tensor, answers: Answers, most: int = LOGITS, frozen: torch.Tensor | None = None
) -> torch.Tensor:
    """Return [A, 4] the `Column`s of each answer token, from [T, H] hidden states and [T] token ids.

    Logits are computed for the tokens before an answer's only, in parts of at most `most` logits; with several parts, they are
    computed again in the backward pass, so that no more than one part exists at a time. If the head is a product with weights that are
    not trained, `frozen`, gradients are computed with the losses instead.
    """
    states, gold = hidden[answers.places], ids[answers.places + 1]
    size = max(1, most // _width(head, states))
    if len(states) <= size:
        return _reduced(states, gold, head)
    again = torch.is_grad_enabled()
    if again and frozen is not None:
        return _WithGradients.apply(states, gold, frozen, size)
    parts = []
    for start in range(0, len(states), size):
        part = states[start : start + size], gold[start : start + size], head
        parts.append(checkpoint(_reduced, *part, use_reentrant=False) if again else _reduced(*part))
    return torch.cat(parts)


def _width(head: Head, states: torch.Tensor) -> int:
    if isinstance(head, nn.Linear):
        return head.out_features
    with torch.no_grad():
        return int(head(states[:1]).shape[-1])


class _WithGradients(torch.autograd.Function):
    """Columns of answer tokens, [A, H] states in; keeps [A, H] the gradients of their losses."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, gold: torch.Tensor, weight: torch.Tensor, size: int) -> torch.Tensor:
        columns, grads = [], []
        for part, right in zip(states.split(size), gold.split(size), strict=True):
            logits = nn.functional.linear(part, weight).float()
            table, probs = _columns(logits, right)
            columns.append(table)
            probs[torch.arange(len(right), device=right.device), right] -= 1
            grads.append(nn.functional.linear(probs, weight.t()))
        ctx.save_for_backward(torch.cat(grads))
        return torch.cat(columns)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        return grad[:, COLUMN.loss, None] * ctx.saved_tensors[0], None, None, None


def _reduced(states: torch.Tensor, gold: torch.Tensor, head: Head) -> torch.Tensor:
    """Return the columns of some tokens; reduced in float32, because bfloat16 has many ties."""
    return _columns(head(states).float(), gold)[0]


def _columns(logits: torch.Tensor, gold: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[A, V] logits -> [A, 4] columns and [A, V] probabilities. Of equal logits the first is the highest, as for greedy decoding."""
    whole = logits.logsumexp(-1)
    own = logits.gather(1, gold[:, None])[:, 0]
    loss = whole - own
    with torch.no_grad():
        best, which = logits.scatter(1, gold[:, None], float("-inf")).max(-1)
        right = (own > best) | ((own == best) & (gold < which))
        probs = (logits - whole[:, None]).exp_()
        error = (probs.square().sum(-1) - 2 * (-loss).exp() + 1).clamp_min(0)
    return torch.stack([loss, own.detach() - best, error, right.to(loss.dtype)], dim=1), probs


def outcome(tokens: torch.Tensor, answers: Answers) -> tuple[Outcome, torch.Tensor]:
    """Return the outcome of each unit, and [n] its wrong tokens, from the [A, 4] columns of its answer tokens."""
    lengths = answers.lengths
    loss = tokens.new_zeros(len(lengths)).index_add(0, answers.unit, tokens[:, COLUMN.loss]) / lengths
    with torch.no_grad():
        right = tokens[:, COLUMN.right] > 0
        wrong = torch.zeros_like(lengths).index_add(0, answers.unit, (~right).long())
        first = torch.where(right, lengths[answers.unit], answers.order)
        squared = tokens.new_zeros(len(lengths)).index_add(0, answers.unit, tokens[:, COLUMN.squared_error].detach())
        margin = tokens[:, COLUMN.margin].detach()
        found = Outcome(
            loss=loss,
            correct=wrong == 0,
            gold_prob=(-loss).exp(),
            gold_margin=margin.new_zeros(len(lengths)).scatter_reduce(0, answers.unit, margin, "amin", include_self=False),
            error_norm=(squared / lengths).sqrt(),
            predicted=torch.zeros_like(lengths).scatter_reduce(0, answers.unit, first, "amin", include_self=False),
        )
    return found, wrong
