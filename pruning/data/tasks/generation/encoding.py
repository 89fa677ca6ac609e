"""Conversations as token ids with the mask of what is learned; prompts are cut before answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pruning.data.tasks.base import model_length
from pruning.data.tasks.generation.render import CannotRender, Rendered, render, way
from pruning.data.tasks.generation.turns import Conversation, conversations_of
from pruning.errors import DataError
from pruning.formatting import counted
from pruning.records import Encoded

BATCH = 1024
"""Conversations that are tokenised at once."""

LEAST_PROMPT = 8
"""A prompt is cut down to one token in this many of the length limit before an answer loses its end."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """One conversation's tokens."""

    ids: NDArray[np.int32]
    learned: NDArray[np.bool_]
    inside: bool
    """True where a learned range begins inside a token."""


def encode(table: pa.Table, tokenizer: Any, max_length: int) -> Encoded:
    """Return one sequence per conversation, with the mask of the tokens that are learned.

    Raises DataError, naming the example, for one that the template cannot render, or that has nothing to learn.
    """
    limit = model_length(tokenizer, max_length)
    ids = table["id"].to_pylist()
    tokens: list[NDArray[np.int32]] = []
    learned: list[NDArray[np.bool_]] = []
    lengths: list[int] = []
    lost: list[int] = []
    shortened = inside = 0
    for place, one in enumerate(sequences(conversations_of(table), tokenizer, ids)):
        kept, lost_answer = cut(one.learned, limit)
        lengths.append(len(one.ids))
        shortened += len(kept) < len(one.ids)
        inside += one.inside
        lost += [place] if lost_answer else []
        tokens.append(one.ids[kept])
        mask = one.learned[kept]
        mask[:1] = False  # nothing comes before the first token, so it cannot be predicted
        if not mask.any():
            raise DataError(
                f"Example {ids[place]} has nothing to learn: none of its {len(mask)} tokens belongs to an answer; "
                "look at its answer and the chat template (--template), or leave the example out."
            )
        learned.append(mask)
    counts = [len(own) for own in tokens]
    return Encoded(
        kind="generation",
        tokens=np.concatenate(tokens),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        unit_offsets=np.arange(len(tokens) + 1),
        labels=np.zeros(len(tokens), dtype=np.int64),
        answer=np.concatenate(learned),
        truncated=shortened,
        notes=_notes(tokenizer, limit, [ids[place] for place in lost], lengths, inside, int(np.concatenate(learned).sum())),
        cut=np.isin(np.arange(len(tokens)), lost),
    )


def sequences(conversations: Iterable[Conversation], tokenizer: Any, ids: Sequence[int]) -> Iterable[Tokens]:
    """Yield the tokens of each conversation, uncut. `ids` name the examples in messages."""
    numbered = zip(ids, conversations, strict=True)
    while batch := list(islice(numbered, BATCH)):
        rendered = [None if one.ids else _rendered(one, tokenizer, example) for example, one in batch]
        found = {
            specials: iter(_tokenised([one for one in rendered if one is not None and one.specials is specials], tokenizer))
            for specials in (True, False)
        }
        for (_, conversation), text in zip(batch, rendered, strict=True):
            if text is None:
                yield Tokens(np.asarray(conversation.ids, dtype=np.int32), np.asarray(conversation.learned, dtype=np.bool_), False)
            else:
                yield next(found[text.specials])


def _rendered(conversation: Conversation, tokenizer: Any, example: int) -> Rendered:
    try:
        return render(conversation, tokenizer)
    except CannotRender as error:
        raise DataError(f"Example {example} {error}.") from None


def _tokenised(texts: Sequence[Rendered], tokenizer: Any) -> Iterable[Tokens]:
    """Tokenise whole texts once and find what is learned by the tokens' character ranges."""
    if not texts:
        return
    encoded = tokenizer(
        [one.text for one in texts],
        add_special_tokens=texts[0].specials,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    end = tokenizer.eos_token_id
    for one, ids, ranges in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        tokens, places = np.asarray(ids, dtype=np.int32), np.asarray(ranges, dtype=np.int64).reshape(-1, 2)
        if len(tokens) > 1 and tokens[-1] == tokens[-2] == end and places[-1, 0] == places[-1, 1]:
            tokens, places = tokens[:-1], places[:-1]  # the tokenizer added an end of its own to the one that is there
        starts, ends = places.T
        learned = np.zeros(len(tokens), dtype=np.bool_)
        inside = False
        for first, last in one.spans:
            learned |= (starts < last) & (ends > first) & (ends > starts)
            inside |= bool(((starts < first) & (ends > first)).any())
        yield Tokens(tokens, learned, inside)


def cut(learned: NDArray[np.bool_], limit: int) -> tuple[NDArray[np.int64], bool]:
    """Return the places of the tokens that fit into `limit`, and True where a learned token was cut.

    The middle of the prompt (the tokens before the first learned one) is cut first, down to an eighth of the limit; then the end.

    >>> kept, lost = cut(np.array([False] * 6 + [True] * 2), limit=6)
    >>> kept.tolist(), lost
    ([0, 1, 4, 5, 6, 7], False)
    >>> kept, lost = cut(np.array([False] * 2 + [True] * 8), limit=8)
    >>> kept.tolist(), lost
    ([1, 2, 3, 4, 5, 6, 7, 8], True)
    """
    count = len(learned)
    if count <= limit:
        return np.arange(count), False
    prompt = int(learned.argmax()) if learned.any() else count
    room = max(min(prompt, max(1, limit // LEAST_PROMPT)), limit - (count - prompt))
    ahead = room // 2
    kept = np.concatenate([np.arange(ahead), np.arange(prompt - (room - ahead), count)])[:limit]
    return kept, bool(learned.sum() > learned[kept].sum())


def _notes(tokenizer: Any, limit: int, lost: Sequence[int], lengths: Sequence[int], inside: int, learned: int) -> tuple[str, ...]:
    """Return the facts about the encoding that a user should know, in sentences."""
    notes = [way(tokenizer), f"{learned:,} of {sum(min(length, limit) for length in lengths):,} tokens are learned."]
    if lost:
        named = ", ".join(map(str, lost[:5])) + (" ..." if len(lost) > 5 else "")
        fits = int(np.ceil(np.quantile(lengths, 0.99)))
        notes.append(
            f"{counted(len(lost), 'answer')} lost {'its' if len(lost) == 1 else 'their'} end at {limit} tokens (example {named}); "
            f"--max-length {fits} fits 99% of the examples."
        )
    if inside:
        notes.append(f"In {counted(inside, 'example')} an answer begins inside a token that ends the prompt; that token is learned.")
    return tuple(notes)
