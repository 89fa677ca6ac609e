"""Models unpacked on the machines of a cluster: once per machine, removed by the next job there that uses another model."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pruning.errors import ModelError
from pruning.files import make_folder

WHOLE = "whole"
"""Ending of the name of a folder with all files."""

_USED: list[int] = []
"""Locks that this process holds until it ends: other processes leave the folders alone."""


def unpacked_model(fingerprint: str, files: Sequence[tuple[str, Callable[[], Any]]]) -> str:
    """Return a folder with these files (name, function that returns the bytes), written unless another process did.

    Raises ModelError if the folder of all models belongs to another user, OSError if it cannot be written.
    """
    models = Path(tempfile.gettempdir()) / f"winnow-models-{os.getuid()}"
    make_folder(models)
    found = models.lstat()
    if not models.is_dir() or models.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ModelError(f"{models} belongs to somebody else, or others can write to it; remove it on that machine.")
    _sweep(models, fingerprint)
    lock, folder = _open(models, fingerprint), models / f"{fingerprint}-{WHOLE}"
    _USED.append(lock)
    fcntl.flock(lock, fcntl.LOCK_SH)
    while not folder.is_dir():
        fcntl.flock(lock, fcntl.LOCK_UN)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _unpack(models / fingerprint, folder, files)
        fcntl.flock(lock, fcntl.LOCK_SH)  # others may use it too, but not remove it
    return str(folder)


def _unpack(part: Path, folder: Path, files: Sequence[tuple[str, Callable[[], Any]]]) -> None:
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for name, content in files:
        with (part / name).open("wb") as file:
            file.write(content())
    part.rename(folder)


def _open(models: Path, fingerprint: str) -> int:
    return os.open(models / f"{fingerprint}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _sweep(models: Path, but: str) -> None:
    """Remove models that no process uses."""
    for path in models.glob("*.lock"):
        if path.stem == but:
            continue
        lock = _open(models, path.stem)
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for folder in (models / path.stem, models / f"{path.stem}-{WHOLE}"):
                shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
