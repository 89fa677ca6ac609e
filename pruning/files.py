"""Atomic writes, folder permissions and checksums."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pruning.errors import ExperimentError, UsageError, system_words

logger = logging.getLogger(__name__)

LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}(?:-[0-9]+-[0-9]*\.export)?\.(?P<kind>tmp|old)|.+\.pt(?:\.[0-9a-f]{8})?\.part")
"""Names of what a killed writer leaves: half of a new file or export, an old folder about to be replaced, half a checkpoint."""


ALLOCATOR = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=17179869184"
"""Each step frees and allocates hundreds of MB; if they were returned to the system, page faults would take an eighth of a step."""

UMASK = "WINNOW_UMASK"
"""Environment variable: permissions that new files and folders do not get, in octal. 027 lets the group read."""

PRIVATE = 0o077
"""Default: no permissions for anyone except the user."""


def umask() -> int:
    """Return the permissions that new files do not get.

    Raises UsageError if WINNOW_UMASK is not an octal number, or would lock the user out.
    """
    named = os.environ.get(UMASK, "").strip()
    if not named:
        return PRIVATE
    if not re.fullmatch("0?o?0[0-7]{2}", named):
        raise UsageError(f"{UMASK} is {named!r}; write three octal digits starting with 0, such as 077 or 027.")
    return int(named[-2:], 8)


def keep_private() -> None:
    """Limit the permissions of all files that this process and its children create to `umask`."""
    os.umask(umask())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's error in writing `path` into an ExperimentError; other errors pass."""
    try:
        yield
    except OSError as error:
        if not error.errno:
            raise
        elsewhere = f" ({error.filename})" if isinstance(error.filename, str) and Path(error.filename).parent != path.parent else ""
        raise ExperimentError(f"{path} could not be written: {system_words(error)}{elsewhere}.") from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents with the permissions that `umask` allows; existing folders keep theirs.

    Raises ExperimentError, naming the folder, if the system cannot create it.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o777 & ~umask(), exist_ok=True)


@contextmanager
def atomic_write(path: str | Path, temporary: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write a file (or folder) to; it replaces `path` when the block succeeds.

    The content is on disk before the rename, so that a reader finds the old file or the new one, even after a power
    failure (a folder that replaces a folder is missing for an instant). If the block fails, the temporary file is removed
    and the old file is kept. Missing parent folders are created. Raises ExperimentError, naming the file, if the system
    cannot write it.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     [(file.name, file.read_text()) for file in Path(folder).iterdir()]
    [('a.txt', 'whole')]
    """
    path = Path(path)
    temporary = (temporary or path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")).absolute()  # pyarrow takes "a:b/c" for a URI
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync_tree(temporary)
            _replace(temporary, path)
            _sync(path.parent)
    finally:
        _remove(temporary)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically. Raises ExperimentError as `atomic_write` does."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON atomically. Raises ExperimentError as `atomic_write` does."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def append_line(path: str | Path, line: str | Callable[[int], str]) -> None:
    """Append one line to a file in a single write, so that lines of several processes never mix.

    `line` can be a function of the open file, called while no other process writes to it. An incomplete last line is terminated
    first. The folder must exist, so that none appears in place of one that was moved meanwhile.
    Raises ExperimentError if the system cannot write it, ValueError if `line` contains a line break.
    """
    if isinstance(line, str) and "\n" in line:
        raise ValueError("append_line takes one line")
    path = Path(path)
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666 & ~umask())
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # or the end read below may be a partial line of another writer; closing releases it
            size = os.fstat(handle).st_size
            broken = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            text = line if isinstance(line, str) else line(handle)
            data = f"{chr(10) if broken else ''}{text}\n".encode()
            if os.write(handle, data) != len(data):
                raise ExperimentError(f"{path} could not be written completely; the disk is full.")
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_leftovers(folder: Path, older_than: float = 0.0) -> None:
    """Remove partial files of killed writers from `folder` that were last modified at least `older_than` seconds ago.

    A folder that was renamed but never replaced gets its name back. Call it only while no other process writes there.
    """
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        found = LEFTOVER.fullmatch(path.name)
        if not found or (older_than and time.time() - path.lstat().st_mtime < older_than):
            continue
        if found["kind"] == "old" and not path.with_name(found["name"]).exists():
            os.replace(path, path.with_name(found["name"]))
        else:
            _remove(path)
            logger.info("removed the leftover %s", path)


def sha256(path: str | Path) -> str:
    """Return the sha256 of a file's bytes in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_environment() -> dict[str, str]:
    """Return the environment for a Python process that imports this package from any working directory."""
    paths = (str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def training_environment() -> dict[str, str]:
    """Return what a process that trains adds to its environment: one thread, no busy waiting, an allocator that keeps its memory."""
    return {
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", ALLOCATOR),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def visible_gpu(number: int) -> str:
    """Return the machine's name of the GPU that this process counts as `number`: processes may see other GPUs in another order."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return visible[number] if any(visible[number : number + 1]) else str(number)


def _sync_tree(path: Path) -> None:
    for file in (path, *path.rglob("*")) if path.is_dir() else (path,):
        _sync(file)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace(temporary: Path, path: Path) -> None:
    """Rename `temporary` to `path`. An existing folder is moved first, because it cannot be replaced in one step."""
    if not path.is_dir():
        os.replace(temporary, path)
        return
    old = temporary.with_suffix(".old")
    os.replace(path, old)
    try:
        os.replace(temporary, path)
    except OSError:
        os.replace(old, path)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
