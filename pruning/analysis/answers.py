"""Texts of sampled answers: the final answer in each, and how far they agree. Pure."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 200
"""Characters of an answer without a mark that is compared as a whole; a longer one has no final answer that can be read."""

_MARKED = (
    re.compile(r"####\s*(.+)"),
    re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL | re.IGNORECASE),
    re.compile(r"(?:final answer|answer)\s*(?:is|:|=)\s*[*$\s]*(.+?)[*$\s]*(?:\.\s|\.?\s*$|\n)", re.IGNORECASE),
)

_CUT_OFF = "</think>"

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(answer: str) -> str:
    """Return an answer as SQuAD compares it: without case, punctuation, articles and repeated spaces.

    >>> normalise("The  U.S. army's")
    'us armys'
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def final_answer(text: str | None) -> str:
    r"""Return the final answer that a text gives, in lower case: boxed, after ####, in <answer>, after "answer is", or a short text itself.

    Empty where none can be read.

    >>> final_answer("So x = 3, that is \\boxed{\\frac{1}{2}}."), final_answer("... #### 72"), final_answer("The answer is Paris.")
    ('\\frac{1}{2}', '72', 'paris')
    >>> final_answer("Positive"), final_answer("word " * 100), final_answer(None)
    ('positive', '', '')
    """
    if not text:
        return ""
    said = text.rpartition(_CUT_OFF)[2]
    boxed = _boxed(said)
    if boxed is not None:
        return _plain(boxed)
    for mark in _MARKED:
        if found := mark.findall(said):
            return _plain(found[-1])
    return _plain(said) if len(said.strip()) <= LONGEST else ""


def _boxed(text: str) -> str | None:
    r"""Return what the last \boxed{} holds, braces inside it included; None without one that is closed."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    begin, depth = start + len("\\boxed{"), 1
    for place in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[begin:place]
    return None


def _plain(text: str) -> str:
    return " ".join(text.strip().strip("$.").split()).lower()


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the answers to one prompt agree."""

    consensus: float
    """Share of the most frequent final answer among all answers, 0..1."""
    most: str
    """That answer; empty where none can be read."""
    disagrees: float
    """The same share where that answer was judged wrong, which hints at a wrong key; else 0."""


def agreement(finals: Sequence[str], right: Sequence[bool | None]) -> Agreement:
    """Return how far final answers agree with each other and with the key; ties go to an answer that was judged right.

    >>> agreement(["4", "4", "5", ""], [False, False, True, False])
    Agreement(consensus=0.5, most='4', disagrees=0.5)
    """
    counts = Counter(final for final in finals if final)
    if not counts:
        return Agreement(0.0, "", 0.0)
    judged = {final: [ok for one, ok in zip(finals, right, strict=True) if one == final and ok is not None] for final in counts}
    most = max(counts, key=lambda final: (counts[final], sum(judged[final]), final))
    share, verdicts = counts[most] / len(finals), judged[most]
    wrong = bool(verdicts) and 2 * sum(verdicts) < len(verdicts)
    return Agreement(share, most, share if wrong and counts[most] > 1 else 0.0)
