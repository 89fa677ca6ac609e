"""Linear layers in four bits compute what layers with the same weights in fp32 do, and take an eighth of their memory."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pruning.errors import ExperimentError, ModelError, UsageError
from pruning.experiment import Experiment
from pruning.records import RunPlan, RunResult
from pruning.settings import Settings, TrainSettings
from pruning.store import manifest
from pruning.training import four_bits, train
from pruning.training.base import Base
from pruning.training.batches import make_batch
from pruning.training.causal import CausalNetwork, adapt, load_causal
from pruning.training.flat import Flats
from pruning.training.generation import COLUMN
from tests.support.commands import winnow
from tests.support.generative import tiny_answers, tiny_causal
from tests.support.networks import CPU, NEEDS_BITSANDBYTES, gradients

SETTINGS = TrainSettings(epochs=1, batch_size=2, learning_rate=1e-2, device="cpu", precision="bf16", lora_rank=2, load_in_4bit=True)


def network(path: str) -> CausalNetwork:
    """A network with adapters that change its output."""
    torch.manual_seed(1)
    made = load_causal(path, tiny_answers(), frozen=True).train()
    adapt(made, 3)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return made


def by_hand(weight: torch.Tensor) -> torch.Tensor:
    """A matrix through bitsandbytes' four bits and back, in fp32."""
    from bitsandbytes import functional

    codes, state = functional.quantize_4bit(weight.float().flatten(), blocksize=64, compress_statistics=True, quant_type="nf4")
    return functional.dequantize_4bit(codes, state).view(weight.shape)


def losses(made: CausalNetwork) -> torch.Tensor:
    data = tiny_answers()
    rows = np.arange(data.units)
    return made(make_batch(data, rows, rows, CPU, packed=made.packed))[:, COLUMN.loss]


@NEEDS_BITSANDBYTES
@pytest.mark.parametrize(
    ("family", "config"),
    [("llama", {}), ("qwen2", {}), ("qwen3", {}), ("opt", {}), ("llama", {"intermediate_size": 46}), ("llama", {"hidden_size": 64})],
)
def test_losses_and_gradients_are_those_of_the_weights_by_hand(family: str, config: dict[str, Any], tmp_path: Path) -> None:
    """Layers that are written out and transformers' own; with and without biases; matrices that end within a block of 64 weights."""
    path = tiny_causal(tmp_path, family, **config)
    ours, theirs, plain = network(path), network(path), network(path)
    for layer in four_bits.layers(theirs):
        layer.weight.data = by_hand(layer.weight)
    Base().hold(ours, torch.float32, CPU, in_4bit=True)
    ours.write_out_layers(Flats(ours, torch.float32))
    assert (ours.stack is None) is (family in ("qwen3", "opt")) and theirs.stack is None
    found, expected = losses(ours), losses(theirs)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert (losses(plain) - expected).abs().max() > 1e-3, "four bits change the numbers"
    found.sum().backward()
    expected.sum().backward()
    wanted = gradients(theirs)
    assert len(wanted) >= 24 and all("lora_" in name for name in wanted)
    for name, grad in wanted.items():
        torch.testing.assert_close(gradients(ours)[name], grad, atol=1e-5, rtol=1e-4, msg=name)
    with torch.inference_mode():
        torch.testing.assert_close(losses(ours), expected, atol=1e-5, rtol=1e-5)


@NEEDS_BITSANDBYTES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_matrix_is_what_bitsandbytes_makes_of_it(dtype: torch.dtype) -> None:
    """Bit by bit, rounded once; 4.13 bits a weight."""
    weight = torch.randn(192, 320, generator=torch.Generator().manual_seed(0))
    memory = torch.empty(four_bits.room(weight.numel()), dtype=torch.uint8)
    packed = four_bits.Packed(memory, weight.shape, dtype)
    packed.fill(weight)
    assert torch.equal(packed.matrix(), by_hand(weight).to(dtype))
    error = (packed.matrix().float() - weight).abs()
    assert 0 < error.mean() < 0.1 * weight.abs().mean() and four_bits.room(10**8) * 8 / 10**8 == pytest.approx(4.127, abs=1e-3)


@NEEDS_BITSANDBYTES
def test_a_model_s_weights_are_those_that_transformers_loads_in_4bit(tmp_path: Path) -> None:
    from bitsandbytes import functional
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    path = tiny_causal(tmp_path, hidden_size=64, intermediate_size=128)
    asked = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    theirs = AutoModelForCausalLM.from_pretrained(path, quantization_config=asked, device_map="cpu", dtype=torch.float32)
    made = network(path)
    Base().hold(made, torch.float32, CPU, in_4bit=True)
    ours = {layer: name.removeprefix("model.").removesuffix(".base_layer") for name, layer in made.named_modules()}
    for layer, [packed] in ((layer, four_bits.of([layer])) for layer in four_bits.layers(made)):
        weight = theirs.get_submodule(ours[layer]).weight
        assert torch.equal(packed.matrix(), functional.dequantize_4bit(weight.data, weight.quant_state)), ours[layer]


@NEEDS_BITSANDBYTES
def test_the_weights_are_freed_and_nan_to_whoever_reads_them(tmp_path: Path) -> None:
    path, base, whole = tiny_causal(tmp_path, hidden_size=64, intermediate_size=256), Base(), Base()
    made = network(path)
    base.hold(made, torch.bfloat16, CPU, in_4bit=True)
    whole.hold(network(path), torch.bfloat16, CPU)
    assert base.whole is not None and whole.whole is not None
    layers = four_bits.layers(made)
    spared = sum(2 * layer.weight.numel() - four_bits.room(layer.weight.numel()) for layer in layers)
    assert len(layers) == 14 and 2 * (whole.whole.numel() - base.whole.numel()) == spared
    for layer in layers:
        assert layer.weight.isnan().all() and layer.weight.untyped_storage().nbytes() == 2


@NEEDS_BITSANDBYTES
def test_evaluation_has_finite_losses_near_those_of_bf16(tmp_path: Path) -> None:
    path, data = tiny_causal(tmp_path), tiny_answers()
    plan = RunPlan(key="run", seed=0, rows=np.arange(data.units), epochs=1)
    outputs = []
    for settings in (SETTINGS, replace(SETTINGS, load_in_4bit=False)):
        [result] = [item for item in train([plan], data, data, path, settings, workers=0) if isinstance(item, RunResult)]
        assert result.outputs is not None and np.isfinite(result.outputs).all()
        outputs.append(result.outputs[:, 0])
    assert not np.array_equal(*outputs) and np.allclose(*outputs, rtol=0.1)


@NEEDS_BITSANDBYTES
def test_a_model_without_linear_layers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no linear layers under adapters"):
        Base().hold(network(tiny_causal(tmp_path, "gpt2")), torch.float32, CPU, in_4bit=True)


def test_without_bitsandbytes_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of an experiment that another machine began."""
    monkeypatch.setattr(four_bits, "find_spec", lambda name: None)
    plan = RunPlan(key="run", seed=0, rows=np.arange(5), epochs=1)
    with pytest.raises(UsageError, match=re.escape("needs the package bitsandbytes; install it (pip install 'winnow-pruning[qlora]')")):
        list(train([plan], tiny_answers(), None, tiny_causal(tmp_path), SETTINGS, workers=0))


def test_a_device_or_a_library_that_does_not_compute_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(four_bits, "find_spec", lambda name: object())

    def broken() -> Any:
        raise RuntimeError("no kernel\nfor this device")

    monkeypatch.setattr(four_bits, "_library", broken)
    with pytest.raises(UsageError, match=r"does not work on cpu with this bitsandbytes \(no kernel for this device\)") as caught:
        four_bits.check(CPU)
    assert caught.value.field == "load_in_4bit"
    monkeypatch.setattr(four_bits, "Packed", Wrong)
    with pytest.raises(UsageError, match="wrong weights"):
        four_bits.check(CPU)


class Wrong:
    """A matrix that a library without a kernel for the device got wrong."""

    def __init__(self, memory: torch.Tensor, shape: torch.Size, dtype: torch.dtype) -> None:
        self.shape = shape

    def fill(self, matrix: torch.Tensor) -> None:
        """Do nothing."""

    def matrix(self) -> torch.Tensor:
        """Return NaN, as memory that was never written may be."""
        return torch.full(self.shape, torch.nan)


def test_four_bits_need_adapters() -> None:
    with pytest.raises(UsageError, match="load_in_4bit needs adapters") as caught:
        TrainSettings(lora_rank=0, load_in_4bit=True)
    assert caught.value.field == "load_in_4bit"
    done = winnow("score", "x.jsonl", "--experiment", "x", "--lora", "0", "--load-in-4bit")
    assert done.returncode == 2 and "(--load-in-4bit)" in done.stderr


def test_a_recording_names_four_bits_only_where_they_are_set() -> None:
    """So that what is hashed for a run without them is what earlier versions hashed."""
    off, on = replace(SETTINGS, load_in_4bit=False), SETTINGS
    assert "load_in_4bit" not in off.to_dict() and {**off.to_dict(), "load_in_4bit": False} == asdict(off)
    assert on.to_dict() == asdict(on)
    for recipe in (off, on):
        settings = Settings(data="x.jsonl", train=recipe)
        assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_a_recording_is_not_continued_with_other_layers(scored: Experiment, tmp_path: Path) -> None:
    """Also one of an earlier version, which does not say that its layers are not in four bits."""
    old = scored.info
    assert "load_in_4bit" not in old["settings"]["train"]
    new = {**old, "settings": {**old["settings"], "train": {**old["settings"]["train"], "load_in_4bit": True}}}
    assert manifest.merge(old, old, tmp_path) == old and manifest.merge(new, new, tmp_path) == new
    for before, after, words in ((old, new, "False, not True"), (new, old, "True, not False")):
        with pytest.raises(ExperimentError, match=f"made with load_in_4bit = {words}"):
            manifest.merge(before, after, tmp_path)
