"""Prompts with a key (the reference answer), whose answers a model samples and a verifier judges. Not trained on by Winnow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pruning.data.readers import Source
from pruning.data.tasks.base import Fields, Guess, Part, Problem, Task, first_named
from pruning.errors import DataError
from pruning.records import Encoded

SAMPLED = "rollouts"
"""Name of the task."""

PROMPTS = ("prompt", "problem", "question", "input", "messages", "instruction", "query")
"""Names of columns that hold prompts, the likelier first."""

KEYS = ("answer", "key", "target", "gold", "ground_truth", "solution", "label", "reward_model", "expected_answer", "gts")
"""Names of columns that hold keys."""


class Rollouts(Task):
    """Sampled answers: right means that the verifier (or the log) says so."""

    name = SAMPLED
    kind = "rollouts"
    required = ("prompt",)
    optional = ("key",)
    max_length = 4096
    scored = False

    def guess(self, source: Source, given: Mapping[str, str]) -> Guess | None:
        """Detect the columns by name; a key is optional."""
        columns = dict(given)
        for field, names in (("prompt", PROMPTS), ("key", KEYS)):
            named = first_named(source, names)
            if named is not None and named not in columns.values():
                columns.setdefault(field, named)
        if "prompt" not in columns:
            return None
        return Guess(columns=columns, reason="; ".join(f"{field} is {column!r}" for field, column in columns.items()))

    def read(
        self,
        source: Source,
        columns: Mapping[str, str],
        label_names: Sequence[str] | None = None,
        reading: str = "",
        missing_label: str | None = None,
    ) -> Fields:
        """Return prompt and key as text; the label is 1 where there is a key and 0 where there is none."""
        prompts = [prompt_text(value) for value in values_of(source, columns["prompt"])]
        blank = np.asarray([not (text and text.strip()) for text in prompts], dtype=np.bool_)
        found = {"prompt": pa.chunked_array([pa.array(prompts, pa.string())])}
        keys: list[str | None] = [None] * len(prompts)
        if "key" in columns:
            keys = [key_text(value) for value in values_of(source, columns["key"])]
            found["key"] = pa.chunked_array([pa.array(keys, pa.string())])
        label = pa.array([int(key is not None) for key in keys], pa.int64())
        return Fields(
            columns={"label": pa.chunked_array([label]), **found},
            problems=(Problem(rows=blank, what=f"has no text in {columns['prompt']!r}"),),
        )

    def encode(self, table: pa.Table, tokenizer: Any, max_length: int) -> Encoded:
        """Raise DataError: these prompts have no reference answer to learn token by token."""
        raise DataError("Sampled answers (task rollouts) are not fine-tuned on by Winnow; use --task generation for prompts with answers.")

    def metrics(self, table: pa.Table, outputs: NDArray[np.float32], encoded: Encoded) -> dict[str, float]:
        """Raise DataError, as `encode`."""
        raise DataError("Sampled answers (task rollouts) are not measured by fine-tuning.")

    def display(self, row: Mapping[str, Any], label_names: Sequence[str] = ()) -> tuple[Part, ...]:
        """Return the prompt and its key."""
        key = row.get("key")
        return (Part(name="prompt", text=row["prompt"]), *([] if key is None else [Part(name="key", text=key, right=True)]))


def values_of(source: Source, column: str) -> list[Any]:
    """Return a column as Python values, those of a mixed column decoded."""
    values = source.table[column].to_pylist()
    return [None if value is None else json.loads(value) for value in values] if column in source.mixed else values


def prompt_text(value: Any) -> str | None:
    """Return a prompt as one text: text as it is, one message as its content, several with their roles.

    >>> prompt_text([{"role": "user", "content": "2 + 2?"}])
    '2 + 2?'
    >>> prompt_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}])
    'system\\nBe brief.\\nuser\\n2 + 2?'
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(one, dict) and isinstance(one.get("content"), str) for one in value):
        said = [one for one in value if one.get("role") != "assistant" or one is not value[-1]]
        if len(said) == 1:
            return str(said[0]["content"])
        return "\n".join(f"{one.get('role', 'user')}\n{one['content']}" for one in said)
    return None


def key_text(value: Any) -> str | None:
    """Return a key as text: of verl's reward_model its ground_truth, several accepted answers as JSON; None where there is none.

    >>> key_text({"style": "rule", "ground_truth": "72"}), key_text(4), key_text(["a", "b"]), key_text("")
    ('72', '4', '["a", "b"]', None)
    """
    if isinstance(value, dict) and "ground_truth" in value:
        return key_text(value["ground_truth"])
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, list) and len(value) == 1:
        return key_text(value[0])
    return None if value is None else json.dumps(value, default=str)
