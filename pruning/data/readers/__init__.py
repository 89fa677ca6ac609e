"""Read any source as one Arrow table: files, folders saved by `datasets`, and hub datasets. No source is ever changed.

Readers do not know tasks: a source has named columns, their declared classes, and a line or row number for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pruning.data import access
from pruning.data.readers import files, limits
from pruning.data.readers.delimited import read_csv, read_tsv
from pruning.data.readers.files import File
from pruning.data.readers.objects import read_jsonl
from pruning.data.readers.origin import Origin
from pruning.data.readers.source import Source
from pruning.data.readers.tables import choose_split, hub_splits, read_arrow, read_hub, read_parquet, read_saved, saved_splits
from pruning.errors import DataError, system_words

__all__ = ["FILES", "VALIDATION_SPLITS", "File", "Origin", "Source", "paths", "read", "splits"]

VALIDATION_SPLITS = ("validation", "valid", "dev", "val", "validation_matched", "eval")
"""Splits used as evaluation data when they come with the training data."""

FILES: dict[str, Callable[[Sequence[File], bool | None], Source]] = {
    ".jsonl": lambda found, _: read_jsonl(found),
    ".ndjson": lambda found, _: read_jsonl(found),
    ".json": lambda found, _: read_jsonl(found),
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": lambda found, _: read_parquet(found),
    ".arrow": lambda found, _: read_arrow(found),
}
"""File ending -> reader. To add a format, add a line here and in `files.KINDS`."""

JSON_KINDS = {".jsonl", ".ndjson", ".json"}
"""Kinds that may be read together."""


def read(data: str | Path, split: str | None = None, header: bool | None = None) -> Source:
    """Read files, a folder of them or one saved by `datasets`, or a hub dataset.

    Files are .jsonl, .ndjson, .json, .csv, .tsv, .parquet and .arrow, the texts among them also as .gz, .bz2, .xz, .zst or .zip.
    Several are named by a glob, a folder, or with commas; "-" is standard input. A folder or hub name may carry the split after a `#`
    ("glue:sst2#validation"); without one the training split is read. `header` says whether the first line of CSV and TSV names the
    columns (None: it does, unless it looks like data, which is refused).

    Raises DataError, in one sentence, for whatever cannot be read.
    """
    name, path, split = _found(str(data), split)
    if path is not None and path.is_dir() and _is_saved(path):
        source = _read_saved(path, _typed(name, path), split)
    elif (listed := _listed(name, path, split)) is not None:
        source = _read_files(name, listed, header)
    else:
        source = read_hub(name, split)
    if source.table.num_rows == 0:
        raise DataError(f"{source.name} has no rows.")
    if source.table.num_columns > limits.MAX_COLUMNS:
        raise DataError(f"{source.name} has {source.table.num_columns} columns; at most {limits.MAX_COLUMNS} can be read.")
    return source


def splits(data: str | Path) -> tuple[str, ...]:
    """Return the splits of a folder or a hub dataset; none for a file or a name that includes its split."""
    name = str(data)
    path = _existing(name)
    if path is None:
        return () if "#" in name or name == files.STDIN or files.expanded(name) or _ending(name) else hub_splits(name)
    if not path.is_dir():
        return ()
    with access.held(path, str(_typed(name, path))) as opened:
        return saved_splits(opened) if _is_saved(opened) else tuple(files.shards(opened))


def paths(data: str | Path) -> list[Path]:
    """Return the files and folders that a name stands for, so that exports do not overwrite them; none for the hub or standard input."""
    try:
        name, path, _ = _found(str(data), None)
    except DataError:
        return []
    return [path] if path is not None else [one for one in files.expanded(name) if one.exists()]


def _found(name: str, split: str | None) -> tuple[str, Path | None, str | None]:
    """Return the name without its split, the file or folder of that name, and the split."""
    path = None if name == files.STDIN else _existing(name)
    if path is None and "#" in name:
        name, _, own_split = name.rpartition("#")
        split, path = split or own_split, _existing(name)
    return name, path, split


def _typed(name: str, path: Path) -> Path:
    """Return the path of a resolved file or folder as the user typed it, for messages."""
    return written if (written := Path(name)).exists() else path


def _listed(name: str, path: Path | None, split: str | None) -> list[tuple[Path, Path]] | None:
    """Return the files to read, each with its path as typed; None for a hub name, an empty list for standard input."""
    if name == files.STDIN:
        return []
    if path is not None:
        typed = _typed(name, path)
        return _shards(path, typed, split) if path.is_dir() else [(path, typed)]
    if listed := [(_existing(str(one)) or one, one) for one in files.expanded(name)]:
        for found, one in listed:
            if not found.exists():
                raise DataError(f"There is no file {one}.")
        return listed
    if _ending(name):
        raise DataError(f"There is no file or folder {name}.")
    return None


def _shards(folder: Path, typed: Path, split: str | None) -> list[tuple[Path, Path]]:
    there = files.shards(folder)
    if not there:
        raise DataError(
            f"{typed} holds no data: neither a dataset saved by datasets nor files of a supported type ({', '.join(files.KINDS)})."
        )
    chosen = choose_split(str(typed), list(there), split)
    found = there[chosen]
    for path in found:
        _existing(str(path))
    kinds = sorted({files.kind_of(path) for path in found})
    if len(kinds) > 1 and not set(kinds) <= JSON_KINDS:
        raise DataError(
            f"{typed} holds files of several kinds ({', '.join(kinds)}); name one of them: {', '.join(p.name for p in found[:5])}."
        )
    return [(path, typed / path.relative_to(folder)) for path in found]


def _read_files(name: str, listed: list[tuple[Path, Path]], header: bool | None) -> Source:
    found: list[File] = []
    try:
        with ExitStack() as stack:
            for path, typed in listed:
                found.append(files.opened(stack.enter_context(access.held(path, str(typed))), str(typed)))
            found = found or [files.from_stdin()]
            kinds = sorted({file.kind for file in found})
            if len(kinds) > 1 and not set(kinds) <= JSON_KINDS:
                raise DataError(f"{name} stands for files of several kinds ({', '.join(kinds)}); name files of one kind.")
            try:
                source = FILES[kinds[0]](found, header)
            except UnicodeDecodeError:
                raise DataError(_not_utf8(found)) from None
            for file in found:
                file.check()
        if source.origin is None:
            return source
        own = [path for path, _ in listed] or [Path()]
        kept = [file if file.held else replace(file, path=path, origin=path) for file, path in zip(found, own, strict=True)]
        return replace(source, origin=replace(source.origin, files=tuple(kept)))
    except OSError as error:
        raise DataError(f"{name} cannot be read: {system_words(error)}.") from None
    except MemoryError:
        raise DataError(f"{name} does not fit into memory.") from None


def _ending(name: str) -> bool:
    return files.kind_of(Path(name)) in FILES


def _existing(name: str) -> Path | None:
    return access.resolve(name)


def _read_saved(path: Path, typed: Path, split: str | None) -> Source:
    """Read the folder that was checked; messages name it as typed."""
    with access.held(path, str(typed)) as opened:
        source = read_saved(opened, split)
        if opened == path or source.origin is None:
            return source
        moved = tuple(replace(file, path=path / file.path.relative_to(opened), origin=None) for file in source.origin.files)
        return replace(source, name=source.name.replace(str(opened), str(typed)), origin=replace(source.origin, files=moved))


def _is_saved(path: Path) -> bool:
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _not_utf8(found: Sequence[File]) -> str:
    """Return the sentence that names the first line and byte that is not UTF-8."""
    for one in found:
        with one.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    return f"{one} is not UTF-8: line {number}, byte {error.start + 1} is 0x{line[error.start]:02x}; save it as UTF-8."
    return f"{found[0]} is not UTF-8; save it as UTF-8."
