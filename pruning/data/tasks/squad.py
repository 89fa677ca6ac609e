"""The official SQuAD 2.0 rules: how an answer is read out of a model, and when it counts as right.

Worked from their definition (Rajpurkar et al. 2016, 2018, and the evaluation script's description): answers are compared without
case, punctuation, the articles a, an, the, and spare white space; a question without an answer is right only when none is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.answers import normalise

BEST = 20
"""Start and end tokens looked at in each window, the highest first."""

LONGEST_ANSWER = 30
"""Tokens of the longest answer considered."""


def exact_match(predicted: str, gold: Sequence[str]) -> float:
    """1 when the prediction equals one of the gold answers, else 0. No gold answer means that none may be given.

    >>> exact_match("the cat", ["a Cat!", "dog"]), exact_match("cat", []), exact_match("", [])
    (1.0, 0.0, 1.0)
    """
    return float(normalise(predicted) in {normalise(answer) for answer in _gold(gold)})


def f1(predicted: str, gold: Sequence[str]) -> float:
    """Overlap of words with the best of the gold answers, 0..1; where either is empty, 1 when both are.

    >>> f1("the black cat", ["cat", "a black dog"]), f1("cat", []), f1("the", [])
    (0.6666666666666666, 0.0, 1.0)
    """
    return max(_overlap(normalise(predicted).split(), normalise(answer).split()) for answer in _gold(gold))


def _gold(answers: Sequence[str]) -> list[str]:
    """Gold answers that leave something to compare; one empty answer when there is none."""
    return [answer for answer in answers if normalise(answer)] or [""]


def _overlap(predicted: list[str], gold: list[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    common = sum((Counter(predicted) & Counter(gold)).values())
    return 2 * common / (len(predicted) + len(gold))


def best_span(
    windows: Sequence[NDArray[np.float32]], characters: Sequence[NDArray[np.int32]], threshold: float = 0.0
) -> tuple[int, int] | None:
    """The answer's character range in the context, or None for no answer.

    `windows` holds [L, 2] start and end logits of each window of a question, `characters` [L, 2] each token's range in the
    context, (-1, -1) outside it. The answer is the span of at most LONGEST_ANSWER tokens with the highest sum of logits over
    all windows; there is none when the first token's sum, in the window where it is lowest, exceeds that by more than `threshold`.
    """
    no_answer = min(float(logits[0].sum()) for logits in windows)
    best, span = -np.inf, None
    for logits, ranges in zip(windows, characters, strict=True):
        inside = np.flatnonzero(ranges[:, 0] >= 0)
        starts, ends = (inside[np.argsort(-logits[inside, side], kind="stable")[:BEST]] for side in (0, 1))
        length = ends[None, :] - starts[:, None] + 1
        sums = np.where((length >= 1) & (length <= LONGEST_ANSWER), logits[starts, 0][:, None] + logits[ends, 1][None, :], -np.inf)
        if sums.size and sums.max() > best:
            best = float(sums.max())
            first, last = np.unravel_index(int(sums.argmax()), sums.shape)
            span = int(ranges[starts[first], 0]), int(ranges[ends[last], 1])
    return None if no_answer - best > threshold else span
