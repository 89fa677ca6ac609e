"""Multiple choice: a question, often about a passage, with 2 to 8 options, one of them right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pruning.data.readers import Source
from pruning.data.tasks.answers import read_answers
from pruning.data.tasks.base import Fields, Guess, Part, Problem, Task, TokenWriter, batches, first_named, is_text, model_length, read_text
from pruning.errors import DataError
from pruning.records import Encoded

MOST_OPTIONS = 8
OPTION_FIELDS = tuple(f"option_{number}" for number in range(1, MOST_OPTIONS + 1))

CONTEXT_NAMES = ("context", "article", "passage", "sent1", "ctx", "story", "support")
QUESTION_NAMES = ("question", "question_stem", "sent2", "goal", "query", "premise", "sentence")
OPTIONS_NAMES = ("options", "choices", "endings", "candidates")
ANSWER_NAMES = ("answer", "label", "answerkey", "answer_key", "answer_idx", "correct", "cop", "gold")
NUMBERED = re.compile(r"(ending|option|choice|answer|sol|opt|op)_?([0-9]|[a-h])", re.IGNORECASE)
"""Options in columns of their own: ending0 ending1 ... (SWAG), option1 ..., choice1 ... (COPA), sol1 sol2 (PIQA), answerA ... (SIQA)."""

BLANK = "_"
"""Placeholder for the option in a question to be completed (RACE)."""


class MultipleChoice(Task):
    """Right when the option with the highest logit is the answer. A question and its options are one unit."""

    name = "multiple-choice"
    kind = "multiple_choice"
    required = ("options", "label")
    optional = ("context", "question", *OPTION_FIELDS)
    max_length = 512

    def guess(self, source: Source, given: Mapping[str, str]) -> Guess | None:
        """Detect columns by the usual names: one column that lists the options, or numbered columns of text."""
        columns = dict(given)
        if not columns.keys() & {"options", *OPTION_FIELDS}:
            columns |= _guess_options(source)
        taken = set(columns.values())
        for field, names in (("context", CONTEXT_NAMES), ("question", QUESTION_NAMES)):
            named = first_named(source, names)
            if field not in columns and named is not None and named not in taken and is_text(source, named):
                columns[field] = named
        label = first_named(source, (name for name in ANSWER_NAMES if name not in taken))
        if label is not None:
            columns.setdefault("label", label)
        if not ("label" in columns and columns.keys() & {"options", "option_1"} and columns.keys() & {"context", "question"}):
            return None
        ordered = {field: columns[field] for field in ("context", "question", "options", *OPTION_FIELDS, "label") if field in columns}
        return Guess(columns=ordered, reason="; ".join(f"{field.replace('_', ' ')} is {column!r}" for field, column in ordered.items()))

    def read(
        self,
        source: Source,
        columns: Mapping[str, str],
        label_names: Sequence[str] | None = None,
        reading: str = "",
        missing_label: str | None = None,
    ) -> Fields:
        """Return options as a list of text, the answer as the index of one of them."""
        fields: dict[str, pa.ChunkedArray] = {}
        problems = []
        for name in ("context", "question"):
            if name in columns:
                fields[name], problem = read_text(source, columns[name])
                problems.append(problem)
        options, keys = _read_options(source, columns)
        answers = read_answers(source, columns["label"], options, keys, reading, missing_label)
        problems += [*_option_problems(options), answers.problem]
        fields["options"] = pa.chunked_array([pa.array(options, pa.list_(pa.string()))])
        return Fields(
            columns={"label": pa.chunked_array([pa.array(answers.places, pa.int64())]), **fields},
            problems=tuple(problems),
            unlabelled=answers.unlabelled,
            mark=answers.mark,
            reading=answers.reading,
            notes=(answers.note,) if answers.note else (),
        )

    def encode(self, table: pa.Table, tokenizer: Any, max_length: int) -> Encoded:
        """Return one sequence per option: the context, then the question with the option in or after it; the longer text is cut first."""
        names = [name for name in ("context", "question", "options") if name in table.column_names]
        writer, limit = TokenWriter(tokenizer), model_length(tokenizer, max_length)
        cut: list[NDArray[np.bool_]] = []
        counts: list[int] = []
        for columns in batches(table, names, size=512):
            pairs = [pair for row in zip(*columns, strict=True) for pair in _pairs(dict(zip(names, row, strict=True)))]
            counts += [len(options) for options in columns[-1]]
            cut.append(writer.add([first for first, _ in pairs], [second for _, second in pairs], max_length=limit))
        unit_offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        truncated = np.logical_or.reduceat(np.concatenate(cut), unit_offsets[:-1])
        return Encoded(
            kind="multiple_choice",
            **writer.arrays(),
            unit_offsets=unit_offsets,
            labels=np.asarray(table["label"].combine_chunks(), dtype=np.int64),
            truncated=int(truncated.sum()),
        )

    def metrics(self, table: pa.Table, outputs: NDArray[np.float32], encoded: Encoded) -> dict[str, float]:
        """Return the share of questions whose best option is the answer."""
        units = np.repeat(np.arange(encoded.units), np.diff(encoded.unit_offsets))
        best = np.lexsort((-np.arange(len(outputs)), outputs, units))[encoded.unit_offsets[1:] - 1] - encoded.unit_offsets[:-1]
        return {"accuracy": float((best == encoded.labels).mean())}

    def display(self, row: Mapping[str, Any], label_names: Sequence[str] = ()) -> tuple[Part, ...]:
        """Return the context, the question, and the options, the answer marked."""
        texts = [Part(name=name, text=row[name]) for name in ("context", "question") if row.get(name)]
        options = [
            Part(name=f"option {chr(ord('A') + index)}", text=option, right=index == row["label"])
            for index, option in enumerate(row["options"])
        ]
        return (*texts, *options)


def _guess_options(source: Source) -> dict[str, str]:
    listed = first_named(source, OPTIONS_NAMES)
    if listed is not None and _lists_text(source, listed):
        return {"options": listed}
    families: dict[str, list[str]] = {}
    for column in source.table.column_names:
        if (matched := NUMBERED.fullmatch(column)) and is_text(source, column):
            families.setdefault(matched[1].lower(), []).append(column)
    family = max(families.values(), key=len, default=[])
    if not 2 <= len(family) <= MOST_OPTIONS:
        return {}
    return dict(zip(OPTION_FIELDS, sorted(family, key=str.lower), strict=False))


def _lists_text(source: Source, column: str) -> bool:
    kind = source.table.schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("text") >= 0:
        kind = kind.field("text").type
    return column not in source.mixed and pa.types.is_list(kind) and pa.types.is_string(kind.value_type)


def _read_options(source: Source, columns: Mapping[str, str]) -> tuple[list[list[str | None]], list[list[str]] | None]:
    """Return each row's options, and the keys that answers use for them where the data has keys ("A", "B", ...)."""
    if "options" not in columns:
        each = [read_text(source, columns[field])[0].to_pylist() for field in OPTION_FIELDS if field in columns]
        return [list(row) for row in zip(*each, strict=True)], None
    column = columns["options"]
    if not _lists_text(source, column):
        raise DataError(f"Column {column!r} of {source.name} holds {source.table[column].type}; options must be a list of text.")
    values = source.table[column].to_pylist()
    if not pa.types.is_struct(source.table[column].type):
        return [value or [] for value in values], None
    texts = [(value or {}).get("text") or [] for value in values]
    keys = [[str(key) for key in (value or {}).get("label") or []] for value in values]
    return texts, keys if all(len(own) == len(text) for own, text in zip(keys, texts, strict=True)) else None


def _option_problems(options: list[list[str | None]]) -> list[Problem]:
    counts = np.asarray([len(own) for own in options])
    usual = int(np.bincount(counts).argmax())
    if not 2 <= usual <= MOST_OPTIONS:
        raise DataError(f"Most questions have {usual} options; Winnow takes 2 to {MOST_OPTIONS}.")
    blank = np.asarray([any(option is None or not option.strip() for option in own) for own in options], dtype=np.bool_)
    unlike = counts != usual
    return [
        Problem(
            rows=unlike,
            what=f"does not have {usual} options, as most rows do",
            found={int(row): f"has {counts[row]} options where most have {usual}" for row in np.flatnonzero(unlike)},
        ),
        Problem(rows=blank, what="has an option without text"),
    ]


def _pairs(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the two texts of each option's sequence."""
    context, question = row.get("context"), row.get("question")
    if context is None:
        return [(question or "", option) for option in row["options"]]
    if question is None:
        return [(context, option) for option in row["options"]]
    return [
        (context, question.replace(BLANK, option) if question.count(BLANK) == 1 else f"{question} {option}") for option in row["options"]
    ]
