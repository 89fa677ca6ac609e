"""Any source of rows as one Arrow table: files, folders saved by `datasets`, and the hub. No source is ever changed.

Nothing here knows tasks: a source has named columns, their classes where it declares them, and a place for each
row that a person can find again. JSON lines and CSV are read by the standard library, because a person needs the
line of a faulty row and an export needs each row's own line; everything else by pyarrow and `datasets`.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.errors import DataError

CHUNK = 8192
"""Rows turned into Arrow arrays at a time."""

MAX_COLUMNS = 10_000
"""More columns than this are taken for a mistake in the file; so are the next three."""
MAX_ROWS = 100_000_000
MAX_DEPTH = 32
MAX_BYTES = 32 << 30

TRAINING_SPLITS = ("train", "training")
VALIDATION_SPLITS = ("validation", "valid", "dev", "val", "validation_matched")

MAGIC = {b"PAR1": "Parquet", b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zX": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes of files that often carry a wrong name."""

HUB_NAME = re.compile(r"(?P<name>[\w-][\w.-]*(?:/[\w-][\w.-]*)?)(?::(?P<config>[^@#]+))?(?:@(?P<revision>[^#]+))?")
"""name, name:config, name@revision, name:config@revision."""


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


def read(data: str | Path, split: str | None = None) -> Source:
    """Read a .jsonl, .json, .csv, .tsv or .parquet file, a folder saved by `datasets`, or a hub dataset.

    A folder or hub name may carry the split after a `#` ("glue:sst2#validation"); without one the training split is
    read. Raises DataError, in one sentence, for whatever cannot be read.
    """
    name = str(data)
    path = _existing(name)
    if path is None and "#" in name:
        name, _, own_split = name.rpartition("#")
        split, path = split or own_split, _existing(name)
    if path is None:
        source = _read_hub(name, split)
    elif path.is_dir():
        source = _read_saved(path, split)
    else:
        source = _read_file(path)
    if source.table.num_rows == 0:
        raise DataError(f"{source.name} has no rows.")
    if source.table.num_columns > MAX_COLUMNS:
        raise DataError(f"{source.name} has {source.table.num_columns} columns; at most {MAX_COLUMNS} can be read.")
    return source


def splits(data: str | Path) -> tuple[str, ...]:
    """Names of the splits of a folder saved by `datasets` or a hub dataset; none for a file or a name with its split."""
    name = str(data)
    path = _existing(name)
    if path is None and "#" not in name:
        import datasets

        with _hub_in_words(name):
            hub, config, revision = _hub_parts(name)
            return tuple(str(split) for split in datasets.get_dataset_split_names(hub, config, revision=revision))
    if path is not None and (path / "dataset_dict.json").is_file():
        return tuple(json.loads((path / "dataset_dict.json").read_text(encoding="utf-8"))["splits"])
    return ()


def _existing(name: str) -> Path | None:
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):
        return None


def _read_file(path: Path) -> Source:
    if not path.is_file():
        raise DataError(f"{path} is neither a file nor a folder.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is no file Winnow reads; it takes {', '.join(READERS)}, a folder saved by datasets, or a hub name.")
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise DataError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} can be read." if size else f"{path} is empty.")
        _check_kind(path)
        return reader(path)
    except UnicodeDecodeError:
        raise DataError(_not_utf8(path)) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    except MemoryError:
        raise DataError(f"{path} does not fit into memory.") from None


def _check_kind(path: Path) -> None:
    """Refuse a file whose first bytes say that it is something else than its name does; nothing is ever unpacked."""
    with path.open("rb") as file:
        start = file.read(4)
    for magic, what in MAGIC.items():
        if start.startswith(magic) and not (what == "Parquet" and path.suffix.lower() == ".parquet"):
            raise DataError(f"{path} is a {what} file in truth; {'name it .parquet' if what == 'Parquet' else 'unpack it first'}.")


def _not_utf8(path: Path) -> str:
    """The sentence that says where a file stops being UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"{path} is not UTF-8: line {number}, byte {error.start + 1} is 0x{line[error.start]:02x}; save it as UTF-8."
    return f"{path} is not UTF-8; save it as UTF-8."


# -- JSON ---------------------------------------------------------------------------------------------------------


def _read_jsonl(path: Path) -> Source:
    lines: list[int] = []

    def rows() -> Iterator[dict[str, Any]]:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    lines.append(number)
                    yield _parse_line(path, number, line)

    table, mixed = _table_of_dicts(rows(), lambda row: f"{path} line {lines[row]}")
    return Source(name=str(path), table=table, mixed=mixed, lines=np.asarray(lines, dtype=np.int64), jsonl=path)


def _parse_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.removeprefix(codecs.BOM_UTF8).decode("utf-8") if number == 1 else line.decode("utf-8"))
    except UnicodeDecodeError:
        raise
    except RecursionError:
        raise DataError(f"{path} line {number} is nested to more than {MAX_DEPTH} levels.") from None
    except ValueError as error:
        raise DataError(f"{path} line {number} is not JSON: {_one_line(error)}.") from None
    _check_depth(row, f"{path} line {number}")
    if not isinstance(row, dict):
        raise DataError(f'{path} line {number} holds {_kind(type(row))}; each line must be an object like {{"text": ..., "label": ...}}.')
    return row


def _check_depth(value: Any, place: str) -> None:
    """Refuse lists and objects within each other to more than MAX_DEPTH levels; not by recursion, which would run out of stack."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [one for values in inner for one in values if isinstance(one, dict | list)]
        if not level:
            return
    raise DataError(f"{place} is nested to more than {MAX_DEPTH} levels.")


def _read_json(path: Path) -> Source:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise
    except RecursionError:
        raise DataError(f"{path} is nested to more than {MAX_DEPTH} levels.") from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return _read_jsonl(path)
        raise DataError(f"{path} is not JSON: {_one_line(error)}.") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {_one_line(error)}.") from None
    _check_depth(value, str(path))
    rows = _json_rows(path, value)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f'{path} item {number} is {_kind(type(row))}; each must be an object like {{"text": ..., "label": ...}}.')
    table, mixed = _table_of_dicts(iter(rows), lambda row: f"{path} row {row + 1}")
    return Source(name=str(path), table=table, mixed=mixed)


def _json_rows(path: Path, value: Any) -> list[Any]:
    """The rows of a JSON document: a list of objects, an object that holds one such list, an object of equal columns, or SQuAD's own."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        tables = [inner for inner in value.values() if isinstance(inner, list) and inner and isinstance(inner[0], dict)]
        if len(tables) == 1:
            return _squad_rows(tables[0]) if "paragraphs" in tables[0][0] else tables[0]
        columns = list(value.values())
        if columns and all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
            return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    raise DataError(f'{path} holds {_kind(type(value))}; it must be a list of objects like {{"text": ..., "label": ...}}.')


def _squad_rows(articles: list[Any]) -> list[dict[str, Any]]:
    """One row per question of SQuAD's own files: articles hold paragraphs, these a context and its questions with answers."""
    return [
        {"title": article.get("title"), "context": paragraph.get("context"), **question}
        for article in _objects(articles)
        for paragraph in _objects(article.get("paragraphs"))
        for question in _objects(paragraph.get("qas"))
    ]


def _objects(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _table_of_dicts(rows: Iterator[dict[str, Any]], place: Callable[[int], str]) -> tuple[pa.Table, dict[str, str]]:
    """Rows as a table with the union of their keys, and the columns that mix types, in words."""
    columns: dict[str, _Column] = {}
    done = 0
    while chunk := list(islice(rows, CHUNK)):
        for name in chain.from_iterable(chunk):
            if name not in columns:
                columns[name] = _Column(_whole(name, place(done)), place, missing=done)
        if len(columns) > MAX_COLUMNS:
            raise DataError(f"{place(0)} and the rows after it name more than {MAX_COLUMNS} columns; at most that many can be read.")
        for name, column in columns.items():
            column.add([row.get(name) for row in chunk])
        done += len(chunk)
    table = pa.table({name: column.finish() for name, column in columns.items()})
    return table, {name: column.mixture() for name, column in columns.items() if column.mixed}


def _whole(name: str, place: str) -> str:
    """A column's name, unless it is no text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{place} or a row soon after it has half a surrogate pair in a column's name, which is no text.") from None
    return name


class _Column:
    """One column's values, gathered a chunk at a time; JSON text when they have no common type that can be stored."""

    def __init__(self, name: str, place: Callable[[int], str], missing: int) -> None:
        self.name, self.place = name, place
        self.chunks = [pa.nulls(missing)] if missing else []
        self.rows = missing
        self.kinds: dict[type, int] = {}
        self.mixed = False

    def add(self, values: list[Any]) -> None:
        """The values of the next rows."""
        for kind in set(map(type, values)) - self.kinds.keys():
            self.kinds[kind] = self.rows + next(offset for offset, value in enumerate(values) if type(value) is kind)
        array = self._array(values)
        self.chunks.append(array)
        self.rows += len(values)

    def finish(self) -> pa.ChunkedArray:
        """The whole column."""
        if not self.mixed:
            try:
                return _storable(pa.concat_tables([pa.table({"": chunk}) for chunk in self.chunks], promote_options="permissive").column(0))
            except pa.ArrowException:
                self._mix()
        return pa.chunked_array(self.chunks, pa.string())

    def mixture(self) -> str:
        """What a mixed column mixes, in words, with a place for each."""
        first = {_kind(kind): row for kind, row in sorted(self.kinds.items(), key=lambda item: -item[1]) if kind is not type(None)}
        words = " and ".join(f"{kind} ({self.place(row)})" for kind, row in reversed(first.items()))
        return words if len(first) > 1 else f"{words} of different sizes or kinds"

    def _array(self, values: list[Any]) -> pa.Array:
        if not self.mixed:
            try:
                return pa.array(values)
            except UnicodeEncodeError:
                raise DataError(f"{self._half_surrogate(values)} has half a surrogate pair in {self.name!r}, which is no text.") from None
            except (pa.ArrowException, OverflowError, TypeError, ValueError):
                self._mix()
        return _as_json(values)

    def _mix(self) -> None:
        self.mixed = True
        self.chunks = [_as_json(chunk.to_pylist()) for chunk in self.chunks]

    def _half_surrogate(self, values: list[Any]) -> str:
        for offset, value in enumerate(values):
            try:
                json.dumps(value, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                return self.place(self.rows + offset)
        return self.place(self.rows)


def _as_json(values: Iterable[Any]) -> pa.Array:
    """Values as JSON text; what JSON does not have (dates, bytes) as its Python text."""
    return pa.array([None if value is None else json.dumps(value, default=str) for value in values], pa.string())


def _storable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column, as JSON text where Parquet has no place for its type (an object without keys, a union)."""
    if not pa.types.is_nested(column.type):
        return column
    try:
        pq.write_table(pa.table({"column": column.slice(0, 0)}), pa.BufferOutputStream())
        return column
    except pa.ArrowException:
        return pa.chunked_array([_as_json(chunk.to_pylist()) for chunk in column.chunks], pa.string())


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


# -- CSV ----------------------------------------------------------------------------------------------------------


def _read_csv(path: Path) -> Source:
    return _read_delimited(path, ";" if _header_has_only_semicolons(path) else ",", csv.QUOTE_MINIMAL)


def _read_tsv(path: Path) -> Source:
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
            while rows := list(islice(_csv_rows(path, reader, names, lines), CHUNK)):
                chunks.append([pa.array(column, pa.string()) for column in zip(*rows, strict=True)])
        except csv.Error as error:
            raise DataError(f"{path} line {reader.line_num} is not well-formed: {error}.") from None
    columns = [_typed(pa.chunked_array(parts, pa.string())) for parts in (zip(*chunks, strict=True) if chunks else [[]] * len(names))]
    return Source(name=str(path), table=pa.table(columns, names=names), lines=np.asarray(lines, dtype=np.int64))


def _header(path: Path, names: list[str]) -> list[str]:
    if len(names) > MAX_COLUMNS:
        raise DataError(f"{path} has {len(names)} columns; at most {MAX_COLUMNS} can be read.")
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


# -- Parquet, datasets, hub ---------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> Source:
    try:
        with pq.ParquetFile(path) as file:
            _check_unpacked(path, file.metadata)
            texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            table = file.read()
        if (size := sum(_unpacked(column) for column in table.columns)) > MAX_BYTES:
            raise DataError(f"{path} has {size:,} bytes when unpacked; at most {MAX_BYTES:,} can be read.")
        table.validate(full=True)
        return _source(str(path), table)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is no whole Parquet file: {_one_line(error)}.") from None


def _check_unpacked(path: Path, metadata: Any) -> None:
    """Refuse by its own account a file that grows beyond measure when it is read."""
    if metadata.num_rows > MAX_ROWS:
        raise DataError(f"{path} has {metadata.num_rows:,} rows; at most {MAX_ROWS:,} can be read.")
    if metadata.num_columns > MAX_COLUMNS:
        raise DataError(f"{path} has {metadata.num_columns} columns; at most {MAX_COLUMNS} can be read.")
    size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    if size > MAX_BYTES:
        raise DataError(f"{path} has {size:,} bytes when unpacked; at most {MAX_BYTES:,} can be read.")


def _unpacked(column: pa.ChunkedArray) -> int:
    """Bytes of a column without its dictionary: a long text that many rows share is held once until then."""
    if not pa.types.is_dictionary(column.type) or not pa.types.is_string(column.type.value_type):
        return int(column.nbytes)
    return sum(pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices).cast(pa.int64())).as_py() or 0 for chunk in column.chunks)


def _read_saved(path: Path, split: str | None) -> Source:
    """A folder saved by `datasets`: read by it, memory-mapped, nothing executed."""
    import datasets

    if not any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        inside = sorted(file.name for file in path.iterdir() if file.suffix.lower() in READERS)[:5]
        raise DataError(
            f"{path} is a folder that datasets did not save{f'; name one of its files: {chr(44).join(inside)}' if inside else ''}."
        )
    try:
        loaded = datasets.load_from_disk(str(path))
    except Exception as error:
        raise DataError(f"{path} is a damaged folder of datasets: {_one_line(error)}.") from None
    if isinstance(loaded, datasets.DatasetDict):
        chosen = _choose_split(str(path), list(loaded), split)
        return _of_dataset(f"{path}#{chosen}", loaded[chosen])
    if split is not None:
        raise DataError(f"{path} has no splits, so {split!r} cannot be chosen.")
    return _of_dataset(str(path), loaded)


def _read_hub(name: str, split: str | None) -> Source:
    import datasets

    hub, config, revision = _hub_parts(name)
    with _hub_in_words(name):
        loaded = datasets.load_dataset(hub, config, revision=revision)
    chosen = _choose_split(name, list(loaded), split)
    return _of_dataset(f"{name}#{chosen}", loaded[chosen])


def _hub_parts(name: str) -> tuple[str, str | None, str | None]:
    """Name, configuration and revision of a hub dataset; DataError when the name is that of a missing file."""
    matched = HUB_NAME.fullmatch(name)
    if not matched or Path(name).suffix.lower() in READERS:
        raise DataError(f"There is no file or folder {name}.")
    return matched["name"], matched["config"], matched["revision"]


@contextmanager
def _hub_in_words(name: str) -> Iterator[None]:
    """Turns what can go wrong between here and the hub into one sentence."""
    from datasets.exceptions import DatasetNotFoundError

    missing = f"There is no file or folder {name}"
    try:
        yield
    except DataError:
        raise
    except DatasetNotFoundError:
        raise DataError(f"{missing}, and the hub has no dataset of that name that can be read from here.") from None
    except Exception as error:
        if isinstance(error, ConnectionError) or "ffline" in str(error) or "onnection" in str(error):
            raise DataError(f"{missing}, and the hub cannot be reached to look for a dataset of that name.") from None
        raise DataError(f"{missing}, and the hub's dataset of that name cannot be read: {_one_line(error)}.") from None


def _choose_split(name: str, there: list[str], split: str | None) -> str:
    """The split asked for, else the training split, else the only one."""
    if not there:
        raise DataError(f"{name} has no splits.")
    wanted = [split] if split is not None else [one for one in TRAINING_SPLITS if one in there] or there
    if wanted[0] not in there or (split is None and len(wanted) > 1 and wanted == there):
        raise DataError(f"{name} has the splits {', '.join(there)}; {f'there is no {split!r}' if split else 'choose one with #NAME'}.")
    return wanted[0]


def _of_dataset(name: str, dataset: Any) -> Source:
    table = dataset.with_format("arrow")[:]
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise DataError(f"{name} is damaged: {_one_line(error)}.") from None
    return _source(name, table, dataset.features)


def _source(name: str, table: pa.Table, features: Any = None) -> Source:
    """A source of an Arrow table, its dictionaries decoded, its class names from the features `datasets` keeps with it."""
    names = table.column_names
    if len(set(names)) < len(names):
        raise DataError(f"{name} has two columns of the same name; each needs its own.")
    notes: tuple[str, ...] = ()
    if features is None and b"huggingface" in (table.schema.metadata or {}):
        features, notes = _features(table.schema)
    class_names = {column: tuple(feature.names) for column, feature in (features or {}).items() if getattr(feature, "names", None)}
    columns = [_plain(table[column]) for column in names]
    return Source(name=name, table=pa.table(columns, names=names), class_names=class_names, notes=notes)


def _features(schema: pa.Schema) -> tuple[Any, tuple[str, ...]]:
    """The features that `datasets` left in a Parquet file's own description."""
    import datasets

    try:
        return datasets.Features.from_arrow_schema(schema), ()
    except Exception as error:
        return None, (f"Its declared features cannot be read and were passed over: {_one_line(error)}.",)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with plain strings and lists in place of dictionaries, views and large ones; JSON text where it cannot be stored."""
    kind = _plain_type(column.type)
    return _storable(column if kind == column.type else column.cast(kind))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if any(is_kind(kind) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)):
        return pa.list_(_plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([part.with_type(_plain_type(part.type)) for part in kind])
    return kind


def _one_line(error: BaseException) -> str:
    """The first line of an error's own words, without its full stop."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300].rstrip(". ")


READERS: dict[str, Callable[[Path], Source]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}
"""File ending -> reader. One more format is one more line here."""
