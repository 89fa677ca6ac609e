"""Lengths of texts before training: in words, and in tokens where the model's tokenizer is available."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

from tokenizers import Tokenizer

from pruning.data import access
from pruning.data.tasks import TASKS
from pruning.errors import DataError
from pruning.formatting import counted
from pruning.paths import cache_folder
from pruning.settings import SAMPLE

ROWS, CHARACTERS = 1000, 200_000
"""Rows and characters, counted from the start, that are measured at most; more would delay the page."""

TOKENS_A_WORD = 1.3
"""Tokens per English word, roughly, for models whose tokenizer is not on this machine."""


def first(rows: Sequence[Mapping[str, Any]], at_least: int) -> tuple[Mapping[str, Any], ...]:
    """Return the first rows, as many as are measured.

    >>> len(first([{"text": "a" * 60_000}] * 9, at_least=2)), len(first([{"text": "a" * 300_000}] * 9, at_least=2))
    (3, 2)
    """
    ends = accumulate(sum(len(str(value)) for value in row.values()) for row in rows)
    return tuple(rows[: max(at_least, sum(end <= CHARACTERS for end in ends))])


def sentence(rows: Sequence[Mapping[str, Any]], mapping: Mapping[str, str], task: str, model: str, max_length: int) -> str:
    """Return a sentence with the words per text and the share of texts longer than `max_length` tokens; empty where no row has a text."""
    texts = [sequence for row in rows if any(sequence := sequences(row, mapping))]
    if not texts:
        return ""
    words = [len(re.findall(r"\S+", " ".join(parts))) for parts in texts]
    measured = f"The texts of the first {counted(len(rows), 'row')} have {median(words):,.0f} words at the median, {max(words):,} at most."
    if TASKS[task].kind == "span":
        return f"{measured} What is longer than {max_length} tokens is read in overlapping pieces."
    path = tokenizer(model)
    counted_tokens = _tokens(str(path), path.stat().st_mtime_ns, tuple(texts)) if path else None
    if counted_tokens is None:
        long = sum(count * TOKENS_A_WORD > max_length for count in words)
        guess = f"At {TOKENS_A_WORD} tokens per word (the model's tokenizer is not on this machine), about {long / len(words):.1%}"
        return f"{measured} {guess} are longer than {max_length} tokens and would be cut."
    tokens, most = counted_tokens
    limit = min(max_length, most)
    return f"{measured} {_share(sum(length > limit for length in tokens) / len(tokens))} longer than {limit} tokens and would be cut."


def _share(long: float) -> str:
    return f"{long:.1%} are" if long else "None is"


def sequences(row: Mapping[str, Any], mapping: Mapping[str, str]) -> tuple[str, str]:
    """Return the two texts of a row that a model reads at once; of several options the longest, with the question.

    >>> sequences({"q": "Why?", "o": ["So.", "Because."], "y": 1}, {"question": "q", "options": "o", "label": "y"})
    ('', 'Why? Because.')
    """
    found = {field: row[column] for field, column in mapping.items() if row.get(column) is not None}
    listed = found.get("options") or []
    options = listed.get("text") or [] if isinstance(listed, Mapping) else listed
    options = [*options, *(value for field, value in found.items() if field.startswith("option_"))]
    ahead, behind = found.get("text", found.get("context", "")), [found.get("text_pair"), found.get("question")]
    return str(ahead), " ".join(str(part) for part in [*behind, max(map(str, options), key=len, default=None)] if part)


def tokenizer(model: str) -> Path | None:
    """Return the tokenizer.json of the sample model or of a model's folder; None when it is not on this machine, or may not be read."""
    if model == SAMPLE:
        path = cache_folder() / "all-MiniLM-L6-v2" / "tokenizer.json"
    else:
        try:
            folder = access.resolve(model) if model else None
        except DataError:
            return None
        path = folder / "tokenizer.json" if folder else Path()
    return path if path.is_file() else None


@lru_cache(maxsize=16)
def _tokens(path: str, stamp: int, texts: tuple[tuple[str, str], ...]) -> tuple[list[int], int] | None:
    """Return the tokens of each text, and the maximum length that the tokenizer names; None where the file is not a tokenizer."""
    try:
        with access.held(Path(path)) as opened:
            own = Tokenizer.from_file(str(opened))
        own.no_truncation()
        own.no_padding()
        settings = Path(path).with_name("tokenizer_config.json")
        most = None
        if settings.is_file():
            with access.held(settings) as opened:
                most = json.loads(opened.read_text(encoding="utf-8")).get("model_max_length")
        return [len(own.encode(one, two or None)) for one, two in texts], int(most or 1e30)
    except Exception:  # tokenizers raises nothing narrower
        return None
