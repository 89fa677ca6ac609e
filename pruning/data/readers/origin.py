"""Where a source's rows came from: the files as they were read, and their rows again as JSON lines, for an export that is verbatim."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pruning.data import access
from pruning.data.readers.files import File
from pruning.errors import DataError


@dataclass(frozen=True, eq=False, kw_only=True)
class Origin:
    """The files of one source, in order."""

    files: tuple[File, ...]
    documents: frozenset[int] = field(default_factory=frozenset)
    """Places of those files that are one JSON document rather than JSON lines."""
    rows: Callable[[File], Iterator[dict[str, Any]]] | None = None
    """Reads the objects of such a document again."""
    lines: bool = False
    """True where every row is a JSON object, so that it can be written as a line."""

    @property
    def sha256(self) -> str:
        """Digest of the one file, or over the digests of all."""
        if len(self.files) == 1:
            return self.files[0].sha256
        return hashlib.sha256(" ".join(file.sha256 for file in self.files).encode()).hexdigest()

    def write_lines(self, path: Path) -> None:
        """Write every row as a JSON line: lines byte for byte, rows of a document one a line.

        Raises DataError when a file no longer holds what was read.
        """
        with path.open("wb") as target:
            for place, file in enumerate(self.files):
                if place in self.documents and self.rows is not None:
                    for row in self.rows(file):
                        target.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                    file.check()
                else:
                    _copy_lines(file, target, first=not place, last=place + 1 == len(self.files))


def _copy_lines(file: File, target: IO[bytes], first: bool, last: bool) -> None:
    """Append the file's bytes; between files, no mark of byte order and a line break at the end."""
    digest, begun, end = hashlib.sha256(), False, b"\n"
    with nullcontext(file.path) if file.held else access.held(file.path) as path, path.open("rb") as source:
        while part := source.read(1 << 20):
            target.write(part if begun or first else part.removeprefix(codecs.BOM_UTF8))
            digest.update(part)
            begun, end = True, part[-1:]
    if file.origin == file.path and digest.hexdigest() != file.sha256:
        raise DataError(f"{file} changed while it was read; run the command again when nothing writes to the file.")
    if not last and end != b"\n":
        target.write(b"\n")
