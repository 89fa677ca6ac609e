"""Sample answers from a causal language model with transformers' own `generate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from pruning.data.models import load_tokenizer
from pruning.errors import ModelError
from pruning.training.devices import pick_device
from pruning.training.model import pretrained


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model and its tokenizer, ready to sample."""

    model: Any
    tokenizer: Any
    device: torch.device


def load(path: str, device: str = "auto") -> Loaded:
    """Return the model of a folder, in bf16 on a GPU and fp32 elsewhere. Raises ModelError where it is not a causal language model."""
    where = pick_device(device)
    dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
    model, missing = pretrained(AutoModelForCausalLM, path, dtype)
    if missing:
        raise ModelError(f"The model {path} cannot answer: it lacks the weights {', '.join(missing[:3])}; give a causal language model.")
    return Loaded(model.to(where).eval(), load_tokenizer(Path(path)), where)


@torch.inference_mode()
def sample(
    loaded: Loaded, messages: Sequence[dict[str, str]], count: int, seed: int, temperature: float, top_p: float, max_tokens: int
) -> list[tuple[str, int, bool]]:
    """Return `count` answers to one conversation: text, tokens, and True where it was cut at `max_tokens`.

    With a chat template the conversation is rendered by it, else the contents are the prompt. Sampling is plain: no top-k, no
    repetition penalty, whatever the model's own generation settings say; temperature 0 takes the likeliest token, so that all answers
    are alike. Raises ModelError where prompt and answer exceed the model's positions.
    """
    tokenizer, model = loaded.tokenizer, loaded.model
    if tokenizer.chat_template:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    else:
        ids = tokenizer("\n\n".join(message["content"] for message in messages), return_tensors="pt")["input_ids"]
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and ids.shape[1] + max_tokens > limit:
        raise ModelError(
            f"A prompt of {ids.shape[1]:,} tokens and an answer of {max_tokens:,} exceed the model's {limit:,} positions; "
            "lower --max-tokens."
        )
    torch.manual_seed(seed)
    filler = next(token for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if token is not None)
    chosen = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": top_p} if temperature > 0 else {"do_sample": False}
    out = model.generate(
        ids.to(loaded.device).expand(count if temperature > 0 else 1, -1),
        attention_mask=torch.ones_like(ids, device=loaded.device).expand(count if temperature > 0 else 1, -1),
        max_new_tokens=max_tokens,
        pad_token_id=filler,
        repetition_penalty=1.0,
        **chosen,
    )
    ends = model.generation_config.eos_token_id
    stops = set(ends if isinstance(ends, list) else [] if ends is None else [ends])
    found = [_answer(tokenizer, row[ids.shape[1] :].tolist(), stops) for row in out]
    return found if temperature > 0 else found * count


def _answer(tokenizer: Any, tokens: list[int], stops: set[int]) -> tuple[str, int, bool]:
    end = next((place for place, token in enumerate(tokens) if token in stops), None)
    own = tokens if end is None else tokens[: end + 1]
    return tokenizer.decode(own, skip_special_tokens=True).strip(), len(own), end is None
