"""The result of every reader: a named table that knows the line or row number of each row."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.data.readers.files import File
from pruning.data.readers.origin import Origin


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """Rows as they were read."""

    name: str
    """As typed, for messages."""
    table: pa.Table
    """One row per row of the source, under the source's own column names."""
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column -> names of its classes, where it declares them (ClassLabel)."""
    mixed: Mapping[str, str] = field(default_factory=dict)
    """Column whose values have no common type, stored as JSON text -> the types, in words."""
    lines: NDArray[np.int64] | None = None
    """[rows] 1-based line on which each row ends, where the source has lines; 0 in a file that has none."""
    starts: tuple[int, ...] = ()
    """First row of each of the origin's files."""
    origin: Origin | None = None
    """The files it was read from; None for the hub."""
    notes: tuple[str, ...] = ()
    """Decisions made while reading, in sentences."""

    def place(self, row: int) -> str:
        """Return where row `row` (from 0) is: its line, or its number counted from 1."""
        if self.origin is None or not self.starts:
            return f"{self.name} row {row + 1}"
        return place_of(self.origin.files, self.starts, self.lines, row)


JSON_TEXT = {b"winnow:json": b"1"}
"""Metadata of a column that stores each value as JSON text, because the values have no type in common."""

FEATURE = b"winnow:feature"
"""Metadata of a column whose feature (ClassLabel and others) the source declares: that feature as `datasets` describes it, in JSON."""

PRINTED = b"winnow:printed"
"""Metadata of a column of a CSV or TSV file: how its numbers were written (see `printed`), or "text"."""


def printed(number: float, way: bytes) -> str:
    """Return a number as a CSV file wrote it: "number" as Python does, "short" without .0, "fixed N" with N decimals.

    >>> printed(1.5, b"fixed 2"), printed(2.0, b"short"), printed(2.0, b"number")
    ('1.50', '2', '2.0')
    """
    if way.startswith(b"fixed "):
        return f"{number:.{int(way[6:])}f}"
    return str(int(number)) if way == b"short" and number == int(number) else repr(number)


def place_of(files: Sequence[File], starts: Sequence[int], lines: Sequence[int] | NDArray[np.int64] | None, row: int) -> str:
    """Return where row `row` (from 0) is: its file, and its line or its number there, counted from 1."""
    place = bisect_right(starts, row) - 1
    line = 0 if lines is None else int(lines[row])
    return f"{files[place]} line {line}" if line else f"{files[place]} row {row - starts[place] + 1}"


def name_of(files: Sequence[File]) -> str:
    """Return one name for all of these files."""
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more file{'s' if len(files) > 2 else ''}"


def as_json(values: Iterable[Any]) -> pa.Array:
    """Return values as JSON text; dates, bytes and others that JSON lacks as their Python text."""
    return pa.array([None if value is None else json.dumps(value, default=str) for value in values], pa.string())


def storable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the column, as JSON text where Parquet cannot store its type (an object without keys, a union)."""
    if not pa.types.is_nested(column.type):
        return column
    try:
        pq.write_table(pa.table({"column": column.slice(0, 0)}), pa.BufferOutputStream())
        return column
    except pa.ArrowException:
        return pa.chunked_array([as_json(chunk.to_pylist()) for chunk in column.chunks], pa.string())


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, without its full stop."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300].rstrip(". ")
