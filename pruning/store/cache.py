"""Arrays that take long to compute, kept in the folder's cache/, which may be deleted at any time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pruning.files import atomic_write

Arrays = Mapping[str, NDArray[Any]]


def remembered(path: Path, stamp: str) -> Arrays | None:
    """The arrays kept at `path` (.npz) for this stamp; None when there are none, or only of another stamp."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files} if str(kept["stamp"]) == stamp else None
    except (OSError, KeyError, ValueError, BadZipFile):
        return None


def remember(path: Path, stamp: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays kept at `path` for this stamp, else made now and kept.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     first = remember(Path(folder) / "x.npz", "1", lambda: {"x": np.arange(3)})
    ...     remember(Path(folder) / "x.npz", "1", lambda: {"x": np.zeros(1)})["x"]
    array([0, 1, 2])
    """
    kept = remembered(path, stamp)
    if kept is not None:
        return kept
    made = make()
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, stamp=np.array(stamp), **made)  # type: ignore[arg-type]
    return made
