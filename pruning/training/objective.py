"""What a step minimises and what it records, per unit, from the same logits."""

from __future__ import annotations

from typing import NamedTuple

import torch

from pruning.records import Kind
from pruning.training.batches import Batch


class Outcome(NamedTuple):
    """One step's units, in the batch's order: what `EpochRecord` holds of them. `loss` carries the gradient."""

    loss: torch.Tensor
    """[n] cross-entropy in nats."""
    correct: torch.Tensor
    """[n] bool."""
    gold_prob: torch.Tensor
    """[n] 0..1."""
    gold_margin: torch.Tensor
    """[n] logits; positive when right."""
    error_norm: torch.Tensor
    """[n] 0..sqrt(2)."""
    predicted: torch.Tensor
    """[n] int64."""


def outcome(kind: Kind, logits: torch.Tensor, batch: Batch) -> Outcome:
    """Loss and recorded quantities of a batch. Its mean loss over units is what a step minimises."""
    if kind == "classification":
        return choice(logits, batch.labels)
    return choice(options(logits, batch), batch.labels)


def choice(logits: torch.Tensor, labels: torch.Tensor) -> Outcome:
    """One of several: [n, C] logits (-inf where there is no such answer), [n] right answers."""
    gold = labels[:, None]
    log_probs = logits.log_softmax(-1)
    loss = -log_probs.gather(1, gold)[:, 0]
    with torch.no_grad():
        gold_logit = logits.gather(1, gold)[:, 0]
        others = logits.scatter(1, gold, float("-inf"))
        predicted = logits.argmax(-1)
        probs = log_probs.exp()
        error = probs.scatter_add(1, gold, -torch.ones_like(loss)[:, None]).norm(dim=-1)
        return Outcome(loss, predicted == labels, probs.gather(1, gold)[:, 0], gold_logit - others.amax(-1), error, predicted)


def options(scores: torch.Tensor, batch: Batch) -> torch.Tensor:
    """[S] scores of options -> [n, most options], -inf where a unit has fewer."""
    units = len(batch.rows)
    counts = torch.bincount(batch.unit, minlength=units)
    place = torch.arange(len(scores), device=scores.device) - (counts.cumsum(0) - counts)[batch.unit]
    table = scores.new_full((units, int(counts.max())), float("-inf"))
    return table.index_put((batch.unit, place), scores)
