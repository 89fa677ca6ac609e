"""What recording costs: the same training steps with and without it, interleaved in one process.

    python -m benchmarks.recording [--steps 400]

Two runs of one seed take the same batches in turn, blocks of ten steps each, the first of a pair changing every time; one
records all six quantities and the position as scoring does, the other computes the loss alone. Prints the ratio of the
median block times, and its spread over quarters of the measurement.
"""

from __future__ import annotations

from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from torch.nn import functional

from benchmarks.machine import heading
from pruning.data import examples, models, sample
from pruning.data.tasks import TASKS
from pruning.records import Encoded, RunPlan
from pruning.settings import SAMPLE, TrainSettings
from pruning.training.batches import Batch
from pruning.training.devices import autocast, one_thread
from pruning.training.loop import Run
from pruning.training.order import epoch_batches

BLOCK = 10


class SilentRun(Run):
    """A run that trains just so, and records nothing."""

    def update(self, batch: Batch) -> None:
        """Forward, loss, backward, clip, AdamW."""
        with autocast(self.device, self.dtype):
            logits = self.network(batch)
        self.learn(functional.cross_entropy(logits, batch.labels))


def main(steps: Annotated[int, typer.Option(help="Steps of each kind.")] = 400) -> None:
    """Measure and print Markdown."""
    train, _ = sample.sample_split(2000, 100)
    model = models.locate(SAMPLE)
    encoded = TASKS["classification"].encode(examples.load(train).table, models.load_tokenizer(model), 128)
    with one_thread():
        ratios = _quarters(*_measure(encoded, str(model), steps))
    print(heading("What recording costs", f"python -m benchmarks.recording --steps {steps}"))
    print(f"Recording divided by not recording, median block of {BLOCK} steps: {ratios[0]:.4f}")
    print(f"The same in each quarter of the measurement: {', '.join(f'{ratio:.4f}' for ratio in ratios[1:])}")


def _measure(encoded: Encoded, model: str, steps: int) -> tuple[list[float], list[float]]:
    plan = RunPlan(key="run 0", seed=0, rows=np.arange(encoded.units), epochs=1)
    runs = [kind(plan, encoded, None, model, TrainSettings(device="cpu", learning_rate=2e-5)) for kind in (Run, SilentRun)]
    times: tuple[list[float], list[float]] = ([], [])
    batches: list[np.ndarray] = []
    epoch = 0
    while len(batches) < steps:
        batches += epoch_batches(0, epoch, encoded.units, 32, fixed=False, lengths=None)
        epoch += 1
    for run in runs:
        run.network.train()
        run.recorder.start()
        run.total_steps = steps + BLOCK
        for positions in batches[:BLOCK]:
            run.step(positions)
    for number, start in enumerate(range(0, steps, BLOCK)):
        for which in (0, 1) if number % 2 else (1, 0):
            started = perf_counter()
            for positions in batches[start : start + BLOCK]:
                runs[which].step(positions)
            times[which].append(perf_counter() - started)
    return times


def _quarters(recorded: list[float], silent: list[float]) -> list[float]:
    """The ratio of medians over everything, then over each quarter."""
    both = np.array([recorded, silent])
    return [float(np.median(part[0]) / np.median(part[1])) for part in (both, *np.array_split(both, 4, axis=1))]


if __name__ == "__main__":
    typer.run(main)
