"""Compute what takes long ahead of the page that shows it, in a process of its own.

python -m pruning.jobs.precompute DIR         fill the cache of the experiment in DIR: duplicates, label errors and rare words
python -m pruning.jobs.precompute DIR map     make its map by meaning
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, NamedTuple

from pruning.experiment import Experiment
from pruning.files import package_environment
from pruning.jobs import mapping
from pruning.store import cache


class _Child(NamedTuple):
    process: subprocess.Popen[bytes]
    printed: IO[bytes]
    """Its standard output."""


_latest: dict[tuple[Path, str], _Child] = {}
_here: dict[Path, threading.Thread] = {}

UNWRITTEN = 3
"""Exit code of a child process that could not write the cache."""


def begin(directory: Path, what: str = "") -> None:
    """Fill the experiment's cache in a child process, or make its "map"; while one is running, do nothing.

    A cache that the child process cannot write is filled in this process, by a thread.
    """
    child = _latest.get((directory, what))
    code = None if child is None else child.process.poll()
    if not what and code == UNWRITTEN:
        if directory not in _here or not _here[directory].is_alive():
            _here[directory] = threading.Thread(target=_fill, args=(directory,), name=f"cache of {directory.name}", daemon=True)
            _here[directory].start()
    elif child is None or code is not None:
        command = ["nice", sys.executable, "-m", "pruning.jobs.precompute", str(directory), *([what] if what else [])]
        printed = tempfile.TemporaryFile()  # noqa: SIM115  (read while the child writes)
        process = subprocess.Popen(command, env=package_environment(), stdin=subprocess.DEVNULL, stdout=printed)
        _latest[directory, what] = _Child(process, printed)


def failed(directory: Path, what: str = "") -> bool:
    """Return True if the latest child process for it ended with an error."""
    child = _latest.get((directory, what))
    return child is not None and bool(child.process.poll())


def steps(directory: Path, what: str) -> tuple[int, int] | None:
    """Return the steps done and those of all, as the latest child process counts them; None while it counts none."""
    child = _latest.get((directory, what))
    if child is None:
        return None
    printed = child.printed.fileno()
    size = os.fstat(printed).st_size
    lines = os.pread(printed, 64, max(0, size - 64)).splitlines()  # a seek would move the child's place too
    numbers = lines[-1].split() if lines else []
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(map(bytes.isdigit, numbers)) else None


def main(directory: Path, what: str = "") -> None:
    """Do that work for the experiment in `directory`, in this process."""
    experiment = Experiment(directory)
    if what == "map":
        mapping.ensure(experiment, lambda done, total: print(done, total, flush=True))
        return
    _fill(directory)
    if cache.unwritten(experiment.folder.cache("any").parent):
        sys.exit(UNWRITTEN)


def _fill(directory: Path) -> None:
    experiment = Experiment(directory)
    _ = experiment.duplicates, experiment.same_meaning
    if experiment.label_errors and experiment.finished_runs():
        _ = experiment.rarity


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
