"""Tiny real transformers made in code: a folder with config, safetensors weights and a fast tokenizer, in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase, digits
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from pruning.records import Encoded, Kind

WORDS = (
    *("a", "an", "and", "the", "is", "was", "it", "not", "no", "very", "film", "movie", "story", "plot", "cast"),
    *("good", "bad", "great", "awful", "fine", "dull", "fun", "slow", "moving", "love", "hate", "best", "worst"),
)
"""Whole words of the tiny vocabulary; any other ASCII text is spelt letter by letter."""


@dataclass(frozen=True)
class Family:
    """What sets one architecture's tiny model apart from another's."""

    specials: tuple[str, ...]
    """Special tokens in the order of their ids."""
    roles: dict[str, str]
    """Tokenizer role -> token, e.g. {"pad_token": "[PAD]"}."""
    single: str
    """Post-processor template of one text."""
    pair: str
    """Post-processor template of two texts."""
    config: dict[str, Any]
    """Configuration fields beside the common ones."""


_BERT = (
    ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"},
    "[CLS] $A [SEP]",
    "[CLS] $A [SEP] $B:1 [SEP]:1",
)
_ROBERTA = (
    ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "bos_token": "<s>", "eos_token": "</s>"},
    "<s> $A </s>",
    "<s> $A </s> </s> $B </s>",
)
_OPT = (
    ("<s>", "<pad>", "</s>", "<unk>"),
    {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "</s>", "eos_token": "</s>"},
    "</s> $A",
    "</s> $A $B",
)
_LLAMA = (("<unk>", "<s>", "</s>"), {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}, "<s> $A", "<s> $A $B")

FAMILIES = {
    "bert": Family(*_BERT, {"pad_token_id": 0, "type_vocab_size": 2}),
    "roberta": Family(*_ROBERTA, {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}),
    "deberta-v2": Family(
        *_BERT,
        {
            "pad_token_id": 0,
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 8,
            "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
        },
    ),
    "modernbert": Family(
        *_BERT,
        {
            "pad_token_id": 0,
            "cls_token_id": 2,
            "bos_token_id": 2,
            "sep_token_id": 3,
            "eos_token_id": 3,
            "local_attention": 8,
            "attention_dropout": 0.1,
            "mlp_dropout": 0.1,
            "embedding_dropout": 0.1,
            "classifier_dropout": 0.1,
        },
    ),
    "opt": Family(*_OPT, {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 2, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    "llama": Family(*_LLAMA, {"bos_token_id": 1, "eos_token_id": 2, "num_key_value_heads": 2}),
    "qwen2": Family(*_LLAMA, {"bos_token_id": 1, "eos_token_id": 2, "num_key_value_heads": 2}),
    "qwen3": Family(*_LLAMA, {"bos_token_id": 1, "eos_token_id": 2, "num_key_value_heads": 2, "head_dim": 8}),
}
"""Architectures that `tiny_model` can make."""


def tiny_tokenizer(family: str = "bert", words: Sequence[str] = WORDS) -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer: `words` are whole, everything else is spelt in letters and digits."""
    made = FAMILIES[family]
    letters = ascii_lowercase + digits + ".,!?'-"
    vocabulary = [*made.specials, *words, *letters, *("##" + letter for letter in letters)]
    ids = {token: index for index, token in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=made.roles["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=made.single, pair=made.pair, special_tokens=[(token, ids[token]) for token in made.specials]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **made.roles)


def tiny_model(
    path: Any, family: str = "bert", labels: int = 2, *, seed: int = 0, words: Sequence[str] = WORDS, layers: int = 2, **config: Any
) -> str:
    """Saves a tiny pretrained-looking model (body without a head) and its tokenizer to the folder `path`; returns the folder.

    Hidden size 32, 4 heads, 64 positions. `config` overrides configuration fields, e.g. hidden_dropout_prob=0.0.
    """
    tokenizer = tiny_tokenizer(family, words)
    common = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": 66,
        "num_labels": labels,
    }
    made = AutoConfig.for_model(family, **{**common, **FAMILIES[family].config, **config})
    torch.manual_seed(seed)
    AutoModel.from_config(made).save_pretrained(str(path), safe_serialization=True)
    tokenizer.save_pretrained(str(path))
    return str(path)


def tiny_data(lengths: Sequence[int], *, seed: int = 0, classes: int = 2, token_types: bool = False) -> Encoded:
    """Sentences of the given token counts for classification: a leading special token, then words whose id decides the label."""
    rng = np.random.default_rng(seed)
    counts = np.asarray(lengths)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    tokens = rng.integers(5, 5 + len(WORDS), offsets[-1]).astype(np.int32)
    tokens[offsets[:-1]] = 2
    sums = np.add.reduceat(tokens.astype(np.int64), offsets[:-1])
    types = (np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts) > 2).astype(np.int8) if token_types else None
    return Encoded(
        kind="classification",
        tokens=tokens,
        offsets=offsets,
        unit_offsets=np.arange(len(counts) + 1),
        labels=sums % classes,
        token_types=types,
        classes=classes,
    )


def tiny_questions(kind: Kind, lengths: Sequence[Sequence[int]], *, seed: int = 0) -> Encoded:
    """Questions for `multiple_choice` (a token count per option) or `span` (a token count per window), answers at random."""
    flat = tiny_data([length for unit in lengths for length in unit], seed=seed)
    rng = np.random.default_rng(seed + 1)
    sizes = np.asarray([len(unit) for unit in lengths])
    spans = np.sort(rng.integers(0, np.diff(flat.offsets)[:, None].repeat(2, axis=1)), axis=1)
    return replace(
        flat,
        kind=kind,
        unit_offsets=np.concatenate([[0], np.cumsum(sizes)]),
        labels=spans if kind == "span" else rng.integers(0, sizes),
        classes=0,
    )
