"""Base class of the tasks: where fields come from, how examples are encoded, measured and shown."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pruning.data.readers import Source
from pruning.errors import DataError
from pruning.records import Encoded, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """The column that each field of a task comes from."""

    columns: Mapping[str, str]
    """Field -> source column."""
    reason: str
    """How they were detected, in words, e.g. "text is 'sentence', label is 'label' (by name)"."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Problem:
    """A reason why rows cannot be examples."""

    rows: NDArray[np.bool_]
    """[rows] mask of these rows."""
    what: str
    """The problem in words that follow the row's line, such as "has no text in 'sentence'"."""
    found: Mapping[int, str] = field(default_factory=dict)
    """Row -> the problem with the row's own value, where that says more."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fields:
    """A task's fields as read from a source, every array [rows]."""

    columns: Mapping[str, pa.ChunkedArray]
    """Field -> values; the label as class index, null where there is none."""
    label_names: tuple[str, ...] = ()
    """Names of the classes; empty where the task has none."""
    reading: str = ""
    """How the labels are written, as detected; empty where there is one way only."""
    problems: tuple[Problem, ...] = ()
    """Rows that are refused, or dropped with --drop-invalid."""
    unlabelled: NDArray[np.bool_] | None = None
    """[rows] mask of rows marked as having no label; always dropped."""
    mark: str = ""
    """How they are marked."""
    notes: tuple[str, ...] = ()
    """Decisions made while reading, in sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of an example as it is shown: plain text, escaped by the page that draws it."""

    name: str
    """Such as text, premise, question, option A."""
    text: str
    right: bool | None = None
    """True for the right answer, False for another; None for a piece that is not an answer."""
    spans: tuple[tuple[int, int], ...] = ()
    """Character ranges of `text` to mark."""


class Task(ABC):
    """One task. An instance holds no state; `pruning.data.tasks.TASKS` lists them all."""

    name: ClassVar[str]
    """As typed after --task."""
    kind: ClassVar[Kind]
    """The kind of prediction of the model's head."""
    required: ClassVar[tuple[str, ...]]
    """Fields that must have a column, the label included."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Fields that may have a column."""
    max_length: ClassVar[int] = 128
    """Tokens per sequence in the paper's recipe."""
    scored: ClassVar[bool] = True
    """False for data that Winnow does not fine-tune on: never detected, only by name."""

    @property
    def all_fields(self) -> tuple[str, ...]:
        """All fields that can be given a column."""
        return (*self.required, *self.optional)

    @property
    def wanted(self) -> str:
        """The fields it needs, in words."""
        return ", ".join(self.required)

    @abstractmethod
    def guess(self, source: Source, given: Mapping[str, str]) -> Guess | None:
        """Return the columns of this task's fields, keeping those given; None when the source does not fit the task."""

    @abstractmethod
    def read(
        self,
        source: Source,
        columns: Mapping[str, str],
        label_names: Sequence[str] | None = None,
        reading: str = "",
        missing_label: str | None = None,
    ) -> Fields:
        """Return the fields of every row.

        `label_names` fixes the classes and `reading` how labels are written (`Fields.reading`); evaluation data gets those of the
        training data. `missing_label` is the value that means "no label". Raises DataError where a column does not fit its field.
        """

    @abstractmethod
    def encode(self, table: pa.Table, tokenizer: Any, max_length: int) -> Encoded:
        """Return the examples as token ids. `tokenizer` is any fast tokenizer of transformers.

        Raises DataError, naming the example, when one cannot be encoded.
        """

    @abstractmethod
    def metrics(self, table: pa.Table, outputs: NDArray[np.float32], encoded: Encoded) -> dict[str, float]:
        """Return metrics of a model's raw outputs on these examples, each 0..1 (mcc -1..1), the headline metric first."""

    @abstractmethod
    def display(self, row: Mapping[str, Any], label_names: Sequence[str] = ()) -> tuple[Part, ...]:
        """Return one row of `Examples.table` as it is shown, in reading order, without its label's name."""


def first_named(source: Source, names: Iterable[str]) -> str | None:
    """Return the source's first column, in the order of `names`, whose name is one of them, ignoring case."""
    there = {column.lower(): column for column in reversed(source.table.column_names)}
    return next((there[name] for name in names if name in there), None)


def is_text(source: Source, column: str) -> bool:
    """Return True for a column of text, of nulls only (so that its rows can be named one by one), or of text in most rows."""
    kind = source.table.schema.field(column).type
    if column in source.mixed:
        return 2 * int(mask(_is_json_text(source.table[column])).sum()) > source.table.num_rows
    return pa.types.is_string(kind) or pa.types.is_null(kind)


def read_text(source: Source, column: str) -> tuple[pa.ChunkedArray, Problem]:
    """Return a column of text and the rows where it is missing, blank, or not text.

    Raises DataError when it does not hold text.
    """
    values = source.table[column]
    if not is_text(source, column):
        if column in source.mixed:
            raise DataError(f"Column {column!r} of {source.name} mixes {source.mixed[column]}; it must hold text only.")
        raise DataError(f"Column {column!r} of {source.name} holds {values.type}; it must hold text.")
    found: dict[int, str] = {}
    if column in source.mixed:
        strange = ~mask(_is_json_text(values)) & ~mask(values.is_null())
        found = {int(row): f"has {str(values[int(row)])[:60]} in {column!r}, which holds text elsewhere" for row in np.flatnonzero(strange)}
        decoded = [None if text is None or row in found else json.loads(text) for row, text in enumerate(values.to_pylist())]
        values = pa.chunked_array([pa.array(decoded, pa.string())])
    values = values.cast(pa.string())
    filled = pc.match_substring_regex(values, r"[^\s\x00]").fill_null(False)
    return values, Problem(rows=~mask(filled), what=f"has no text in {column!r}", found=found)


def _is_json_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.starts_with(values, '"').fill_null(False)


def mask(values: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return a boolean column without nulls as a numpy array."""
    return np.asarray(values.combine_chunks(), dtype=np.bool_) if len(values) else np.zeros(0, dtype=np.bool_)


def model_length(tokenizer: Any, max_length: int) -> int:
    """Return `max_length`, or the maximum length that the tokenizer names where that is less."""
    return min(max_length, int(tokenizer.model_max_length))


class TokenWriter:
    """Collects batches of fast-tokenizer encodings in flat arrays."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.typed = "token_type_ids" in tokenizer.model_input_names
        self._tokens: list[NDArray[np.int32]] = []
        self._types: list[NDArray[np.int8]] = []
        self._lengths: list[NDArray[np.int64]] = []

    def add(self, *texts: Sequence[str], max_length: int) -> NDArray[np.bool_]:
        """Encode texts (or pairs of texts), one sequence each; return a mask of those that were cut."""
        encoded = self.tokenizer(
            *texts, truncation=True, max_length=max_length, return_attention_mask=False, return_token_type_ids=self.typed
        )
        filler = next(token for token in (self.tokenizer.unk_token_id, self.tokenizer.eos_token_id, 0) if token is not None)
        ids = [sequence or [filler] for sequence in encoded["input_ids"]]
        self._lengths.append(np.fromiter(map(len, ids), dtype=np.int64, count=len(ids)))
        self._tokens.append(_flat(ids, np.int32))
        if self.typed:
            self._types.append(_flat([sequence or [0] for sequence in encoded["token_type_ids"]], np.int8))
        return np.fromiter((bool(one.overflowing) for one in encoded.encodings), dtype=np.bool_, count=len(ids))

    def arrays(self) -> dict[str, Any]:
        """Return tokens, offsets and token_types of everything added, as arguments of `Encoded`."""
        lengths = np.concatenate(self._lengths)
        return {
            "tokens": np.concatenate(self._tokens),
            "offsets": np.concatenate([[0], np.cumsum(lengths)]),
            "token_types": np.concatenate(self._types) if self.typed else None,
        }


def _flat(sequences: Sequence[Sequence[int]], dtype: Any) -> NDArray[Any]:
    return np.fromiter((token for sequence in sequences for token in sequence), dtype=dtype, count=sum(map(len, sequences)))


def batches(table: pa.Table, columns: Sequence[str], size: int = 2048) -> Iterable[list[list[Any]]]:
    """Yield the named columns as Python lists, `size` rows at a time."""
    for start in range(0, table.num_rows, size):
        part = table.slice(start, size)
        yield [part[column].to_pylist() for column in columns]


def preview_values(values: Iterable[Any], limit: int = 8) -> str:
    """Return some values for a message: "a, b, c ...".

    >>> preview_values(["a", "b", "c"], limit=2)
    'a, b ...'
    """
    shown = list(islice(values, limit + 1))
    return ", ".join(map(str, shown[:limit])) + (" ..." if len(shown) > limit else "")
