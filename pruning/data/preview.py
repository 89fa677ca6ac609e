"""The first look at a source: its columns, the detected task, its labels, and why it could not be scored as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pruning.data.examples import counts_of, ids_of, read_source, rows_kept, too_few_classes
from pruning.data.readers import Source
from pruning.data.tasks import detect
from pruning.errors import DataError, UsageError


@dataclass(frozen=True, eq=False, kw_only=True)
class Column:
    """A source column as shown to the user."""

    name: str
    type: str
    """In words: text, whole number, decimal, true or false, class, list, object, nothing, mixed, other."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Preview:
    """The first look at a source: its rows, columns, detected task and labels."""

    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    """The first rows, by column."""
    total: int
    """Rows in the source."""
    task: str | None
    """None when it could not be detected."""
    mapping: Mapping[str, str]
    """Field -> column; empty when it could not be detected."""
    label_counts: Mapping[str, int]
    """Class -> examples."""
    notes: tuple[str, ...]
    """Columns detected and rows dropped, in sentences."""
    problem: str | None
    """Why this cannot be scored as it is, in one sentence; None when it can."""


def preview(
    data: str | Path,
    rows: int = 5,
    *,
    task: str = "auto",
    columns: Mapping[str, str] | None = None,
    drop_invalid: bool = False,
    id_column: str | None = None,
    missing_label: str | None = None,
    header: bool | None = None,
) -> Preview:
    """Return the first `rows` rows of a source, and how scoring would read it; options as those of `examples.load`.

    Raises DataError only when the source cannot be read at all; why a readable one cannot be scored is its `problem`.
    """
    source = read_source(data, None, header)
    chosen: str | None = None
    mapping: dict[str, str] = {}
    notes: tuple[str, ...] = source.notes
    counts: dict[str, int] = {}
    problem = None
    try:
        found, guess = detect(source, task, columns)
        chosen, mapping, notes = found.name, dict(guess.columns), (f"Task {found.name}: {guess.reason}.", *source.notes)
        fields = found.read(source, guess.columns, missing_label=missing_label)
        keep, dropped = rows_kept(source, fields, drop_invalid)
        notes, counts = (*notes, *dropped), counts_of(fields, keep)
        ids_of(source, id_column, keep)
        problem = too_few_classes(counts) if fields.label_names else None
    except (DataError, UsageError) as error:
        problem = str(error)
    return Preview(
        columns=tuple(Column(name=name, type=_in_words(source, name)) for name in source.table.column_names),
        rows=tuple(source.table.slice(0, rows).to_pylist()),
        total=source.table.num_rows,
        task=chosen,
        mapping=mapping,
        label_counts=counts,
        notes=notes,
        problem=problem,
    )


def _in_words(source: Source, column: str) -> str:
    if column in source.class_names:
        return "class"
    if column in source.mixed:
        return "mixed"
    kind = source.table.schema.field(column).type
    for name, is_kind in _TYPE_WORDS.items():
        if is_kind(kind):
            return name
    return "other"


_TYPE_WORDS = {
    "text": pa.types.is_string,
    "whole number": pa.types.is_integer,
    "decimal": pa.types.is_floating,
    "true or false": pa.types.is_boolean,
    "list": pa.types.is_list,
    "object": pa.types.is_struct,
    "nothing": pa.types.is_null,
}
