"""The append-only files of an experiment: one JSON object a line, each with its number and checksum, so that damage is noticed.

A line ends with `"line": NUMBER, "crc": "CHECKSUM"}`: its number in the file, from 1, and the CRC-32 of its bytes before `, "crc"`,
in 8 hexadecimal digits. Lines of older versions have neither and are read as they are, but never behind a line that has both.
A last line that a crash cut short is not damage: the line written after it says `"torn": true`.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from pruning.errors import ExperimentError, system_words
from pruning.files import append_line, atomic_write
from pruning.store.layout import Folder

SEAL = re.compile(rb', "crc": "([0-9a-f]{8})"}\s*\Z')
"""How a line ends."""

DAMAGED_SEAL = re.compile(rb'"(?:...|crc)": "?.{6,9}"?}\s*\Z', re.S)
NUMBERED = re.compile(rb'"line": (\d+), "crc": "[0-9a-f]{8}"}\n')
WINDOW = 65536
"""Bytes at a file's end that are looked at for its last line."""


def _is_event(line: dict[str, Any]) -> bool:
    return isinstance(line.get("event"), str) and isinstance(line.get("time"), Real)


def _is_decision(line: dict[str, Any]) -> bool:
    texts = all(isinstance(line.get(name), str) for name in ("key", "kind", "value"))
    ids = line.get("ids")
    return texts and isinstance(line.get("time"), Real) and isinstance(ids, list) and all(type(one) is int for one in ids)


def _is_checksum(line: dict[str, Any]) -> bool:
    return isinstance(line.get("file"), str) and (isinstance(line.get("sha256"), str) or isinstance(line.get("began"), str))


def _is_filter(line: dict[str, Any]) -> bool:
    return isinstance(line.get("name"), str) and isinstance(line.get("filters", 0), dict | None)


SHAPES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "events.jsonl": _is_event,
    "decisions.jsonl": _is_decision,
    "checksums.jsonl": _is_checksum,
    "views.jsonl": _is_filter,
}
"""File -> if an object can be one of its lines."""


def append(folder: Folder, path: Path, values: dict[str, Any]) -> None:
    """Add one line. The first line of a file is noted in checksums.jsonl, so that a lost file is missed.

    Raises ExperimentError for what a person decides or saves in a folder that was renamed or deleted since they opened it.
    """
    if path in (folder.decisions, folder.views) and not folder.manifest.exists():
        raise ExperimentError(f"{folder.root} was renamed or deleted; nothing was written.")

    def line(handle: int) -> str:
        number, torn, empty = _end(handle)
        sealed, checksum = seal({**values, **({"torn": True} if torn else {}), "line": number + 1})
        if empty and path != folder.checksums:
            append(folder, folder.checksums, {"file": path.relative_to(folder.root).as_posix(), "began": checksum})
        return sealed

    append_line(path, line)


def seal(values: dict[str, Any]) -> tuple[str, str]:
    """Return values as one line with its checksum, and the checksum.

    >>> seal({"name": "a", "line": 1})
    ('{"name": "a", "line": 1, "crc": "0feebe70"}', '0feebe70')
    """
    text = json.dumps(values, ensure_ascii=False)[:-1]
    try:
        content = text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, as in the name of a file
        text = json.dumps(values)[:-1]
        content = text.encode()
    checksum = f"{zlib.crc32(content):08x}"
    return f'{text}, "crc": "{checksum}"}}', checksum


def read(path: Path, without: str = "") -> Iterator[dict[str, Any]]:
    """Yield the objects of the lines that are whole, but for lines that hold `without`. Damaged lines are left out; see `problems`."""
    for line in _lines(path, without):
        if line.values is not None:
            yield line.values


def last(path: Path, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    """Return the last whole line that fits, read from the file's end; None where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - WINDOW))
            found = [_unsealed(line) for line in file.read().split(b"\n")[:-1]]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from None
    sealed = any(one.sealed for one in found)
    for one in reversed(found):
        if one.values is not None and (one.sealed or not sealed) and _shaped(path, one.values) and fits(one.values):
            return one.values
    return None


def problems(folder: Folder, path: Path) -> list[str]:
    """Return what is wrong with an append-only file, a sentence for each fault, with the way out; empty when it is whole."""
    way_out = "restore the file from a copy, or resume the experiment to continue without the lost lines"
    began = [line["began"] for line in read(folder.checksums) if line["file"] == path.name and "began" in line]
    if path == folder.checksums:
        gone = not path.exists() and b'"sha256"' in folder.manifest.read_bytes()[-100:]
    else:
        gone = bool(began and began[-1]) and not path.exists()
    if gone:
        return [f"{path} is gone; {way_out}."]
    found, shift = [], 0
    lines = list(_lines(path))
    for place, line in enumerate(lines):
        if line.values is None:
            if not (place + 1 < len(lines) and lines[place + 1].torn):
                found.append(f"{path} line {line.number} is damaged; {way_out}.")
        elif line.stated and line.stated - line.number != shift:
            shift = line.stated - line.number
            found.append(f"{path} has other lines before line {line.number} than were written; {way_out}.")
    if lines and began and began[-1] and lines[0].checksum not in began and lines[0].values is not None:
        found.append(f"{path} is not the file that was written here; {way_out}.")
    return found


def repair(folder: Folder, path: Path) -> None:
    """Continue without the lost lines of a damaged file: rewrite its whole lines and keep the damaged file beside it."""
    if not problems(folder, path):
        return
    whole = list(read(path))
    if path.exists():
        path.replace(path.with_name(f"{path.stem}.damaged{path.suffix}"))
    if whole:
        lines = [seal({**values, "line": number}) for number, values in enumerate(whole, 1)]
        with atomic_write(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line, _ in lines), encoding="utf-8", newline="\n")
        began = lines[0][1]
    else:
        began = ""
    if path != folder.checksums:
        append(folder, folder.checksums, {"file": path.name, "began": began})


@dataclass(slots=True)
class _Line:
    values: dict[str, Any] | None = None
    """None: damaged."""
    number: int = 0
    stated: int = 0
    """The number that the line itself has; 0 where it has none."""
    checksum: str = ""
    sealed: bool = False
    torn: bool = False
    """The line before it was cut short by a crash."""


def _lines(path: Path, without: str = "") -> Iterator[_Line]:
    """Yield every line, in the order of the file; a last one that is cut short is left out."""
    skipped, sealed = without.encode(), False
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip() or (skipped and skipped in line) or (not line.endswith(b"\n") and _cut_short(line)):
                    continue
                found = _unsealed(line)
                found.number = number
                sealed |= found.sealed
                if found.values is not None and ((sealed and not found.sealed) or not _shaped(path, found.values)):
                    found.values = None
                yield found
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable(path, error) from None


def _cut_short(line: bytes) -> bool:
    """Return True for a line without its end, unless only the end itself is missing or another byte."""
    return not SEAL.search(line) and not SEAL.search(line[:-1])


def _unsealed(line: bytes) -> _Line:
    seal = SEAL.search(line)
    if seal and f"{zlib.crc32(line[: seal.start()]):08x}".encode() != seal[1]:
        return _Line()
    if not seal and DAMAGED_SEAL.search(line) and b'"line":' in line[-60:]:
        return _Line()
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return _Line()
    if not isinstance(values, dict):
        return _Line()
    if not seal:
        return _Line(values=values)
    stated, torn = values.pop("line", 0), values.pop("torn", False)
    return _Line(values=values, stated=stated, checksum=values.pop("crc"), sealed=True, torn=bool(torn))


def _shaped(path: Path, values: dict[str, Any]) -> bool:
    shape = SHAPES.get(path.name)
    return shape is None or shape(values)


def _end(handle: int) -> tuple[int, bool, bool]:
    """Return how many lines an open file has, if the last one was cut short, and if it is empty."""
    size = os.fstat(handle).st_size
    for start in (max(0, size - WINDOW), 0):
        text = os.pread(handle, size - start, start)
        marks = list(NUMBERED.finditer(text))
        if marks or start == 0:
            break
    torn = not text.endswith(b"\n") and size > 0
    behind = text[marks[-1].end() :] if marks else text
    return (int(marks[-1][1]) if marks else 0) + behind.count(b"\n") + torn, torn, size == 0


def _unreadable(path: Path, error: OSError) -> ExperimentError:
    return ExperimentError(f"{path} cannot be read: {system_words(error)}.")
