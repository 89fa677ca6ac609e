"""What scoring a million examples takes in memory, beside the model: the real command on a text file, watched from outside.

    python -m benchmarks.memory [--examples 1000000] [--runs 2] [--epochs 2]

The model is a tiny BERT made on the spot, so that what is measured is data and recordings. Memory is proportional set size
(what two processes share is counted once), the worker and its training processes together. Another quarter of the examples
and another number of runs show what grows with what.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.machine import heading
from tests.support.tiny import WORDS, tiny_model

MB = 1 << 20


def main(
    examples: Annotated[int, typer.Option()] = 1_000_000,
    runs: Annotated[int, typer.Option()] = 2,
    epochs: Annotated[int, typer.Option()] = 2,
) -> None:
    """Measure and print Markdown."""
    command = f"python -m benchmarks.memory --examples {examples} --runs {runs} --epochs {epochs}"
    lines = ["| examples | runs x epochs | peak, all processes | of it the worker | minutes |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        model = tiny_model(Path(scratch) / "model")
        for size, count in ((examples // 4, runs), (examples // 4, 2 * runs), (examples, runs)):
            total, worker, seconds = score(Path(scratch), model, size, count, epochs)
            cells = f"{size:,} | {count} x {epochs} | {total / MB:,.0f} MB | {worker / MB:,.0f} MB | {seconds / 60:.1f}"
            lines.append(f"| {cells} |")
            print(cells, file=sys.stderr, flush=True)
    print(heading("Memory of scoring", command))
    print("\n".join(lines))


def score(scratch: Path, model: str, examples: int, runs: int, epochs: int) -> tuple[int, int, float]:
    """Peak bytes of the whole job and of its first process, and its seconds."""
    data = scratch / f"{examples}.jsonl"
    if not data.exists():
        write(data, examples)
    recipe = ["--model", model, "--runs", str(runs), "--epochs", str(epochs), "--batch-size", "256", "--device", "cpu"]
    directory = scratch / f"{examples}-{runs}"
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "pruning", "score", str(data), "--experiment", str(directory), *recipe], stdout=subprocess.DEVNULL
    )
    total = worker = 0
    while process.poll() is None:
        sizes = {pid: proportional(pid) for pid in (process.pid, *descendants(process.pid))}
        total, worker = max(total, sum(sizes.values())), max(worker, sizes[process.pid])
        time.sleep(0.25)
    if process.returncode:
        raise SystemExit(f"The scoring ended with exit code {process.returncode}.")
    return total, worker, time.perf_counter() - begun


def write(path: Path, examples: int) -> None:
    """Sentences of twelve words with two labels."""
    random = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(examples):
            file.write(json.dumps({"text": " ".join(random.choice(WORDS, 12)), "label": int(random.integers(2))}) + "\n")


def proportional(pid: int) -> int:
    """Bytes of a process, shared pages divided among those that share them; 0 when it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def descendants(pid: int) -> list[int]:
    """Every process below one."""
    try:
        children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return children + [below for child in children for below in descendants(child)]


if __name__ == "__main__":
    typer.run(main)
