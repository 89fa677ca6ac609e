"""CSV and TSV, read strictly: a row of another width or an open quote is named with its line, never guessed at."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pruning.data.readers import limits
from pruning.data.readers.source import Source
from pruning.errors import DataError


def read_csv(path: Path) -> Source:
    """Comma-separated values with a header; semicolons where the header has them and no comma."""
    return _read_delimited(path, ";" if _header_has_only_semicolons(path) else ",", csv.QUOTE_MINIMAL)


def read_tsv(path: Path) -> Source:
    """Tab-separated values: quotes are taken as quotes only when every field that begins with one ends with one on its line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        fields = (field for line in file for field in line.rstrip("\r\n").split("\t") if field.startswith('"'))
        quoted = all(len(field) > 1 and field.endswith('"') for field in fields)
    return _read_delimited(path, "\t", csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)


def _header_has_only_semicolons(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline(1 << 16)
    return ";" in header and "," not in header


def _read_delimited(path: Path, delimiter: str, quoting: int) -> Source:
    csv.field_size_limit(2**31 - 1)
    lines: list[int] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
        try:
            names = _header(path, next(filter(None, reader), []))
            chunks: list[list[pa.Array]] = []
            while rows := list(islice(_csv_rows(path, reader, names, lines), limits.CHUNK)):
                chunks.append([pa.array(column, pa.string()) for column in zip(*rows, strict=True)])
        except csv.Error as error:
            raise DataError(f"{path} line {reader.line_num} is not well-formed: {error}.") from None
    columns = [_typed(pa.chunked_array(parts, pa.string())) for parts in (zip(*chunks, strict=True) if chunks else [[]] * len(names))]
    return Source(name=str(path), table=pa.table(columns, names=names), lines=np.asarray(lines, dtype=np.int64))


def _header(path: Path, names: list[str]) -> list[str]:
    if len(names) > limits.MAX_COLUMNS:
        raise DataError(f"{path} has {len(names)} columns; at most {limits.MAX_COLUMNS} can be read.")
    names = [name.strip() or f"column {number}" for number, name in enumerate(names, 1)]
    repeated = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if repeated:
        raise DataError(f"{path} has two columns named {repeated[0]!r}; each needs its own name.")
    return names


def _csv_rows(path: Path, reader: Any, names: list[str], lines: list[int]) -> Iterator[list[str]]:
    for row in reader:
        if not row:
            continue
        if len(row) != len(names):
            raise DataError(f"{path} line {reader.line_num} has {len(row)} values; the header names {len(names)} columns.")
        lines.append(reader.line_num)
        yield row


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as integers or decimals, where no value loses anything by it ("007" stays text, and so do "1.1" beside "1.10")."""
    filled = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    if filled.null_count == len(filled):
        return column
    plain = pc.all(pc.match_substring_regex(filled, r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?$")).as_py()
    if not plain:
        return column
    if not pc.any(pc.match_substring(filled, ".")).as_py():
        return filled.cast(pa.int64())
    numbers = filled.cast(pa.float64())
    return numbers if pc.count_distinct(numbers).as_py() == pc.count_distinct(filled).as_py() else column
