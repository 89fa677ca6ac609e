"""What training will cost on this machine: a probe of a few real steps, and a pure prediction from what it measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from statistics import median
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from pruning.records import Encoded, RunPlan
from pruning.settings import TrainSettings
from pruning.training.devices import one_thread, repeatable, slots
from pruning.training.loop import Run
from pruning.training.process_pool import child_environment

PROBE_SECONDS = 4.0
"""Time spent on steps that are short."""

LONGEST_SECONDS = 8.0
"""Most time spent on steps and predictions that are long, unless one of each takes more by itself."""

ROUNDS = 3
"""Measures of each that are taken where time allows; the first warms up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds that parts of a run take on one slot: a core, or the GPU."""

    start: float
    """Starting a process and loading the model, once per run."""
    step: float
    """An optimizer step, whatever its size."""
    token: float
    """Training on one token of real text, for as many tokens as this data's sentences have."""
    evaluation_token: float
    """Predicting one token of evaluation data."""
    slots: int
    """Runs that lie side by side on this machine when the caller does not say."""
    rough: bool = False
    """Whether it rests on one step of each kind, because more would have taken too long."""

    def seconds(
        self, plans: Sequence[RunPlan], data: Encoded, evaluation: Encoded | None, *, batch_size: int, slots: int | None = None
    ) -> float:
        """Wall clock of training `plans` in `slots` side by side (default: as many as the machine has), longest first."""
        tokens = unit_tokens(data)
        after = self.start + (self.evaluation_token * len(evaluation.tokens) if evaluation is not None else 0.0)
        durations = [
            after + plan.epochs * (self.step * -(-len(plan.rows) // batch_size) + self.token * float(tokens[plan.rows].sum()))
            for plan in plans
        ]
        return makespan(durations, slots or self.slots)


def makespan(durations: Sequence[float], slots: int) -> float:
    """When the last of these ends, if each slot that falls free takes the longest one left.

    >>> makespan([3.0, 5.0, 4.0], slots=2)
    7.0
    """
    ends = [0.0] * slots
    heapify(ends)
    for duration in sorted(durations, reverse=True):
        heapreplace(ends, ends[0] + duration)
    return max(ends)


def unit_tokens(data: Encoded) -> NDArray[np.int64]:
    """[N] tokens of all of a unit's sequences."""
    return np.diff(data.offsets[data.unit_offsets])


def probe(data: Encoded, model: str, settings: TrainSettings) -> Cost:
    """Measures this machine with this model and data on one slot: some 4 seconds of steps, up to 8 where a step is long.

    Loading the model, and starting a process, come on top. Trains throw-away steps on short and on long examples in turn, so that
    the cost of a token can be told from that of a step; one of each is always taken, however long it is. Raises what
    `train` raises when the model or the device cannot be used.
    """
    with one_thread(), repeatable(settings.deterministic):
        began = perf_counter()
        plan = RunPlan(key="probe", seed=0, rows=np.arange(data.units), epochs=10**6, record=False)
        run = Run(plan, data, None, model, settings)
        start = perf_counter() - began + (_process_seconds() if run.device.type == "cpu" else 0.0)
        short, long = _short_and_long(unit_tokens(data), settings.batch_size)
        run.network.train()
        steps = [lambda: run.step(short), lambda: run.step(long)]
        training, few_steps = _medians(steps, run.device, PROBE_SECONDS, LONGEST_SECONDS * 3 / 4)
        run.network.eval()
        [evaluation], few_predictions = _medians([lambda: run.predict(run.data, long)], run.device, PROBE_SECONDS / 8, LONGEST_SECONDS / 4)
    tokens = [int(unit_tokens(data)[rows].sum()) for rows in (short, long)]
    step, token = line(tokens, training)
    return Cost(
        start=start,
        step=step,
        token=token,
        evaluation_token=evaluation / tokens[1],
        slots=slots(run.device),
        rough=few_steps or few_predictions,
    )


def line(tokens: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Seconds of a step and of a token from two steps' measures, neither below 0.

    >>> line([100, 300], [0.5, 0.9])
    (0.3, 0.002)
    """
    (few, many), (fast, slow) = tokens, seconds
    token = (slow - fast) / (many - few) if many > few else 0.0
    step = fast - token * few
    if token <= 0 or step < 0:
        return 0.0, sum(seconds) / sum(tokens)
    return step, token


def _short_and_long(tokens: NDArray[np.int64], batch_size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A batch drawn from the shorter half of the units and one from the longer."""
    rng = np.random.default_rng(0)
    order = np.argsort(tokens, kind="stable")
    half = max(1, len(order) // 2)
    low, high = order[:half], order[-half:]
    return rng.permutation(low)[:batch_size], rng.permutation(high)[:batch_size]


def _medians(actions: Sequence[Callable[[], object]], device: torch.device, budget: float, longest: float) -> tuple[list[float], bool]:
    """Median seconds of each action, and whether each rests on one measure.

    They are taken in turn until `budget` is spent, at least `ROUNDS` times while the next round would end within `longest`. The
    first round warms up, and counts only when it stays the only one.
    """
    times: list[list[float]] = [[] for _ in actions]
    opened = perf_counter()
    while (spent := perf_counter() - opened) < budget or len(times[0]) < ROUNDS:
        if times[0] and spent + sum(taken[-1] for taken in times) > longest:
            break
        for action, taken in zip(actions, times, strict=True):
            began = perf_counter()
            action()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(perf_counter() - began)
    return [median(taken[1:] or taken) for taken in times], len(times[0]) < ROUNDS


def _process_seconds() -> float:
    """How long a new process takes until it could load a model."""
    began = perf_counter()
    subprocess.run([sys.executable, "-c", "import pruning.training.loop"], check=True, env=child_environment())
    return perf_counter() - began
