"""The cheap dropout drops as PyTorch's does: share, scale, gradient, and nothing in evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pruning.training.batches import make_batch
from pruning.training.dropout import Dropout, Noise
from pruning.training.model import load_network, used_tokens
from tests.support.networks import CPU, LENGTHS
from tests.support.tiny import FAMILIES, tiny_data, tiny_model


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_scale_and_gradient(p: float) -> None:
    """Of 1e6 entries a share p is 0 (within 5 standard errors), all others are 1 / (1 - p), and so are their gradients."""
    values = torch.ones(1000, 1001, requires_grad=True)
    out = Noise(3).drop(values, p)
    kept = out != 0
    assert abs(1 - kept.float().mean().item() - p) < 5 * np.sqrt(p * (1 - p) / values.numel())
    torch.testing.assert_close(out[kept].detach(), torch.full_like(out[kept], 1 / (1 - p)), rtol=1e-3, atol=0)
    out.sum().backward()
    assert values.grad is not None and torch.equal(values.grad, out)


def test_neighbours_are_independent() -> None:
    """Decisions from one draw are as uncorrelated as those from different draws."""
    kept = (Noise(5).drop(torch.ones(400_000), 0.1) != 0).numpy().astype(float)
    for step in (1, 2, 3, 4, 384):
        assert abs(np.corrcoef(kept[:-step], kept[step:])[0, 1]) < 0.01


@pytest.mark.parametrize("count", [1, 3, 4, 5, 1001])
def test_restored_noise_continues_for_any_size(count: int) -> None:
    noise = Noise(1)
    noise.drop(torch.ones(7), 0.3)
    state = noise.state
    first = noise.drop(torch.ones(count), 0.3)
    other = Noise(2)
    other.state = state
    assert torch.equal(first, other.drop(torch.ones(count), 0.3))
    assert first.shape == (count,)


def test_dropout_is_applied_only_in_train_mode() -> None:
    layer = Dropout(0.5, Noise(1))
    assert not torch.equal(layer.train()(torch.ones(64)), torch.ones(64))
    assert torch.equal(layer.eval()(torch.ones(64)), torch.ones(64))


class Silence(Noise):
    """Drops nothing, but where dropout would be."""

    def drop(self, values: torch.Tensor, p: float) -> torch.Tensor:
        assert p > 0
        return values


@pytest.mark.parametrize("family", FAMILIES)
def test_written_out_attention_is_attention(family: str, tmp_path: Path) -> None:
    """With a source that drops nothing, train mode computes what evaluation does, in every architecture."""
    more = {"attention_dropout": 0.1, "activation_dropout": 0.0, "dropout": 0.0} if family in ("opt", "llama", "qwen2", "qwen3") else {}
    data = tiny_data(LENGTHS)
    network = load_network(tiny_model(tmp_path, family, **more), data, used_tokens(data))
    network.draw_dropout_from(Silence(0))
    rows = np.arange(data.units)
    batch = make_batch(data, rows, rows, CPU, packed=network.packed)
    torch.testing.assert_close(network.train()(batch), network.eval()(batch), atol=1e-5, rtol=0)
