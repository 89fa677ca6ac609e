"""Scores of generated answers: tokens, loss before and after training, with the prompt and without, length. Pure.

The losses before training and the length are numbers of each example (`Dynamics.extras`); scores that need them are missing where they
are. IFD exists in two published variants whose order differs; both have their name.
"""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.registry import score
from pruning.records import Dynamics

Floats = NDArray[np.float64]

LARGEST = 80.0
"""Loss in nats beyond which a perplexity is not shown any larger: e to the power of it is 5e34."""


@score(
    "tokens",
    "Token accuracy",
    "Share of the answer's tokens that were right.",
    high=1,
    higher="easier",
    keep="low",
    source="1 - wrong / length, mean over epochs and runs",
    needs="answer_length",
)
def token_accuracy(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] mean over epochs and runs of the share of right tokens; 0..1, higher = easier."""
    assert dynamics.wrong is not None
    return np.asarray(1 - dynamics.wrong[:, burn_in:].mean(axis=(0, 1), dtype=np.float64) / dynamics.extras["answer_length"])


@score(
    "worst-token",
    "Worst token",
    "Margin of the answer's worst token over the next best one.",
    high=inf,
    higher="easier",
    keep="low",
    source="AUM (Pleiss et al. 2020) of the worst token",
    low=-inf,
    needs="answer_length",
)
def worst_token(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] mean over epochs and runs of the smallest margin of an answer's tokens, in logits; any number, higher = easier."""
    return dynamics.gold_margin[:, burn_in:].mean(axis=(0, 1), dtype=np.float64)


@score(
    "perplexity",
    "Perplexity",
    "Perplexity of the answer, mean over epochs and runs.",
    high=inf,
    higher="harder",
    keep="high",
    source="exp of the mean loss",
    low=1.0,
    needs="answer_length",
)
def perplexity(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] exp(mean loss over epochs and runs); 1.., higher = harder."""
    return np.exp(np.minimum(dynamics.loss[:, burn_in:].mean(axis=(0, 1), dtype=np.float64), LARGEST))


@score(
    "middle-loss",
    "Middle loss",
    "Nearness of its loss to the median of all losses.",
    high=0,
    higher="nearer to the middle",
    keep="high",
    source="middle perplexity (Yin and Rush 2024), over the recording",
    low=-0.5,
)
def middle_loss(loss: NDArray[np.float32]) -> Floats:
    """[N] -|rank of the mean loss / N - 0.5|; -0.5..0, higher = nearer to the middle. Equal losses share their mean rank.

    >>> middle_loss(np.array([[[0.1, 0.2, 0.9]]])).round(2)
    array([-0.33,  0.  , -0.33])
    """
    mean = loss.mean(axis=(0, 1), dtype=np.float64)
    _, which, counts = np.unique(mean, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return 0.0 - np.abs(middle[which] / len(mean) - 0.5)


@score(
    "learnability",
    "Learnability",
    "Fall of its loss from before training to the last epoch.",
    high=inf,
    higher="learned more",
    keep="high",
    source="loss before training minus loss in the last epoch, after Zhao et al. 2023 (LoBaSS; not normalised)",
    low=-inf,
    needs="loss0",
)
def learnability(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] loss of the unadapted model minus mean loss of the last epoch, in nats; any number, higher = learned more.

    TailSFT keeps the low end of it, LoBaSS the high one.
    """
    return np.asarray(dynamics.extras["loss0"] - dynamics.loss[:, -1].mean(axis=0, dtype=np.float64))


@score(
    "ifd",
    "IFD",
    "Loss before training with the prompt, divided by the loss without it; above 1 the prompt does not help.",
    high=inf,
    higher="prompt helps less",
    keep="high",
    source="Li et al. 2023 (Cherry LLM), ratio of losses",
    needs="loss0_alone",
)
def ifd(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] instruction-following difficulty, s(answer|prompt) / s(answer); 0.., higher = the prompt helps less. No loss at all is 1."""
    alone = dynamics.extras["loss0_alone"]
    return np.divide(dynamics.extras["loss0"], alone, out=np.ones(len(alone)), where=alone > 0)


@score(
    "ifd-ppl",
    "IFD by perplexity",
    "Perplexity before training with the prompt, divided by that without it.",
    high=inf,
    higher="prompt helps less",
    keep="high",
    source="Li et al. 2024 (Superfiltering), ratio of perplexities",
    needs="loss0_alone",
)
def ifd_by_perplexity(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] exp(s(answer|prompt) - s(answer)); 0.., higher = the prompt helps less. Its order differs from `ifd`."""
    return np.exp(np.minimum(dynamics.extras["loss0"] - dynamics.extras["loss0_alone"], LARGEST))


@score(
    "answer-length",
    "Answer length",
    "Tokens of the answer; scores of losses correlate with it.",
    high=inf,
    higher="longer",
    keep="high",
    source="token count",
    low=1.0,
)
def answer_length(answer_length: NDArray[np.float64]) -> Floats:
    """[N] tokens that are learned; 1.., higher = longer."""
    return np.asarray(answer_length, dtype=np.float64)
