"""The answers of one conversation token by token, with how many looks had written each of them right up to there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from pruning.data.tasks.generation.encoding import sequences
from pruning.data.tasks.generation.turns import conversation_of
from pruning.reading import Reading
from pruning.store.base import CUT, LENGTH

BROKEN = "\ufffd"
"""Character that a tokenizer writes for a part of a character."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerToken:
    """A learned token, or several that make up one character."""

    text: str
    reached: int | None
    """Looks, of all runs and epochs, in which it and all learned tokens before it were the most likely ones; None for one that was cut."""


def answer_tokens(reading: Reading, position: int, row: Mapping[str, Any], tokenizer: Any) -> list[list[AnswerToken]]:
    """Return the stretches of learned tokens of the example at that position, in reading order.

    What is recorded of a look is the place of its first wrong token. So a token's count falls along the answer: it says how often greedy
    decoding had written the answer up to there, and nothing about the tokens after a look's first error.

    Empty where first wrong tokens are not recorded, or the tokens are not those of the recording (another template, say). Raises
    DataError for a row that the template cannot render.
    """
    first = reading.dynamics.predicted[:, :, position].reshape(-1)
    extras = reading.extras
    if (first < 0).any() or LENGTH not in extras:
        return []
    [one] = sequences([conversation_of(row)], tokenizer, [int(reading.ids[position])])
    learned = one.learned.copy()
    learned[:1] = False
    known, total = int(extras[LENGTH][position]), int(learned.sum())
    was_cut = CUT in extras and extras[CUT][position] > 0
    if known > total or (known < total and not was_cut):
        return []
    reached = [int((first > place).sum()) if place < known else None for place in range(total)]
    order = np.cumsum(learned) - 1
    stretches = [[place for place, _ in group] for mask, group in groupby(enumerate(learned), key=lambda pair: bool(pair[1])) if mask]
    return [_texts([(int(one.ids[place]), reached[order[place]]) for place in stretch], tokenizer) for stretch in stretches]


def _texts(tokens: list[tuple[int, int | None]], tokenizer: Any) -> list[AnswerToken]:
    """Return the tokens as text; those that hold parts of one character are one, as often reached as its last part."""
    found: list[AnswerToken] = []
    held: list[int] = []
    for place, (token, reached) in enumerate(tokens):
        held.append(token)
        text = tokenizer.decode(held)
        if BROKEN in text and place + 1 < len(tokens):
            continue
        found.append(AnswerToken(text=text, reached=reached))
        held = []
    return found


def where_it_goes_wrong(stretches: list[list[AnswerToken]], looks: int) -> str:
    """Return in a sentence how often the whole answer was written, and before which token most looks first went wrong."""
    tokens = [token for stretch in stretches for token in stretch if token.reached is not None]
    if not tokens:
        return ""
    counts = [looks, *(token.reached or 0 for token in tokens)]
    lost = [before - after for before, after in pairwise(counts)]
    whole = f"Written whole in {counts[-1]} of {looks} looks"
    if not any(lost):
        return f"{whole}."
    worst = int(np.argmax(lost))
    return f"{whole}; most often first wrong at {tokens[worst].text!r} ({lost[worst]} looks)."
