"""Findings about prompts and answers: what often is wrong in fine-tuning data. Pure functions over texts; each returns a mask [N]."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

REFUSAL = re.compile(
    r"\s*(?:as an ai\b|as a (?:large )?language model\b|"
    r"(?:i(?:'|\u2019)m |i am )?sorry, (?:but )?i (?:can|am (?:unable|not able)|do not|don)|"
    r"i can(?:'|\u2019)t (?:assist|help|provide|fulfill)|i cannot (?:assist|help|provide|fulfill|answer)|"
    r"i(?:'|\u2019)m (?:unable|not able) to\b)",
    re.IGNORECASE,
)
"""Beginnings of answers that refuse."""

SHORTEST = 20
"""Characters of a prompt from which an answer that contains all of it repeats it; shorter ones occur by chance."""


def refusing(answers: Sequence[str]) -> Mask:
    """[N] True for an answer that begins like a refusal.

    >>> refusing(["I'm sorry, but I can't.", "Sorry tales are sad."]).tolist()
    [True, False]
    """
    return np.asarray([bool(REFUSAL.match(answer)) for answer in answers], dtype=np.bool_)


def repeating(prompts: Sequence[str], answers: Sequence[str]) -> Mask:
    """[N] True for an answer that is its prompt, or contains a prompt of `SHORTEST` characters or more; blanks and capitals aside."""
    found = []
    for prompt, answer in zip(map(_plain, prompts), map(_plain, answers), strict=True):
        found.append(bool(prompt) and (prompt == answer or (len(prompt) >= SHORTEST and prompt in answer)))
    return np.asarray(found, dtype=np.bool_)


def contradicting(prompts: Sequence[str], answers: Sequence[str]) -> Mask:
    """[N] True for an example whose prompt occurs with another answer too; blanks and capitals aside.

    >>> contradicting(["2+2?", "2+2?", "3?"], ["4", "5", "6"]).tolist()
    [True, True, False]
    """
    plain = [(_plain(prompt), _plain(answer)) for prompt, answer in zip(prompts, answers, strict=True)]
    said: dict[str, set[str]] = {}
    for prompt, answer in plain:
        said.setdefault(prompt, set()).add(answer)
    return np.asarray([bool(prompt) and len(said[prompt]) > 1 for prompt, _ in plain], dtype=np.bool_)


def found(prompts: Sequence[str], answers: Sequence[str], extras: Mapping[str, NDArray[np.float64]]) -> dict[str, Mask]:
    """Return each finding in words that follow "examples", with its mask [N]. `extras` are the numbers from before training."""
    masks = {
        "with a refusing answer": refusing(answers),
        "whose answer repeats the prompt": repeating(prompts, answers),
        "whose prompt has other answers elsewhere": contradicting(prompts, answers),
    }
    if "answer_cut" in extras:
        masks["whose answer lost its end to the length limit"] = extras["answer_cut"] > 0
    if {"loss0", "loss0_alone"} <= extras.keys():
        masks["with IFD above 1 (the prompt makes the answer less likely)"] = extras["loss0"] > extras["loss0_alone"]
    return masks


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
