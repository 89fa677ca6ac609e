"""What the task and the model decide before a recording begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pruning.jobs import usual, worker
from pruning.settings import Settings
from tests.support.chats import settings_of
from tests.support.generative import tiny_causal


def test_large_causal_models_train_adapters_and_generation_two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Path(tiny_causal(tmp_path))
    settings = Settings(data="x.jsonl", model=str(model))
    small = usual.decided(settings, "generation", model, runs_given=False)
    assert (small.train.lora_rank, small.runs, small.max_length) == (0, 2, 1024)
    assert usual.decided(settings, "classification", model, runs_given=False).runs == 6
    monkeypatch.setattr(usual, "LARGE", 1000)
    assert usual.decided(settings, "generation", model).train.lora_rank == 16
    assert usual.decided(settings, "classification", model).train.lora_rank == 0
    assert usual.decided(settings.with_changes(lora_rank=0), "generation", model).train.lora_rank == 0, "said by hand"


@pytest.mark.process
def test_adapters_learn_and_are_kept_in_the_settings(tmp_path: Path) -> None:
    experiment = worker.score(settings_of(tmp_path, lora_rank=4, seeds=(1,)), tmp_path / "experiment")
    assert experiment.settings.train.lora_rank == 4
    losses = experiment.recorded.loss[0].mean(axis=1)
    assert losses[-1] < losses[0] and np.isfinite(losses).all()
