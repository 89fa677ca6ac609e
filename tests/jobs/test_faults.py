"""Every place that writes, killed before, in the middle of and after its rename; no room, no rights, no true clock, an end by request."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pruning import training
from pruning.data import examples
from pruning.errors import BusyError, DataError, ExperimentError, ExportError, TrainingError
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.files import LEFTOVER, remove_leftovers
from pruning.interop import recorder
from pruning.jobs import background, worker
from pruning.records import DecisionKind, JobState
from pruning.settings import Settings, default_seeds
from pruning.store import cache, library, lock
from pruning.store.layout import Folder
from pruning.store.lock import own
from pruning.subsets.decisions import Decision
from pruning.training import checkpoint
from tests.conftest import LOOK_FILES, SEEDS
from tests.support.processes import MARK, alive, room, score_words, wait_until, winnow
from tests.support.recordings import flip, record_of

pytestmark = pytest.mark.process

MOMENTS = ("half written", "before the rename", "after the rename")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(name: str, moment: str) -> None:
    """From here on this process dies at its first write of a file (or folder) of that name, at that moment."""
    replace, fsync, write = os.replace, os.fsync, os.write

    def dying_replace(old: str | Path, new: str | Path) -> None:
        hit = Path(new).name == name
        if hit and moment == "before the rename":
            die()
        replace(old, new)
        if hit and moment == "after the rename":
            die()

    def dying_fsync(handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if moment == "half written" and (
            path.name.startswith(f".{name}.") or re.fullmatch(rf"{re.escape(name)}\.[0-9a-f]{{8}}\.part", path.name)
        ):
            if path.is_dir():
                next(path.rglob("*.*")).unlink()
            else:
                os.truncate(path, path.stat().st_size // 2)
            die()
        fsync(handle)

    def dying_write(handle: int, content: bytes) -> int:
        hit = Path(os.readlink(f"/proc/self/fd/{handle}")).name == name
        if hit and moment == "before the rename":
            die()
        written = write(handle, content[: len(content) // 2] if hit and moment == "half written" else content)
        if hit:
            die()
        return written

    os.replace, os.fsync, os.write = dying_replace, dying_fsync, dying_write  # type: ignore[assignment]


def killed(action: Callable[[], object], name: str, moment: str) -> None:
    """Do it in a process that dies at that write; fails when the write was never reached."""
    pid = os.fork()
    if pid == 0:
        try:
            arm(name, moment)
            action()
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"{name} was never written"


def leftovers(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if LEFTOVER.fullmatch(path.name)]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", ["experiment.json", "examples.parquet", "evaluation.parquet", "source.jsonl", "checksums.jsonl"])
def test_killed_while_creating_an_experiment(scored: Experiment, settings: Settings, tmp_path: Path, name: str, moment: str) -> None:
    """What a worker writes first: done again, it is the same to the byte."""
    train, evaluation = examples.load_pair(settings)
    folder = Folder(tmp_path / "new")

    def make() -> None:
        with own(folder):
            Experiment.create(folder.root, settings, train, evaluation, "0" * 64)

    killed(make, name, moment)
    make()
    assert leftovers(folder.root) == []
    assert Experiment(folder.root).verify() == 3
    for path in (folder.examples, folder.evaluation, folder.source):
        assert path.read_bytes() == (scored.folder.root / path.name).read_bytes()


@pytest.fixture
def untrained(reviews: tuple[Path, Path]) -> Settings:
    """Of a recording that another program makes: `resume` has its files to make and nothing to train."""
    return Settings(data=str(reviews[0]), recorded_by="recorder", seeds=SEEDS)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", ["examples.parquet", "evaluation.parquet", "source.jsonl", "checksums.jsonl"])
def test_killed_while_creating_an_experiment_and_resumed(untrained: Settings, tmp_path: Path, name: str, moment: str) -> None:
    """`resume` does what making it again would do: no file is missing, and an export will be verbatim."""
    folder = Folder(tmp_path / "new")

    def make() -> None:
        with own(folder):
            recorder.make(folder.root, untrained)

    if name == "checksums.jsonl":  # its first line is experiment.json's own, without which there is nothing to resume
        killed(make, "experiment.json", "after the rename")
    killed(make, name, moment)
    found = worker.resume(folder.root)
    assert found.verify() == len(found.files()) == 3
    assert folder.source.read_bytes() == Path(untrained.data).read_bytes()
    assert leftovers(folder.root) == []


@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_damaged_or_missing_data_files_are_recreated(scored: Experiment, damage: Callable[[Path], None]) -> None:
    """`verify` finds each, and `resume` brings it back to the byte, without any training."""
    files = len(scored.files())
    for path in scored.folder.of_data:
        whole = path.read_bytes()
        damage(path)
        with pytest.raises(ExperimentError, match=f"{path.name} is (damaged|missing).*recreate it from its data"):
            Experiment(scored.folder.root).verify()
        assert worker.resume(scored.folder.root).verify() == files
        assert path.read_bytes() == whole


def test_a_damaged_frontier_is_put_aside_and_measured_again(settings: Settings, tmp_path: Path) -> None:
    before = worker.score(settings.with_changes(seeds=SEEDS[:1], burn_in=0, train=replace(settings.train, epochs=1)), tmp_path / "x")
    whole = before.folder.frontier.read_bytes()
    flip(before.folder.frontier)
    flip(before.folder.examples)
    damaged = before.folder.frontier.read_bytes()
    after = worker.resume(before.folder.root)
    assert after.verify() == 5 + LOOK_FILES and before.folder.damaged_frontier.read_bytes() == damaged
    before.folder.frontier.write_bytes(whole)
    assert Experiment(before.folder.root).finished()["accuracy"].tolist() == after.finished()["accuracy"].tolist()


def test_damaged_data_comes_back_only_from_the_same_data(untrained: Settings, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    shutil.copy(untrained.data, rows)
    folder = recorder.make(tmp_path / "x", untrained.with_changes(data=str(rows))).folder
    folder.source.unlink()
    with rows.open("a") as file:
        file.write('{"sentence": "one more", "label": "positive", "source": "s1"}\n')
    with pytest.raises(ExperimentError, match="was made from different data"):
        worker.resume(folder.root)
    rows.unlink()
    with pytest.raises(DataError, match="no file or folder"):
        worker.resume(folder.root)
    assert not folder.source.exists()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", ["epoch=1.parquet", "checksums.jsonl"])
def test_killed_while_writing_an_epoch(scored: Experiment, name: str, moment: str) -> None:
    """An epoch's recording is there as a whole or not at all, and one that was there before stays readable throughout."""
    path, record = scored.folder.epoch(1, 1), record_of(scored, 1, 1)
    whole = path.read_bytes()
    for there in (True, False):
        path.unlink() if not there else None
        killed(lambda: scored.write_epoch(1, record), name, moment)
        assert path.read_bytes() == whole if path.exists() else not there
        if path.exists():
            assert scored.verify()
        else:  # the job that brought it is done: it was there once
            with pytest.raises(ExperimentError, match="is missing"):
                scored.verify()
            scored.log("progress", state="running", verb="score")
            announced = name == "epoch=1.parquet" or moment == "after the rename"
            assert announced == (scored.damaged([path]) == {})
    with own(scored.folder):
        scored.write_epoch(1, record)
    assert path.read_bytes() == whole and leftovers(scored.folder.root) == []


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", ["frontier.parquet", "checksums.jsonl"])
def test_killed_while_writing_a_point_of_the_frontier(scored: Experiment, name: str, moment: str) -> None:
    row = {**scored.finished().iloc[0].to_dict(), "subset": "other", "seed": 7}
    before = len(scored.finished())
    killed(lambda: scored.add_finished(row), name, moment)
    assert len(scored.finished()) in (before, before + 1)
    assert scored.verify()
    scored.add_finished(row)
    assert len(scored.finished()) == before + 1


@pytest.mark.parametrize(
    ("name", "format", "what", "moment"),
    [
        *(("data.jsonl", "jsonl", "data", moment) for moment in MOMENTS),
        *(("data.jsonl", "jsonl", "manifest", moment) for moment in MOMENTS[1:]),
        ("data", "hf", "data", "before the rename"),
    ],
)
def test_killed_while_exporting(scored: Experiment, name: str, format: str, what: str, moment: str) -> None:
    """A killed export is no export: `verify` says so, whatever was there before, until it is made again."""
    subset = scored.subset("remove-0")
    output = writer.default_output(scored, subset, format)

    def build() -> None:
        writer.build(scored, subset, output, format, force=True)

    for _ in range(2):
        killed(build, name if what == "data" else "manifest.json", moment)
        if (what, moment) != ("data", "after the rename"):
            with pytest.raises(ExportError):
                writer.verify(output)
    build()
    assert writer.verify(output)["output"]["rows"] == subset.size


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_writing_a_decision(scored: Experiment, moment: str) -> None:
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(1,)))
    killed(lambda: scored.decide(Decision(kind=DecisionKind.DROP, ids=(2,))), "decisions.jsonl", moment)
    assert scored.decided.dropped == ({1, 2} if moment == "after the rename" else {1})
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(3,)))
    assert scored.decided.dropped >= {1, 3}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_writing_an_upload_or_the_cache(scored: Experiment, moment: str) -> None:
    """Kept whole or not at all, and made again where they are missing."""
    rows, path = b'{"a": 1}\n' * 100, scored.folder.cache("thing")
    root = scored.folder.root.parent
    kept = library.keep_upload(root / "elsewhere", "rows.jsonl", io.BytesIO(rows)).name

    def work_out() -> dict[str, np.ndarray]:
        return cache.remember(path, "stamp", lambda: {"values": np.arange(1000)})

    killed(lambda: library.keep_upload(root, "rows.jsonl", io.BytesIO(rows)), kept, moment)
    killed(work_out, path.name, moment)
    assert library.keep_upload(root, "rows.jsonl", io.BytesIO(rows)).read_bytes() == rows
    assert np.array_equal(work_out()["values"], np.arange(1000))


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_writing_an_event(scored: Experiment, moment: str) -> None:
    before = len(list(scored.events()))
    killed(lambda: scored.log("note", state="done", message="x" * 100), "events.jsonl", moment)
    assert len(list(scored.events())) == before + (moment == "after the rename")
    assert scored.status().state is JobState.DONE


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_writing_a_checkpoint(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "run=0.pt"
    for value in (1.0, 2.0):
        state = {"fingerprint": "f", "value": torch.tensor(value)}
        if value == 1.0:
            checkpoint.save(str(path), state, [])
        else:
            killed(lambda: checkpoint.save(str(path), state, []), path.name, moment)  # noqa: B023
    found = checkpoint.load(str(path), "f")
    assert found is not None and float(found[0]["value"]) == (2.0 if moment == "after the rename" else 1.0)
    remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["run=0.pt"]


def test_a_folder_moved_aside_is_put_back(tmp_path: Path) -> None:
    """Replacing a folder takes two renames; killed between them, the old one comes back."""
    (tmp_path / ".data.0123abcd.old").mkdir()
    (tmp_path / ".data.0123abcd.tmp").mkdir()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# -- no room, no rights, no clock ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bytes", "says"),
    [
        (3000, r"could not be written"),
        pytest.param(20_000, r"run=\d\.pt could not be written.*--no-checkpoints", marks=pytest.mark.pool),
    ],
)
def test_a_full_disk_is_reported_and_the_job_can_be_resumed(
    settings: Settings, scored: Experiment, tmp_path: Path, bytes: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops in one sentence with nothing half-written, and goes on when there is room, to the same recording."""
    folder = tmp_path / "full"
    with room(bytes), pytest.raises((ExperimentError, TrainingError), match=says):
        worker.score(settings, folder)
    assert lock.status(Folder(folder)).state in (JobState.FAILED, JobState.INTERRUPTED)
    with own(Folder(folder)):
        assert leftovers(folder) == []
    monkeypatch.setattr(training, "train", partial(training.train, workers=0))  # what was pooled on the full disk goes on without a pool
    again = worker.score(settings, folder)
    assert np.array_equal(again.dynamics.gold_prob, scored.dynamics.gold_prob)
    assert again.verify()


def test_without_checkpoints_nothing_is_kept_of_them(settings: Settings, scored: Experiment, tmp_path: Path) -> None:
    seen: list[Path] = []
    folder = tmp_path / "without"
    found = worker.score(settings.with_changes(checkpoints=False), folder, lambda progress: seen.extend(folder.glob("checkpoints/*")))
    assert seen == [] and not found.settings.checkpoints
    assert np.array_equal(found.dynamics.loss, scored.dynamics.loss)
    assert not any("disk" in note for note in found.notes())
    assert any("up to" in note and "MB" in note for note in scored.notes())


def test_a_folder_that_cannot_be_written_can_be_read(scored: Experiment) -> None:
    """Run by a user without rights on it: everything is shown, every act is refused in a sentence."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    folder = shutil.copytree(scored.folder.root, place / "x")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            os._exit(0 if read_only(folder) else 1)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(2)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(place)
    assert code == 0


def read_only(folder: Path) -> bool:
    experiment = Experiment(folder)
    subset = experiment.subset("remove-0")
    acts: list[Callable[[], object]] = [
        lambda: worker.frontier(folder, ["remove-0"], [], seeds=3),
        lambda: experiment.decide(Decision(kind=DecisionKind.DROP, ids=(1,))),
        lambda: writer.build(experiment, subset, writer.default_output(experiment, subset, "csv"), "csv"),
    ]
    for act in acts:
        with pytest.raises(ExperimentError, match="could not be written: permission denied"):
            act()
    return experiment.status().state is JobState.DONE and bool(experiment.verify()) and not lock.owned(experiment.folder)


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_changes_no_state(scored: Experiment, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """Whether something runs is known by the lock, not by a clock; speed is measured by one that cannot be set."""
    now, calls = time.time, iter(range(10_000))
    monkeypatch.setattr(time, "time", lambda: now() + jump * (next(calls) % 2))
    path = scored.folder.epoch(1, 1)
    path.unlink()
    rates: list[float] = []
    states: list[JobState] = []

    def listen(progress: worker.JobProgress) -> None:
        rates.append(progress.rate)
        states.append(scored.status().state)

    worker.resume(scored.folder.root, listen)
    assert states and set(states) == {JobState.RUNNING}
    assert all(0 <= rate < 1e6 for rate in rates)
    assert scored.status().state is JobState.DONE and path.exists()


# -- an end by request -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_ctrl_c_sigterm_and_a_closed_terminal_all_cancel_the_job(settings: Settings, tmp_path: Path, number: signal.Signals) -> None:
    """Within 5 seconds it has stopped, says so, and leaves no process, lock or temporary file."""
    folder, mark = tmp_path / "x", f"{tmp_path.name}{number}"
    log = tmp_path / "words.txt"
    process = winnow(*score_words(settings.with_changes(seeds=default_seeds(60)), folder), mark=mark, log=log)
    wait_until(lambda: lock.status(Folder(folder)).runs or process.poll() is not None, 60, "the first progress")
    os.kill(process.pid, number)
    assert process.wait(5) == 130, log.read_text()
    assert "Cancelled" in log.read_text() or "stopped" in log.read_text()
    experiment = Experiment(folder)
    assert experiment.status().state is JobState.CANCELLED and not lock.owned(experiment.folder)
    assert alive(mark) == [] and leftovers(folder) == []


def test_a_cancelled_worker_of_the_dashboard_leaves_nothing(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while it still reads its data: it need not have come to training. A second start is refused meanwhile."""
    folder, mark = tmp_path / "x", tmp_path.name
    monkeypatch.setenv(MARK, mark)
    longer = settings.with_changes(seeds=default_seeds(60))
    background.score(longer, folder)
    wait_until(lambda: lock.owned(Folder(folder)) and (folder / "experiment.json").exists(), 60, "its start")
    with pytest.raises(BusyError, match="in use by another job"):
        background.score(longer, folder)
    assert background.cancel(folder, wait=5)
    wait_until(lambda: not set(alive(mark)) - {os.getpid()}, 5, "its end")
    assert leftovers(folder) == [] and not lock.owned(Folder(folder))
    assert Experiment(folder).status().state is JobState.CANCELLED


def test_the_process_of_a_stale_event_is_not_stopped(scored: Experiment) -> None:
    """An owner that has just died: nothing is killed in its stead."""
    scored.log("progress", state="running", verb="score", pid=2**22 + 1)
    with own(scored.folder), pytest.raises(ExperimentError, match="cannot be reached from here"):
        background.cancel(scored.folder.root, wait=0.3)
    with pytest.raises(ExperimentError, match="Nothing runs"):
        background.cancel(scored.folder.root)


def test_system_errors_while_owning_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(lock.FileLock, "acquire", refuse)
    with pytest.raises(ExperimentError, match="could not be written: read-only file system"), own(Folder(tmp_path / "x")):
        pass


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_experiments_take_turns_on_a_device(settings: Settings, tmp_path: Path) -> None:
    """The second says that it waits, can be cancelled meanwhile, and trains when the first has ended."""
    first, second = tmp_path / "here" / "first", tmp_path / "there" / "second"
    long = winnow(*score_words(settings.with_changes(seeds=default_seeds(60)), first))
    wait_until(lambda: lock.status(Folder(first)).runs, 240, "the first one's training")
    short = winnow(*score_words(settings, second))
    wait_until(lambda: lock.status(Folder(second)).state is JobState.QUEUED, 240, "the second one's turn to wait")
    assert "trains on cpu" in lock.status(Folder(second)).message
    assert background.cancel(second, wait=60) and short.wait(60) == 130
    short = winnow("resume", second)
    wait_until(lambda: lock.status(Folder(second)).state is JobState.QUEUED, 240, "its turn to wait again")
    assert background.cancel(first, wait=60) and long.wait(60) == 130
    assert short.wait(240) == 0
    assert Experiment(second).status().state is JobState.DONE and Experiment(second).finished_runs() == [0, 1, 2]
