"""Small trainings in this process, and whether two recordings are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from pruning.records import Encoded, EpochRecord, Progress, RunPlan, RunResult
from pruning.settings import TrainSettings
from pruning.training import devices, train
from tests.support.tiny import tiny_data

LENGTHS = [5, 9, 1, 14, 3, 3, 22, 8, 6, 11, 4]


def recipe(**changes: object) -> TrainSettings:
    return TrainSettings(**{"device": "cpu", "precision": "fp32", "batch_size": 4, "learning_rate": 1e-3, **changes})  # type: ignore[arg-type]


def plan(rows: Sequence[int] = range(len(LENGTHS)), epochs: int = 2, seed: int = 1, **more: object) -> RunPlan:
    return RunPlan(key=f"run {seed}", seed=seed, rows=np.asarray(rows), epochs=epochs, **more)  # type: ignore[arg-type]


def run(
    model: str, plans: RunPlan | list[RunPlan], settings: TrainSettings, data: Encoded | None = None, evaluation: Encoded | None = None
) -> tuple[list[EpochRecord], list[RunResult]]:
    """Trains in this process; the records and results."""
    plans = plans if isinstance(plans, list) else [plans]
    items = list(train(plans, data or tiny_data(LENGTHS), evaluation, model, settings, workers=0))
    assert all(0 <= item.accuracy <= 1 and item.examples <= item.total and item.memory > 0 for item in items if isinstance(item, Progress))
    return [item for item in items if isinstance(item, EpochRecord)], [item for item in items if isinstance(item, RunResult)]


def stand_for_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let this machine have so many GPUs; a process that has one of them trains on the CPU in its place."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(devices, "ONLY_GPU", "cpu")


def same(a: EpochRecord, b: EpochRecord) -> bool:
    names = ("correct", "gold_prob", "gold_margin", "error_norm", "loss", "predicted", "position")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)
