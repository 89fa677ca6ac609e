"""Compute what takes long ahead of the page that shows it, in a process of its own.

python -m pruning.jobs.precompute DIR         fill the cache of the experiment in DIR: duplicates, label errors and rare words
python -m pruning.jobs.precompute DIR map     make its map by meaning
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from pruning.experiment import Experiment
from pruning.files import package_environment
from pruning.jobs import mapping

_running: dict[tuple[Path, str], subprocess.Popen[bytes]] = {}
_printed: dict[tuple[Path, str], IO[bytes]] = {}
"""Standard output of each child process."""


def begin(directory: Path, what: str = "") -> None:
    """Fill the experiment's cache in a child process, or make its "map"; while one is running, do nothing."""
    child = _running.get((directory, what))
    if child is None or child.poll() is not None:
        command = ["nice", sys.executable, "-m", "pruning.jobs.precompute", str(directory), *([what] if what else [])]
        printed = _printed[directory, what] = tempfile.TemporaryFile()  # noqa: SIM115  (read while the child writes)
        _running[directory, what] = subprocess.Popen(command, env=package_environment(), stdin=subprocess.DEVNULL, stdout=printed)


def failed(directory: Path, what: str = "") -> bool:
    """Return True if the latest child process for it ended with an error."""
    child = _running.get((directory, what))
    return child is not None and bool(child.poll())


def steps(directory: Path, what: str) -> tuple[int, int] | None:
    """Return the steps done and those of all, as the latest child process counts them; None while it counts none."""
    printed = _printed.get((directory, what))
    if printed is None:
        return None
    size = os.fstat(printed.fileno()).st_size
    lines = os.pread(printed.fileno(), 64, max(0, size - 64)).splitlines()  # a seek would move the child's place too
    numbers = lines[-1].split() if lines else []
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(map(bytes.isdigit, numbers)) else None


def main(directory: Path, what: str = "") -> None:
    """Do that work for the experiment in `directory`, in this process."""
    experiment = Experiment(directory)
    if what == "map":
        mapping.ensure(experiment, lambda done, total: print(done, total, flush=True))
        return
    _ = experiment.duplicates, experiment.same_meaning
    if experiment.label_errors and experiment.finished_runs():
        _ = experiment.rarity


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
