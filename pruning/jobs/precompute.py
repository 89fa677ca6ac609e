"""Compute what takes long ahead of the page that shows it, in a process of its own.

python -m pruning.jobs.precompute DIR         fill the cache of the experiment in DIR: duplicates, label errors and rare words
python -m pruning.jobs.precompute DIR map     make its map by meaning
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pruning.experiment import Experiment
from pruning.files import package_environment
from pruning.jobs import mapping

_running: dict[tuple[Path, str], subprocess.Popen[bytes]] = {}


def begin(directory: Path, what: str = "") -> None:
    """Fill the experiment's cache in a child process, or make its "map"; while one is running, do nothing."""
    child = _running.get((directory, what))
    if child is None or child.poll() is not None:
        command = ["nice", sys.executable, "-m", "pruning.jobs.precompute", str(directory), *([what] if what else [])]
        _running[directory, what] = subprocess.Popen(command, env=package_environment(), stdin=subprocess.DEVNULL)


def failed(directory: Path, what: str = "") -> bool:
    """Return True if the latest child process for it ended with an error."""
    child = _running.get((directory, what))
    return child is not None and bool(child.poll())


def main(directory: Path, what: str = "") -> None:
    """Do that work for the experiment in `directory`, in this process."""
    experiment = Experiment(directory)
    if what == "map":
        mapping.ensure(experiment)
        return
    _ = experiment.duplicates, experiment.same_meaning
    if experiment.label_errors and experiment.finished_runs():
        _ = experiment.rarity


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
