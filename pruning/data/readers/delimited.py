"""Read CSV and TSV strictly: a row with another number of values or an open quote is an error that names the line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pruning.data.readers import limits
from pruning.data.readers.files import File
from pruning.data.readers.origin import Origin
from pruning.data.readers.source import PRINTED, Source, name_of, place_of, printed
from pruning.errors import DataError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""Delimiters of .csv files, in the order in which they are tried."""

LOOK = 20
"""Number of first records used to detect the delimiter."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def read_csv(files: Sequence[File], header: bool | None = None) -> Source:
    """Read comma-separated values; other delimiters where the first records fit only one of those.

    `header` is False for files without one; None refuses a first line that looks like data.
    """
    delimiter = _delimiter(files[0])
    notes = () if delimiter == "," else (f"{files[0]} is read as separated by {DELIMITERS[delimiter]}.",)
    return _read_delimited(files, delimiter, csv.QUOTE_MINIMAL, header, notes)


def read_tsv(files: Sequence[File], header: bool | None = None) -> Source:
    """Read tab-separated values; quotes delimit fields only when every field that begins with one ends with one on its line."""
    quoted = True
    for one in files:
        with one.open(encoding="utf-8-sig", newline="") as file:
            fields = (field for line in file for field in line.rstrip("\r\n").split("\t") if field.startswith('"'))
            quoted = quoted and all(len(field) > 1 and field.endswith('"') for field in fields)
    return _read_delimited(files, "\t", csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, header, ())


def _delimiter(file: File) -> str:
    """Return the first delimiter that splits all of the first records into the same number of values, two or more; else the comma."""
    for delimiter in DELIMITERS:
        with file.open(encoding="utf-8-sig", newline="") as open_file:
            try:
                rows = list(islice(filter(None, csv.reader(open_file, delimiter=delimiter)), LOOK))
            except csv.Error:
                continue
        if len({len(row) for row in rows}) == 1 and len(rows[0]) > 1:
            return delimiter
    with file.open(encoding="utf-8-sig", newline="") as open_file:
        first = open_file.readline(1 << 16)
    return next((delimiter for delimiter in DELIMITERS if delimiter in first), ",")


def _read_delimited(files: Sequence[File], delimiter: str, quoting: int, header: bool | None, notes: tuple[str, ...]) -> Source:
    csv.field_size_limit(2**31 - 1)
    names: list[str] = []
    lines: list[int] = []
    starts: list[int] = []
    chunks: list[list[pa.Array]] = []
    for one in files:
        starts.append(len(lines))
        with one.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
            try:
                first = next(filter(None, reader), [])
                own = _header(one, first) if header is not False else [f"column {number}" for number in range(1, len(first) + 1)]
                if names and own != names:
                    raise DataError(f"{one} has the columns {', '.join(own[:20])}, but {files[0]} has {', '.join(names[:20])}.")
                names = own
                rows = _csv_rows(one, reader, names, lines, [] if header is not False else [first])
                while some := list(islice(rows, limits.CHUNK)):
                    chunks.append([pa.array(column, pa.string()) for column in zip(*some, strict=True)])
            except csv.Error as error:
                raise DataError(f"{one} line {reader.line_num} is not well-formed: {error}.") from None
    texts = [pa.chunked_array(parts, pa.string()) for parts in (zip(*chunks, strict=True) if chunks else [[]] * len(names))]
    if header is None and lines:
        _refuse_data(place_of(files, starts, None, 0).rpartition(" row ")[0], names, texts)
    columns = [_typed(text) for text in texts]
    fields = [pa.field(name, column.type, metadata={PRINTED: way}) for name, (column, way) in zip(names, columns, strict=True)]
    return Source(
        name=name_of(files),
        table=pa.table([column for column, _ in columns], schema=pa.schema(fields)),
        lines=np.asarray(lines, dtype=np.int64),
        starts=tuple(starts),
        origin=Origin(files=tuple(files)),
        notes=notes,
    )


def _header(file: File, names: list[str]) -> list[str]:
    if len(names) > limits.MAX_COLUMNS:
        raise DataError(f"{file} has {len(names)} columns; at most {limits.MAX_COLUMNS} can be read.")
    names = [name.strip() or f"column {number}" for number, name in enumerate(names, 1)]
    repeated = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if repeated:
        raise DataError(
            f"{file} has two columns named {repeated[0]!r}; each needs its own name (--no-header if the first line is data, not names)."
        )
    return names


def _refuse_data(name: str, names: Sequence[str], texts: Sequence[pa.ChunkedArray]) -> None:
    """Raise DataError where a header looks like a row of data.

    That is where a name is a number (except 0, 1, 2, ..., which pandas writes), or is one of the values of a column with few
    distinct values, such as a label.
    """
    if [*names] == [str(number) for number in range(len(names))]:
        return
    for cell, values in zip(names, texts, strict=True):
        number = bool(_NUMBER.fullmatch(cell)) and pc.all(pc.match_substring_regex(values, rf"^({_NUMBER.pattern})?$")).as_py()
        among = not number and len(values) > 3 and pc.count_distinct(values).as_py() <= len(values) / 2
        if number or (among and pc.any(pc.equal(values, cell)).as_py()):
            raise DataError(
                f"The first line of {name} looks like data, not like column names ({cell!r}); add --no-header if it is data, "
                "--header if it names the columns."
            )


def _csv_rows(file: File, reader: Any, names: list[str], lines: list[int], first: list[list[str]]) -> Iterator[list[str]]:
    for row in first:
        if row:
            lines.append(reader.line_num)
            yield row
    for row in reader:
        if not row:
            continue
        if len(row) != len(names):
            raise DataError(f"{file} line {reader.line_num} has {len(row)} values; the header names {len(names)} columns.")
        lines.append(reader.line_num)
        yield row


def _typed(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, bytes]:
    """Return text as integers or decimals where the same digits can be reproduced ("007" remains text, as do "1.1" beside "1.10").

    The second value is how to print them (see `printed`).
    """
    filled = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    if filled.null_count == len(filled) or not pc.all(pc.match_substring_regex(filled, r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?$")).as_py():
        return column, b"text"
    if not pc.any(pc.match_substring(filled, ".")).as_py():
        negative_zero = pc.any(pc.equal(filled, "-0")).as_py()
        return (column, b"text") if negative_zero else (filled.cast(pa.int64()), b"number")
    numbers, texts = filled.cast(pa.float64()), filled.to_pylist()
    decimals = next(len(text.partition(".")[2]) for text in texts if text is not None and "." in text)
    for way in (b"number", b"short", f"fixed {decimals}".encode()):
        if all(text is None or printed(value, way) == text for value, text in zip(numbers.to_pylist(), texts, strict=True)):
            return numbers, way
    return column, b"text"
