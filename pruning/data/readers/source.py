"""What every reader makes: a named table whose rows a person can find again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """Rows as they were found."""

    name: str
    """As a person named it, for messages."""
    table: pa.Table
    """One row per row of the source, under the source's own column names."""
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the classes of the columns that declare them (ClassLabel)."""
    mixed: Mapping[str, str] = field(default_factory=dict)
    """Columns whose values have no common type, kept as JSON text, and what they mix, in words."""
    lines: NDArray[np.int64] | None = None
    """[rows] 1-based line on which each row ends, where the source has lines."""
    jsonl: Path | None = None
    """The file, when the source is JSON lines."""
    notes: tuple[str, ...] = ()
    """What was decided while reading, in sentences."""

    def place(self, row: int) -> str:
        """Where a person finds row `row` (from 0): its line, or its number counted from 1."""
        return f"{self.name} line {self.lines[row]}" if self.lines is not None else f"{self.name} row {row + 1}"


def as_json(values: Iterable[Any]) -> pa.Array:
    """Values as JSON text; what JSON does not have (dates, bytes) as its Python text."""
    return pa.array([None if value is None else json.dumps(value, default=str) for value in values], pa.string())


def storable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column, as JSON text where Parquet has no place for its type (an object without keys, a union)."""
    if not pa.types.is_nested(column.type):
        return column
    try:
        pq.write_table(pa.table({"column": column.slice(0, 0)}), pa.BufferOutputStream())
        return column
    except pa.ArrowException:
        return pa.chunked_array([as_json(chunk.to_pylist()) for chunk in column.chunks], pa.string())


def one_line(error: BaseException) -> str:
    """The first line of an error's own words, without its full stop."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300].rstrip(". ")
