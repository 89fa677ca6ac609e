"""Whatever dies, at whatever moment: finished work is there, the state shown is true, and going on gives the same result.

`make chaos` kills the worker at 50 random moments of scorings and frontiers, and the dashboard's server at 10; `make test` at 3.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import expect, sync_playwright

from pruning.errors import Cancelled
from pruning.experiment import Experiment
from pruning.files import LEFTOVER
from pruning.jobs import background as jobs
from pruning.jobs import worker
from pruning.records import JobState
from pruning.settings import Settings, default_seeds
from pruning.store import lock
from pruning.store.layout import Folder
from tests.support.browser_setup import find
from tests.support.commands import winnow as command
from tests.support.processes import alive, dashboard, free_port, score_words, wait_until, winnow

pytestmark = pytest.mark.process

SUBSETS = ["remove-0"]
CLOCKS = ["seconds", "finished", "compute_seconds", "evaluation_seconds"]
"""Columns of the frontier that say how long something took and when it was: the only ones that may differ."""


@dataclass
class Tally:
    """What the killing came to."""

    kills: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    """Seconds until a killed worker's own processes were gone and it was shown as interrupted, at most."""
    jobs: int = 0
    """Scorings and frontiers brought to their end."""

    def __str__(self) -> str:
        where = ", ".join(f"{count} {moment}" for moment, count in sorted(self.moments.items()))
        return f"{self.kills} kills ({where}), {self.jobs} jobs, gone and shown as interrupted after at most {self.slowest:.2f} s"


@pytest.fixture(scope="module")
def reference(scored_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """The same work without an interruption."""
    folder = shutil.copytree(scored_once, tmp_path_factory.mktemp("reference") / "x")
    return worker.frontier(folder, SUBSETS, ["random"], seeds=2)


def next_words(folder: Path, settings: Settings, seeds: int) -> list[str] | None:
    """What a person would type next; None when all is done."""
    if not (folder / "experiment.json").exists():
        return score_words(settings, folder)
    experiment = Experiment(folder)
    if experiment.status().state is not JobState.DONE:
        return ["resume", str(folder)]
    asked = any(event.get("verb") == "frontier" for event in experiment.events())
    return None if asked else jobs.frontier_command(folder, SUBSETS, ["random"], seeds=seeds)


def work(folder: Path, settings: Settings, tally: Tally, kills: int, draw: random.Random, longest: float, seeds: int = 2) -> None:
    """Do the whole work, killing each of the first workers at a random moment of its life; what is left is done in this process."""
    mark = folder.name + str(os.getpid())
    while words := next_words(folder, settings, seeds):
        if tally.kills == kills:
            done = command(*words)
            assert done.returncode == 0, done.stderr
            tally.jobs += 1
            continue
        process = winnow(*words, mark=mark, log=folder.parent / "words.txt")
        time.sleep(draw.uniform(0, longest))
        if process.poll() is None:
            kill(process.pid, folder, mark, tally)
        code = process.wait()
        assert code in (0, -signal.SIGKILL), (folder.parent / "words.txt").read_text()
        tally.jobs += code == 0
    assert not alive(mark)


def kill(pid: int, folder: Path, mark: str, tally: Tally) -> None:
    """SIGKILL the worker: its own processes die with it, what is on disk is whole, and it is shown as interrupted."""
    began = (folder / "experiment.json").exists()
    before = Experiment(folder).status().state if began else JobState.NEW
    tally.moments[str(Experiment(folder).status().verb) if before is JobState.RUNNING else "starting"] += 1
    os.kill(pid, signal.SIGKILL)
    tally.kills, died = tally.kills + 1, time.monotonic()
    wait_until(lambda: not alive(mark), 5, "the end of the worker's own processes")
    if (folder / "experiment.json").exists():
        experiment = Experiment(folder)
        ended = (JobState.DONE,) if before is not JobState.RUNNING else (JobState.INTERRUPTED, JobState.DONE)
        wait_until(lambda: experiment.status().state in (*ended, JobState.INTERRUPTED, JobState.NEW), 10, "the state")
        tally.slowest = max(tally.slowest, time.monotonic() - died)
        assert not lock.owned(experiment.folder)
        experiment.verify()


def assert_same(found: Experiment, expected: Experiment) -> None:
    """Recordings and examples byte by byte, the frontier in everything but the clock; nothing lies about."""
    for path in expected.files():
        again = found.folder.root / path.relative_to(expected.folder.root)
        if path == expected.folder.look:
            assert timeless(again) == timeless(path)
        elif path != expected.folder.frontier:
            assert again.read_bytes() == path.read_bytes(), again
    assert ordered(found).equals(ordered(expected))
    assert not [path for path in found.folder.root.rglob("*") if LEFTOVER.fullmatch(path.name)]
    assert not found.folder.checkpoints.exists()
    assert not lock.owned(found.folder) and found.status().state is JobState.DONE


def timeless(path: Path) -> dict[str, Any]:
    return {name: value for name, value in json.loads(path.read_text()).items() if name not in CLOCKS}


def ordered(experiment: Experiment) -> pd.DataFrame:
    table = experiment.finished().drop(columns=CLOCKS)
    return table.sort_values(["subset", "seed"]).reset_index(drop=True)


@pytest.mark.slow
def test_a_worker_killed_twice(settings: Settings, reference: Experiment, tmp_path: Path) -> None:
    tally = Tally()
    work(tmp_path / "x", settings, tally, kills=2, draw=random.Random(1), longest=8)
    assert tally.kills >= 1
    assert_same(Experiment(tmp_path / "x"), reference)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_worker_killed_fifty_times(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Thirty runs and twenty fine-tunings, so that the kills fall on scorings and frontiers alike."""
    many = settings.with_changes(seeds=default_seeds(30))
    worker.score(many, tmp_path / "reference" / "x")
    expected = worker.frontier(tmp_path / "reference" / "x", SUBSETS, ["random"], seeds=10)
    tally, draw, rounds = Tally(), random.Random(2), 0
    while tally.kills < 50:
        rounds += 1
        work(tmp_path / f"x{rounds}", many, tally, 50, draw, longest=15, seeds=10)
        assert_same(Experiment(tmp_path / f"x{rounds}"), expected)
    with capsys.disabled():
        print(f"\nworker: {tally}; experiments compared with an uninterrupted one: {rounds}, all identical")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(3600)
@pytest.mark.skipif(find() is None, reason="no Chromium: apt-get install chromium")
def test_a_dashboard_killed_ten_times(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The worker that a dashboard started outlives it; the next one shows it running, and the recording is the same."""
    many = settings.with_changes(seeds=default_seeds(40))
    expected = worker.score(many, tmp_path / "reference" / "x")
    folder, mark, port, draw = tmp_path / "experiments" / "x", tmp_path.name, free_port(), random.Random(3)
    with pytest.raises(Cancelled):
        worker.score(many, folder, lambda progress: os.kill(os.getpid(), signal.SIGTERM))
    roots = os.pathsep.join(str(Path(place).parent) for place in (settings.model, settings.data))
    kills, seen_running, resumed = 0, 0, 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        while kills < 10:
            with dashboard(folder.parent, mark=mark, port=port, WINNOW_ROOTS=roots) as (address, server):
                page.goto(f"{address}/score?experiment=x")
                expect(page.get_by_text(re.compile(r"score (cancelled|interrupted|running|done)")).first).to_be_visible(timeout=60_000)
                state = Experiment(folder).status().state
                if state is JobState.RUNNING:
                    expect(page.get_by_text(re.compile("score (running|done)")).first).to_be_visible(timeout=30_000)
                    seen_running += 1
                elif state is not JobState.DONE:
                    page.get_by_role("button", name="Resume").click()
                    wait_until(lambda: lock.owned(Folder(folder)), 60, "the resumed worker")
                    resumed += 1
                time.sleep(draw.uniform(0, 4))
                before = lock.status(Folder(folder))
                server.kill()
                server.wait()
                kills += 1
                if before.state is JobState.RUNNING and before.pid is not None and kills % 3 == 0:
                    os.kill(before.pid, signal.SIGKILL)  # with its dashboard, as when a machine goes down
                    wait_until(lambda: Experiment(folder).status().state is JobState.INTERRUPTED, 10, "the state")
        browser.close()
    if Experiment(folder).status().state is not JobState.DONE:
        wait_until(lambda: not lock.owned(Folder(folder)), 300, "the worker's end")
        worker.resume(folder)
    assert resumed >= 1 and seen_running >= 1
    assert_same(Experiment(folder), expected)
    wait_until(lambda: not alive(mark), 10, "the end of all processes")
    with capsys.disabled():
        print(f"\ndashboard: {kills} kills; the next one found it running {seen_running} times, resumed it {resumed} times; identical")
