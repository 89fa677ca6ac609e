"""Hours that scoring and a frontier should take on 1, 4, 16 and 64 GPUs: calculated, nothing is trained.

    python -m benchmarks.predicted

A step takes as long as its arithmetic and, where all weights are trained, as AdamW's memory traffic; evaluation, start and network count
nothing, and everything takes `SLOWER` times that floor. The runs are then given to the GPUs as Winnow does, the longest first, the frontier
after scoring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import typer

from benchmarks.machine import heading
from pruning.training.cost import total, useful_slots

ARITHMETIC, TRAFFIC = 790e12, 4.5e12
"""FLOP a second in bf16, and bytes a second, that were seen on an H200."""

ADAPTER_ARITHMETIC = 400e12
"""FLOP a second for a large frozen model with adapters."""

SLOWER = 2.0
RUNS, EPOCHS, BATCH = 6, 3, 32
POINTS, SEEDS = 20, 3
GPUS = (1, 4, 16, 64)
BYTES = 28
"""Bytes that AdamW moves for a parameter in a step."""


@dataclass(frozen=True)
class Job:
    """A training set and a model."""

    name: str
    examples: int
    tokens: float
    """Mean length of an example."""
    inner: float
    """Parameters without embeddings."""
    weights: float
    """All parameters; 0 where only adapters are trained."""
    layers: int
    width: int

    def run(self, share: float = 1.0) -> float:
        """Seconds of a run on that share of the examples."""
        examples = share * self.examples
        forward = 2 * self.inner * self.tokens + 4 * self.layers * self.width * self.tokens**2
        passes, speed = (3, ARITHMETIC) if self.weights else (2, ADAPTER_ARITHMETIC)
        return SLOWER * EPOCHS * examples * (passes * forward / speed + BYTES * self.weights / TRAFFIC / BATCH)


JOBS = (
    Job("SST-2, 67,000 phrases; RoBERTa-large", 67_000, 13.4, 302e6, 355e6, 24, 1024),
    Job("MNLI, 393,000 pairs; RoBERTa-base", 393_000, 39.9, 85e6, 125e6, 12, 768),
    Job("MNLI, 393,000 pairs; RoBERTa-large", 393_000, 39.9, 302e6, 355e6, 24, 1024),
    Job("1,000,000 examples of 40 tokens; RoBERTa-large", 1_000_000, 40, 302e6, 355e6, 24, 1024),
    Job("67,000 answers of 500 tokens; 8B with adapters", 67_000, 500, 7.5e9, 0, 32, 4096),
    Job("1,000,000 answers of 500 tokens; 8B with adapters", 1_000_000, 500, 7.5e9, 0, 32, 4096),
)


def main() -> None:
    """Print Markdown."""
    print(heading("Hours on GPUs, calculated", "python -m benchmarks.predicted"))
    print(f"| hours (GPU hours) | {' | '.join(map(str, GPUS))} | more than so many gain under 5% |\n|{'---|' * (len(GPUS) + 2)}")
    for job in JOBS:
        shares = np.repeat(np.linspace(0.1, 0.9, POINTS), SEEDS)
        phases = [[job.run()] * RUNS, [job.run(share) for share in shares]]
        hours = [total(phases, gpus) / 3600 for gpus in GPUS]
        cells = [f"{short(each)} ({short(each * gpus)})" for each, gpus in zip(hours, GPUS, strict=True)]
        print(f"| {job.name} | {' | '.join(cells)} | {useful_slots(phases)} |")
    print(NOTES)


def short(hours: float) -> str:
    """Two digits of small numbers, whole large ones."""
    return f"{hours:.2g}" if hours < 10 else f"{hours:,.0f}"


NOTES = f"""
**Nothing here was measured.** Assumed: {RUNS} runs of {EPOCHS} epochs, batches of {BATCH}, packed;
a frontier of {POINTS} points with {SEEDS} seeds that keep 10% to 90%;
{ARITHMETIC / 1e12:.0f} TFLOP/s and {TRAFFIC / 1e12:.1f} TB/s (an H200), {ADAPTER_ARITHMETIC / 1e12:.0f} TFLOP/s with adapters;
everything {SLOWER:g} times slower than that; no time for evaluation, starts and network.
On any number of GPUs a job takes at least a full run and the largest subset's."""


if __name__ == "__main__":
    typer.run(main)
