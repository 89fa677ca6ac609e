"""What the task and the model decide before a recording begins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruning.data import model_checks
from pruning.errors import ModelError, UsageError
from pruning.jobs import usual, worker
from pruning.jobs.narrow import narrow
from pruning.settings import Settings
from pruning.training import four_bits
from tests.support.chats import settings_of
from tests.support.generative import tiny_causal
from tests.support.networks import NEEDS_BITSANDBYTES


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


def test_four_bits_bring_adapters_and_are_refused_where_they_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Path(tiny_causal(tmp_path))
    settings = Settings(data="x.jsonl", model=str(model)).with_changes(load_in_4bit=True)
    monkeypatch.setattr(four_bits, "find_spec", lambda name: object())
    assert usual.decided(settings, "generation", model).train.lora_rank == 16
    assert usual.decided(settings.with_changes(lora_rank=4), "generation", model).train.lora_rank == 4
    with pytest.raises(UsageError, match=r"task generation.*the task is classification") as caught:
        usual.decided(settings, "classification", model)
    assert caught.value.field == "load_in_4bit"
    monkeypatch.setattr(four_bits, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=re.escape("pip install 'winnow-pruning[qlora]'")) as caught:
        usual.decided(settings, "generation", model)
    assert caught.value.field == "load_in_4bit"


@pytest.mark.parametrize(
    ("bytes_each", "recipe", "words"),
    [
        (3.9, {"lora_rank": 0}, "weights of 4 bytes.*; use a smaller model, or adapters"),
        (1.9, {"lora_rank": 16}, "weights of 2 bytes.*; use a smaller model, or --load-in-4bit"),
        (3.9, {"lora_rank": 16}, None),
        (0.6, {"load_in_4bit": True}, None),
    ],
)
def test_a_model_must_fit_into_memory_as_it_is_trained(
    bytes_each: float, recipe: dict[str, Any], words: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path(tiny_causal(tmp_path))
    monkeypatch.setattr(four_bits, "find_spec", lambda name: object())
    parameters = model_checks.shape(model, "tiny").parameters
    monkeypatch.setattr(model_checks, "_memory", lambda: int(bytes_each * parameters))
    settings = Settings(data="x.jsonl", model=str(model)).with_changes(**recipe)
    if words is None:
        usual.decided(settings, "generation", model)
    else:
        with pytest.raises(ModelError, match=words):
            usual.decided(settings, "generation", model)


@pytest.mark.process
@NEEDS_BITSANDBYTES
def test_four_bits_serve_scoring_the_frontier_and_a_narrower_model(tmp_path: Path) -> None:
    experiment = worker.score(settings_of(tmp_path, load_in_4bit=True, seeds=(1,)), tmp_path / "experiment")
    assert experiment.settings.train.load_in_4bit and experiment.settings.train.lora_rank == 16
    losses = experiment.recorded.loss[0].mean(axis=1)
    assert losses[-1] < losses[0]
    assert "bitsandbytes" in experiment.info["versions"] and experiment.folder.base.exists()
    measured = worker.frontier(tmp_path / "experiment", ["random@0.5"], [], 1)
    assert [point.subset for point in measured.frontier() if point.subset == "random@0.5"]
    assert narrow(tmp_path / "experiment", 0.5, tmp_path / "narrower").width == 24


@pytest.mark.process
def test_adapters_learn_and_are_kept_in_the_settings(tmp_path: Path) -> None:
    experiment = worker.score(settings_of(tmp_path, lora_rank=4, seeds=(1,)), tmp_path / "experiment")
    assert experiment.settings.train.lora_rank == 4
    losses = experiment.recorded.loss[0].mean(axis=1)
    assert losses[-1] < losses[0] and np.isfinite(losses).all()
