import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pruning.cli import app
from pruning.errors import ExperimentError
from pruning.experiment import Experiment
from pruning.files import package_environment
from pruning.jobs import background, worker
from pruning.records import JobState
from pruning.settings import Settings, TrainSettings, default_seeds
from pruning.store import lock
from pruning.store.layout import Folder
from pruning.store.lock import last_words, own, owned, owner
from tests.conftest import EPOCHS


def wait_for(directory: Path, *states: JobState, seconds: float = 150) -> Experiment:
    """The experiment once its job stands in one of the states."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (directory / "experiment.json").exists():
            experiment = Experiment(directory)
            if experiment.status().state in states and (JobState.RUNNING in states or not owned(experiment.folder)):
                return experiment
        time.sleep(0.1)
    raise AssertionError(f"still not {states} after {seconds} s; last words: {last_words(directory)}")


def test_a_worker_scores_in_the_background(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    background.start(background.score_command(settings, folder), folder)
    experiment = wait_for(folder, JobState.DONE, JobState.FAILED)
    assert experiment.status().state is JobState.DONE
    assert experiment.settings == settings.with_changes(task=experiment.settings.task, columns=experiment.settings.columns)
    assert experiment.dynamics.epochs == EPOCHS


def test_cancel_then_resume(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    longer = settings.with_changes(seeds=default_seeds(40))
    background.start(background.score_command(longer, folder), folder)
    wait_for(folder, JobState.RUNNING)
    assert background.cancel(folder)
    experiment = wait_for(folder, JobState.CANCELLED)
    assert len(experiment.finished_runs()) < 40
    with pytest.raises(ExperimentError, match="Nothing runs"):
        background.cancel(folder)
    background.resume(folder)
    wait_for(folder, JobState.RUNNING)
    assert background.cancel(folder)


def test_a_killed_worker_shows_as_interrupted_and_lived_at_low_priority(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    background.start(background.score_command(settings.with_changes(seeds=default_seeds(40)), folder), folder)
    running = wait_for(folder, JobState.RUNNING)
    end = time.monotonic() + 30
    while running.status().pid is None and time.monotonic() < end:
        time.sleep(0.1)
    pid = running.status().pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + background.NICENESS)
    os.kill(pid, signal.SIGKILL)
    wait_for(folder, JobState.INTERRUPTED, seconds=10)


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
def test_nobody_is_asked_where_the_owner_is_not_known(scored: Experiment, stranger: subprocess.Popen[bytes], born: str | None) -> None:
    """The lock still names a worker that was killed: its number is another process's, which began at another time; or it is not said."""
    scored.log("progress", state="running", verb="score", pid=stranger.pid)
    scored.folder.lock.write_text(f'{{"pid": {stranger.pid}, "born": "{born}"}}' if born else "")
    with holding(NAMELESS, scored.folder.root) as process:
        assert owner(scored.folder) is None
        with pytest.raises(ExperimentError, match="cannot be reached from here"):
            background.cancel(scored.folder.root, wait=0.5)
        assert process.poll() is None and stranger.poll() is None


def test_another_user_s_worker_is_theirs_to_stop(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's refusal is made up: a test has one user."""
    scored.log("progress", state="running", verb="score")
    with holding(WORKER, scored.folder.root) as process:
        monkeypatch.setattr(background.os, "kill", refuse)
        with pytest.raises(ExperimentError, match=f"another user's .process {process.pid}.; they can cancel it"):
            background.cancel(scored.folder.root)
        monkeypatch.undo()


def refuse(pid: int, signal: int) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_who_only_looks_after_a_dead_worker_is_not_named(scored: Experiment) -> None:
    with own(scored.folder):
        assert owner(scored.folder) == os.getpid()
    assert owner(scored.folder) is None and scored.folder.lock.read_text() == ""
    with own(scored.folder, named=False):
        assert owner(scored.folder) is None


@pytest.mark.parametrize("message", ["Each run under way keeps its state on disk, up to 90 MB.", ""])
def test_an_interruption_s_reason_is_what_the_worker_said_last(scored: Experiment, message: str) -> None:
    """A note of its job, and an older worker's words, are none."""
    scored.folder.log.write_text("an older worker's words")
    os.utime(scored.folder.log, (1, 1))
    scored.log("note", state="running", verb="score", started=time.time() - 5, message=message)
    assert scored.status().state is JobState.INTERRUPTED and scored.status().message == lock.SILENT
    scored.folder.log.write_text("Segmentation fault")
    assert scored.status().message == "Segmentation fault"


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path, settings: Settings) -> None:
    """Nothing is deleted for looking like a left-over, and nothing is written there."""
    other = {"llama.pt.part": "half a download", ".data.0123abcd.tmp": "somebody's"}
    for name, text in other.items():
        (tmp_path / name).write_text(text)
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "experiment.json").write_text('{"format": 999}')
    (newer / "run=0.pt.part").write_text("half a checkpoint")
    for folder, says in ((tmp_path, "not empty and holds no experiment"), (newer, "update Winnow")):
        for act in (lambda: own(Folder(folder)).__enter__(), lambda: background.start(background.score_command(settings, folder), folder)):  # noqa: B023
            with pytest.raises(ExperimentError, match=says):
                act()
    assert {path.name for path in tmp_path.iterdir()} == {*other, "newer"}
    assert {path.name for path in newer.iterdir()} == {"experiment.json", "run=0.pt.part"}
    assert all((tmp_path / name).read_text() == text for name, text in other.items())


def test_two_experiments_wait_for_one_device_and_not_for_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever their folders lie. Two processes may call two devices by the same number."""
    monkeypatch.setenv("WINNOW_QUEUE", str(tmp_path))
    waited: list[str] = []

    def wait(device: str) -> None:
        def give_up() -> None:
            waited.append(device)
            raise TimeoutError

        with suppress(TimeoutError), lock.turn(device, give_up):
            pass

    def also(device: str) -> list[str]:
        waited.clear()
        thread = threading.Thread(target=wait, args=(device,))
        thread.start()
        thread.join()
        return waited

    with lock.turn("cuda:0", lambda: None):
        assert also("cuda:0") == ["cuda:0"]
        assert also("cuda:1") == also("cpu") == []
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
        assert also("cuda:0") == [] and also("cuda:1") == ["cuda:1"]
    assert also("cuda:1") == []


def test_the_command_carries_every_setting(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line reads from the words that the dashboard starts is what the dashboard meant."""
    meant = settings.with_changes(
        task="pair",
        columns={"text": "a", "text_pair": "b=c"},
        evaluation_fraction=0.3,
        evaluation_seed=1,
        drop_invalid=True,
        model="a folder/with spaces",
        max_length=9,
        seeds=(3, 4),
        burn_in=1,
        checkpoints=False,
        stop_when_stable=0.9,
        limit=10,
        approximate="layers",
        frontier_learning_rate=1e-4,
        train=TrainSettings(
            epochs=4,
            batch_size=5,
            learning_rate=1e-3,
            weight_decay=0.1,
            warmup_ratio=0.15,
            max_grad_norm=2.5,
            fixed_order=True,
            deterministic=True,
            precision="fp32",
            device="cuda:1",
        ),
    )
    read: list[Settings] = []
    monkeypatch.setattr(worker, "score", lambda settings, folder, listen: read.append(settings) or Experiment(folder))
    CliRunner().invoke(app, background.score_command(meant, tmp_path))
    assert read == [meant]
    usual = Settings(data=settings.data)
    same = [field.name for field in fields(Settings) if getattr(meant, field.name) == getattr(usual, field.name)]
    same += [field.name for field in fields(TrainSettings) if getattr(meant.train, field.name) == getattr(usual.train, field.name)]
    assert set(same) == {"data", "recorded_by", "depth", "lora_rank"}, "a setting that this test leaves as it is"
