"""Loss and rightness of a model's raw outputs, per unit, in numpy: what `pruning.training.objective` computes in training. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from pruning.records import Encoded

LOG_TEMPERATURES = (-3.0, 3.0)
"""Where the best temperature is looked for, as its logarithm."""


def outcomes(outputs: NDArray[np.float32], data: Encoded) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return each unit's loss in nats and whether it was answered right, both [N].

    `outputs` are those of `RunResult`: [N, classes], [S] one per option, [S, L, 2] start and end (-inf where padded), or [N, 3] of
    generation. A unit with several windows has the mean of their losses, and is right when every window is; a generated answer is right
    when every token is.
    """
    logits = outputs.astype(np.float64)
    if data.kind == "generation":
        return logits[:, 0], logits[:, 1] == 0
    starts = data.unit_offsets[:-1]
    if data.kind == "classification":
        return _choice(logits, data.labels)
    if data.kind == "multiple_choice":
        log_sum = np.logaddexp.reduceat(logits, starts)
        right = logits[starts + data.labels]
        best = np.maximum.reduceat(logits, starts)
        first_best = np.array([int(part.argmax()) for part in np.split(logits, starts[1:])])
        return log_sum - right, (right == best) & (first_best == data.labels)
    each = [_choice(logits[:, :, end], data.labels[:, end]) for end in (0, 1)]
    loss, correct = (each[0][0] + each[1][0]) / 2, each[0][1] & each[1][1]
    return np.add.reduceat(loss, starts) / np.diff(data.unit_offsets), np.logical_and.reduceat(correct, starts)


def scaled_loss(outputs: NDArray[np.float32], data: Encoded) -> NDArray[np.float64]:
    """Return each unit's loss [N] in nats with `outputs` divided by the one temperature that makes the mean loss lowest.

    It says what a model can tell apart, without how sure it is: a model that trained long is right as often as before, but too sure, and
    its plain loss rises (Guo et al. 2017, On Calibration of Modern Neural Networks). Losses of generated answers are not changed.
    """
    if data.kind == "generation":
        return outcomes(outputs, data)[0]

    def loss(log_temperature: float) -> NDArray[np.float64]:
        return outcomes(outputs / np.float32(np.exp(log_temperature)), data)[0]

    found = minimize_scalar(lambda value: float(loss(value).mean()), bounds=LOG_TEMPERATURES, method="bounded")
    return loss(float(found.x))


def guesses(data: Encoded) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the outcome of answering without reading: the frequencies' loss and the most frequent answer's rightness, both [N].

    The frequencies are those of `data` itself. Answers to questions about a text have none: their loss is nan, and the answer is
    "unanswerable" (start and end on the first token of every window). For generation, the frequencies are those of the answers' tokens,
    and no answer is right.
    """
    if data.answer is not None:
        return _frequencies(data, data.answer), np.zeros(data.units, dtype=np.bool_)
    if data.kind == "span":
        unanswerable = np.logical_and.reduceat((data.labels == 0).all(axis=1), data.unit_offsets[:-1])
        return np.full(data.units, np.nan), unanswerable
    values, which, counts = np.unique(data.labels, return_inverse=True, return_counts=True)
    return -np.log(counts[which] / data.units), data.labels == values[counts.argmax()]


def _frequencies(data: Encoded, answer: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[N] mean loss of each answer's tokens under the frequencies of all answers' tokens."""
    _, which, counts = np.unique(data.tokens[answer], return_inverse=True, return_counts=True)
    loss = np.zeros(len(data.tokens))
    loss[answer] = -np.log(counts[which] / answer.sum())
    return np.asarray(np.add.reduceat(loss, data.offsets[:-1]) / data.answer_lengths)


def _choice(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    gold = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return np.logaddexp.reduce(logits, axis=1) - gold, logits.argmax(axis=1) == labels
