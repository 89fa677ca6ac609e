"""What four bits cost and spare: SmolLM2-135M-Instruct with LoRA adapters, its frozen layers as they are and in four bits (QLoRA).

    python -m benchmarks.qlora [--rows 96] [--epochs 3] [--batch-size 8] [--answers word]

The sample's film sentences as conversations, adapters of rank 16 on every linear layer, two seeds each way. Each run trains alone in a
process of its own with the environment and the one thread of a training process, one after another. The first table has what a run costs:
CPU seconds of a step (the median), the bytes of its frozen matrices, and the memory of its process (PSS, pages that others have mapped
count in part) with the model ready and at most. The second says how the runs agree: rank correlations of the mean loss and of right looks
(exact), of the same seed both ways and of two seeds one way. It needs bitsandbytes and gguf (pip install -r requirements-qlora.txt
gguf==0.19.0).
"""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import combinations
from statistics import median
from time import process_time
from typing import Annotated, Any

import numpy as np
import psutil
import torch
import typer
from numpy.typing import NDArray

from benchmarks.generation import rho
from benchmarks.lora import Answers, conversations
from benchmarks.machine import heading
from pruning.files import training_environment
from pruning.jobs.demo_llm import LEARNING_RATE, RANK, small_model
from pruning.records import Encoded, RunPlan
from pruning.settings import TrainSettings
from pruning.training.base import Base
from pruning.training.devices import pick_precision
from pruning.training.loop import Run

WAYS = {"whole": False, "4 bits": True}
SEEDS = (0, 1)


@dataclass(frozen=True)
class Trained:
    """What one run cost, and what it recorded."""

    frozen: int
    """Bytes of the frozen matrices."""
    ready: int
    """Bytes of the process before the first step."""
    most: int
    """The same after the step with the most."""
    start: float
    """CPU seconds until the first step."""
    step: float
    """Median CPU seconds of a step."""
    loss: NDArray[np.float64]
    """[epochs, rows]"""
    right: NDArray[np.float64]
    """[epochs, rows] 1 where the answer was right."""


def main(
    rows: Annotated[int, typer.Option(help="Conversations.")] = 96,
    epochs: Annotated[int, typer.Option(help="Epochs of a run.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Conversations per step.")] = 8,
    answers: Annotated[Answers, typer.Option(help="What the model learns to answer.")] = Answers.WORD,
) -> None:
    """Measure and print Markdown."""
    model = str(small_model())
    data = conversations(answers, rows, model)
    words = f"--rows {rows} --epochs {epochs} --batch-size {batch_size} --answers {answers}"
    print(heading("LoRA on frozen layers in four bits", f"python -m benchmarks.qlora {words}"))
    recipe = TrainSettings(epochs=epochs, batch_size=batch_size, device="cpu", learning_rate=LEARNING_RATE, lora_rank=RANK)
    dtype = str(pick_precision(recipe.precision, torch.device("cpu"))).removeprefix("torch.")
    print(f"bitsandbytes {version('bitsandbytes')}, products in {dtype}, {np.diff(data.offsets).mean():.1f} tokens a conversation.\n")
    ways = {(way, seed): replace(recipe, load_in_4bit=in_4bit) for seed in SEEDS for way, in_4bit in WAYS.items()}
    found = {(way, seed): trained(model, data, seed, settings) for (way, seed), settings in ways.items()}
    print("| frozen layers | seed | frozen matrices | memory, ready | at most | CPU to start | CPU a step | loss, first epoch | last |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (way, seed), run in found.items():
        memory = " | ".join(f"{size / 2**20:,.0f} MiB" for size in (run.frozen, run.ready, run.most))
        losses = " | ".join(f"{run.loss[epoch].mean():.3f}" for epoch in (0, -1))
        print(f"| {way} | {seed} | {memory} | {run.start:.1f} s | {run.step:.2f} s | {losses} |")
    print("\n| runs | mean loss (Spearman) | right looks (Spearman) | same rightness |\n|---|---|---|---|")
    for one, other in combinations(found, 2):
        if one[0] == other[0] or one[1] == other[1]:  # the same way or the same seed
            first, second = found[one], found[other]
            orders = rho(first.loss.mean(0), second.loss.mean(0)), rho(first.right.sum(0), second.right.sum(0))
            names = " and ".join(f"{way}, seed {seed}" for way, seed in (one, other))
            print(f"| {names} | {' | '.join(orders)} | {(first.right == second.right).mean():.0%} |")


def trained(model: str, data: Encoded, seed: int, settings: TrainSettings) -> Trained:
    """Train one run in a process of its own."""
    before = os.environ.copy()
    os.environ.update(training_environment())
    try:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=train, args=(theirs, model, data, seed, settings))
        process.start()
        theirs.close()
        found: Trained = ours.recv()
        process.join()
        return found
    finally:
        os.environ.clear()
        os.environ.update(before)


def train(connection: Any, model: str, data: Encoded, seed: int, settings: TrainSettings) -> None:
    """Train one run in this process and send what it cost."""
    torch.set_num_threads(1)
    plan = RunPlan(key=f"run {seed}", seed=seed, rows=np.arange(data.units), epochs=settings.epochs)
    base = Base()
    run = Run(plan, data, None, model, settings, base=base)
    assert base.whole is not None
    start, ready = process_time(), held()
    times, sizes, records = [], [ready], []
    for epoch in range(settings.epochs):
        steps, began = run.epoch(epoch), process_time()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                records.append(end.value)
                break
            times.append(process_time() - began)
            sizes.append(held())
            began = process_time()
    loss, right = (np.stack([getattr(record, name) for record in records]).astype(float) for name in ("loss", "correct"))
    connection.send(Trained(base.whole.nbytes, ready, max(sizes), start, median(times), loss, right))


def held() -> int:
    """Bytes that this process holds."""
    return int(psutil.Process().memory_full_info().pss)


if __name__ == "__main__":
    typer.run(main)
