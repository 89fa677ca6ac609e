"""Any source of rows as one Arrow table: files, folders saved by `datasets`, and the hub. No source is ever changed.

Nothing here knows tasks: a source has named columns, their classes where it declares them, and a place for each
row that a person can find again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pruning.data import access
from pruning.data.readers import limits
from pruning.data.readers.delimited import read_csv, read_tsv
from pruning.data.readers.objects import read_json, read_jsonl
from pruning.data.readers.source import Source
from pruning.data.readers.tables import hub_splits, read_hub, read_parquet, read_saved, saved_splits
from pruning.errors import DataError

__all__ = ["FILES", "VALIDATION_SPLITS", "Source", "read", "splits"]

VALIDATION_SPLITS = ("validation", "valid", "dev", "val", "validation_matched")
"""Splits that serve as evaluation data when they come with the training data."""

MAGIC = {b"PAR1": "Parquet", b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zX": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes of files that often carry a wrong name."""

FILES: dict[str, Callable[[Path], Source]] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
}
"""File ending -> reader. One more format is one more line here."""


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
    if path is None and Path(name).suffix.lower() in FILES:
        raise DataError(f"There is no file or folder {name}.")
    source = read_hub(name, split) if path is None else _read_held(name, path, split)
    if source.table.num_rows == 0:
        raise DataError(f"{source.name} has no rows.")
    if source.table.num_columns > limits.MAX_COLUMNS:
        raise DataError(f"{source.name} has {source.table.num_columns} columns; at most {limits.MAX_COLUMNS} can be read.")
    return source


def splits(data: str | Path) -> tuple[str, ...]:
    """Names of the splits of a folder saved by `datasets` or a hub dataset; none for a file or a name with its split."""
    name = str(data)
    path = _existing(name)
    if path is None:
        return hub_splits(name) if "#" not in name else ()
    with access.held(path) as opened:
        return saved_splits(opened)


def _existing(name: str) -> Path | None:
    return access.resolve(name)


def _read_held(name: str, path: Path, split: str | None) -> Source:
    """Read the very files that were checked; messages and places keep the name that the user gave."""
    with access.held(path) as opened:
        if opened == path:
            return _read_path(path, split)
        try:
            source = _read_path(opened, split)
        except DataError as error:
            raise DataError(str(error).replace(str(opened), name)) from None
        mixed = {column: words.replace(str(opened), name) for column, words in source.mixed.items()}
        return replace(source, name=source.name.replace(str(opened), name), mixed=mixed, jsonl=source.jsonl and path)


def _read_path(path: Path, split: str | None) -> Source:
    if not path.is_dir():
        return _read_file(path)
    _check_saved(path)
    return read_saved(path, split)


def _check_saved(path: Path) -> None:
    if any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        return
    inside = sorted(file.name for file in path.iterdir() if file.suffix.lower() in FILES)
    hint = f"; name one of its files: {', '.join(inside[:5])}" if inside else ""
    raise DataError(f"{path} is a folder that datasets did not save{hint}.")


def _read_file(path: Path) -> Source:
    if not path.is_file():
        raise DataError(f"{path} is neither a file nor a folder.")
    reader = FILES.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is no file Winnow reads; it takes {', '.join(FILES)}, a folder saved by datasets, or a hub name.")
    try:
        size = path.stat().st_size
        if not 0 < size <= limits.MAX_BYTES:
            raise DataError(f"{path} has {size:,} bytes; at most {limits.MAX_BYTES:,} can be read." if size else f"{path} is empty.")
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
