"""What the dispatch of many runs over a Ray cluster costs, and what a lost machine does to them: 64 runs that only sleep.

    python -m benchmarks.cluster [--runs 64] [--examples 67000]

Needs Ray (requirements-cluster.txt) and Linux: four nodes with ten workers run on this machine, in a network namespace of their own. A
run records its examples three times, as a real one does, so that the caller has as much to receive; only the training is a pause.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.machine import heading
from pruning.records import EpochRecord, RunLost, RunPlan, RunResult, RunStarted
from pruning.settings import TrainSettings
from pruning.training.cluster import Pool, train_on_cluster
from pruning.training.cluster_worker import Worker
from pruning.training.cost import makespan

ROOT = Path(__file__).resolve().parents[1]
NODES = {"127.0.0.3": 2, "127.0.0.4": 2, "127.0.0.5": 2, "127.0.0.6": 4}
"""Cores of each node, and so workers."""

VICTIM = "127.0.0.6"
EPOCHS = 3
SECONDS = 6.0
"""Pause of a run with all examples; others in proportion."""

HIT_AFTER = 12.0
"""Seconds from the first run's start until the node is killed or stopped."""

NOTES = """
Ray {ray}. All nodes are on this machine, beside other work: the last column is the 1-minute load. A run only sleeps,
up to {seconds:g} s, and sends three records of up to {examples:,} examples; model and data are not sent. The node is hit {hit:g} s
after the first start; each of the {runs} runs ends once.

- **Ideal**: the longest run first on whichever of ten workers is free, at no cost. **Bound** of a lost node: the same on
  the six workers left from the start, and the time until it was seen, and a longest run.
- **Between two runs**: from the end of a run on a worker until it has the next one.
- **Memory added**: the caller's peak above what it had before it joined the cluster, Ray included."""

FIXED = TrainSettings(learning_rate=1e-5, device="cpu", precision="fp32")


class Asked:
    """A `Room` that is unpickled where that class is: importing it takes a worker seconds."""

    def __init__(self, given: int) -> None:
        self.given = given

    def __reduce__(self) -> tuple[Any, ...]:
        return _room, (self.given,)


def _room(given: int) -> Any:
    from pruning.training.process_worker import Room

    return Room(given)


class Sleeper(Worker):
    """A worker whose runs pause instead of training; a result's seconds are those that it waited for its plan."""

    def facts(self, precision: str, gpu: bool, witness: tuple[str, str] | None) -> dict[str, str] | str:
        """Return facts that all share."""
        return {"simulated": "yes"}

    def _serve(self) -> None:
        given, idle = 0, time.monotonic()
        while True:
            plan = self.received.get()
            if isinstance(plan, tuple):
                idle = time.monotonic()
                continue
            given, waited = given + 1, time.monotonic() - idle
            rows = np.flatnonzero(np.unpackbits(plan.rows))
            for epoch in range(plan.epochs):
                time.sleep(plan.learning_rate / plan.epochs)
                self.reports.put(record(plan.key, epoch, len(rows)))
            self.reports.put(RunResult(key=plan.key, seconds=waited if given > 1 else 0.0, steps=0, outputs=None))
            idle = time.monotonic()
            self.reports.put(Asked(given))


def record(key: str, epoch: int, rows: int) -> EpochRecord:
    """An epoch's record of so many examples."""
    real, whole = np.zeros(rows, np.float32), np.zeros(rows, np.int64)
    return EpochRecord(
        key=key,
        epoch=epoch,
        correct=np.zeros(rows, np.bool_),
        gold_prob=real,
        gold_margin=real.copy(),
        error_norm=real.copy(),
        loss=real.copy(),
        predicted=whole,
        position=np.zeros(rows, np.int32),
    )


class Sleepers(Pool):
    """Workers that need neither a model nor data."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.actor = self.ray.remote(max_restarts=0, num_cpus=1)(Sleeper)

    def set_up(self, model: str, settings: TrainSettings, parts: Any) -> None:
        """Send nothing but the settings."""
        self.settings, self.size, self.setup = settings, 0, ("", settings, [])


def simulated(runs: int, examples: int) -> list[RunPlan]:
    """Six runs on all examples and the others on a tenth to all of them; a plan's pause stands in its learning rate."""
    shares = [1.0] * 6 + [0.1 + 0.9 * (number % 10) / 9 for number in range(runs - 6)]
    sizes = [round(share * examples) for share in shares]
    return [
        RunPlan(key=f"run {number}", seed=number, rows=np.arange(size), epochs=EPOCHS, learning_rate=SECONDS * size / examples)
        for number, size in enumerate(sizes)
    ]


def drive(runs: int, examples: int) -> dict[str, Any]:
    """Train on the cluster that this process is in; return what was measured."""
    from pruning.jobs.cluster import Cluster, connected

    before, most = peak(), sum(NODES.values())
    with connected(Cluster(on="ray"), "cpu"):
        pool = Sleepers(gpu=False, most=most)
        ended, epochs, waited, lost = list[str](), 0, list[float](), list[float]()
        started, cpu = 0.0, time.process_time()
        for item in train_on_cluster(pool, simulated(runs, examples), None, None, "", FIXED, lambda: False):  # type: ignore[arg-type]
            if isinstance(item, RunStarted) and not started:
                started = time.time()
                print("started", flush=True)
            elif isinstance(item, EpochRecord):
                epochs += 1
            elif isinstance(item, RunLost):
                lost.append(time.time())
            elif isinstance(item, RunResult):
                ended.append(item.key)
                waited += [item.seconds] if item.seconds else []
        seconds, cpu = time.time() - started, time.process_time() - cpu
        pool.close()
    assert len(ended) == len(set(ended)) == runs, "a run is missing or was done twice"
    return {"seconds": seconds, "cpu": cpu, "memory": peak() - before, "waited": waited, "lost": lost, "epochs": epochs}


def peak() -> int:
    """Most bytes that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(runs: int, examples: int, number: int, log: Path) -> tuple[dict[str, Any], float]:
    """Start a cluster and the caller in it; return what that measured, and when one node was sent signal `number` (0: none)."""
    from tests.support.ray_cluster import RayCluster

    with RayCluster(log) as cluster:
        for address, cores in NODES.items():
            cluster.add(address, cores=cores)
        words = [sys.executable, "-m", "benchmarks.cluster", "--runs", str(runs), "--examples", str(examples), "--inside"]
        caller = cluster.start(words, {"PYTHONPATH": str(ROOT)}, cwd=ROOT, stdout=subprocess.PIPE)
        assert caller.stdout is not None and caller.stdout.readline() == b"started\n"
        hit = time.time() + HIT_AFTER
        if number:
            threading.Timer(HIT_AFTER, cluster.signal, (VICTIM, number)).start()
        found = json.loads(caller.stdout.read().splitlines()[-1])
        assert caller.wait() == 0
        cluster.signal(VICTIM, signal.SIGKILL)
    return found, hit


def row(name: str, found: dict[str, Any], hit: float, plans: list[RunPlan]) -> str:
    """Line of the table."""
    durations, workers = [plan.learning_rate or 0.0 for plan in plans], sum(NODES.values())
    ideal, extra = makespan(durations, workers), ""
    if found["lost"]:
        seen = found["lost"][0] - hit
        ideal = makespan(durations, workers - NODES[VICTIM]) + seen + max(durations)
        extra = f"{seen:.1f}"
    milliseconds = 1000 * np.array(found["waited"])
    gap = f"{np.median(milliseconds):,.0f} ({np.quantile(milliseconds, 0.95):,.0f})"
    cells = [name, str(len(found["lost"])), extra, f"{found['seconds']:.1f}", f"{ideal:.1f}", gap]
    cells += [f"{1000 * found['cpu'] / len(plans):.0f}", f"{found['memory'] / 1e6:.0f}", f"{os.getloadavg()[0]:.1f}"]
    return f"| {' | '.join(cells)} |"


def main(
    runs: Annotated[int, typer.Option()] = 64,
    examples: Annotated[int, typer.Option()] = 67_000,
    inside: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Measure and print Markdown."""
    if inside:
        print(json.dumps(drive(runs, examples)))
        return
    plans = simulated(runs, examples)
    lines = [
        "| 10 workers on 4 nodes | runs lost | seen after s | s | ideal or bound s | between two runs ms: median (95%) "
        "| caller's CPU ms a run | memory added to the caller MB | load of the machine |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as log:
        for name, number in (("undisturbed", 0), ("node of 4 killed", signal.SIGKILL), ("node of 4 stopped", signal.SIGSTOP)):
            found, hit = measure(runs, examples, number, Path(log))
            lines.append(row(name, found, hit, plans))
            print(lines[-1], file=sys.stderr, flush=True)
    print(heading("Dispatch over a Ray cluster", f"python -m benchmarks.cluster --runs {runs} --examples {examples}"))
    print("\n".join(lines))
    print(NOTES.format(runs=runs, examples=examples, seconds=SECONDS, hit=HIT_AFTER, ray=version("ray")))


if __name__ == "__main__":
    typer.run(main)
