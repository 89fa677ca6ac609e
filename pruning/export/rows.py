"""Rows of an experiment with the values that their source has: as lines, as Python objects, and as Arrow batches."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.data.examples import SOURCE_PREFIX
from pruning.data.readers.source import JSON_TEXT
from pruning.errors import ExportError
from pruning.export.exportable import Exportable

BATCH = 8192
"""Rows in memory at a time."""


class Numeral(float):
    """A decimal that keeps the digits of its source: 1.50 is not written as 1.5."""

    digits: str

    def __new__(cls, digits: str) -> Numeral:
        """Read the digits; NaN, Infinity and -Infinity count."""
        number = super().__new__(cls, digits)
        number.digits = digits
        return number


def parse(line: bytes) -> dict[str, Any]:
    """Read a JSON line with decimals as `Numeral`, those beyond the range of a float as Decimal.

    >>> parse(b'{"x": 1.50, "y": 1e999}')["x"].digits
    '1.50'
    """
    row: dict[str, Any] = json.loads(line.decode("utf-8-sig"), parse_float=_numeral, parse_constant=Numeral)
    return row


def _numeral(digits: str) -> Numeral | Decimal:
    number = Numeral(digits)
    return Decimal(digits) if math.isinf(number) else number


def refused(column: str, example: int | None, reason: str, format: str, better: str) -> ExportError:
    """Return the error for a column that a format cannot hold as the source has it."""
    where = "" if example is None else f" (example {example})"
    return ExportError(f"Column {column!r}{where} cannot be written as {format}: {reason}; export it as {better}.")


def fields(source: Exportable) -> list[pa.Field]:
    """Return the source's own columns, in order, with what was recorded about how to write them."""
    own = [field for field in source.schema if field.name.startswith(SOURCE_PREFIX)]
    return [field.with_name(field.name.removeprefix(SOURCE_PREFIX)) for field in own]


def is_json_text(field: pa.Field) -> bool:
    """Return True for a column whose values are stored as JSON text."""
    return bool((field.metadata or {}).keys() & JSON_TEXT.keys())


def text_only(source: Exportable) -> list[str]:
    """Return the columns that hold dates, times or decimals, which JSON has as text."""
    return [str(field.name) for field in fields(source) if _has_dates(field.type)]


def _has_dates(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_has_dates(kind.field(place).type) for place in range(kind.num_fields))
    return bool(pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind) or pa.types.is_decimal(kind))


def lines(source: Exportable, kept: NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
    """Yield the id and the line in source.jsonl of each kept row; `row` counts lines that are not blank."""
    table = source.examples(["id", "row"])
    ids, rows = np.asarray(table["id"]), np.asarray(table["row"])
    chosen = np.isin(ids, kept)
    ids_of = dict(zip(rows[chosen].tolist(), ids[chosen].tolist(), strict=True))
    row = 0
    with source.folder.source.open("rb") as file:
        for line in file:
            if not line.strip():
                continue
            if row in ids_of:
                yield ids_of[row], line
            row += 1


def objects(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield id and values of each kept row: of source.jsonl where there is one, else of the stored table.

    `labels` (id -> value) replace the source's own.
    """
    if source.folder.source.exists():
        for example, line in lines(source, kept):
            row = parse(line)
            yield example, ({**row, source.settings.label_column: labels[example]} if example in labels else row)
        return
    encoded = [field.name for field in fields(source) if is_json_text(field)]
    for ids, batch in batches(source, kept, labels):
        for example, row in zip(ids.tolist(), batch.to_pylist(), strict=True):
            for name in encoded:
                row[name] = None if row[name] is None else json.loads(row[name])
            yield example, row


def batches(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any]) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
    """Yield ids and the source's own columns of the kept rows as they are stored, in source order, at most `BATCH` at a time."""
    names = [SOURCE_PREFIX + field.name for field in fields(source)]
    column = SOURCE_PREFIX + source.settings.label_column
    with pq.ParquetFile(source.folder.examples) as file:
        for batch in file.iter_batches(batch_size=BATCH, columns=["id", *names]):
            ids = np.asarray(batch["id"])
            chosen = np.isin(ids, kept)
            if not chosen.any():
                continue
            batch, ids = batch.filter(pa.array(chosen)), ids[chosen]
            if labels and column in names and not labels.keys().isdisjoint(ids.tolist()):
                new = [labels.get(i, value) for i, value in zip(ids.tolist(), batch[column].to_pylist(), strict=True)]
                batch = batch.set_column(batch.schema.get_field_index(column), column, pa.array(new, batch.schema.field(column).type))
            batch = batch.select(names)
            yield ids, batch.rename_columns([name.removeprefix(SOURCE_PREFIX) for name in names])


def same_batches(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], format: str) -> Iterator[pa.RecordBatch]:
    """Yield `batches` for a format of typed columns, each compared with the source.

    A row that lacks a column has null there. Raises ExportError naming the first column whose values are not the source's: types are
    mixed, integers rounded, objects given keys that they lack.
    """
    for field in fields(source):
        if is_json_text(field):
            reason = "its values have no type in common that a column can hold (mixed types, integers beyond 64 bits, objects without keys)"
            raise refused(field.name, None, reason, format, "jsonl")
    of_source = objects(source, kept, labels) if source.folder.source.exists() else None
    for ids, batch in batches(source, kept, labels):
        if of_source is not None:
            rows = [next(of_source) for _ in range(batch.num_rows)]
            for name in batch.schema.names:
                _check_column(name, ids, [row.get(name) for _, row in rows], batch[name].to_pylist(), format)
        yield batch


def _check_column(name: str, ids: NDArray[np.int64], expected: list[Any], found: list[Any], format: str) -> None:
    if expected == found:
        return
    for example, before, after in zip(ids.tolist(), expected, found, strict=True):
        if not _same(before, after):
            keys = _added(before, after)
            reason = f"objects without {keys!r} would get it as null" if keys else f"{_short(before)} would become {_short(after)}"
            raise refused(name, example, reason, format, "jsonl")


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, dict):
        return isinstance(after, dict) and before.keys() == after.keys() and all(_same(before[key], after[key]) for key in before)
    if isinstance(before, list):
        return isinstance(after, list) and len(before) == len(after) and all(map(_same, before, after))
    return bool(before == after) or (isinstance(before, float) and isinstance(after, float) and math.isnan(before) and math.isnan(after))


def _added(before: Any, after: Any) -> str:
    """Return the first key that an object, however deep, would gain; empty where none would."""
    if isinstance(before, dict) and isinstance(after, dict):
        new = next((str(key) for key in after if key not in before), "")
        return new or next(filter(None, (_added(before[key], after[key]) for key in before)), "")
    if isinstance(before, list) and isinstance(after, list):
        return next(filter(None, map(_added, before, after)), "")
    return ""


def _short(value: Any) -> str:
    text = value.digits if isinstance(value, Numeral) else str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def as_written(source: Exportable, labels: Mapping[int, str]) -> dict[int, Any]:
    """Return labels by id as the source's own column writes them: a name, a number, a truth value or the index of a declared class."""
    column = SOURCE_PREFIX + source.settings.label_column
    if not labels or column not in source.schema.names:
        return dict(labels)
    encoded = is_json_text(source.schema.field(column))
    stored = source.examples([column])[column]

    def value(row: int) -> Any:
        found = stored[row].as_py()
        return json.loads(found) if encoded and found is not None else found

    written = {}
    if source.labels is not None:
        codes, rows = np.unique(source.labels, return_index=True)
        written = {source.label_names[code]: value(row) for code, row in zip(codes.tolist(), rows.tolist(), strict=True)}
    unseen = {label: _unseen(label, value(0), written, source.label_names) for label in {*labels.values()} - written.keys()}
    written.update(unseen)
    return {example: written[label] for example, label in labels.items()}


def _unseen(label: str, like: Any, written: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return how the source would write a label that no example has, going by a value and by the labels that some have."""
    if isinstance(like, bool):
        return label == "true"
    if isinstance(like, (int, float)):
        by_name = all(str(int(value)) == name for name, value in written.items())
        return type(like)(label if by_name else names.index(label))
    return label
