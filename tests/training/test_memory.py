"""Where memory does not suffice for a batch, parts of it make the same update."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pruning.errors import TrainingError
from pruning.records import EpochRecord, RunPlan, RunResult
from pruning.settings import TrainSettings
from pruning.training import loop, train
from tests.support.tiny import tiny_data, tiny_model
from tests.support.trainings import LENGTHS, recipe


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Without dropout, so that parts and wholes can be compared."""
    return tiny_model(
        tmp_path_factory.mktemp("models") / "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.0
    )


def outcome(model: str, settings: TrainSettings, **plan: Any) -> tuple[list[EpochRecord], RunResult]:
    made = RunPlan(key="run 0", seed=5, rows=np.arange(len(LENGTHS)), epochs=2, **plan)
    data = tiny_data(LENGTHS)
    items = list(train([made], data, data, model, settings, workers=0))
    return [item for item in items if isinstance(item, EpochRecord)], next(item for item in items if isinstance(item, RunResult))


def memory_for(most: int, monkeypatch: pytest.MonkeyPatch, when: str = "forward") -> None:
    """A device that has room for so many examples at a time: more fail in the forward pass, or half-way through the backward one."""
    made = loop.make_batch

    def make_batch(data: Any, units: Any, *more: Any, **named: Any) -> Any:
        if len(units) > most and when == "batch":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        batch = made(data, units, *more, **named)
        return batch

    def losses(run: loop.Run, batch: Any) -> torch.Tensor:
        loss = whole(run, batch)
        if len(batch.rows) > most and when == "backward":
            loss.register_hook(fail)
        if len(batch.rows) > most and when == "forward":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss

    def fail(gradient: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    whole = loop.Run.losses
    monkeypatch.setattr(loop, "make_batch", make_batch)
    monkeypatch.setattr(loop.Run, "losses", losses)


@pytest.mark.parametrize("when", ["batch", "forward", "backward"])
def test_parts_make_the_same_update(model: str, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    settings = recipe()
    records, result = outcome(model, settings)
    assert settings.batch_size > 2 and all(record.micro_batch == 0 for record in records)
    memory_for(2, monkeypatch, when)
    again, parts = outcome(model, settings)
    assert [record.micro_batch for record in again] == [parts.micro_batch] * 2 and 1 <= parts.micro_batch <= 2
    for record, other in zip(records, again, strict=True):
        assert np.array_equal(record.position, other.position)
        assert np.allclose(record.loss, other.loss, atol=1e-4)
        assert np.array_equal(record.correct, other.correct)
    assert result.outputs is not None and parts.outputs is not None
    assert np.allclose(result.outputs, parts.outputs, atol=1e-3)
    assert parts.steps == result.steps


def test_an_example_too_large_for_the_memory_is_named(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    memory_for(0, monkeypatch)
    with pytest.raises(
        TrainingError, match=r"run 0 does not fit into the memory of cpu even one example at a time; use a smaller --max-length"
    ):
        outcome(model, recipe())


def test_goes_on_in_parts_after_an_interruption(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pt"
    data = tiny_data(LENGTHS)
    plan = RunPlan(key="run 0", seed=5, rows=np.arange(len(LENGTHS)), epochs=2, checkpoint=str(path))
    with monkeypatch.context() as patch:
        memory_for(2, patch)
        running = train([plan], data, data, model, recipe(), workers=0)
        next(item for item in running if isinstance(item, EpochRecord))
        running.close()  # type: ignore[attr-defined]
    records, result = outcome(model, recipe(), checkpoint=str(path))
    assert {record.micro_batch for record in records} == {result.micro_batch} and result.micro_batch > 0


@pytest.mark.gpu
def test_a_gpu_that_is_nearly_full(tmp_path: Path) -> None:
    """A real CUDA out of memory: the allocator is allowed little more than the weights and a part of a batch."""
    model = tiny_model(tmp_path / "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, hidden_size=512, layers=8)
    settings = TrainSettings(epochs=1, batch_size=512, learning_rate=2e-5, device="cuda", precision="fp32")
    data = tiny_data([64] * 1024)
    plan = RunPlan(key="run 0", seed=5, rows=np.arange(1024), epochs=1)

    def run() -> tuple[EpochRecord, RunResult, int]:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        items = list(train([plan], data, data, model, settings))
        record = next(item for item in items if isinstance(item, EpochRecord))
        return record, next(item for item in items if isinstance(item, RunResult)), torch.cuda.max_memory_reserved()

    record, _, peak = run()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(0.4 * peak / total)
    try:
        again, result, less = run()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert record.micro_batch == 0 and 0 < again.micro_batch == result.micro_batch < 512
    assert less <= 0.4 * peak
    assert np.allclose(record.loss, again.loss, atol=1e-2)
