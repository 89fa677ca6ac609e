"""Who may write to a folder, and whether it is still the same folder."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pruning.errors import BusyError, ExperimentError
from pruning.experiment import Experiment
from pruning.logs import of_job
from pruning.records import JobState
from pruning.store import lines, lock
from pruning.store.layout import Folder
from tests.support.processes import environment, wait_until

HOLDER = """
import sys, time
from pathlib import Path
from pruning.store.layout import Folder
from pruning.jobs.progress import job
with job(Folder(Path(sys.argv[1])), "score") as progress:
    while True:
        progress.say("progress")
        time.sleep(0.05)
"""


def holder(folder: Path) -> subprocess.Popen[bytes]:
    """Another process that works in the folder and leaves an event every moment."""
    before = len(Folder(folder).events.read_bytes())
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], env=environment(), stderr=subprocess.PIPE)
    wait_until(lambda: lock.owned(Folder(folder)) and len(Folder(folder).events.read_bytes()) > before, 60, "the other worker")
    return process


def ended(process: subprocess.Popen[bytes]) -> str:
    _, said = process.communicate(timeout=30)
    return said.decode()


@pytest.mark.process
def test_a_deleted_lock_lets_no_second_worker_in(scored: Experiment) -> None:
    """The folder itself is locked too; the worker goes on and can still be cancelled."""
    folder, process = scored.folder, holder(scored.folder.root)
    try:
        folder.lock.unlink()
        with pytest.raises(BusyError, match="in use by another job"), lock.own(folder, wait=0.2):
            raise AssertionError("two workers at once")
        assert lock.owned(folder)
        wait_until(lambda: lock.owner(folder) == process.pid, 10, "its name in a new lock")
    finally:
        process.kill()
        process.wait()
    assert not lock.owned(folder)
    with lock.own(folder, wait=5):
        pass


@pytest.mark.process
def test_work_in_a_folder_that_was_moved_ends_with_a_sentence(scored: Experiment, tmp_path: Path) -> None:
    folder, process = scored.folder, holder(scored.folder.root)
    folder.root.rename(tmp_path / "elsewhere")
    assert f"{folder.root} was moved, replaced or deleted during the job" in ended(process).splitlines()[-1]
    assert not folder.root.exists(), "nothing is written at the old place"
    assert lock.status(Folder(tmp_path / "elsewhere")).state is JobState.INTERRUPTED


@pytest.mark.process
def test_a_folder_in_place_of_the_one_worked_in_is_left_alone(scored: Experiment, tmp_path: Path) -> None:
    folder, process = scored.folder, holder(scored.folder.root)
    folder.root.rename(tmp_path / "elsewhere")
    folder.root.mkdir()
    assert "was moved, replaced or deleted" in ended(process)
    assert list(folder.root.iterdir()) == []


def test_every_write_of_the_owner_asks_for_its_folder(scored: Experiment, tmp_path: Path) -> None:
    row = scored.finished().iloc[0].to_dict()
    with lock.own(scored.folder):
        scored.folder.root.rename(tmp_path / "elsewhere")
        for write in (lambda: scored.add_finished(row), lambda: scored.log("note"), lambda: scored.stop_scoring(1, "Enough.")):
            with pytest.raises(ExperimentError, match="was moved, replaced or deleted"):
                write()
        assert not scored.folder.root.exists()


def test_a_folder_that_is_moved_just_before_a_write_is_not_made_again(
    scored: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = lines.append

    def moved(folder: Folder, path: Path, values: dict[str, Any]) -> None:
        scored.folder.root.rename(tmp_path / "elsewhere")
        real(folder, path, values)

    with lock.own(scored.folder):
        monkeypatch.setattr(lines, "append", moved)
        with pytest.raises(ExperimentError, match="was moved, replaced or deleted"):
            scored.log("note")
        assert not scored.folder.root.exists()


def test_the_log_of_a_job_makes_no_folder_in_place_of_one_that_was_moved(scored: Experiment, tmp_path: Path) -> None:
    scored.folder.root.rename(tmp_path / "elsewhere")
    with of_job(scored.folder.jobs) as name:
        assert name == "" and not scored.folder.root.exists()


@pytest.mark.process
def test_a_stopped_worker_shows_the_time_of_its_last_event(scored: Experiment) -> None:
    """SIGSTOP: its lock is held, and nothing comes. Its last event is made older, so that the test need not wait."""
    folder, process = scored.folder, holder(scored.folder.root)
    try:
        assert lock.status(folder).silent is None
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        event = {
            "time": time.time() - 180,
            "event": "progress",
            "state": "running",
            "verb": "score",
            "done": 500,
            "total": 2000,
            "rate": 50.0,
        }
        with folder.events.open("a") as file:  # not by `lines.append`: the stopped process may hold the file's own lock
            file.write(lines.seal({**event, "line": len(folder.events.read_text().splitlines()) + 1})[0] + "\n")
        status = lock.status(folder)
        assert status.sentence == "score running, 500 of 2,000 examples, no progress for 3 min"
        assert status.seconds_left is None and status.silent == pytest.approx(180, abs=10)
    finally:
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait()
