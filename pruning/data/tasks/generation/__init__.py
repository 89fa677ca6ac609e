"""Generation: prompts and answers, learned by a causal language model. Right under a success rule, which is a setting of the view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pruning.data.readers import Source
from pruning.data.tasks.base import Fields, Guess, Part, Problem, Task, first_named, is_text
from pruning.data.tasks.generation import formats
from pruning.data.tasks.generation.encoding import encode
from pruning.data.tasks.generation.turns import columns_of, conversation_of
from pruning.errors import DataError
from pruning.records import Encoded

GENERATION = "generation"
"""The task's name."""

MOSTLY_DISTINCT = 0.5
"""Share of distinct answers from which a question and its answer are text to generate, not a class."""

FEW = 50
"""Most different answers that may be classes."""

CLASS_NAMES = ("answer", "target")
"""Columns of answers that may as well be classes."""

ROLE_NAMES = {"text": "text", "system": "system", "developer": "developer", "user": "user", "assistant": "assistant", "tool": "tool"}


class Generation(Task):
    """Right as the success rule says. A conversation is one unit; its answers are learned, its prompts only read."""

    name = GENERATION
    kind = "generation"
    required = ()
    optional = (
        *("messages", "prompt", "completion", "instruction", "input", "answer", "system", "history", "tools", "template_values"),
        *("segments", "input_ids", "mask", "full_text"),
    )
    max_length = 1024

    @property
    def wanted(self) -> str:
        """The fields it needs, in words."""
        return "messages, or prompt and completion, or instruction and answer, or full_text"

    def guess(self, source: Source, given: Mapping[str, str]) -> Guess | None:
        """Detect chat messages, prompt and completion, instruction and output, then pairs of text columns, by their names."""
        found, how = (dict(given), "as asked") if formats.format_of(given) else _guess_columns(source, given)
        format = formats.format_of(found)
        if format is None:
            return None
        extras = formats.EXTRA_NAMES if format.needs[0] in ("messages", "prompt", "instruction") else {}
        for field, names in extras.items():
            column = first_named(source, names)
            fits = format.needs[0] == "instruction" or field not in ("input", "history")
            if fits and column is not None and column not in found.values():
                found.setdefault(field, column)
        columns = ", ".join(f"{field} is {column!r}" for field, column in found.items())
        reason = f"{format.name}, {columns} ({how}); {format.learned} is learned{_may_be_classes(source, found)}"
        return Guess(columns=found, reason=reason)

    def read(
        self,
        source: Source,
        columns: Mapping[str, str],
        label_names: Sequence[str] | None = None,
        reading: str = "",
        missing_label: str | None = None,
    ) -> Fields:
        """Return conversations; rows with turns out of order, without an answer, or with pictures are problems."""
        format = formats.format_of(columns)
        if format is None:
            raise DataError(f"The columns {', '.join(columns)} are no whole format for generation; name those of {self.wanted}.")
        found, wrong = formats.read_rows(source, columns)
        rows = np.asarray([one is None for one in found], dtype=np.bool_)
        named = " and ".join(repr(columns[field]) for field in format.needs)
        return Fields(
            columns={"label": pa.chunked_array([pa.nulls(len(found))]), **columns_of(found)},
            reading=format.name,
            problems=(Problem(rows=rows, what=f"is not a conversation in {named}", found=wrong),),
        )

    def encode(self, table: pa.Table, tokenizer: Any, max_length: int) -> Encoded:
        """Return one sequence per conversation with the mask of its learned tokens; prompts are cut before answers.

        Raises DataError for an example that the chat template cannot render, or with nothing to learn.
        """
        return encode(table, tokenizer, max_length)

    def metrics(self, table: pa.Table, outputs: NDArray[np.float32], encoded: Encoded) -> dict[str, float]:
        """Return token accuracy and exact match over conversations, and the loss and perplexity of an answer's token.

        `outputs` are [N, 3]: mean loss in nats, wrong tokens, and tokens of each answer.
        """
        loss, wrong, length = np.asarray(outputs, dtype=np.float64).T
        per_token = float((loss * length).sum() / length.sum())
        return {
            "token_accuracy": float(1 - wrong.sum() / length.sum()),
            "exact_match": float((wrong == 0).mean()),
            "loss": per_token,
            "perplexity": float(np.exp(min(per_token, 700.0))),
        }

    def display(self, row: Mapping[str, Any], label_names: Sequence[str] = ()) -> tuple[Part, ...]:
        """Return the turns in order, those that are learned marked as right."""
        conversation = conversation_of(row)
        if conversation.ids:
            return (Part(name="token ids", text=" ".join(map(str, conversation.ids))),)
        tools = (Part(name="tools", text=str(conversation.tools)),) if conversation.tools else ()
        return (
            *tools,
            *(Part(name=ROLE_NAMES[one.role], text=one.text, right=True if one.trained else None) for one in conversation.turns),
        )


def _guess_columns(source: Source, given: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Return the columns of the first format whose usual names are there, and how they were found."""
    names = {column.lower(): column for column in reversed(source.table.column_names)}
    messages = first_named(source, formats.MESSAGE_NAMES)
    if messages is not None and formats.is_messages(source, messages):
        return {**given, "messages": messages}, "by its name and type"
    if {"prompt", "completion"} <= names.keys() and not _is_preference(source, names):
        return {**given, "prompt": names["prompt"], "completion": names["completion"]}, "by their names"
    for asked, answer in formats.PAIR_NAMES:
        if asked in names and answer in names and _are_texts(source, names[asked], names[answer]):
            return {**given, "instruction": names[asked], "answer": names[answer]}, "by their names"
    if "segments" in names and formats.is_messages(source, names["segments"]):
        return {**given, "segments": names["segments"]}, "by its name and type"
    mask = next((names[name] for name in ("labels", "completion_mask", "assistant_masks") if name in names), None)
    if "input_ids" in names and mask is not None and pa.types.is_list(source.table.schema.field(mask).type):
        return {**given, "input_ids": names["input_ids"], "mask": mask}, "by their names"
    return dict(given), ""


def _may_be_classes(source: Source, columns: Mapping[str, str]) -> str:
    """Return a hint where the answers are so few that they may be classes."""
    column = columns.get("answer") or columns.get("completion")
    if column is None or not is_text(source, column) or column in source.mixed:
        return ""
    distinct, rows = pc.count_distinct(source.table[column]).as_py(), source.table.num_rows
    return f"; it has {distinct} different texts, so --task classification may fit" if distinct <= FEW and rows >= 2 * distinct else ""


def _is_preference(source: Source, names: Mapping[str, str]) -> bool:
    verdict = names.get("label")
    judged = verdict is not None and pa.types.is_boolean(source.table.schema.field(verdict).type)
    return judged or bool(names.keys() & set(formats.PREFERENCES))


def _are_texts(source: Source, asked: str, answer: str) -> bool:
    """Return True for two columns of text, the second of them with mostly different values."""
    if not (is_text(source, asked) and is_text(source, answer)) or answer in source.class_names:
        return False
    values = source.table[answer]
    if answer.lower() not in CLASS_NAMES:
        return True
    return values.null_count < len(values) and pc.count_distinct(values).as_py() > MOSTLY_DISTINCT * len(values)
