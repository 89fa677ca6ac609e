"""Loss of a step and the quantities it records per unit, from the same logits."""

from __future__ import annotations

from typing import NamedTuple

import torch

from pruning.records import Kind
from pruning.training.batches import Batch


class Outcome(NamedTuple):
    """Recorded quantities of one step's units, in the batch's order (see `EpochRecord`). `loss` carries the gradient."""

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
    """Return loss and recorded quantities of a batch. A step minimises the mean loss over units."""
    if kind == "span":
        return span(logits, batch.labels, batch.unit, len(batch.rows))
    if kind == "multiple_choice":
        logits = options(logits, batch.unit, len(batch.rows), batch.most)
    return choice(logits, batch.labels)


def choice(logits: torch.Tensor, labels: torch.Tensor) -> Outcome:
    """One correct class of several: [n, C] logits (-inf for answers that do not exist), [n] correct answers."""
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


def options(scores: torch.Tensor, unit: torch.Tensor, units: int, most: int) -> torch.Tensor:
    """[S] scores of options -> [n, most], -inf where a unit has fewer. `unit` [S] is the unit of each option, ascending."""
    counts = _counts(unit, units)
    place = torch.arange(len(scores), device=scores.device) - (counts.cumsum(0) - counts)[unit]
    return scores.new_full((units, most), float("-inf")).index_put((unit, place), scores)


def span(logits: torch.Tensor, labels: torch.Tensor, unit: torch.Tensor, units: int) -> Outcome:
    """Start and end in every window: [S, L, 2] logits, [S, 2] correct tokens, [S] the unit of each window, ascending.

    A unit's loss is the mean over its windows of the mean of both cross-entropies; a unit is right if start and end are right in
    every window. Probability (of start and end together), margin and error are those of its worst window; `predicted` is the
    start of its first wrong window, or of its first window if all are right.
    """
    windows = len(labels)
    ends = choice(logits.transpose(1, 2).reshape(2 * windows, -1), labels.reshape(-1))
    loss, correct, prob, margin, error, predicted = (column.view(windows, 2) for column in ends)
    counts = _counts(unit, units)
    unit_loss = loss.new_zeros(units).index_add(0, unit, loss.mean(1)) / counts
    with torch.no_grad():
        order = torch.arange(windows, device=unit.device)
        right = correct.all(1)
        shown = _reduce(order + windows * right, unit, units, "amin") % windows
        return Outcome(
            loss=unit_loss,
            correct=_reduce(right.long(), unit, units, "amin").bool(),
            gold_prob=_reduce(prob.prod(1), unit, units, "amin"),
            gold_margin=_reduce(margin.amin(1), unit, units, "amin"),
            error_norm=_reduce(error.square().mean(1).sqrt(), unit, units, "amax"),
            predicted=predicted[shown, 0],
        )


def _counts(unit: torch.Tensor, units: int) -> torch.Tensor:
    """Return [n] sequences of each unit, without the device synchronisation of `bincount`."""
    return torch.zeros(units, dtype=torch.int64, device=unit.device).index_add(0, unit, torch.ones_like(unit))


def _reduce(values: torch.Tensor, unit: torch.Tensor, units: int, how: str) -> torch.Tensor:
    return values.new_zeros(units).scatter_reduce(0, unit, values, how, include_self=False)
