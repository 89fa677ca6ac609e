"""CPU time of the same scoring on a Ray cluster of this machine and with its own training processes, in turns.

    python -m benchmarks.cluster_cpu [--rounds 2] [--train 2000]

Needs Ray (requirements-cluster.txt) and Linux. A worker's start (imports, model, data) takes the same whatever it trains, so each way
scores twice, with few runs and with more: the difference is what the runs alone take. Run it on a quiet machine.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Annotated

import psutil
import typer

from benchmarks.machine import heading
from tests.support.ray_cluster import RayCluster, missing

ROOT = Path(__file__).resolve().parents[1]
NODES = ("127.0.0.3", "127.0.0.4")
FEW, MANY = 2, 6
EPOCHS = 3
LIMIT = 1200.0
"""Seconds after which a scoring counts as stuck."""

NOTES = """
Ray {ray}. CPU seconds of {train:,} sentences of the sample, {epochs} epochs, MiniLM, two workers of one thread; {few} runs and {many},
whose difference is in the columns "runs". They are read from the processes four times a second. A cluster's own daemons run whether it
works or not."""


@dataclass
class Spent:
    """CPU seconds of processes, the last value seen of each."""

    caller: dict[int, float] = field(default_factory=dict)
    workers: dict[int, float] = field(default_factory=dict)
    daemons: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def totals(self) -> tuple[float, float, float]:
        """Caller, workers and daemons."""
        return sum(self.caller.values()), sum(self.workers.values()), sum(self.daemons.values())


def processes(root: psutil.Process) -> Iterator[tuple[psutil.Process, float, str]]:
    """The process and its descendants, with CPU seconds and command line."""
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            yield process, times.user + times.system, " ".join(process.cmdline())


def watch(job: subprocess.Popen[bytes], others: list[psutil.Process]) -> Spent:
    """Follow a scoring until it ends; `others` are a cluster's nodes."""
    spent, begun = Spent(), time.monotonic()
    before = {process.pid: cpu for root in others for process, cpu, _ in processes(root)}
    own = psutil.Process(job.pid)
    while job.poll() is None:
        if time.monotonic() - begun > LIMIT:
            raise SystemExit(f"A scoring has not ended within {LIMIT:.0f} s.")
        with suppress(psutil.NoSuchProcess):
            for process, cpu, _ in processes(own):
                (spent.caller if job.pid in (process.pid, process.ppid()) else spent.workers)[process.pid] = cpu
        for root in others:
            with suppress(psutil.NoSuchProcess):
                for process, cpu, words in processes(root):
                    (spent.workers if "ray::" in words else spent.daemons)[process.pid] = cpu - before.get(process.pid, 0.0)
        time.sleep(0.25)
    if job.returncode:
        raise SystemExit(f"A scoring ended with exit code {job.returncode}.")
    spent.seconds = time.monotonic() - begun
    return spent


def measure(cluster: RayCluster, on: bool, runs: int, train: int, scratch: Path) -> Spent:
    """Score once, inside the cluster's network either way."""
    folder = tempfile.mkdtemp(dir=scratch)
    words = ["score", "sample", "--experiment", f"{folder}/sample", "--limit", str(train), "--runs", str(runs), "--epochs", str(EPOCHS)]
    words += ["--learning-rate", "1e-4", "--device", "cpu", "--no-look", *(("--on", "ray") if on else ())]
    with (scratch / "log").open("ab") as log:
        command = [sys.executable, "-m", "pruning", *words]
        job = cluster.start(command, {"PYTHONPATH": str(ROOT), "WINNOW_QUEUE": folder}, cwd=ROOT, stdout=log, stderr=log)
    return watch(job, [psutil.Process(node.pid) for node in cluster.nodes.values()])


def main(rounds: Annotated[int, typer.Option()] = 2, train: Annotated[int, typer.Option()] = 2000) -> None:
    """Measure and print Markdown."""
    if reason := missing():
        raise SystemExit(reason)
    lines = [
        "| round | where | caller: runs | workers: runs | both: runs | ratio | caller: beside the runs | workers | daemons | wall clock |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    ratios = []
    with tempfile.TemporaryDirectory() as scratch, RayCluster(Path(scratch)) as cluster:
        for address in NODES:
            cluster.add(address)
        for number in range(rounds):
            found = {}
            for on in (False, True) if number % 2 == 0 else (True, False):
                few, many = (measure(cluster, on, runs, train, Path(scratch)) for runs in (FEW, MANY))
                caller, workers = ((b - a) for a, b in zip(few.totals[:2], many.totals[:2], strict=True))
                share = (MANY - FEW) / MANY
                rest = (many.totals[0] - caller / share, many.totals[1] - workers / share, many.totals[2])
                found[on] = caller, workers, rest, many.seconds
            ratio = sum(found[True][:2]) / sum(found[False][:2])
            ratios.append(ratio)
            for on, (caller, workers, rest, seconds) in sorted(found.items()):
                cells = [str(number + 1), "Ray" if on else "here", f"{caller:.1f}", f"{workers:.1f}", f"{caller + workers:.1f}"]
                cells += [f"{ratio:.3f}" if on else "1", *(f"{value:.1f}" for value in rest), f"{seconds:.0f}"]
                lines.append(f"| {' | '.join(cells)} |")
                print(lines[-1], file=sys.stderr, flush=True)
    print(heading("CPU time of a scoring on a Ray cluster", f"python -m benchmarks.cluster_cpu --rounds {rounds} --train {train}"))
    print("\n".join(lines))
    print(f"\nMedian ratio {median(ratios):.3f}.")
    print(NOTES.format(ray=version("ray"), train=train, epochs=EPOCHS, few=FEW, many=MANY))


if __name__ == "__main__":
    typer.run(main)
