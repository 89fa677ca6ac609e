"""Runs side by side: the same numbers as alone, and nothing left behind however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pruning.errors import Cancelled, ModelError, TrainingError
from pruning.records import EpochRecord, Progress, RunDiverged, RunLost, RunPlan, RunResult, RunStarted
from pruning.training import kept_processes, train
from pruning.training.devices import Place
from pruning.training.process_pool import Child
from pruning.training.process_worker import Setup
from tests.support.tiny import tiny_data, tiny_model
from tests.support.trainings import LENGTHS, recipe, same, stand_for_gpus

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_model(tmp_path_factory.mktemp("models") / "bert")


def plan(seed: int, epochs: int = 2, rows: int = len(LENGTHS)) -> RunPlan:
    return RunPlan(key=f"run {seed}", seed=seed, rows=np.arange(rows), epochs=epochs)


def children() -> list[psutil.Process]:
    """Training processes of this test's own process, which may have others, such as a browser's."""
    return [process for process in psutil.Process().children() if process.status() != psutil.STATUS_ZOMBIE and trains(process)]


def trains(process: psutil.Process) -> bool:
    try:
        return any("pruning.training.process_worker" in word for word in process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


@pytest.mark.parametrize("workers", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_six_runs_side_by_side_are_bit_identical_to_each_alone(model: str, workers: int) -> None:
    """More runs than processes, and a process each; every run reports its epochs in order."""
    plans, data = [*(plan(seed) for seed in range(1, 6)), plan(6, epochs=1, rows=7)], tiny_data(LENGTHS)
    alone = [item for made in plans for item in train([made], data, data, model, recipe(), workers=0)]
    together = list(train(plans, data, data, model, recipe(), workers=workers))
    for made in plans:
        records = [[item for item in items if isinstance(item, EpochRecord) and item.key == made.key] for items in (alone, together)]
        assert [record.epoch for record in records[1]] == list(range(made.epochs))
        assert all(same(a, b) for a, b in zip(*records, strict=True))
        [one, two] = [next(item for item in items if isinstance(item, RunResult) and item.key == made.key) for items in (alone, together)]
        assert np.array_equal(one.outputs, two.outputs) and one.steps == two.steps
    assert children() == []


def test_stopping_ends_every_process(model: str) -> None:
    """`stop` is heeded within moments, in the middle of long runs."""
    running = train([plan(1, 10**6), plan(2, 10**6)], tiny_data(LENGTHS), None, model, recipe(), workers=2, stop=lambda: told)
    told = False
    assert isinstance(next(item for item in running if isinstance(item, Progress)), Progress)
    assert len(children()) == 2
    told, started = True, time.monotonic()
    with pytest.raises(Cancelled, match="2 runs were in progress"):
        list(running)
    assert time.monotonic() - started < 2
    assert children() == []


def test_leaving_early_ends_every_process(model: str) -> None:
    files = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    running = train([plan(1, 10**6)], tiny_data(LENGTHS), None, model, recipe(), workers=1)
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert children() == []
    assert sys.platform != "linux" or len(os.listdir("/proc/self/fd")) == files


def test_a_run_whose_process_is_killed_trains_again_with_the_same_numbers(model: str, tmp_path: Path) -> None:
    """Where it was last saved, and in another process; the run beside it is left alone, and each epoch is there once at the end."""
    data, states = tiny_data(LENGTHS * 4), [str(tmp_path / f"{seed}.pt") for seed in (1, 2)]
    plans = [replace(plan(seed, 12, 44), checkpoint=state) for seed, state in zip((1, 2), states, strict=True)]
    running = train(plans, data, data, model, recipe(), workers=2)
    items, victim = [], 0
    for item in running:
        items.append(item)
        if isinstance(item, EpochRecord) and item.key == "run 1" and item.epoch == 2 and not victim:
            victim = 1
            where = next(one.where for one in items if isinstance(one, RunStarted) and one.key == "run 1")
            next(child for child in children() if process_or_core(child) == where).kill()
    [lost] = [item for item in items if isinstance(item, RunLost)]
    assert (lost.key, lost.where) == ("run 1", where)
    assert "run 1 on" in lost.sentence and "starts again where it was last saved: its process was killed" in lost.sentence
    assert [item.key for item in items if isinstance(item, RunStarted)] == ["run 1", "run 2", "run 1"]
    alone = [item for made in plans for item in train([replace(made, checkpoint=None)], data, data, model, recipe(), workers=0)]
    for key in ("run 1", "run 2"):
        ours, theirs = ({item.epoch: item for item in part if isinstance(item, EpochRecord) and item.key == key} for part in (items, alone))
        assert ours.keys() == theirs.keys() and all(same(ours[epoch], theirs[epoch]) for epoch in ours)
        [one], [two] = ([item for item in part if isinstance(item, RunResult) and item.key == key] for part in (items, alone))
        assert np.array_equal(one.outputs, two.outputs)
    assert children() == []


def process_or_core(child: psutil.Process) -> str:
    """The name of the slot in that process."""
    usable = child.cpu_affinity()
    return f"core {usable[0]}" if len(usable) == 1 else f"process {child.pid}"


def test_a_run_whose_process_is_killed_again_and_again_is_named(model: str) -> None:
    running = train([plan(4, 10**6)], tiny_data(LENGTHS), None, model, recipe(), workers=1)
    with pytest.raises(TrainingError, match=r"run 4 was lost 3 times .*: its process was killed.*smaller --batch-size or --max-length"):
        for item in running:
            if isinstance(item, RunStarted):
                children()[0].kill()
    assert children() == []


@pytest.mark.slow
def test_each_gpu_has_a_process_that_sees_it_alone(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes on the CPU stand for GPUs: what each sees, which run trains where, and the numbers, also when one of them is killed."""
    stand_for_gpus(monkeypatch, 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,GPU-5d3c,4")
    data, plans = tiny_data(LENGTHS * 4), [plan(1, 9, 44), plan(2, 8, 44), plan(3, 2, 44), plan(4, 1, 44)]
    settings, seen, killed = recipe(device="cuda:0,2"), set[str](), False
    with kept_processes():
        items = []
        for item in train(plans, data, data, model, settings):
            items.append(item)
            seen |= set(visible().values())
            if isinstance(item, Progress) and item.key == "run 2" and item.epoch == 1 and not killed:
                next(child for child in children() if visible()[child.pid] == "4").kill()
                killed = True
        starts = [(item.key, item.where) for item in items if isinstance(item, RunStarted)]
        assert starts[:2] == [("run 1", "cuda:0"), ("run 2", "cuda:2")] and {where for _, where in starts[2:]} == {"cuda:0"}
        assert [(item.key, item.where) for item in items if isinstance(item, RunLost)] == [("run 2", "cuda:2")]
        assert {item.where for item in items if isinstance(item, Progress)} == {"cuda:0", "cuda:2"} and seen == {"7", "4"}
        [kept] = children()
        list(train([plan(5, 1)], data, None, model, recipe(device="cuda:1,0")))
        assert visible()[kept.pid] == "7" and sorted(visible().values()) == ["7", "GPU-5d3c"]
    for made in plans:
        [ours], [theirs] = (
            [item.outputs for item in part if isinstance(item, RunResult) and item.key == made.key]
            for part in (items, train([made], data, data, model, recipe(), workers=0))
        )
        assert np.array_equal(ours, theirs)


def visible() -> dict[int, str]:
    """The GPUs that each training process may see."""
    return {child.pid: child.environ().get("CUDA_VISIBLE_DEVICES", "all") for child in children()}


def test_a_run_that_fails_is_named(model: str) -> None:
    with pytest.raises(TrainingError, match="Training of run 1 failed with IndexError"):
        list(train([plan(1, 20, 99)], tiny_data(LENGTHS), None, model, recipe(), workers=1))
    assert children() == []


def test_a_run_that_diverges_stops_no_other_and_none_starts_once_there_is_enough(model: str) -> None:
    """The process of a diverged run trains the next one; runs in progress finish when there is enough."""
    plans, data = [replace(plan(1, 20), learning_rate=1e30), plan(2, 3), plan(3, 2)], tiny_data(LENGTHS)
    done: list[str] = []
    with kept_processes():
        items = list(train(plans, data, None, model, recipe(max_grad_norm=1e30), workers=1))
        assert [item.key for item in items if isinstance(item, RunDiverged)] == ["run 1"]
        assert [item.key for item in items if isinstance(item, RunResult)] == ["run 2", "run 3"]
        for workers in (0, 1):
            done.clear()
            more = [plan(seed, 1) for seed in range(4)]
            for item in train(more, data, None, model, recipe(), workers=workers, enough=lambda: len(done) >= 2):
                if isinstance(item, RunResult):
                    done.append(item.key)
            assert len(done) == 2


def test_a_model_that_is_not_there_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"needs config\.json"):
        list(train([plan(1)], tiny_data(LENGTHS), None, str(tmp_path), recipe(), workers=1))


def test_kept_processes_train_again_with_the_same_numbers(model: str, tmp_path: Path) -> None:
    """Other plans, data, settings and model; a process whose run failed or that died is replaced, and the block's end ends them all."""
    data, other, model_b = tiny_data(LENGTHS), tiny_data(LENGTHS[:5], classes=3), tiny_model(tmp_path / "roberta", "roberta")

    def outputs(items: Iterable[object]) -> dict[str, Any]:
        return {item.key: item.outputs for item in items if isinstance(item, RunResult)}

    with kept_processes():
        first = outputs(train([plan(1), plan(2)], data, data, model, recipe(), workers=2))
        pids = {child.pid for child in children()}
        second = outputs(train([plan(3, rows=5), plan(4, rows=5)], other, other, model_b, recipe(batch_size=2), workers=2))
        assert len(pids) == 2 and {child.pid for child in children()} == pids
        killed = children()[0]
        killed.kill()
        killed.wait(5)
        assert outputs(train([plan(1), plan(2)], data, data, model, recipe(), workers=2)).keys() == first.keys()
        assert len(children()) == 2 and {child.pid for child in children()} != pids
        with pytest.raises(TrainingError, match="Training of run 1 failed with IndexError"):
            list(train([plan(1, rows=99)], data, None, model, recipe(), workers=1))
        assert len(children()) == 1
    assert children() == []
    for made, again in (
        (first, outputs(train([plan(1), plan(2)], data, data, model, recipe(), workers=0))),
        (second, outputs(train([plan(3, rows=5), plan(4, rows=5)], other, other, model_b, recipe(batch_size=2), workers=0))),
    ):
        assert all(np.array_equal(made[key], again[key]) for key in again)


def test_a_process_whose_parent_leaves_before_the_handle_ends() -> None:
    child = Child()
    child.connection.send(Setup("model", recipe(), 0, (None, None), Place()))
    child.connection.close()
    assert child.process.wait(timeout=200) == 0


PARENT = """
import sys
import numpy as np
from tests.support.trainings import LENGTHS, plan, recipe
from tests.support.tiny import tiny_data
from pruning.training import train
for item in train([plan(seed=seed, epochs=10**6) for seed in (1, 2)], tiny_data(LENGTHS), None, sys.argv[1], recipe(), workers=2):
    print("alive", flush=True)
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_children_die_with_their_parent(model: str, ending: signal.Signals) -> None:
    """Even when it has no chance to say goodbye."""
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, model], cwd=root, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "alive\n"
    workers = psutil.Process(parent.pid).children()
    assert len(workers) == 2
    for worker in workers:
        worker.send_signal(signal.SIGINT)
    assert parent.stdout.readline() == "alive\n"
    parent.send_signal(ending)
    parent.wait(timeout=10)
    parent.stdout.close()
    assert psutil.wait_procs(workers, timeout=5)[1] == []
