import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pruning.errors import Cancelled, ExperimentError
from pruning.experiment import Experiment
from pruning.files import package_environment
from pruning.jobs import background, precompute
from pruning.jobs.progress import job
from pruning.logs import tail
from pruning.records import JobState
from pruning.settings import Settings, default_seeds
from pruning.settings_file import read_settings
from pruning.store import lock
from pruning.store.layout import Folder
from pruning.store.lock import own, owned, owner
from tests.conftest import EPOCHS
from tests.support.processes import wait_until

pytestmark = pytest.mark.process


def wait_for(directory: Path, *states: JobState, seconds: float = 150) -> Experiment:
    """The experiment once its job stands in one of the states."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (directory / "experiment.json").exists():
            experiment = Experiment(directory)
            if experiment.status().state in states and (JobState.RUNNING in states or not owned(experiment.folder)):
                return experiment
        time.sleep(0.1)
    logs = [tail(log) for log in sorted(Folder(directory).jobs.glob("*.log"))]
    raise AssertionError(f"still not {states} after {seconds} s; logs: {logs}")


def test_a_worker_scores_in_the_background(settings: Settings, tmp_path: Path) -> None:
    folder, settings = tmp_path / "x", settings.with_changes(seeds=settings.seeds[:1])
    background.score(settings, folder)
    experiment = wait_for(folder, JobState.DONE, JobState.FAILED)
    assert experiment.status().state is JobState.DONE
    decided = {"task": experiment.settings.task, "columns": experiment.settings.columns, "lora_rank": 0}
    assert experiment.settings == settings.with_changes(**decided)
    assert experiment.dynamics.epochs == EPOCHS
    [log], [file] = experiment.folder.jobs.glob("*.log"), experiment.folder.jobs.glob("*.json")
    assert read_settings(file) == settings and file.stem == log.stem and experiment.status().log == log.name
    assert ": run 0 finished in" in log.read_text() and "Traceback" not in log.read_text()


@pytest.mark.process
def test_a_worker_that_fails_at_once_says_why(settings: Settings, tmp_path: Path) -> None:
    worker = background.score(settings.with_changes(data=str(tmp_path / "nowhere.jsonl")), tmp_path / "x")
    assert worker.process.wait(150) == 1
    assert "nowhere.jsonl" in worker.failure() and "no file" in worker.failure() and not worker.failure().startswith("Error")


def test_no_worker_starts_where_nothing_can_be_written(scored: Experiment, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    with pytest.raises(ExperimentError, match="file/x could not be written: file exists"):
        background.score(settings, tmp_path / "file" / "x")
    shutil.rmtree(scored.folder.jobs)
    scored.folder.jobs.write_text("in the way of a folder")
    with pytest.raises(ExperimentError, match="jobs could not be written: "):
        background.resume(scored.folder.root)


def test_a_cache_that_cannot_be_written_is_filled_in_this_process(scored: Experiment) -> None:
    """So that a page that waits for it comes to an end on a read-only or full disk too."""
    root, place = scored.folder.root, scored.folder.cache("any").parent
    shutil.rmtree(place, ignore_errors=True)
    place.write_text("in the way of a folder")
    precompute.begin(root)
    wait_until(lambda: precompute.failed(root), 60)
    assert not Experiment(root).audited
    precompute.begin(root)
    wait_until(lambda: Experiment(root).audited, 60)
    assert place.read_text() == "in the way of a folder"


def test_the_error_of_a_second_worker_is_not_reported_for_the_first(scored: Experiment) -> None:
    """It finds the experiment in use and exits; the job that it met dies later, without an error message."""
    scored.log("progress", state="running", verb="score", pid=2**22 + 1, log="first.log")
    second = scored.folder.job_log("second.log")
    second.write_text("Error: the experiment is in use.\n")
    loser = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
    background._watch(loser, scored.folder.root, second)
    status = scored.status()
    assert status.state is JobState.INTERRUPTED and "first.log" in status.message and "in use" not in status.message


def test_the_log_of_a_job_has_the_traceback_of_a_bug(scored: Experiment) -> None:
    for error in (RuntimeError("a bug"), ExperimentError("a mistake"), Cancelled("Cancelled.")):
        with pytest.raises(type(error)), job(scored.folder, "score"):
            raise error
        log = scored.folder.job_log(scored.status().log).read_text()
        assert str(error) in log and ("Traceback" in log) == isinstance(error, RuntimeError)


def test_cancel_then_resume(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    longer = settings.with_changes(seeds=default_seeds(40))
    background.score(longer, folder)
    wait_for(folder, JobState.RUNNING)
    assert background.cancel(folder)
    experiment = wait_for(folder, JobState.CANCELLED)
    assert len(experiment.finished_runs()) < 40
    with pytest.raises(ExperimentError, match="Nothing runs"):
        background.cancel(folder)
    background.resume(folder)
    wait_for(folder, JobState.RUNNING)
    assert background.cancel(folder)


def test_a_killed_worker_shows_as_interrupted_and_ran_at_low_priority(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    background.score(settings.with_changes(seeds=default_seeds(40)), folder)
    running = wait_for(folder, JobState.RUNNING)
    end = time.monotonic() + 30
    while running.status().pid is None and time.monotonic() < end:
        time.sleep(0.1)
    pid = running.status().pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + background.NICENESS)
    wait_until(lambda: running.status().total, 60)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: any(event["event"] == "died" for event in running.events()), 10)
    status = running.status()
    assert (status.state, status.verb, status.pid) == (JobState.INTERRUPTED, "score", pid) and status.total and status.started
    assert status.sentence.startswith("score interrupted, ") and "was killed, usually for lack of memory, and left no" in status.sentence


@contextmanager
def holding(code: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the experiment's lock for as long as it lives."""
    lines = ["import sys, time", "from pathlib import Path", "folder = Path(sys.argv[1])", f"{code}:"]
    command = [sys.executable, "-c", "\n".join([*lines, "    print('held', flush=True)", "    time.sleep(60)"]), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=package_environment())
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


WORKER = "from pruning.store.lock import own\nfrom pruning.store.layout import Folder\nwith own(Folder(folder))"
NAMELESS = "from filelock import FileLock\nwith FileLock(folder / 'lock')"


def test_only_the_lock_s_owner_is_asked_to_stop(scored: Experiment, stranger: subprocess.Popen[bytes]) -> None:
    """The last event is of a worker that died, and its number is another process's by now."""
    scored.log("progress", state="running", verb="score", pid=stranger.pid)
    with holding(WORKER, scored.folder.root) as process:
        assert owner(scored.folder) == process.pid
        assert background.cancel(scored.folder.root, wait=20)
        assert process.wait(20) == -signal.SIGTERM
    assert stranger.poll() is None


@pytest.mark.parametrize("born", ["0", None])
def test_no_process_is_stopped_when_the_lock_owner_is_unknown(
    scored: Experiment, stranger: subprocess.Popen[bytes], born: str | None
) -> None:
    """The lock still names a worker that was killed: its number is another process's, which began at another time; or it is not said."""
    scored.log("progress", state="running", verb="score", pid=stranger.pid)
    scored.folder.lock.write_text(f'{{"pid": {stranger.pid}, "born": "{born}"}}' if born else "")
    with holding(NAMELESS, scored.folder.root) as process:
        assert owner(scored.folder) is None
        with pytest.raises(ExperimentError, match="cannot be reached from here"):
            background.cancel(scored.folder.root, wait=0.5)
        assert process.poll() is None and stranger.poll() is None


def test_cancelling_another_users_worker_is_refused(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's refusal is made up: a test has one user."""
    scored.log("progress", state="running", verb="score")
    with holding(WORKER, scored.folder.root) as process:
        monkeypatch.setattr(background.os, "kill", refuse)
        with pytest.raises(ExperimentError, match=f"another user's .process {process.pid}.; they can cancel it"):
            background.cancel(scored.folder.root)
        monkeypatch.undo()


def refuse(pid: int, signal: int) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_a_process_that_only_inspects_a_folder_is_not_named_as_its_owner(scored: Experiment) -> None:
    with own(scored.folder):
        assert owner(scored.folder) == os.getpid()
    assert owner(scored.folder) is None and scored.folder.lock.read_text() == ""
    with own(scored.folder, named=False):
        assert owner(scored.folder) is None


@pytest.mark.parametrize("message", ["Each run under way keeps its state on disk, up to 90 MB.", ""])
def test_an_interruption_reports_the_last_line_of_the_workers_log(scored: Experiment, message: str) -> None:
    """A note of its job, and an older worker's words, are none."""
    scored.folder.jobs.mkdir(exist_ok=True)
    scored.folder.job_log("other.log").write_text("another worker's words")
    scored.log("note", state="running", verb="score", started=time.time() - 5, message=message, log="this.log")
    assert scored.status().state is JobState.INTERRUPTED
    assert scored.status().message == f"{lock.SILENT.removesuffix('.')}; see its log: {scored.folder.job_log('this.log')}"
    scored.folder.job_log("this.log").write_text("2026-01-02 03:04:05,678 INFO pruning.jobs: run 0 finished\nSegmentation fault\n")
    assert (scored.status().message, scored.status().log) == ("Segmentation fault", "this.log")


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path, settings: Settings) -> None:
    """Nothing is deleted for looking like a left-over, and nothing is written there."""
    other = {"llama.pt.part": "half a download", ".data.0123abcd.tmp": "somebody's"}
    for name, text in other.items():
        (tmp_path / name).write_text(text)
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "experiment.json").write_text('{"format": 999}')
    (newer / "run=0.pt.part").write_text("half a checkpoint")
    for folder, says in ((tmp_path, "not empty and is not an experiment"), (newer, "update Winnow")):
        for act in (lambda: own(Folder(folder)).__enter__(), lambda: background.score(settings, folder)):  # noqa: B023
            with pytest.raises(ExperimentError, match=says):
                act()
    assert {path.name for path in tmp_path.iterdir()} == {*other, "newer"}
    assert {path.name for path in newer.iterdir()} == {"experiment.json", "run=0.pt.part"}
    assert all((tmp_path / name).read_text() == text for name, text in other.items())


def test_two_experiments_wait_for_one_device_and_not_for_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever their folders lie. Two processes may call two devices by the same number."""
    monkeypatch.setenv("WINNOW_QUEUE", str(tmp_path))
    waited: list[str] = []
    holders: list[str] = []

    def wait(device: str) -> None:
        def give_up(holder: str) -> None:
            waited.append(device)
            holders.append(holder)
            raise TimeoutError

        with suppress(TimeoutError), lock.turn(device, give_up):
            pass

    def also(device: str) -> list[str]:
        waited.clear()
        thread = threading.Thread(target=wait, args=(device,))
        thread.start()
        thread.join()
        return waited

    with lock.turn("cuda:0", lambda holder: None, "experiments/first"):
        assert also("cuda:0") == ["cuda:0"] and holders == ["experiments/first"]
        assert also("cuda:1") == also("cpu") == []
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
        assert also("cuda:0") == [] and also("cuda:1") == ["cuda:1"]
    assert also("cuda:1") == []
