"""Compute duplicates, label errors and rare words ahead of the page that shows them, in a process of its own.

python -m pruning.jobs.precompute DIR     fill the cache of the experiment in DIR
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pruning.experiment import Experiment
from pruning.files import package_environment

_running: dict[Path, subprocess.Popen[bytes]] = {}


def begin(directory: Path) -> None:
    """Fill the experiment's cache in a child process; while one is running, do nothing."""
    child = _running.get(directory)
    if child is None or child.poll() is not None:
        command = ["nice", sys.executable, "-m", "pruning.jobs.precompute", str(directory)]
        _running[directory] = subprocess.Popen(command, env=package_environment(), stdin=subprocess.DEVNULL)


def main(directory: Path) -> None:
    """Fill the cache of the experiment in `directory`, in this process."""
    experiment = Experiment(directory)
    _ = experiment.duplicates, experiment.same_meaning
    if experiment.label_errors and experiment.finished_runs():
        _ = experiment.rarity


if __name__ == "__main__":
    main(Path(sys.argv[1]))
