"""Read JSON lines and JSON: objects with any keys, as one table.

Parsed by the standard library rather than by Arrow, because errors name the line and exports copy it.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa

from pruning.data.readers import limits
from pruning.data.readers.files import File
from pruning.data.readers.origin import Origin
from pruning.data.readers.source import JSON_TEXT, Source, as_json, name_of, one_line, place_of, storable
from pruning.errors import DataError


def read_jsonl(files: Sequence[File]) -> Source:
    """Read one object a line; blank lines are skipped and counted in no row. A file that is one JSON document is read as that."""
    lines: list[int] = []
    starts: list[int] = []
    documents = frozenset(place for place, file in enumerate(files) if _is_document(file))

    def rows() -> Iterator[dict[str, Any]]:
        for place, file in enumerate(files):
            starts.append(len(lines))
            if place in documents:
                for row in document_rows(file):
                    lines.append(0)
                    yield row
                continue
            with file.open("rb") as open_file:
                for number, line in enumerate(open_file, 1):
                    if line.strip():
                        lines.append(number)
                        yield _parse_line(file, number, line)

    def where(row: int) -> str:
        return place_of(files, starts, lines, row)

    table, mixed = _table_of_dicts(rows(), where)
    notes = [f"{files[place]} is one JSON document, not JSON lines; its objects are the rows." for place in sorted(documents)]
    return Source(
        name=name_of(files),
        table=table,
        mixed=mixed,
        lines=np.asarray(lines, dtype=np.int64) if any(lines) else None,
        starts=tuple(starts),
        origin=Origin(files=tuple(files), documents=documents, rows=document_rows, lines=True),
        notes=tuple(note for place, note in zip(sorted(documents), notes, strict=True) if files[place].kind != ".json"),
    )


def _is_document(file: File) -> bool:
    """Return True for a file that is not JSON lines: it begins with a list, or with an object that spans several lines."""
    blank = codecs.BOM_UTF8 + b" \t\r\n"
    with file.open("rb") as open_file:
        first = next((line for line in open_file if line.strip(blank)), b"").strip(blank)
        if file.kind != ".json":
            return first.startswith(b"[") or first == b"{"
        return not (_is_json(first) and first.startswith(b"{") and any(line.strip() for line in open_file))


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parse_line(file: File, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.removeprefix(codecs.BOM_UTF8).decode("utf-8") if number == 1 else line.decode("utf-8"))
    except UnicodeDecodeError:
        raise
    except RecursionError:
        raise DataError(f"{file} line {number} is nested to more than {limits.MAX_DEPTH} levels.") from None
    except ValueError as error:
        hint = "; an object must not be spread over several lines (jq -c . FILE writes one a line)" if line.strip() in (b"{", b"[") else ""
        raise DataError(f"{file} line {number} is not JSON: {one_line(error)}{hint}.") from None
    _check_depth(row, f"{file} line {number}")
    if not isinstance(row, dict):
        raise DataError(f'{file} line {number} holds {_kind(type(row))}; each line must be an object like {{"text": ..., "label": ...}}.')
    return row


def _check_depth(value: Any, place: str) -> None:
    """Raise DataError for nesting of more than limits.MAX_DEPTH levels; iterative, because recursion would overflow the stack."""
    level = [value]
    for _ in range(limits.MAX_DEPTH):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [one for values in inner for one in values if isinstance(one, dict | list)]
        if not level:
            return
    raise DataError(f"{place} is nested to more than {limits.MAX_DEPTH} levels.")


def document_rows(file: File) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON document of one of the shapes that `_json_rows` knows."""
    try:
        value = _document(file.path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise
    except RecursionError:
        raise DataError(f"{file} is nested to more than {limits.MAX_DEPTH} levels.") from None
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {one_line(error)}.") from None
    _check_depth(value, str(file))
    for number, row in enumerate(_json_rows(file, value), 1):
        if not isinstance(row, dict):
            raise DataError(f'{file} item {number} is {_kind(type(row))}; each must be an object like {{"text": ..., "label": ...}}.')
        yield row


def _document(text: str) -> Any:
    """Return the value of a JSON text, or the list of its values where several objects follow each other."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data" or not text.lstrip().startswith("{"):
            raise
    decoder, values, place = json.JSONDecoder(), [], 0
    while (found := re.compile(r"\S").search(text, place)) is not None:
        value, place = decoder.raw_decode(text, found.start())
        values.append(value)
    return values


def _json_rows(file: File, value: Any) -> list[Any]:
    """Return the rows of a document: a list of objects, an object with one such list, one of equally long columns, or SQuAD's form."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        tables = [inner for inner in value.values() if isinstance(inner, list) and inner and isinstance(inner[0], dict)]
        if len(tables) == 1:
            return _squad_rows(tables[0]) if "paragraphs" in tables[0][0] else tables[0]
        columns = list(value.values())
        if columns and all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
            return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    raise DataError(f'{file} holds {_kind(type(value))}; it must be a list of objects like {{"text": ..., "label": ...}}.')


def _squad_rows(articles: list[Any]) -> list[dict[str, Any]]:
    """Return one row per question of a SQuAD file: articles hold paragraphs, which hold a context and its questions."""
    return [
        {"title": article.get("title"), "context": paragraph.get("context"), **question}
        for article in _objects(articles)
        for paragraph in _objects(article.get("paragraphs"))
        for question in _objects(paragraph.get("qas"))
    ]


def _objects(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _table_of_dicts(rows: Iterator[dict[str, Any]], place: Callable[[int], str]) -> tuple[pa.Table, dict[str, str]]:
    """Return rows as a table with the union of their keys, and name -> types of each column that mixes them."""
    columns: dict[str, _Column] = {}
    done = 0
    while chunk := list(islice(rows, limits.CHUNK)):
        for name in chain.from_iterable(chunk):
            if name not in columns:
                columns[name] = _Column(_whole(name, place(done)), place, missing=done)
        if len(columns) > limits.MAX_COLUMNS:
            raise DataError(f"{place(0)} and the rows after it name more than {limits.MAX_COLUMNS} columns; at most that many can be read.")
        for name, column in columns.items():
            column.add([row.get(name) for row in chunk])
        done += len(chunk)
    finished = {name: column.finish() for name, column in columns.items()}
    encoded = {name for name, column in columns.items() if column.mixed or column.encoded}
    fields = [pa.field(name, values.type, metadata=JSON_TEXT if name in encoded else None) for name, values in finished.items()]
    table = pa.table(list(finished.values()), schema=pa.schema(fields))
    return table, {name: column.mixture() for name, column in columns.items() if column.mixed}


def _whole(name: str, place: str) -> str:
    """Return a column's name. Raises DataError where it is not valid text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{place} or a row soon after it has half a surrogate pair in a column's name, which is not valid text.") from None
    return name


class _Column:
    """Values of one column, added a chunk at a time; JSON text when they have no common type that can be stored."""

    def __init__(self, name: str, place: Callable[[int], str], missing: int) -> None:
        self.name, self.place = name, place
        self.chunks = [pa.nulls(missing)] if missing else []
        self.rows = missing
        self.kinds: dict[type, int] = {}
        self.mixed = self.encoded = False

    def add(self, values: list[Any]) -> None:
        """Add the values of the next rows."""
        for kind in set(map(type, values)) - self.kinds.keys():
            self.kinds[kind] = self.rows + next(offset for offset, value in enumerate(values) if type(value) is kind)
        array = self._array(values)
        self.chunks.append(array)
        self.rows += len(values)

    def finish(self) -> pa.ChunkedArray:
        """Return the whole column."""
        if not self.mixed:
            try:
                whole = pa.concat_tables([pa.table({"": chunk}) for chunk in self.chunks], promote_options="permissive").column(0)
                column = storable(whole)
                self.encoded = column.type != whole.type
                return column
            except pa.ArrowException:
                self._mix()
        return pa.chunked_array(self.chunks, pa.string())

    def mixture(self) -> str:
        """Return the types that a mixed column has, in words, with the first line of each."""
        first = {_kind(kind): row for kind, row in sorted(self.kinds.items(), key=lambda item: -item[1]) if kind is not type(None)}
        words = " and ".join(f"{kind} ({self.place(row)})" for kind, row in reversed(first.items()))
        return words if len(first) > 1 else f"{words} of different sizes or kinds"

    def _array(self, values: list[Any]) -> pa.Array:
        if not self.mixed:
            try:
                return pa.array(values)
            except UnicodeEncodeError:
                raise DataError(
                    f"{self._half_surrogate(values)} has half a surrogate pair in {self.name!r}, which is not valid text."
                ) from None
            except (pa.ArrowException, OverflowError, TypeError, ValueError):
                self._mix()
        return as_json(values)

    def _mix(self) -> None:
        self.mixed = True
        self.chunks = [as_json(chunk.to_pylist()) for chunk in self.chunks]

    def _half_surrogate(self, values: list[Any]) -> str:
        for offset, value in enumerate(values):
            try:
                json.dumps(value, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                return self.place(self.rows + offset)
        return self.place(self.rows)


_KINDS: dict[type, str] = {
    str: "text",
    int: "numbers",
    float: "numbers",
    bool: "true/false",
    list: "lists",
    dict: "objects",
    type(None): "null",
}


def _kind(kind: type) -> str:
    return _KINDS[kind]
