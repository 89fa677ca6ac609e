"""Checksums of the experiment's files: each is on disk before its file, and every reader checks it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pruning.errors import ExperimentError, system_words
from pruning.files import atomic_write, sha256
from pruning.formatting import counted
from pruning.records import JobState
from pruning.store import lines, lock, manifest
from pruning.store.layout import Folder

SAVED = "subsets/"
"""Prefix of the files of saved subsets."""

FORGOTTEN = ""
"""Stands for the checksum of a file that was removed on purpose."""


@contextmanager
def checksummed(folder: Folder, path: Path) -> Iterator[Path]:
    """Write one of the folder's own files with `atomic_write`; its checksum is on disk before the file appears.

    A crash in between leaves a checksum for a file that never appeared; the earlier file still has its own.
    """
    lock.check_place(folder)
    with atomic_write(path) as temporary:
        yield temporary
        lock.check_place(folder)
        line = {"file": path.relative_to(folder.root).as_posix(), "bytes": temporary.stat().st_size, "sha256": sha256(temporary)}
        lines.append(folder, folder.checksums, line)


def write_manifest(folder: Folder, info: Mapping[str, Any]) -> None:
    """Write experiment.json, with its own sha256 at its end."""
    with checksummed(folder, folder.manifest) as temporary:
        temporary.write_text(manifest.sealed(info), encoding="utf-8", newline="\n")


def checksums(folder: Folder) -> dict[str, set[str]]:
    """Return file -> every sha256 it was ever written with; a file with any of them is whole.

    Only the latest counts for a saved subset, because its name may have been given to other rows; none where it was removed.
    """
    found: dict[str, set[str]] = {}
    for line in lines.read(folder.checksums):
        if "began" in line:
            continue
        if line["file"].startswith(SAVED):
            found[line["file"]] = {line["sha256"]} - {FORGOTTEN}
        else:
            found.setdefault(line["file"], set()).add(line["sha256"])
    return found


def forgotten(folder: Folder, path: Path) -> None:
    """Record that a file is removed for good, before it is."""
    lines.append(folder, folder.checksums, {"file": path.relative_to(folder.root).as_posix(), "bytes": 0, "sha256": FORGOTTEN})


def fault(folder: Folder, path: Path, known: dict[str, set[str]]) -> str | None:
    """Return what is wrong with a file and how to restore it; None when it is what was recorded, or has no checksum."""
    name = path.relative_to(folder.root).as_posix()
    expected = known.get(name)
    if not expected:
        return None
    if not path.exists():
        return f"{path} is missing; {_comes_back(name)}."
    try:
        found = sha256(path)
    except OSError as error:
        return f"{path} cannot be read: {system_words(error)}."
    if found in expected or found in checksums(folder)[name]:  # written since `known` was read
        return None
    return f"{path} is damaged (its sha256 is {found[:12]}, not {min(expected)[:12]}); {_comes_back(name)}."


def whole(folder: Folder, path: Path, known: dict[str, set[str]]) -> bool:
    """Return True when the file exists and `fault` finds nothing wrong."""
    return path.exists() and fault(folder, path, known) is None


def check(folder: Folder, path: Path, known: dict[str, set[str]]) -> None:
    """Raise ExperimentError when the file is not what was recorded; one without a recorded checksum passes."""
    if problem := fault(folder, path, known):
        raise ExperimentError(problem)


def check_once(folder: Folder, path: Path) -> Path:
    """Run `check` on an existing file once per process, and again after each change of the file; return the path."""
    if not path.exists():
        return path
    stat = path.stat()
    state = (str(path.absolute()), stat.st_ino, stat.st_mtime_ns, stat.st_size)
    if state not in _WHOLE:
        check(folder, path, checksums(folder))
        _WHOLE.add(state)
    return path


_WHOLE: set[tuple[str, int, int, int]] = set()
"""Files that passed the check, with inode, time of change and size."""


def damaged(folder: Folder, paths: Iterable[Path], redone: Iterable[Path] = ()) -> dict[Path, str]:
    """Return the files that are damaged or missing, each with a sentence. Reads every byte.

    `redone` are the files of runs that are trained again: they may be missing during that job.
    """
    known, awaited = checksums(folder), _awaited(folder, redone)
    asked = [path for path in paths if path.exists() or path not in awaited]
    return {path: problem for path in asked if (problem := fault(folder, path, known))}


def verify(folder: Folder, paths: Iterable[Path], redone: Iterable[Path] = ()) -> None:
    """Raise ExperimentError naming the first damaged file, or line of an append-only file, and the number of further faults.

    Reads every byte.
    """
    found = [*damaged(folder, [folder.manifest, *paths], redone).values(), *complaints(folder)]
    if found:
        more = f" {counted(len(found) - 1, 'more fault was', 'more faults were')} found." if found[1:] else ""
        raise ExperimentError(found[0] + more)


def complaints(folder: Folder) -> list[str]:
    """Return what is wrong with the append-only files, a sentence for each fault. Reads every line."""
    return [problem for path in folder.append_only for problem in lines.problems(folder, path)]


def check_data(folder: Folder) -> None:
    """Raise ExperimentError when a file that an export is made of is damaged or missing, decisions included. Reads every byte."""
    for problem in (*damaged(folder, folder.of_data).values(), *lines.problems(folder, folder.decisions)):
        raise ExperimentError(problem)


def _awaited(folder: Folder, redone: Iterable[Path]) -> set[Path]:
    """Return files whose checksum is recorded but that a job may not have written yet: its latest, and those of runs trained again."""
    if lock.status(folder).state is JobState.DONE:
        return set()
    written = [line["file"] for line in lines.read(folder.checksums) if "began" not in line and not line["file"].startswith(SAVED)]
    return {*redone, *(folder.root / name for name in written[-1:])}


def _comes_back(name: str) -> str:
    if name == "experiment.json":
        return "restore it from a copy"
    if name == "frontier.parquet":
        return "resume the experiment to measure its subsets again"
    if name.startswith(SAVED):
        return f"restore it from a copy, or remove it with: python -m pruning forget DIR {Path(name).stem}"
    if name.startswith("look/"):
        return "make it again: python -m pruning look DIR"
    if name.startswith("dynamics/"):
        return "resume the experiment to record it again (a recording from elsewhere: delete it, and record or import it again)"
    return "resume the experiment to recreate it from its data"
