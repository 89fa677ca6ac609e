"""Workers in the background: a thread starts the very command a person would type, and watches it.

The disk is the truth: a worker goes on when the server that started it is gone, and whoever opens the
experiment next reads its state from the folder. Nothing here imports torch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from pruning.analysis.frontier import USUAL_SEEDS
from pruning.errors import BusyError, ExperimentError
from pruning.experiment import Experiment
from pruning.files import make_folder, package_environment
from pruning.records import JobState
from pruning.settings import Settings, TrainSettings
from pruning.store.layout import Folder
from pruning.store.lock import last_words, own, owned, owner, refuse_strange

NICENESS = 5
"""Added to the worker's niceness, so that the dashboard answers while every core trains."""


SPELLED = {"evaluation": "eval", "evaluation_fraction": "eval-fraction", "evaluation_seed": "eval-seed"}
"""Settings whose flag is not their name."""

APART = frozenset(["data", "columns", "seeds", "train", "recorded_by", "depth", "lora_rank"])
"""Settings that have words of their own, or none: what `approximate` decides, and recordings of other tools."""


def score_command(settings: Settings, directory: str | Path) -> list[str]:
    """The command line that scores with these settings, flags at their defaults left out."""
    default = Settings(data=settings.data)
    words = ["score", settings.data, "--experiment", str(directory), *_flags(settings, default), *_flags(settings.train, default.train)]
    words += [word for field, column in settings.columns.items() for word in ("--column", f"{field}={column}")]
    if settings.seeds != default.seeds:
        words += ["--seed-list", ",".join(map(str, settings.seeds))]
    return words


def _flags(settings: Settings | TrainSettings, default: Settings | TrainSettings) -> Iterator[str]:
    for name in (field.name for field in fields(settings) if field.name not in APART):
        value, flag = getattr(settings, name), SPELLED.get(name, name.replace("_", "-"))
        if value == getattr(default, name):
            continue
        if isinstance(value, bool):
            yield f"--{flag}" if value else f"--no-{flag}"
        else:
            yield from (f"--{flag}", str(value))


def frontier_command(
    directory: str | Path,
    subsets: Sequence[str] = (),
    baselines: Sequence[str] | None = None,
    seeds: int = USUAL_SEEDS,
    budget: str = "epochs",
    burn_in: int | None = None,
) -> list[str]:
    """The command line that measures subsets; no names = the automatic ladder, None = the usual baselines."""
    words = ["frontier", str(directory), "--seeds", str(seeds), "--budget", budget]
    if subsets:
        words += ["--subsets", ",".join(subsets)]
    if baselines is not None:
        words += ["--baselines", ",".join(baselines)]
    if burn_in is not None:
        words += ["--burn-in", str(burn_in)]
    return words


def start(words: Sequence[str], directory: str | Path) -> threading.Thread:
    """Start `python -m pruning WORDS` at low priority in a session of its own, and watch it from a daemon thread.

    The worker's output goes to worker.log in the folder; when it dies without a last word of its own, the thread
    leaves the end of that log as the reason. Raises BusyError when a worker is at the folder already, ExperimentError when
    something other than an experiment lies there.
    """
    root = Path(directory)
    make_folder(root)
    if owned(Folder(root)):
        raise BusyError(f"Another worker is at {root}; wait for it, or cancel it first.")
    refuse_strange(Folder(root))
    with Folder(root).log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pruning", *words],
            env=package_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _give_way(process.pid)
    thread = threading.Thread(target=_watch, args=(process, root), name=f"worker of {root.name}", daemon=True)
    thread.start()
    return thread


def resume(directory: str | Path) -> threading.Thread:
    """Go on with the experiment's unfinished job."""
    return start(["resume", str(directory)], directory)


def cancel(directory: str | Path, wait: float = 10.0) -> bool:
    """Ask the worker to stop at its next step; finished work is kept. True when it has stopped within `wait` seconds.

    Only the process that holds the experiment is asked, whatever the last event says: its writer may be long gone, and its number
    another's. Raises ExperimentError when nothing runs there, or what runs cannot be asked by this user on this machine.
    """
    experiment = Experiment(directory)
    end = time.monotonic() + wait
    asked: int | None = None
    while time.monotonic() < end:
        status = experiment.status()
        if not status.state.under_way:
            if asked is not None:
                return True
            raise ExperimentError(f"Nothing runs in {experiment.folder.root}; its state is {status.state}.")
        pid = owner(experiment.folder)
        if pid is not None and pid not in (asked, os.getpid()):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:  # it has just ended
                pass
            except PermissionError:
                whose = f"another user's (process {pid}); they can cancel it"
                raise ExperimentError(f"The worker at {experiment.folder.root} is {whose}.") from None
            asked = pid
        time.sleep(0.1)
    if asked is None:
        raise ExperimentError(f"The worker at {experiment.folder.root} cannot be reached from here; cancel it on the machine it runs on.")
    return False


def _give_way(pid: int) -> None:
    with suppress(OSError):  # it has ended already, or this is not Linux
        os.setpriority(os.PRIO_PROCESS, pid, min(19, os.getpriority(os.PRIO_PROCESS, pid) + NICENESS))
        # Linux weighs whole sessions against each other; niceness alone counts only among the processes of one session.
        Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS), encoding="utf-8")


def _watch(process: subprocess.Popen[bytes], root: Path) -> None:
    code = process.wait()
    if not code or not (root / "experiment.json").exists():
        return
    experiment = Experiment(root)
    if experiment.status().state in (JobState.INTERRUPTED, JobState.NEW):
        with suppress(BusyError, ExperimentError), own(experiment.folder, wait=0.0, named=False):  # and remove what it left half-written
            experiment.log("died", state=JobState.INTERRUPTED, message=last_words(root) or f"The worker ended with code {code}.")
