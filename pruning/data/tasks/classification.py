"""Classification of one text, or of a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pruning.data.readers import Source
from pruning.data.tasks.base import Fields, Guess, Part, Task, TokenWriter, batches, first_named, is_text, model_length, read_text
from pruning.data.tasks.labels import read_labels
from pruning.records import Encoded

TEXT_NAMES = (
    *("text", "sentence", "review", "content", "comment", "tweet", "document", "body", "message", "utterance", "query", "question"),
    *("input", "sentence1", "premise", "title"),
)
"""Names of text columns of single-text sets, the most specific first."""

PAIR_NAMES = (
    ("text", "text_pair"),
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("query", "passage"),
    ("query", "document"),
    ("question", "passage"),
)
"""Names of the two text columns of a pair (SNLI, MNLI, MRPC, SICK, QQP, QNLI, ...)."""

LABEL_NAMES = (
    "label",
    "labels",
    "gold_label",
    "class",
    "target",
    "category",
    "sentiment",
    "intent",
    "coarse_label",
    "rating",
    "stars",
    "answer",
    "y",
)
"""Names of label columns, the most specific first."""


class Classification(Task):
    """Right when the class with the highest logit is the label."""

    name = "classification"
    kind = "classification"
    required = ("text", "label")
    optional = ("text_pair",)

    def guess(self, source: Source, given: Mapping[str, str]) -> Guess | None:
        """Detect columns by the usual names, else as the only column that fits."""
        label, label_reason = _guess_label(source, given)
        texts, text_reason = _guess_texts(source, given, label)
        if label is None or "text" not in texts:
            return None
        columns = {**texts, "label": label}
        return Guess(columns=columns, reason=f"{text_reason}; label is {label!r} ({label_reason})")

    def read(
        self,
        source: Source,
        columns: Mapping[str, str],
        label_names: Sequence[str] | None = None,
        reading: str = "",
        missing_label: str | None = None,
    ) -> Fields:
        """Return texts that are not blank, and labels as class indices."""
        fields, problems = {}, []
        for name in ("text", "text_pair"):
            if name in columns:
                fields[name], problem = read_text(source, columns[name])
                problems.append(problem)
        labels = read_labels(source, columns["label"], label_names, pairs="text_pair" in columns, missing_label=missing_label)
        return Fields(
            columns={"label": labels.values, **fields},
            label_names=labels.names,
            problems=(*problems, labels.missing),
            unlabelled=labels.unlabelled,
            mark=labels.mark,
            notes=labels.notes,
        )

    def encode(self, table: pa.Table, tokenizer: Any, max_length: int) -> Encoded:
        """Return one sequence per example, with the tokenizer's special tokens; of a pair, the longer text is cut first."""
        names = [name for name in ("text", "text_pair") if name in table.column_names]
        writer, truncated = TokenWriter(tokenizer), 0
        limit = model_length(tokenizer, max_length)
        for texts in batches(table, names):
            truncated += int(writer.add(*texts, max_length=limit).sum())
        labels = np.asarray(table["label"].combine_chunks(), dtype=np.int64)
        return Encoded(
            kind="classification",
            **writer.arrays(),
            unit_offsets=np.arange(table.num_rows + 1),
            labels=labels,
            classes=int(labels.max()) + 1,
            truncated=truncated,
        )

    def metrics(self, table: pa.Table, outputs: NDArray[np.float32], encoded: Encoded) -> dict[str, float]:
        """Return accuracy, macro-F1 over the classes that occur or are predicted, and Matthews' correlation."""
        from sklearn.metrics import accuracy_score, f1_score

        gold, predicted = encoded.labels, outputs.argmax(axis=1)
        return {
            "accuracy": float(accuracy_score(gold, predicted)),
            "macro_f1": float(f1_score(gold, predicted, average="macro", zero_division=0)),
            "mcc": correlation(gold, predicted),
        }

    def display(self, row: Mapping[str, Any], label_names: Sequence[str] = ()) -> tuple[Part, ...]:
        """Return the text, or the two texts."""
        pair = row.get("text_pair")
        return (
            (Part(name="text", text=row["text"]),)
            if pair is None
            else (Part(name="text 1", text=row["text"]), Part(name="text 2", text=pair))
        )


def _guess_label(source: Source, given: Mapping[str, str]) -> tuple[str | None, str]:
    if "label" in given:
        return given["label"], "as asked"
    taken = set(given.values())
    declared = [column for column in source.class_names if column not in taken]
    if len(declared) == 1:
        return declared[0], "it declares classes"
    named = first_named(source, (name for name in LABEL_NAMES if name not in taken))
    if named is not None:
        return named, "by its name"
    rest = [column for column in source.table.column_names if column not in taken]
    texts = [column for column in rest if is_text(source, column)]
    if len(rest) == 2 and len(texts) == 1:
        return next(column for column in rest if column not in texts), "the only column that is not a text"
    return None, ""


def _guess_texts(source: Source, given: Mapping[str, str], label: str | None) -> tuple[dict[str, str], str]:
    texts = {field: column for field, column in given.items() if field in ("text", "text_pair")}
    if "text" in texts:
        return texts, f"text is {texts['text']!r} (as asked){_second(texts)}"
    there = {column.lower(): column for column in source.table.column_names if column != label}
    for first, second in PAIR_NAMES:
        if first in there and second in there and texts.get("text_pair", there[second]) == there[second]:
            return {
                "text": there[first],
                "text_pair": there[second],
            }, f"the pair is {there[first]!r} and {there[second]!r} (by their names)"
    named = first_named(source, (name for name in TEXT_NAMES if there.get(name, label) != label and there[name] not in texts.values()))
    if named is not None:
        return {"text": named, **texts}, f"text is {named!r} (by its name){_second(texts)}"
    candidates = [column for column in there.values() if is_text(source, column) and column not in texts.values()]
    if len(candidates) == 1:
        return {"text": candidates[0], **texts}, f"text is {candidates[0]!r} (the only column of text){_second(texts)}"
    return texts, ""


def _second(texts: Mapping[str, str]) -> str:
    return f"; text_pair is {texts['text_pair']!r} (as asked)" if "text_pair" in texts else ""


def correlation(gold: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Return Matthews' correlation of two labellings [N], -1..1; 0 where one of them has a single class.

    Computed from the counts of each class, without the table of classes x classes that scikit-learn makes.

    >>> correlation(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]))
    0.5773502691896258
    """
    size = 1 + max(int(gold.max(initial=0)), int(predicted.max(initial=0)))
    given, said = (np.bincount(labels, minlength=size).astype(np.float64) for labels in (gold, predicted))
    total = float(len(gold))
    spread = (total**2 - said @ said) * (total**2 - given @ given)
    return float(((gold == predicted).sum() * total - given @ said) / np.sqrt(spread)) if spread else 0.0
