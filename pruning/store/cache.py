"""What takes long to work out is worked out once: kept in the folder's cache/, which may be deleted at any time.

python -m pruning.store.cache DIR     work out duplicates and label errors now, in a process of its own
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pruning.files import atomic_write, package_environment

Arrays = Mapping[str, NDArray[Any]]

_running: dict[Path, subprocess.Popen[bytes]] = {}


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


def begin(directory: Path) -> None:
    """Work out what the folder's cache lacks, in a child process; a second call while one is at it does nothing."""
    child = _running.get(directory)
    if child is None or child.poll() is not None:
        command = ["nice", sys.executable, "-m", "pruning.store.cache", str(directory)]
        _running[directory] = subprocess.Popen(command, env=package_environment(), stdin=subprocess.DEVNULL)


def main(directory: Path) -> None:
    """Fill the cache."""
    from pruning.experiment import Experiment

    experiment = Experiment(directory)
    _ = experiment.duplicates
    if experiment.finished_runs() and experiment.label_errors:
        _ = experiment.rarity


if __name__ == "__main__":
    main(Path(sys.argv[1]))
