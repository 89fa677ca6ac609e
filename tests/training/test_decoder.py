"""The decoder layers that are written out compute what transformers' and peft's layers do, trained whole or by adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pruning.records import Encoded
from pruning.training.base import Base
from pruning.training.batches import make_batch
from pruning.training.causal import adapt, load
from pruning.training.flat import Flats
from pruning.training.generation import COLUMN
from pruning.training.model import Network, used_tokens
from pruning.training.objective import outcome
from tests.support.generative import tiny_answers, tiny_causal
from tests.support.networks import CPU, LENGTHS, gradients
from tests.support.tiny import tiny_data, tiny_model

FAMILIES = ["llama", "mistral", "qwen2"]


def network(path: str, data: Encoded, rank: int) -> Network:
    """A network with adapters that change its output, or without adapters."""
    torch.manual_seed(1)
    made = load(path, data, used_tokens(data), frozen=rank > 0).train()
    if rank:
        adapt(made, rank)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return made


def pair(path: str, data: Encoded, rank: int, dtype: torch.dtype = torch.float32) -> tuple[Network, Network, Flats]:
    """The same network twice: with transformers' layers and frozen weights in fp32, and written out."""
    theirs, ours = network(path, data, rank), network(path, data, rank)
    Base().hold(ours, dtype, CPU)
    flats = Flats(ours, dtype)
    ours.write_out_layers(flats)
    assert ours.stack is not None and theirs.stack is None
    return theirs, ours, flats


def losses(made: Network, data: Encoded, rows: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    batch = make_batch(data, np.array(rows), np.array(rows), CPU, packed=True)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
        found = made(batch)
    return found[:, COLUMN.loss] if data.kind == "generation" else outcome(data.kind, found, batch).loss


def source(kind: str, family: str, path: Path, **config: Any) -> tuple[str, Encoded]:
    if kind == "generation":
        return tiny_causal(path, family, **config), tiny_answers()
    return tiny_model(path, family, labels=3, **config), tiny_data(LENGTHS, classes=3)


def compared(ours: Network, theirs: Network, at_least: int) -> None:
    expected = gradients(theirs)
    found = {name: grad for name, grad in gradients(ours).items() if name in expected or grad.any()}
    assert found.keys() == expected.keys() and len(expected) >= at_least
    for name, grad in found.items():
        torch.testing.assert_close(grad, expected[name], atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize(
    ("family", "kind"), [*((family, "generation") for family in FAMILIES), ("llama", "classification"), ("qwen2", "classification")]
)
def test_same_loss_and_gradients(family: str, kind: str, rank: int, tmp_path: Path) -> None:
    """In one batch and in parts; biases where the architecture has them."""
    path, data = source(kind, family, tmp_path)
    theirs, ours, flats = pair(path, data, rank)
    losses(ours, data, [0, 1]).sum().backward()
    flats.clear()
    assert ours.stack is not None
    ours.stack.clear()
    expected = losses(theirs, data, range(data.units))
    expected.sum().backward()
    for rows in ([0, 1, 2], range(3, data.units)):
        losses(ours, data, rows).sum().backward()
    compared(ours, theirs, 8 if rank else 20)
    with torch.inference_mode():
        torch.testing.assert_close(losses(ours.eval(), data, range(data.units)), expected.detach(), atol=1e-5, rtol=1e-5)


def test_long_sequences_use_another_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, data = source("generation", "llama", tmp_path)
    theirs, ours, _ = pair(path, data, 3)
    monkeypatch.setattr("pruning.training.decoder.LONG", 12)
    found = [losses(made, data, range(data.units)) for made in (theirs, ours)]
    assert torch.allclose(*found, atol=1e-5)
    for loss in found:
        loss.sum().backward()
    compared(ours, theirs, 8)


@pytest.mark.parametrize("rank", [0, 3])
def test_bf16_errs_no_more_than_autocast_does(rank: int, tmp_path: Path) -> None:
    """Distance of the gradients to those in fp32, all parameters together: within 1.2 times that of transformers' layers under autocast."""
    path, data = source("generation", "llama", tmp_path)
    exact, _, _ = pair(path, data, rank)
    theirs, ours, _ = pair(path, data, rank, torch.bfloat16)
    for made, dtype in ((exact, torch.float32), (theirs, torch.bfloat16), (ours, torch.bfloat16)):
        losses(made, data, range(data.units), dtype).mean().backward()
    truth = gradients(exact)

    def distance(made: Network) -> float:
        return sum(float((gradients(made)[name] - grad).square().sum()) for name, grad in truth.items()) ** 0.5

    assert 0 < distance(ours) <= 1.2 * distance(theirs)


@pytest.mark.parametrize("config", [{"attention_dropout": 0.1}, {"hidden_act": "gelu"}, {"sliding_window": 4}])
def test_other_layers_are_transformers(config: dict[str, Any], tmp_path: Path) -> None:
    data = tiny_answers()
    made = load(tiny_causal(tmp_path, "mistral", **config), data, used_tokens(data))
    made.write_out_layers(Flats(made, torch.float32))
    assert made.stack is None
