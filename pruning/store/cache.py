"""Arrays that take long to compute, kept in the folder's cache/, which may be deleted at any time.

Where that folder cannot be written (read-only, a full disk) they are kept in this process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pruning.errors import ExperimentError
from pruning.files import atomic_write

logger = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]

_UNWRITTEN: dict[Path, tuple[str, Arrays]] = {}
"""The stamp and arrays of files that could not be written."""


def remembered(path: Path, stamp: str) -> Arrays | None:
    """The arrays kept at `path` (.npz) for this stamp; None when there are none, or only of another stamp."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["stamp"]) == stamp:
                return {name: kept[name] for name in kept.files}
    except (OSError, KeyError, ValueError, BadZipFile):
        pass
    of, arrays = _UNWRITTEN.get(path, ("", None))
    return arrays if of == stamp else None


def unwritten(folder: Path) -> bool:
    """True if this process has arrays of that cache folder that could not be written."""
    return any(path.parent == folder for path in _UNWRITTEN)


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
    try:
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, stamp=np.array(stamp), **made)  # type: ignore[arg-type]
        _UNWRITTEN.pop(path, None)
    except ExperimentError as error:
        logger.warning("computed but not kept: %s", error)
        _UNWRITTEN[path] = (stamp, made)
    return made
