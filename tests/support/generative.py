"""Tiny causal language models and byte tokenizers made in code, chat templates, and what a mask teaches as text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from pruning.data.tasks.generation.encoding import encode
from pruning.data.tasks.generation.turns import Conversation, Turn, columns_of
from pruning.records import Encoded

SPECIALS = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<pad>")

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

TAGGED = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
)

THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\n' + (m['reasoning_content'] or '') + '\n</think>\n\n' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As Qwen3's: reasoning only in the last turn, an empty block where it has none."""

TOOLS = (
    "{% if tools %}{{ '<|im_start|>tools\n' + (tools | tojson) + '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}"
    "{% if m['tool_calls'] %}{{ '<call>' + (m['tool_calls'] | tojson) + '</call>' }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_tokenizer(template: str | None = None, *, bos: bool = True, merges: tuple[tuple[str, str], ...] = ()) -> PreTrainedTokenizerFast:
    """A tokenizer of one token a byte, beside five special ones and the merges asked for, so that any mask can be written by hand."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIALS, *letters, *("".join(pair) for pair in merges)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = template
    return made


_COMMON = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 4,
}
CAUSAL: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "mistral": {"num_key_value_heads": 2, "sliding_window": None},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 254, "dropout": 0.0},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
}
"""Architectures and what their tiny configuration has of its own; gpt2 is not packed."""


def tiny_causal(path: Any, family: str = "llama", *, template: str | None = CHATML, seed: int = 0, **config: Any) -> str:
    """Save a tiny causal language model with its head and a byte tokenizer to the folder `path`; return the folder."""
    tokenizer = byte_tokenizer(template)
    made = AutoConfig.for_model(family, **{"vocab_size": len(tokenizer), **_COMMON, **CAUSAL[family], **config})
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(made).save_pretrained(str(path), safe_serialization=True)
    tokenizer.save_pretrained(str(path))
    return str(path)


def learned_text(encoded: Encoded, tokenizer: Any, unit: int = 0) -> list[str]:
    """Each stretch of learned tokens of a unit as text."""
    assert encoded.answer is not None
    own = slice(encoded.offsets[unit], encoded.offsets[unit + 1])
    found: list[str] = []
    before = False
    for token, learned in zip(encoded.tokens[own], encoded.answer[own], strict=True):
        if learned:
            text = tokenizer.convert_ids_to_tokens(int(token)).replace("Ġ", " ").replace("Ċ", "\n")
            found = [*found[:-1], found[-1] + text] if before else [*found, text]
        before = bool(learned)
    return found


def whole_text(encoded: Encoded, tokenizer: Any, unit: int = 0) -> str:
    """All tokens of a unit as text, special ones included."""
    return str(tokenizer.decode(encoded.tokens[encoded.offsets[unit] : encoded.offsets[unit + 1]]))


PAIRS = [
    *(("a film about ", "love"), ("", "x"), ("the plot was very ", "slow and moving")),
    *(("is it good? ", "no"), ("one two three ", "four")),
]


def tiny_answers(pairs: list[tuple[str, str]] = PAIRS, max_length: int = 128) -> Encoded:
    """Prompts and answers of the byte tokenizer, without a chat template."""
    found = [
        Conversation(turns=(Turn(role="text", content=prompt, trained=False), Turn(role="text", content=answer, trained=True)))
        for prompt, answer in pairs
    ]
    table = pa.table({"id": pa.array(np.arange(len(found))), **columns_of(found)})
    return encode(table, byte_tokenizer(), max_length)
