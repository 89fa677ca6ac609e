"""Training time on this machine: a probe of a few real steps, and a prediction from its measurements."""

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
"""Seconds for measuring, where steps are short."""

LONGEST_SECONDS = 8.0
"""Most seconds for measuring, where steps or predictions are long; one of each is measured even if it takes longer."""

NEARLY = 1.05
"""Time against the shortest possible one from which on more slots count as gaining little."""

ROUNDS = 3
"""Measurements of each kind if time allows; the first is a warm-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds of each part of a run in one slot (a core, or the GPU)."""

    process: float
    """Start a process, once in each slot of a job; 0 on a GPU."""
    load: float
    """Load the model, once per run."""
    step: float
    """Fixed cost of an optimizer step."""
    token: float
    """Train on one token, at the sequence lengths of this data."""
    evaluation_token: float
    """Predict one token of the evaluation data."""
    slots: int
    """Runs in parallel on this machine by default."""
    rough: bool = False
    """True if only one step of each kind was measured, because more would have taken too long."""

    def seconds(
        self, plans: Sequence[RunPlan], data: Encoded, evaluation: Encoded | None, *, batch_size: int, slots: int | None = None
    ) -> float:
        """Wall-clock seconds to train `plans` in `slots` parallel slots (default: those of the machine), longest plan first."""
        return self.total([self.durations(plans, data, evaluation, batch_size=batch_size)], slots)

    def durations(self, plans: Sequence[RunPlan], data: Encoded, evaluation: Encoded | None, *, batch_size: int) -> list[float]:
        """Seconds of each plan in a slot whose process runs."""
        tokens = unit_tokens(data)
        after = self.load + (self.evaluation_token * len(evaluation.tokens) if evaluation is not None else 0.0)
        return [
            after + plan.epochs * (self.step * -(-len(plan.rows) // batch_size) + self.token * float(tokens[plan.rows].sum()))
            for plan in plans
        ]

    def total(self, phases: Sequence[Sequence[float]], slots: int | None = None) -> float:
        """Wall-clock seconds of one job: phases of runs that follow each other, and the start of its processes."""
        return total(phases, slots or self.slots) + self.process * any(map(bool, phases))


def makespan(durations: Sequence[float], slots: int) -> float:
    """Return the time at which the last job ends if each free slot takes the longest one left.

    >>> makespan([3.0, 5.0, 4.0], slots=2)
    7.0
    """
    ends = [0.0] * slots
    heapify(ends)
    for duration in sorted(durations, reverse=True):
        heapreplace(ends, ends[0] + duration)
    return max(ends)


def total(phases: Sequence[Sequence[float]], slots: int) -> float:
    """Return the time of phases of jobs that follow each other, each in so many slots.

    >>> total([[4.0, 4.0], [3.0, 2.0, 1.0]], slots=2)
    7.0
    """
    return sum(makespan(durations, slots) for durations in phases if durations)


def useful_slots(phases: Sequence[Sequence[float]]) -> int:
    """Return the fewest slots that take at most 5% longer than a slot for each job would, which leaves only the longest of each phase.

    >>> useful_slots([[4.0, 4.0], [3.0, 2.0, 1.0]])
    2
    >>> useful_slots([[1.0] * 6])
    6
    """
    most = max(map(len, phases), default=1)
    least = total(phases, most)
    return next(slots for slots in range(1, most + 1) if total(phases, slots) <= NEARLY * least)


def unit_tokens(data: Encoded) -> NDArray[np.int64]:
    """[N] tokens of each unit, over all its sequences."""
    return np.diff(data.offsets[data.unit_offsets])


def probe(data: Encoded, model: str, settings: TrainSettings) -> Cost:
    """Measure this machine with this model and data in one slot: about 4 seconds of steps, up to 8 if a step is long.

    Loading the model and starting a process take extra time. Steps on short and on long examples alternate, so that the cost per
    token and the fixed cost per step can be separated; at least one of each is measured. Raises what `train` raises if the
    model or the device cannot be used.
    """
    with one_thread(), repeatable(settings.deterministic):
        began = perf_counter()
        plan = RunPlan(key="probe", seed=0, rows=np.arange(data.units), epochs=10**6, record=False)
        run = Run(plan, data, None, model, settings)
        loading = perf_counter() - began
        short, long = _short_and_long(unit_tokens(data), settings.batch_size)
        run.network.train()
        steps = [lambda: run.step(short), lambda: run.step(long)]
        training, few_steps = _medians(steps, run.device, PROBE_SECONDS, LONGEST_SECONDS * 3 / 4)
        run.network.eval()
        [evaluation], few_predictions = _medians([lambda: run.predict(run.data, long)], run.device, PROBE_SECONDS / 8, LONGEST_SECONDS / 4)
    tokens = [int(unit_tokens(data)[rows].sum()) for rows in (short, long)]
    step, token = line(tokens, training)
    return Cost(
        process=_process_seconds() if run.device.type == "cpu" else 0.0,
        load=loading,
        step=step,
        token=token,
        evaluation_token=evaluation / tokens[1],
        slots=slots(settings.device),
        rough=few_steps or few_predictions,
    )


def line(tokens: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Fit seconds per step and per token to two measured steps, neither below 0.

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
    """Return a batch of the shorter half of the units and one of the longer half."""
    rng = np.random.default_rng(0)
    order = np.argsort(tokens, kind="stable")
    half = max(1, len(order) // 2)
    low, high = order[:half], order[-half:]
    return rng.permutation(low)[:batch_size], rng.permutation(high)[:batch_size]


def _medians(actions: Sequence[Callable[[], object]], device: torch.device, budget: float, longest: float) -> tuple[list[float], bool]:
    """Return the median seconds of each action, and True if each was measured only once.

    The actions alternate until `budget` seconds are spent, and at least `ROUNDS` times while the next round would end within
    `longest`. The first round is a warm-up and counts only if it is the only one.
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
    """Seconds until a new process has imported what it needs to load a model."""
    began = perf_counter()
    subprocess.run([sys.executable, "-c", "import pruning.training.loop"], check=True, env=child_environment())
    return perf_counter() - began
