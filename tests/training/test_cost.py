"""The prediction is arithmetic on what the probe measured; the probe measures in seconds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruning.training import Cost, cost, probe
from pruning.training.cost import line, makespan, total, useful_slots
from tests.support.tiny import tiny_data, tiny_model
from tests.support.trainings import plan, recipe

pytestmark = pytest.mark.process

COST = Cost(process=1.5, load=0.5, step=0.5, token=0.01, evaluation_token=0.001, slots=2)


def test_prediction_by_hand() -> None:
    """Rows of 10 and 30 tokens: 2 epochs of 2 steps (1 s each) and 40 tokens (0.4 s each), 0.5 s to load, 0.1 s to evaluate; 1.5 s to start
    a process, once in each slot."""
    data, evaluation = tiny_data([10, 20, 30]), tiny_data([100])
    alone = COST.seconds([plan([0, 2])], data, evaluation, batch_size=1, slots=1)
    assert alone == pytest.approx(1.5 + 0.5 + 0.1 + 2 * (2 * 0.5 + 0.4))
    three = [plan([0, 2], seed=seed) for seed in range(3)]
    assert COST.seconds(three, data, evaluation, batch_size=1, slots=2) == pytest.approx(2 * alone - 1.5)
    assert COST.seconds(three, data, evaluation, batch_size=1) == pytest.approx(2 * alone - 1.5)
    assert COST.seconds(three, data, None, batch_size=1, slots=3) == pytest.approx(alone - 0.1)
    assert COST.total([[3.0, 2.0], [], [1.0]]) == pytest.approx(3 + 1 + 1.5) and COST.total([[], []]) == 0


def test_makespan_bounds() -> None:
    durations = list(np.random.default_rng(0).uniform(1, 9, 20))
    for slots in (1, 2, 5, 30):
        assert max(max(durations), sum(durations) / slots) <= makespan(durations, slots) <= sum(durations)


def test_more_slots_help_until_the_longest_runs_are_left() -> None:
    """CLUSTER.md's scaling model: 6 full runs, then 20 points x 3 seeds that keep .1 to .9 of the rows; 95, 77, 30% busy."""
    phases = [[1.0] * 6, list(np.repeat(np.linspace(0.1, 0.9, 20), 3))]
    assert total(phases, 1) == pytest.approx(36)
    assert [36 / total(phases, slots) / slots for slots in (4, 16, 64)] == pytest.approx([0.95, 0.77, 0.30], abs=0.03)
    assert total(phases, 10**6) == pytest.approx(1.9)
    useful = useful_slots(phases)
    assert total(phases, useful) <= 1.05 * 1.9 < total(phases, useful - 1)
    assert total([[2.0], []], 4) == 2.0 and useful_slots([[2.0], [1.0]]) == 1


def test_line_recovers_step_and_token_and_survives_noise() -> None:
    assert line([100, 400], [0.2 + 0.1, 0.2 + 0.4]) == pytest.approx((0.2, 0.001))
    assert line([100, 100], [1.0, 1.0]) == (0.0, 0.01)
    assert line([100, 200], [1.0, 0.5]) == pytest.approx((0.0, 0.005))


def test_probe_measures_this_machine_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the seconds that it usually has, and 4 seconds for what else the machine does meanwhile."""
    monkeypatch.setattr(cost, "PROBE_SECONDS", 1.0)
    monkeypatch.setattr(cost, "LONGEST_SECONDS", cost.LONGEST_SECONDS / 4)
    data = tiny_data(list(np.random.default_rng(0).integers(2, 40, 30)))
    began = time.monotonic()
    found = probe(data, tiny_model(tmp_path), recipe())
    assert time.monotonic() - began - found.process - found.load < cost.LONGEST_SECONDS + 4, "beside loading and the start of a process"
    assert found.process > 0 and found.load > 0 and found.step >= 0 and found.token > 0 and found.evaluation_token > 0 and found.slots >= 1
    assert found.seconds([plan(range(30), epochs=2)], data, None, batch_size=4, slots=1) > found.process + found.load and not found.rough


@pytest.mark.parametrize(
    ("step", "prediction", "steps", "seconds"),
    [(0.6, 0.2, 2 * 4, 4.8 + 0.6), (1.5, 1.0, 2 * 2, 6 + 2), (4.0, 1.5, 2, 8 + 1.5), (30.0, 9.0, 2, 60 + 9)],
)
def test_a_probe_of_long_steps_ends_in_time_and_says_that_it_is_rough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float, prediction: float, steps: int, seconds: float
) -> None:
    """Real steps by a clock on which each takes so many seconds: one of each is always taken, then as many as fit."""
    now, taken = 0.0, 0
    real_step, real_predict = cost.Run.step, cost.Run.predict

    def long_step(*given: Any) -> None:
        nonlocal now, taken
        real_step(*given)
        now, taken = now + step, taken + 1

    def long_prediction(*given: Any) -> Any:
        nonlocal now
        now += prediction
        return real_predict(*given)

    monkeypatch.setattr(cost, "PROBE_SECONDS", 4.0)
    monkeypatch.setattr(cost, "perf_counter", lambda: now)
    monkeypatch.setattr(cost, "_process_seconds", lambda: 0.0)
    monkeypatch.setattr(cost.Run, "step", long_step)
    monkeypatch.setattr(cost.Run, "predict", long_prediction)
    data = tiny_data([2, 3, 4, 20, 30, 40])
    found = probe(data, tiny_model(tmp_path), recipe(batch_size=2))
    assert (taken, now) == (steps, pytest.approx(seconds))
    assert found.rough == (steps < 2 * cost.ROUNDS)
    assert found.seconds([plan(range(6), epochs=1)], data, None, batch_size=2, slots=1) == pytest.approx(3 * step, rel=0.5)
