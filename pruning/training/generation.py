"""Generation: only the tokens of answers are projected onto the vocabulary, in parts, and reduced to a few numbers each at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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


def answer_tokens(hidden: torch.Tensor, head: Head, ids: torch.Tensor, answers: Answers, most: int = LOGITS) -> torch.Tensor:
    """Return [A, 4] the `Column`s of each answer token, from [T, H] hidden states and [T] token ids.

    Logits are computed for the tokens before an answer's only, in parts of at most `most` logits; with several parts, they are
    computed again in the backward pass, so that no more than one part exists at a time.
    """
    states, gold = hidden[answers.places], ids[answers.places + 1]
    size = max(1, most // _width(head, states))
    if len(states) <= size:
        return _reduced(states, gold, head)
    again = torch.is_grad_enabled()
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


def _reduced(states: torch.Tensor, gold: torch.Tensor, head: Head) -> torch.Tensor:
    """Return the columns of some tokens; reduced in float32, because bfloat16 has many ties."""
    logits = head(states).float()
    whole = logits.logsumexp(-1)
    own = logits.gather(1, gold[:, None])[:, 0]
    loss = whole - own
    with torch.no_grad():
        best, which = logits.max(-1)
        second = logits.topk(2, dim=-1).values[:, 1]
        right = which == gold
        margin = own - torch.where(right, second, best)
        squares = ((2 * logits).logsumexp(-1) - 2 * whole).exp()
        error = (squares - 2 * (-loss).exp() + 1).clamp_min(0)
    return torch.stack([loss, margin, error, right.to(loss.dtype)], dim=1)


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
