"""Runs on a Ray cluster of this machine: the same bytes as without it, whatever is lost on the way."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from pruning.experiment import Experiment
from pruning.records import JobState
from pruning.settings import Settings
from tests.support.processes import ROOT, score_words, wait_until, winnow
from tests.support.ray_cluster import RayCluster, missing

pytestmark = [pytest.mark.slow, pytest.mark.process]

CLOCKS = ["seconds", "finished", "compute_seconds", "evaluation_seconds"]
"""Columns of the frontier that say how long something took and when it was: the only ones that may differ."""

LONG = 24
"""Epochs, so that a run takes seconds."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    if reason := missing():
        pytest.skip(reason)
    with RayCluster(tmp_path_factory.mktemp("ray")) as cluster:
        cluster.add("127.0.0.3")
        cluster.add("127.0.0.4")
        yield cluster


@pytest.fixture(scope="module")
def long(settings: Settings) -> Settings:
    return replace(settings, seeds=settings.seeds[:2], look=False, train=replace(settings.train, epochs=LONG))


@pytest.fixture(scope="module")
def local(cluster: RayCluster, long: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment as this machine scores it."""
    folder = tmp_path_factory.mktemp("local") / "reviews"
    assert winnow(*score_words(long, folder)).wait() == 0
    return folder


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


def start(cluster: RayCluster, log: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start a command of Winnow inside."""
    with log.open("ab") as output:
        command = [sys.executable, "-m", "pruning", *words]
        return cluster.start(command, {"PYTHONPATH": str(ROOT)}, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)


def events(folder: Path) -> list[dict[str, Any]]:
    path = folder / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_run(folder: Path, job: subprocess.Popen[bytes], where: str = "127.0.0.") -> None:
    """Wait until a run on that machine has finished its second epoch."""

    def seen() -> bool:
        assert job.poll() is None, "the job ended before"
        said = events(folder)
        return bool(said) and any(run["where"].startswith(where) and run["epoch"] >= 2 for run in said[-1].get("runs", {}).values())

    wait_until(seen, 90)


def assert_same(ours: Path, theirs: Path) -> None:
    """Compare every recording by its bytes, and the frontier without the clock."""
    recordings = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("dynamics/**/*.parquet")} for folder in (ours, theirs)
    ]
    assert len(recordings[0]) > LONG and recordings[0] == recordings[1]
    frontiers = [pd.read_parquet(folder / "frontier.parquet").drop(columns=CLOCKS) for folder in (ours, theirs)]
    first, second = (rows.sort_values(["subset", "seed"], ignore_index=True) for rows in frontiers)
    pd.testing.assert_frame_equal(first, second)


def lose_machine(cluster: RayCluster) -> None:
    cluster.kill("127.0.0.4")
    cluster.add("127.0.0.4", wait=False)


def lose_process(cluster: RayCluster) -> None:
    [worker] = cluster.processes("127.0.0.4", "ray::Worker")
    worker.kill()


@pytest.mark.parametrize(
    ("lose", "said"),
    [(lose_machine, "machine 127.0.0.4 was lost at "), (lose_process, "its process on 127.0.0.4 was killed at ")],
    ids=["machine", "process"],
)
def test_a_lost_machine_or_process_is_named_and_changes_no_byte(
    cluster: RayCluster, local: Path, long: Settings, tmp_path: Path, shared: Path, lose: Callable[[RayCluster], None], said: str
) -> None:
    folder = tmp_path / "reviews"
    job = start(cluster, tmp_path / "log", *score_words(long, folder), "--on", "ray", "--shared", str(shared))
    wait_for_run(folder, job, "127.0.0.4")
    lose(cluster)
    assert job.wait(120) == 0, (tmp_path / "log").read_text()
    assert_same(local, folder)
    [note] = [event["message"] for event in events(folder) if " was lost and " in event.get("message", "")]
    assert said in note and "starts again where it was last saved" in note
    assert list(shared.iterdir()) == []
    cluster.wait_for("127.0.0.4")


@pytest.mark.parametrize(("number", "state"), [(signal.SIGTERM, JobState.CANCELLED), (signal.SIGKILL, JobState.INTERRUPTED)])
def test_a_stopped_job_leaves_no_worker_and_resumes_to_the_same_bytes(
    cluster: RayCluster, local: Path, long: Settings, tmp_path: Path, shared: Path, number: int, state: JobState
) -> None:
    folder, log = tmp_path / "reviews", tmp_path / "log"
    job = start(cluster, log, *score_words(long, folder), "--on", "ray", "--shared", str(shared))
    wait_for_run(folder, job)
    [driver] = psutil.Process(job.pid).children()
    driver.send_signal(number)
    job.wait(20)
    wait_until(lambda: not any(cluster.processes(address, "ray::Worker") for address in ("127.0.0.3", "127.0.0.4")), 10)
    assert Experiment(folder).status().state == state
    assert start(cluster, log, "resume", str(folder)).wait(120) == 0, log.read_text()
    assert Experiment(folder).status().state == JobState.DONE
    assert_same(local, folder)


def test_a_frontier_without_a_shared_folder_has_the_same_numbers(cluster: RayCluster, local: Path, tmp_path: Path) -> None:
    here, there, log = tmp_path / "here", tmp_path / "there", tmp_path / "log"
    words = ["--subsets", "remove-0", "--baselines", "random", "--seeds", "1"]
    for folder in (here, there):
        shutil.copytree(local, folder)
    assert winnow("frontier", here, *words).wait() == 0
    assert start(cluster, log, "frontier", str(there), *words, "--on", "ray", "--workers", "2").wait(120) == 0, log.read_text()
    assert_same(here, there)
    assert Experiment(there).started()[-1]["cluster"] == {"on": "ray", "workers": 2, "shared": None}
