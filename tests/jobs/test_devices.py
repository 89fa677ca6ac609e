"""A job on several GPUs, for which processes on the CPU stand: its recording, its queue, and what is said about each run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from pruning.errors import UsageError
from pruning.jobs import worker
from pruning.jobs.progress import JobProgress
from pruning.settings import Settings
from pruning.store import lock
from tests.support.trainings import stand_for_gpus

pytestmark = [pytest.mark.process, pytest.mark.pool]


@pytest.fixture
def on_gpus(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Settings without what would use a real GPU in this process."""
    stand_for_gpus(monkeypatch, 3)
    monkeypatch.setenv("WINNOW_QUEUE", str(tmp_path / "queue"))
    return settings.with_changes(look=False, device="cuda:2,0")


@pytest.mark.slow
def test_a_job_on_two_gpus_waits_for_these_alone_and_records_what_the_cpu_does(on_gpus: Settings, tmp_path: Path) -> None:
    """While one job holds cuda:1 and another one cuda:2, which ends when it is waited for."""
    said, places = list[str](), set[str]()
    with ExitStack() as other, lock.turn("cuda:1", lambda holder: None, "experiments/one"):
        other.enter_context(lock.turn("cuda:2", lambda holder: None, "experiments/two"))

        def listen(progress: JobProgress) -> None:
            if progress.waiting:
                said.append(progress.waiting)
                other.close()
            places.update(run.where for run in progress.runs.values())

        done = worker.score(on_gpus, tmp_path / "gpus", listen)
        assert set(said) == {"Waiting for experiments/two, which trains on cuda:2."}
        assert places == {"cuda:0", "cuda:2"}
    plain = worker.score(on_gpus.with_changes(device="cpu"), tmp_path / "cpu")
    files = sorted(path.relative_to(plain.folder.root) for path in plain.folder.dynamics.rglob("*.parquet"))
    assert files and all((done.folder.root / file).read_bytes() == (plain.folder.root / file).read_bytes() for file in files)
    queued = [event["message"] for event in done.events() if event["event"] == "queued"]
    assert queued[:1] == said[:1]


def test_a_gpu_that_is_not_there_ends_the_job_in_one_sentence(on_gpus: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"device is 'cuda:0,5', but PyTorch finds 3 devices of this type"):
        worker.score(on_gpus.with_changes(device="cuda:0,5"), tmp_path / "x")
