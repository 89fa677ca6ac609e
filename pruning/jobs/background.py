"""Workers in the background: start the command a user would type in a process of its own, and watch it from a thread.

The folder holds the state: a worker outlives the server that started it, and whoever opens the experiment next reads the job's state
from disk. Nothing here imports torch.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruning.analysis.frontier import USUAL_SEEDS
from pruning.errors import BusyError, ExperimentError
from pruning.experiment import Experiment
from pruning.files import make_folder, package_environment, writing
from pruning.formatting import ended
from pruning.logs import JOB_LOG, last_words, new_log
from pruning.records import JobState
from pruning.settings import Settings
from pruning.settings_file import as_file, write_settings
from pruning.store.layout import Folder
from pruning.store.lock import in_use, own, owned, owner, refuse_strange

logger = logging.getLogger(__name__)

NICENESS = 5
"""Added to the worker's niceness, so that the dashboard answers while every core trains."""

STARTING = 60.0
"""Seconds to wait until a new job's experiment exists."""

ESTIMATE_SECONDS = 180
"""Seconds after which measuring this machine is given up."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A job's process, started by this one."""

    process: subprocess.Popen[bytes]
    log: Path
    """Everything the process writes to stderr, its log included."""
    watcher: threading.Thread

    def failure(self) -> str:
        """Return the error it exited with; empty while it runs and once it has succeeded."""
        code = self.process.poll()
        return (last_words(self.log).removeprefix("Error: ") or _silent(code, self.log)) if code else ""

    def until_created(self, folder: Folder) -> None:
        """Wait until the experiment exists, a minute at most. Raises ExperimentError with the error the process exited with."""
        end = time.monotonic() + STARTING
        while not folder.manifest.exists() and time.monotonic() < end:
            if problem := self.failure():
                raise ExperimentError(problem)
            time.sleep(0.2)


def frontier_command(
    directory: str | Path,
    subsets: Sequence[str] = (),
    baselines: Sequence[str] | None = None,
    seeds: int = USUAL_SEEDS,
    budget: str = "epochs",
    burn_in: int | None = None,
    success: str | None = None,
    model: str | None = None,
    learning_rate: float | None = None,
) -> list[str]:
    """The command line that measures subsets; no names = the automatic ladder, None = the usual baselines."""
    words = ["frontier", str(directory), "--seeds", str(seeds), "--budget", budget]
    if subsets:
        words += ["--subsets", ",".join(subsets)]
    if baselines is not None:
        words += ["--baselines", ",".join(baselines)]
    if burn_in is not None:
        words += ["--burn-in", str(burn_in)]
    if success is not None:
        words += ["--success", success]
    if model is not None:
        words += ["--model", model, "--learning-rate", "auto" if learning_rate is None else repr(learning_rate)]
    return words


def score(settings: Settings, directory: str | Path) -> Worker:
    """Start scoring with these settings, which the process reads from a settings file in the folder. Raises as `start` does."""
    return start(["score", "--experiment", str(directory)], directory, settings)


def prune(settings: Settings, directory: str | Path) -> Worker:
    """Start the whole job with these settings; the file is written to the experiment's exports. Raises as `start` does."""
    output = Folder(Path(directory)).exports / "pruned" / "data.jsonl"
    return start(["prune", "--experiment", str(directory), "--output", str(output)], directory, settings)


def estimate(settings: Settings) -> dict[str, Any]:
    """Return the fields of `estimate.Estimate`, measured in a process of its own. Raises ExperimentError with that process's error."""
    words = [sys.executable, "-m", "pruning", "score", "--settings", "-", "--estimate", "--json"]
    content, environment = json.dumps(as_file(settings)), package_environment()
    try:
        done = subprocess.run(words, env=environment, input=content, capture_output=True, text=True, timeout=ESTIMATE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ExperimentError(
            f"Measuring this machine took more than {ESTIMATE_SECONDS} seconds and was stopped; start scoring, which shows the time left."
        ) from None
    if done.returncode:
        raise ExperimentError(done.stderr.strip().removeprefix("Error: ") or "The estimate exited without an error message.")
    return dict(json.loads(done.stdout))


def start(words: Sequence[str], directory: str | Path, settings: Settings | None = None) -> Worker:
    """Start `python -m pruning WORDS` at low priority, and watch it from a daemon thread.

    What it writes to stderr is its log, in the folder's jobs/; settings are written beside the log and passed with --settings. When it
    dies without an event of its own, the thread records the end of that log as the reason. Raises BusyError when the experiment is in
    use, ExperimentError when the folder holds something other than an experiment, or cannot be written.
    """
    root = Path(directory)
    make_folder(root)
    folder = Folder(root)
    if owned(folder):
        raise in_use(folder)
    refuse_strange(folder)
    with writing(folder.jobs):
        log = new_log(folder.jobs)
    if settings is not None:
        write_settings(log.with_suffix(".json"), settings)
        words = [*words, "--settings", str(log.with_suffix(".json"))]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pruning", *words, "--verbose"],
            env={**package_environment(), JOB_LOG: str(log.absolute())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
    logger.info("started process %d: %s", process.pid, " ".join(words))
    _give_way(process.pid)
    watcher = threading.Thread(target=_watch, args=(process, root, log), name=f"worker of {root.name}", daemon=True)
    watcher.start()
    return Worker(process, log, watcher)


def resume(directory: str | Path) -> Worker:
    """Resume the experiment's unfinished job."""
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


def _watch(process: subprocess.Popen[bytes], root: Path, log: Path) -> None:
    """Wait for a worker's end, and record why it died if it could not. The state of another process's job is left alone."""
    code = process.wait()
    logger.info("process %d of %s exited with code %d", process.pid, root, code)
    if not code or not (root / "experiment.json").exists():
        return
    experiment = Experiment(root)
    status = experiment.status()
    if status.state not in (JobState.INTERRUPTED, JobState.NEW) or status.pid not in (None, process.pid):
        return
    with suppress(BusyError, ExperimentError), own(experiment.folder, wait=0.0, named=False):  # and remove what it left half-written
        message = last_words(log) or _silent(code, log)
        so_far = {"verb": status.verb, "started": status.started, "done": status.done, "total": status.total}
        experiment.log("died", state=JobState.INTERRUPTED, pid=process.pid, log=log.name, message=message, **so_far)


def _silent(code: int | None, log: Path) -> str:
    return f"The worker {ended(code)}, and left no error message; see its log: {log}"
