"""Files behind a name: one file, several, a glob, a folder of shards, or standard input; compressed ones are unpacked into a copy."""

from __future__ import annotations

import bz2
import glob
import gzip
import lzma
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from pruning.data import access
from pruning.data.readers import limits
from pruning.errors import DataError, system_words
from pruning.files import sha256

STDIN = "-"
"""Name of the data that stands for standard input."""

KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
"""File endings that can be read."""

TABLES = (".parquet", ".arrow")
"""Those of files that are compressed themselves."""

MAGIC = {
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
    b"\x1f\x8b": ".gz",
    b"PK\x03\x04": ".zip",
    b"BZh": ".bz2",
    b"\xfd7zX": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
}
"""First bytes of files that often carry a wrong name, and the ending they should have."""

STREAM = b"\xff\xff\xff\xff"
"""First bytes of an Arrow file in the stream format, as `datasets` writes it."""

SPLIT = re.compile(r"(?:^|[^a-z])(?P<name>train|training|validation|valid|val|dev|test|eval)(?:[^a-z]|$)")
"""Words in the names of shards that name their split, as the hub's data sets have them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class File:
    """One file to read; in messages it stands for its name."""

    path: Path
    """Where its bytes are: the file itself, or the copy it was unpacked into."""
    name: str
    """As the user knows it."""
    kind: str
    """One of `KINDS`."""
    sha256: str
    """Of the file as named, before it was read."""
    origin: Path | None = None
    """The file as named; None for standard input."""
    held: Any = None
    """The temporary folder of the copy, removed with this object."""

    def __str__(self) -> str:
        return self.name

    def open(self, *arguments: Any, **named: Any) -> IO[Any]:
        """The file's bytes or text, as `Path.open`."""
        return self.path.open(*arguments, **named)

    def check(self) -> None:
        """Raise DataError when the named file no longer holds what was read."""
        if self.origin is not None and _digest(self.origin) != self.sha256:
            raise DataError(f"{self.name} changed while it was read; run the command again when nothing writes to the file.")


def opened(path: Path, name: str | None = None) -> File:
    """A file ready to read, unpacked first where it is compressed. Raises DataError for a kind that is not supported."""
    name = name or str(path)
    endings = [ending.lower() for ending in path.suffixes]
    packed = endings[-1] if endings and endings[-1] in _UNPACK else ""
    kind = (endings[-2] if len(endings) > 1 else "") if packed else (endings[-1] if endings else "")
    if packed == ".zip" and kind not in KINDS:
        kind = _kind_in_zip(path)
    if kind not in KINDS or (packed and kind in TABLES):
        raise DataError(
            f"{name} has an unsupported file type; supported are {', '.join(KINDS)} "
            f"(all but {' and '.join(TABLES)} also as {', '.join(_UNPACK)}), a folder of them or one saved by datasets, and hub names."
        )
    if not path.is_file():
        raise DataError(f"{name} is neither a file nor a folder.")
    if not (size := path.stat().st_size):
        raise DataError(f"{name} is empty.")
    if size > limits.MAX_BYTES:
        raise DataError(f"{name} has {size:,} bytes; at most {limits.MAX_BYTES:,} can be read.")
    digest = _digest(path)
    if not packed:
        _check_kind(path, name, kind)
        return File(path=path, name=name, kind=kind, sha256=digest, origin=path)
    held, copy = _copy_of(lambda: _UNPACK[packed](path), name, kind)
    _check_kind(copy, name, kind)
    return File(path=copy, name=name, kind=kind, sha256=digest, origin=path, held=held)


def from_stdin() -> File:
    """Standard input, copied first; its kind is detected from its first bytes."""
    if access.allowed() is not None:
        raise DataError("The dashboard does not read standard input; give a file.")
    held, copy = _copy_of(lambda: sys.stdin.buffer, "standard input", "")
    start = _start(copy)
    packed = next((ending for magic, ending in MAGIC.items() if start.startswith(magic) and ending not in TABLES), "")
    if packed:
        inner, outer = copy, held
        held, copy = _copy_of(lambda: _UNPACK[packed](inner), "standard input", "")
        outer.cleanup()
        start = _start(copy)
    kind = (
        ".parquet"
        if start.startswith(b"PAR1")
        else ".arrow"
        if start.startswith((b"ARROW1", STREAM))
        else ".jsonl"
        if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
        else ".csv"
    )
    if not copy.stat().st_size:
        raise DataError("Standard input is empty.")
    return File(path=copy, name="standard input", kind=kind, sha256=_digest(copy), held=held)


def expanded(name: str) -> list[Path]:
    """Files that a glob ("shards/*.jsonl") or a list with commas ("a.jsonl,b.jsonl") names, in order; none where it is neither."""
    if glob.has_magic(name):
        return [Path(path) for path in sorted(glob.glob(str(Path(name).expanduser()), recursive=True)) if Path(path).is_file()]
    parts = [part.strip() for part in name.split(",")]
    if len(parts) < 2 or not all(parts):
        return []
    return [path for part in parts for path in (expanded(part) if glob.has_magic(part) else [Path(part).expanduser()])]


def shards(folder: Path) -> dict[str, list[Path]]:
    """Split -> files of a folder that `datasets` did not save, by the words in their names; "train" where none has one."""
    found = sorted(
        path
        for path in (*folder.iterdir(), *(inner for sub in folder.iterdir() if sub.is_dir() for inner in sub.iterdir()))
        if path.is_file() and kind_of(path) in KINDS and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    named: dict[str, list[Path]] = {}
    for path in found:
        match = SPLIT.search(path.relative_to(folder).as_posix().lower())
        if match:
            named.setdefault({"training": "train"}.get(match["name"], match["name"]), []).append(path)
    return named or ({"train": found} if found else {})


def kind_of(path: Path) -> str:
    """A file's ending without that of its compression."""
    endings = [ending.lower() for ending in path.suffixes]
    return "".join(endings[-2:-1] if endings and endings[-1] in _UNPACK else endings[-1:])


def _copy_of(source: Callable[[], IO[bytes]], name: str, kind: str) -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """A temporary folder with a copy of these bytes. Raises DataError when they cannot be unpacked, or are too many."""
    held = tempfile.TemporaryDirectory(prefix="winnow-", ignore_cleanup_errors=True)
    copy, size = Path(held.name) / f"data{kind}", 0
    try:
        with source() as packed, copy.open("wb") as file:
            while part := packed.read(1 << 20):
                size += len(part)
                if size > limits.MAX_BYTES:
                    raise DataError(f"{name} has more than {limits.MAX_BYTES:,} bytes when unpacked; at most that many can be read.")
                file.write(part)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException, RuntimeError) as error:
        raise DataError(f"{name} cannot be unpacked: {str(error).splitlines()[0].rstrip('.')}.") from None
    if not size and kind:
        raise DataError(f"{name} is empty.")
    return held, copy


def _zipped(path: Path) -> zipfile.ZipInfo:
    with zipfile.ZipFile(path) as archive:
        inside = [member for member in archive.infolist() if not member.is_dir() and not member.filename.startswith("__MACOSX/")]
    if len(inside) != 1:
        raise DataError(f"{path} holds {len(inside)} files; a .zip must hold exactly one, or be unpacked.")
    return inside[0]


def _kind_in_zip(path: Path) -> str:
    try:
        return Path(_zipped(path).filename).suffix.lower()
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be unpacked: {error}.") from None


def _unzip(path: Path) -> IO[bytes]:
    return zipfile.ZipFile(path).open(_zipped(path))


_UNPACK: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda path: pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"),
    ".zip": _unzip,
}
"""Ending of a compressed file -> its bytes when unpacked."""

PACKED = tuple(_UNPACK)
"""Endings of compressed files that can be read."""


def _check_kind(path: Path, name: str, kind: str) -> None:
    """Refuse a file whose first bytes show that it is something else than its name says."""
    start = _start(path)
    for magic, ending in MAGIC.items():
        if start.startswith(magic) and not (ending == kind and ending in TABLES):
            stem = name.removesuffix(kind)
            what = _CALLED.get(ending, f"a {ending[1:]}")
            raise DataError(f"{name} is actually {what} file; rename it to {stem}{ending if ending in TABLES else kind + ending}.")


_CALLED = {".parquet": "a Parquet", ".arrow": "an Arrow", ".gz": "a gzip", ".bz2": "a bzip2", ".xz": "an xz", ".zst": "a zstd"}
"""Ending -> name of the kind of file."""


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {system_words(error)}.") from None
