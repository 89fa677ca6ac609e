"""Loss, wrong tokens, tokens and first wrong token of each answer in a batch, from a causal language model's outputs. No torch here."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pruning.errors import TrainingError
from pruning.interop.logits import as_array

IGNORED = -100
"""Label of a token that is not learned."""


class AnswerOutputs(NamedTuple):
    """Numbers of each answer in a batch, [b]."""

    loss: NDArray[np.float64]
    """Mean cross-entropy of the answer's tokens, in nats."""
    wrong: NDArray[np.int64]
    """Tokens that were not the most likely ones."""
    length: NDArray[np.int64]
    """Tokens learned."""
    first_wrong: NDArray[np.int64]
    """Place of the first wrong token within the answer, from 0; `length` where none is wrong."""


def answer_outputs(outputs: Any, labels: Any, batch: int) -> AnswerOutputs:
    """Return the numbers of each answer.

    Parameters
    ----------
    outputs
        Of a model: `logits` [b, L, V], or TRL's fused head: `log_probs`, `is_top1` and `label_mask`, each [b, L - 1].
    labels
        [b, L] token ids, -100 where nothing is learned; unused with TRL's head.
    batch
        Rows of the batch, b.

    Raises
    ------
    TrainingError
        For outputs that are neither, rows joined in one sequence, and a row without a learned token.
    """
    fused = [_field(outputs, name) for name in ("log_probs", "is_top1", "label_mask")]
    if all(field is not None for field in fused):
        log_probs, right, mask = fused
        learned = as_array(mask).astype(np.bool_)
        _check_rows(learned.shape, batch)
        return _by_row(learned, as_array(log_probs)[learned], as_array(right)[learned] > 0)
    logits = _field(outputs, "logits")
    if logits is None or labels is None or getattr(logits, "ndim", 0) != 3:
        raise TrainingError(
            "The model returned no logits [batch, tokens, vocabulary], or the batch has no labels, so its answers cannot be recorded; "
            "train a causal language model on batches with labels."
        )
    _check_rows(tuple(logits.shape), batch)
    shifted = labels[:, 1:]
    learned = shifted != IGNORED
    states, gold = logits[:, :-1][learned.to(logits.device)].detach().float(), shifted[learned].to(logits.device)
    log_probs = states.gather(1, gold[:, None])[:, 0] - states.logsumexp(-1)
    return _by_row(as_array(learned), as_array(log_probs), as_array(states.argmax(-1) == gold))


def _by_row(learned: NDArray[np.bool_], log_probs: NDArray[Any], right: NDArray[np.bool_]) -> AnswerOutputs:
    """Return the numbers of each row from [b, L - 1] where a token is learned, and [A] of the learned tokens in reading order."""
    length = learned.sum(axis=1)
    if (length == 0).any():
        empty = int(np.flatnonzero(length == 0)[0])
        raise TrainingError(f"Row {empty} of a batch has no token to learn; drop such rows before training, or raise the length limit.")
    row = np.repeat(np.arange(len(length)), length)
    order = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
    first = length.astype(np.int64)
    np.minimum.at(first, row[~right], order[~right])
    loss = np.bincount(row, weights=-log_probs.astype(np.float64), minlength=len(length)) / length
    wrong = np.bincount(row[~right], minlength=len(length))
    return AnswerOutputs(loss=loss, wrong=wrong, length=length.astype(np.int64), first_wrong=first)


def _field(outputs: Any, name: str) -> Any:
    return outputs.get(name) if hasattr(outputs, "get") else getattr(outputs, name, None)


def _check_rows(shape: tuple[int, ...], batch: int) -> None:
    if shape[0] != batch:
        raise TrainingError(
            f"{batch} rows came back as {shape[0]} sequences: packing or padding_free joins conversations, and then their answers cannot "
            "be separated; turn it off (packing=False, padding_free=False)."
        )
