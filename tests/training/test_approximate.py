"""Scoring with fewer epochs, and LoRA adapters: what they leave out, and that they leave out nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pruning.approximations import APPROXIMATIONS, FORMER
from pruning.errors import ModelError, UsageError
from pruning.settings import Settings, TrainSettings
from pruning.training import train
from pruning.training.loop import Run
from tests.support.tiny import tiny_data, tiny_model
from tests.support.trainings import LENGTHS, plan, recipe, run, same

FAMILIES = ["bert", "roberta", "modernbert", "deberta-v2", "opt", "llama", "qwen3"]


def test_each_approximation_changes_the_recipe() -> None:
    given = TrainSettings(learning_rate=2e-5)
    recipes = {name: Settings(data="x.jsonl", approximate=name, train=given).scoring for name in APPROXIMATIONS}
    assert recipes == {"epochs": TrainSettings(epochs=2, learning_rate=2e-5)}
    assert Settings(data="x.jsonl", train=given).scoring == given


def test_an_approximation_has_the_rate_that_was_fitted_to_it() -> None:
    asked = Settings(data="x.jsonl", approximate="epochs")
    assert asked.scoring.learning_rate is None and asked.measuring.learning_rate is None
    fitted = asked.with_fitted({"epochs": 5e-3, "recipe": 2e-4})
    assert fitted.scoring == TrainSettings(epochs=2, learning_rate=5e-3)
    assert fitted.measuring == TrainSettings(learning_rate=2e-4)
    given = asked.with_changes(train=TrainSettings(learning_rate=1e-5))
    assert given.with_fitted({"epochs": 5e-3, "recipe": 2e-4}) == given


@pytest.mark.parametrize("name", FORMER)
def test_a_recording_of_a_former_approximation_is_read_and_not_trained_further(name: str) -> None:
    values = Settings(data="x.jsonl", train=TrainSettings(learning_rate=2e-5)).to_dict()
    read = Settings.from_dict({**values, "approximate": name, "train": {**values["train"], "depth": 0.5}})
    assert read.recorded_by == f"winnow --approximate {name}" and read.approximate == ""
    with pytest.raises(UsageError, match="approximate must be"):
        Settings(data="x.jsonl", approximate=name)


def test_the_engine_refuses_a_rate_that_was_not_fitted_yet(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="learning_rate is auto and was not fitted yet"):
        run(tiny_model(tmp_path / "bert"), plan(), recipe(learning_rate=None))


def test_an_unknown_approximation_is_refused() -> None:
    with pytest.raises(UsageError, match=r"approximate must be .*epochs, got 'magic'"):
        Settings(data="x.jsonl", approximate="magic")
    with pytest.raises(UsageError, match="burn_in must be 0 to 1 with 2 epochs, got 2"):
        Settings(data="x.jsonl", approximate="epochs", burn_in=2)


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_trains_adapters_and_head_and_nothing_else(family: str, tmp_path: Path) -> None:
    one = Run(plan(), tiny_data(LENGTHS), None, tiny_model(tmp_path / family, family), recipe(lora_rank=2))
    before = {name: tensor.clone() for name, tensor in one.network.state_dict().items()}
    list(one.epoch(0))
    changed = {name for name, tensor in one.network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert any("lora_B" in name for name in changed)
    body = {name for name in changed if name.startswith(f"model.{one.network.model.base_model_prefix}.")}
    assert all("lora_" in name or "pooler." in name for name in body)
    assert changed - body


def test_a_model_without_attention_layers_that_lora_knows_is_refused(tmp_path: Path) -> None:
    one = Run(plan(), tiny_data(LENGTHS), None, tiny_model(tmp_path / "bert"), recipe())
    for layer in one.network.model.base_model.encoder.layer:
        getattr(layer, "layer", layer).attention = torch.nn.Identity()
    from pruning.training.model import add_adapters

    with pytest.raises(ModelError, match="no attention layers for LoRA"):
        add_adapters(one.network, 2)


def test_lora_resumes_bit_by_bit(tmp_path: Path) -> None:
    changes = {"lora_rank": 2}
    model, state = tiny_model(tmp_path / "bert"), str(tmp_path / "state.pt")
    whole, _ = run(model, plan(), recipe(**changes))
    for item in train([plan(checkpoint=state)], tiny_data(LENGTHS), None, model, recipe(**changes), workers=0):
        if getattr(item, "epoch", 0) == 1:
            break
    resumed, _ = run(model, plan(checkpoint=state), recipe(**changes))
    assert len(resumed) == 2
    assert all(same(a, b) for a, b in zip(resumed, whole, strict=True))
    assert np.any(whole[0].loss)
