"""Extractive question answering: the answer is a piece of the context, or there is none (SQuAD 1.1 and 2.0)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pruning.data.readers import Source
from pruning.data.tasks import squad
from pruning.data.tasks.base import Fields, Guess, Part, Problem, Task, batches, first_named, is_text, model_length, read_text
from pruning.errors import DataError
from pruning.records import Encoded

ANSWERS = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int64()))])
"""Type of stored answers, as in the hub's SQuAD. Two empty lists mean that the context has no answer."""


class QuestionAnswering(Task):
    """Right when start and end are exact in every window of the context; without an answer, both are the first token (CLS)."""

    name = "question-answering"
    kind = "span"
    required = ("question", "context", "answers")
    max_length = 384

    def guess(self, source: Source, given: Mapping[str, str]) -> Guess | None:
        """Detect columns by name and type: answers are {"text": [...], "answer_start": [...]}, or a list of objects with one of each."""
        columns = dict(given)
        for field, names in (
            ("question", ("question",)),
            ("context", ("context", "passage", "paragraph")),
            ("answers", ("answers", "answer")),
        ):
            named = first_named(source, names)
            if named is not None:
                columns.setdefault(field, named)
        if len(columns) < 3 or not _holds_answers(source, columns["answers"]):
            return None
        if not all(is_text(source, columns[field]) for field in ("question", "context")):
            return None
        ordered = {field: columns[field] for field in self.required}
        return Guess(columns=ordered, reason="; ".join(f"{field} is {column!r}" for field, column in ordered.items()))

    def read(
        self,
        source: Source,
        columns: Mapping[str, str],
        label_names: Sequence[str] | None = None,
        reading: str = "",
        missing_label: str | None = None,
    ) -> Fields:
        """Return question, context, answers; the label is 1 where there is an answer and 0 where there is none."""
        question, no_question = read_text(source, columns["question"])
        context, no_context = read_text(source, columns["context"])
        if not _holds_answers(source, columns["answers"]):
            kind = source.table[columns["answers"]].type
            raise DataError(f"Column {columns['answers']!r} of {source.name} holds {kind}; answers need text and answer_start.")
        answers = [_answers(value) for value in source.table[columns["answers"]].to_pylist()]
        label = pa.array([None if own is None else int(bool(own["text"])) for own in answers], pa.int64())
        missing = np.asarray([own is None for own in answers], dtype=np.bool_)
        return Fields(
            columns={
                "label": pa.chunked_array([label]),
                "question": question,
                "context": context,
                "answers": pa.chunked_array([pa.array(answers, ANSWERS)]),
            },
            problems=(
                no_question,
                no_context,
                Problem(rows=missing, what=f"has no whole answers in {columns['answers']!r} (an empty list means: no answer)"),
                _misplaced(context.to_pylist(), answers),
            ),
        )

    def encode(self, table: pa.Table, tokenizer: Any, max_length: int) -> Encoded:
        """Return one sequence per window: the question, then a piece of the context that overlaps the last by a third of `max_length` (the
        paper's 128 of 384 tokens). Labels are the first answer's first and last token, (0, 0) where the window does not hold it whole.

        Raises DataError for a question that leaves no room for its context.
        """
        limit = model_length(tokenizer, max_length)
        typed = "token_type_ids" in tokenizer.model_input_names
        parts: list[tuple[NDArray[np.int32], NDArray[np.int8] | None, NDArray[np.int32], tuple[int, int]]] = []
        counts: list[int] = []
        for ids, questions, contexts, answers in batches(table, ["id", "question", "context", "answers"], size=256):
            _check_room(tokenizer, ids, questions, limit)
            encoded = tokenizer(
                [question.lstrip() for question in questions],
                contexts,
                truncation="only_second",
                max_length=limit,
                stride=limit // 3,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
                return_token_type_ids=typed,
            )
            owners = encoded["overflow_to_sample_mapping"]
            counts += np.bincount(owners, minlength=len(ids)).tolist()
            parts += _windows(encoded, owners, answers, typed)
        lengths = [len(tokens) for tokens, *_ in parts]
        return Encoded(
            kind="span",
            tokens=np.concatenate([tokens for tokens, *_ in parts]),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            unit_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            labels=np.asarray([label for *_, label in parts], dtype=np.int64),
            token_types=np.concatenate([types for _, types, *_ in parts if types is not None]) if typed else None,
            characters=np.concatenate([characters for _, _, characters, _ in parts]),
        )

    def metrics(self, table: pa.Table, outputs: NDArray[np.float32], encoded: Encoded) -> dict[str, float]:
        """Return F1 and exact match by the official rules, over all questions and over those with and without an answer."""
        gold = [answers["text"] for answers in table["answers"].to_pylist()]
        predicted = [
            "" if span is None else context[slice(*span)]
            for context, span in zip(table["context"].to_pylist(), _spans(outputs, encoded), strict=True)
        ]
        f1 = np.asarray([squad.f1(answer, own) for answer, own in zip(predicted, gold, strict=True)])
        exact = np.asarray([squad.exact_match(answer, own) for answer, own in zip(predicted, gold, strict=True)])
        answered = np.asarray([bool(own) for own in gold])
        metrics = {"f1": float(f1.mean()), "exact_match": float(exact.mean())}
        if answered.any() and not answered.all():
            metrics |= {"answer_f1": float(f1[answered].mean()), "no_answer_f1": float(f1[~answered].mean())}
        return metrics

    def display(self, row: Mapping[str, Any], label_names: Sequence[str] = ()) -> tuple[Part, ...]:
        """Return the question, and the context with every distinct answer marked."""
        answers = row["answers"]
        spans = {(start, start + len(text)) for start, text in zip(answers["answer_start"], answers["text"], strict=True)}
        context = Part(name="context", text=row["context"], spans=tuple(sorted(spans)))
        said = tuple(Part(name="answer", text=text, right=True) for text in dict.fromkeys(answers["text"]))
        return (
            Part(name="question", text=row["question"]),
            context,
            *(said or (Part(name="answer", text="(none in this context)", right=True),)),
        )


def _holds_answers(source: Source, column: str) -> bool:
    kind = source.table.schema.field(column).type
    inner = kind.value_type if pa.types.is_list(kind) else kind
    return column not in source.mixed and pa.types.is_struct(inner) and {"text", "answer_start"} <= {part.name for part in inner}


def _answers(value: Any) -> dict[str, list[Any]] | None:
    """Return one row's answers as two lists; None where they are missing or incomplete."""
    if isinstance(value, list):
        value = {name: [(one or {}).get(name) for one in value] for name in ("text", "answer_start")}
    if value is None:
        return None
    both = [own if isinstance(own, list) else [own] for own in (value["text"], value["answer_start"])]
    if len(both[0]) != len(both[1]) or not all(isinstance(text, str) and text for text in both[0]):
        return None
    if not all(type(start) is int for start in both[1]):
        return None
    return {"text": both[0], "answer_start": both[1]}


def _misplaced(contexts: Sequence[str | None], answers: Sequence[dict[str, list[Any]] | None]) -> Problem:
    """Return the rows with an answer that is not at its position in the context."""
    found = {}
    for row, (context, own) in enumerate(zip(contexts, answers, strict=True)):
        if own is None or context is None:
            continue
        for text, start in zip(own["text"], own["answer_start"], strict=True):
            if start < 0 or context[start : start + len(text)] != text:
                there = context[start : start + len(text)] if start >= 0 else ""
                found[row] = f"has the answer {text[:60]!r} at character {start}, where its context reads {there[:60]!r}"
    rows = np.zeros(len(answers), dtype=np.bool_)
    rows[list(found)] = True
    return Problem(rows=rows, what="has an answer that is not where it says", found=found)


def _check_room(tokenizer: Any, ids: Sequence[int], questions: Sequence[str], limit: int) -> None:
    """Raise DataError for a question that leaves too little room for the context."""
    special = tokenizer.num_special_tokens_to_add(pair=True)
    lengths = [len(tokens) for tokens in tokenizer(list(questions), add_special_tokens=False)["input_ids"]]
    for example, length in zip(ids, lengths, strict=True):
        if length + special + limit // 3 >= limit:
            raise DataError(
                f"The question of example {example} has {length} tokens, too many for windows of {limit} that hold its context too; "
                "raise --max-length up to the model's limit, or leave the example out."
            )


def _windows(
    encoded: Any, owners: Sequence[int], answers: Sequence[Mapping[str, list[Any]]], typed: bool
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int8] | None, NDArray[np.int32], tuple[int, int]]]:
    """Return token ids, segment ids, character ranges and label of each window."""
    for index, owner in enumerate(owners):
        tokens = np.asarray(encoded["input_ids"][index], dtype=np.int32)
        types = np.asarray(encoded["token_type_ids"][index], dtype=np.int8) if typed else None
        characters = np.asarray(encoded["offset_mapping"][index], dtype=np.int32).reshape(-1, 2)
        outside = np.asarray([sequence != 1 for sequence in encoded.sequence_ids(index)], dtype=np.bool_)
        characters[outside] = -1
        yield tokens, types, characters, _label(characters, answers[owner])


def _label(characters: NDArray[np.int32], answers: Mapping[str, list[Any]]) -> tuple[int, int]:
    """Return first and last token of the first answer; the first token twice where the window does not contain all of it."""
    inside = np.flatnonzero(characters[:, 0] >= 0)
    if not answers["text"] or not len(inside):
        return 0, 0
    start = answers["answer_start"][0]
    end = start + len(answers["text"][0])
    if start < characters[inside[0], 0] or end > characters[inside[-1], 1]:
        return 0, 0
    first = inside[np.searchsorted(characters[inside, 0], start, side="right") - 1]
    last = inside[np.searchsorted(characters[inside, 1], end, side="left")]
    return int(first), int(last)


def _spans(outputs: NDArray[np.float32], encoded: Encoded) -> Iterator[tuple[int, int] | None]:
    """Return the predicted answer of each question."""
    assert encoded.characters is not None
    for unit in range(encoded.units):
        windows = range(encoded.unit_offsets[unit], encoded.unit_offsets[unit + 1])
        ranges = [encoded.characters[encoded.offsets[window] : encoded.offsets[window + 1]] for window in windows]
        yield squad.best_span([outputs[window][: len(own)] for window, own in zip(windows, ranges, strict=True)], ranges)
