"""Texts of the lengths that matter, made from the sample's sentences: encoded data for the speed benchmarks."""

from __future__ import annotations

import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import AutoConfig, AutoModelForSequenceClassification

from pruning.data import models, sample
from pruning.data.tasks import TASKS
from pruning.records import Encoded
from pruning.settings import SAMPLE


class Lengths(StrEnum):
    """Kinds of text by their length."""

    SST2 = "sst2"
    SENTENCES = "sentences"
    MNLI = "mnli"
    LONG = "long"


class Shape(StrEnum):
    """Models by their size."""

    MINILM = "minilm"
    BASE = "roberta-base"
    LARGE = "roberta-large"


WORDS = {
    Lengths.SST2: "phrases as short as SST-2's, parts of the sample's sentences",
    Lengths.SENTENCES: "the sample's sentences",
    Lengths.MNLI: "pairs of a sentence and a phrase",
    Lengths.LONG: "sentences joined until 128 tokens are full",
}

SHAPES = {
    Shape.MINILM: None,
    Shape.BASE: {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    Shape.LARGE: {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
"""Model -> its configuration; random weights are as fast as trained ones. minilm is the sample model itself."""

PHRASE_MEDIAN, PHRASE_SPREAD = 7.0, 0.8
"""Words of SST-2's phrases: about lognormal, median 7, mean 9.4."""


def encoded(lengths: Lengths, examples: int) -> Encoded:
    """`examples` texts of this kind, seeded, as the sample model's tokenizer sees them, at most 128 tokens each."""
    rows = [json.loads(line) for line in sample.sample_data().read_text(encoding="utf-8").splitlines()]
    random = np.random.default_rng(0)
    chosen = [rows[i] for i in random.permutation(len(rows))[:examples]]
    texts = [row["sentence"] for row in chosen]
    phrases = [phrase(random, text) for text in texts]
    columns: dict[str, list[Any]] = {"label": [int(row["label"] == "positive") for row in chosen]}
    if lengths is Lengths.SST2:
        columns["text"] = phrases
    elif lengths is Lengths.MNLI:
        columns |= {"text": texts, "text_pair": phrases[1:] + phrases[:1]}
    elif lengths is Lengths.LONG:
        columns["text"] = [" ".join(texts[(i + k) % len(texts)] for k in range(12)) for i in range(len(texts))]
    else:
        columns["text"] = texts
    return TASKS["classification"].encode(pa.table(columns), models.load_tokenizer(models.locate(SAMPLE)), 128)


def phrase(random: np.random.Generator, text: str) -> str:
    """Some words in a row of a text."""
    words = text.split()
    count = min(len(words), max(1, round(random.lognormal(np.log(PHRASE_MEDIAN), PHRASE_SPREAD))))
    start = int(random.integers(len(words) - count + 1))
    return " ".join(words[start : start + count])


def shaped(shape: Shape, data: Encoded, folder: Path) -> tuple[str, Encoded]:
    """A model folder of that shape and the data as it takes them."""
    if (changes := SHAPES[shape]) is None:
        return str(models.locate(SAMPLE)), data
    fixed = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    config = AutoConfig.for_model("roberta", **fixed, **changes, pad_token_id=1, bos_token_id=0, eos_token_id=2, num_labels=data.classes)
    path = folder / shape
    AutoModelForSequenceClassification.from_config(config).save_pretrained(path)
    return str(path), replace(data, token_types=None)
