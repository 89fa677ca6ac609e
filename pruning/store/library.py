"""The folder of experiments: names, uploads, renaming, copying, and a trash that deletes nothing."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Collection
from itertools import count
from pathlib import Path
from typing import BinaryIO

from pruning.data.readers import files
from pruning.errors import BusyError, DataError, ExperimentError, UsageError
from pruning.files import LEFTOVER, atomic_write, sha256, write_text, writing
from pruning.store.layout import Folder
from pruning.store.lock import owned

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KINDS = (*files.KINDS, *(kind + ".gz" for kind in files.KINDS if kind not in files.TABLES))
"""Endings of files that can be uploaded."""

LARGEST = 200 * 2**20
"""Maximum bytes of an upload; larger files are given by their path."""

TRASH = ".trash"
_CHUNK = 1 << 20


def free(root: Path, name: str) -> Path:
    """Return the folder of a new experiment. Raises UsageError for an invalid name, ExperimentError when it is in use."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be an experiment's name; use letters, digits, dots, dashes and underscores, at most 64.")
    folder = root / name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExperimentError(f"The experiment {name} already exists; choose another name.")
    return folder


def rename(root: Path, old: str, new: str) -> None:
    """Rename an experiment. Raises what `free` raises, and BusyError while a job uses it."""
    folder, target = _idle(root, old), free(root, new)
    with writing(root):
        if target.exists():
            target.rmdir()
        folder.rename(target)


def duplicate(root: Path, old: str, new: str) -> Path:
    """Copy an experiment's recording, frontier, decisions and exports under another name; return the new folder.

    Lock, job logs and checkpoints are not copied. experiment.json is written last, so that an incomplete copy is not an experiment.
    Raises what `rename` raises.
    """
    folder, target = Folder(_idle(root, old)), free(root, new)
    left = {folder.lock, folder.jobs, folder.checkpoints, folder.manifest}

    def skipped(where: str, names: list[str]) -> list[str]:
        return [name for name in names if Path(where, name) in left or LEFTOVER.fullmatch(name)]

    manifest = folder.manifest.read_text(encoding="utf-8")
    with atomic_write(target) as temporary:
        try:
            shutil.copytree(folder.root, temporary, ignore=skipped)
        except shutil.Error as error:
            raise ExperimentError(f"{old} could not be copied: {error.args[0][0][2]}.") from None
        _idle(root, old)  # a job that started meanwhile may have changed files between their copies
    write_text(Folder(target).manifest, manifest)
    return target


def copy_name(name: str, taken: Collection[str]) -> str:
    """Return a name for a copy that no other experiment has.

    >>> copy_name("films", ["films", "films-copy"])
    'films-copy-2'
    """
    names = (f"{name[:55]}-copy{f'-{number}' * (number > 1)}" for number in count(1))
    return next(free for free in names if free not in taken)


def discard(root: Path, name: str) -> Path:
    """Move an experiment to the trash, a folder beside the experiments, and return its place. Raises BusyError while a job uses it."""
    folder = _idle(root, name)
    target = root / TRASH / f"{name}.{time.strftime('%Y%m%d-%H%M%S')}.{time.time_ns() % 1000:03d}"
    with writing(root):
        target.parent.mkdir(exist_ok=True)
        folder.rename(target)
    return target


def keep_upload(root: Path, name: str, content: BinaryIO) -> Path:
    """Store an uploaded file below `root`/uploads, under its own name and its sha256, and return its path; other files are never replaced.

    Raises DataError for an unsupported file type, an empty file, and one that is too large.
    """
    ending = max((kind for kind in KINDS if name.lower().endswith(kind)), key=len, default="")
    if not ending:
        raise DataError(f"{name} has an unsupported file type; supported are {', '.join(files.KINDS)} (texts also as .gz).")
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).name[: -len(ending)]).strip("-")[:48] or "data"
    digest, size = hashlib.sha256(), 0
    content.seek(0)
    while part := content.read(_CHUNK):
        digest.update(part)
        size += len(part)
        if size > LARGEST:
            raise DataError(f"{name} is larger than {LARGEST >> 20} MB; put it on this machine and give its path.")
    if not size:
        raise DataError(f"{name} is empty.")
    found = digest.hexdigest()
    for number in count(1):  # skip a stored file that was changed since
        path = root / "uploads" / f"{stem}-{found}{f'-{number}' * (number > 1)}{ending}"
        if not path.exists():
            break
        if sha256(path) == found:
            return path
    content.seek(0)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        while part := content.read(_CHUNK):
            file.write(part)
    return path


def title(data: str) -> str:
    """Return a name for data: its file name without ending and without the digest that `keep_upload` added, or its folder.

    >>> title("experiments/uploads/my-reviews-0a1b2c3d.csv"), title("data/reviews/"), title("org/reviews")
    ('my-reviews', 'reviews', 'reviews')
    """
    path = Path(data.partition(",")[0])
    ending = max((kind for kind in KINDS if path.name.lower().endswith(kind)), key=len, default=path.suffix)
    stem = re.sub(r"[*?[\]]+", "", path.name[: len(path.name) - len(ending)]).strip("-._")
    if not stem and path.parent.name:  # a glob such as data/*.jsonl
        return path.parent.name
    return re.sub(r"-(?:[0-9a-f]{8}|[0-9a-f]{64}(?:-\d+)?)$", "", stem) if path.parent.name == "uploads" else stem


def _idle(root: Path, name: str) -> Path:
    folder = root / name
    if not NAME.fullmatch(name) or not (folder / "experiment.json").exists():
        raise ExperimentError(f"The experiment {name} does not exist.")
    if owned(Folder(folder)):
        raise BusyError(f"{name} is in use by a job; cancel it first.")
    return folder
