"""What scoring a million examples takes in memory, beside the model: the real command on a text file, watched from outside.

    python -m benchmarks.memory [--examples 1000000] [--runs 2] [--epochs 2]
    python -m benchmarks.memory --look [--examples 100000]

The model is a tiny BERT made on the spot, so that what is measured is data and recordings. Memory is proportional set size
(what two processes share is counted once), the worker and its training processes together. Another quarter of the examples
and another number of runs show what grows with what. With --look it is the first look alone, with the sample's model, on sentences put
together from halves of the sample's with the same label.
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
from pruning.data.sample import sample_data
from pruning.experiment import Experiment
from tests.support.tiny import WORDS, tiny_model

MB = 1 << 20


def main(
    examples: Annotated[int, typer.Option()] = 1_000_000,
    runs: Annotated[int, typer.Option()] = 2,
    epochs: Annotated[int, typer.Option()] = 2,
    look: Annotated[bool, typer.Option("--look", help="The first look in place of scoring.")] = False,
) -> None:
    """Measure and print Markdown."""
    if look:
        first_look(examples)
        return
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


def first_look(examples: int) -> None:
    """Measure the look at a quarter of the examples and at all, and print Markdown."""
    print(heading("The first look at many sentences", f"python -m benchmarks.memory --look --examples {examples}"))
    titles = ["sentences", "peak, all processes", "of it the first", "minutes", "until all are embedded", "probe, accuracy", "on disk"]
    print(f"| {' | '.join(titles)} |")
    print("|---" * 7 + "|")
    for size in (examples // 4, examples):
        with tempfile.TemporaryDirectory() as scratch:
            data, directory = Path(scratch) / "sentences.jsonl", Path(scratch) / "look"
            write_halves(data, size)
            total, worker, seconds = watched("look", str(data), "--experiment", str(directory))
            experiment = Experiment(directory)
            found = experiment.look
            assert found is not None and found.probe is not None
            disk = sum(file.stat().st_size for file in experiment.folder.embeddings.parent.glob("*") if file.is_file())
            embedded = experiment.folder.embeddings.stat().st_mtime - time.time() + seconds
            parts = f"{seconds / 60:.1f} | {embedded / 60:.1f}"
            print(
                f"| {size:,} | {total / MB:,.0f} MB | {worker / MB:,.0f} MB | {parts} | {found.probe.accuracy:.3f} | {disk / MB:,.0f} MB |"
            )


def score(scratch: Path, model: str, examples: int, runs: int, epochs: int) -> tuple[int, int, float]:
    """Peak bytes of the whole job and of its first process, and its seconds."""
    data = scratch / f"{examples}.jsonl"
    if not data.exists():
        write(data, examples)
    recipe = ["--model", model, "--runs", str(runs), "--epochs", str(epochs), "--batch-size", "256", "--device", "cpu"]
    return watched("score", str(data), "--experiment", str(scratch / f"{examples}-{runs}"), *recipe)


def watched(*command: str) -> tuple[int, int, float]:
    """Peak bytes of a command with its processes and of the first one alone, and its seconds."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "pruning", *command], stdout=subprocess.DEVNULL)
    total = worker = 0
    while process.poll() is None:
        sizes = {pid: proportional(pid) for pid in (process.pid, *descendants(process.pid))}
        total, worker = max(total, sum(sizes.values())), max(worker, sizes[process.pid])
        time.sleep(0.25)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with exit code {process.returncode}.")
    return total, worker, time.perf_counter() - begun


def write_halves(path: Path, examples: int) -> None:
    """The first half of a sentence of the sample and the second half of another with the same label."""
    rows = [json.loads(line) for line in sample_data().read_text(encoding="utf-8").splitlines()]
    by_label: dict[str, list[list[str]]] = {}
    for row in rows:
        by_label.setdefault(row["label"], []).append(row["sentence"].split())
    random = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(examples):
            label = str(random.choice(list(by_label)))
            first, second = (by_label[label][i] for i in random.integers(len(by_label[label]), size=2))
            text = " ".join([*first[: len(first) // 2], *second[len(second) // 2 :]])
            file.write(json.dumps({"text": text, "label": label}) + "\n")


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
