"""Answers without their prompts, for the loss that the prompt takes away (IFD): the head of an assistant's turn, then the same tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.records import Encoded

_ASKED = [{"role": "user", "content": "?"}]


def header(tokenizer: Any) -> NDArray[np.int32]:
    """Return the tokens before an answer that has no prompt: what the chat template writes when it asks for one, else BOS, else EOS."""
    text = ""
    if tokenizer.chat_template:
        try:
            before, after = (
                str(tokenizer.apply_chat_template(_ASKED, tokenize=False, add_generation_prompt=asks)) for asks in (False, True)
            )
            text = after[len(before) :] if after.startswith(before) else ""
        except Exception:  # templates raise any error, jinja2's own among them
            text = ""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return np.asarray(ids or ([] if first is None else [first]), dtype=np.int32)


def alone(data: Encoded, before: NDArray[np.int32]) -> Encoded:
    """Return the answers of encoded conversations alone, the turns of one joined, each after the tokens `before`.

    Without any such token, the first token of each answer cannot be predicted and is not learned.
    """
    lengths = data.answer_lengths
    assert data.answer is not None and lengths is not None
    sizes = lengths + len(before)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    answer = inside >= max(1, len(before))
    tokens = np.empty(offsets[-1], dtype=np.int32)
    tokens[inside >= len(before)] = data.tokens[data.answer]
    tokens[inside < len(before)] = np.tile(before, len(lengths))
    return replace(data, tokens=tokens, offsets=offsets, answer=answer, notes=(), cut=None, truncated=0)
