"""The layers that are written out compute what transformers' layers do: logits and every gradient, dropout off and on, fp32 and bf16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pruning.records import Encoded, Kind
from pruning.training.batches import make_batch
from pruning.training.dropout import Noise
from pruning.training.flat import Flats
from pruning.training.model import Network, load_network, used_tokens
from pruning.training.objective import outcome
from tests.support.networks import CPU, LENGTHS, NO_DROPOUT, gradients
from tests.support.tiny import tiny_data, tiny_model, tiny_questions

QUESTIONS: list[list[int]] = [[5, 9], [3, 12], [17, 17], [10, 1]]


def of_kind(kind: Kind) -> Encoded:
    return tiny_data(LENGTHS, classes=3) if kind == "classification" else tiny_questions(kind, QUESTIONS)


def networks(path: str, data: Encoded, dtype: torch.dtype = torch.float32) -> tuple[Network, Network, Flats]:
    """The same network twice: with transformers' layers, and written out on flat parameters."""
    pair = []
    for _ in range(2):
        torch.manual_seed(1)
        pair.append(load_network(path, data, used_tokens(data)).train())
        pair[-1].draw_dropout_from(Noise(3))
    flats = Flats(pair[1], dtype)
    pair[1].write_out_layers(flats)
    assert pair[1].stack is not None
    return pair[0], pair[1], flats


def losses(network: Network, data: Encoded, rows: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    batch = make_batch(data, np.array(rows), np.array(rows), CPU, packed=True)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
        logits = network(batch)
    return outcome(data.kind, logits, batch).loss


def compared(ours: Network, theirs: Network, tolerance: float = 1e-5) -> None:
    expected, found = gradients(theirs), gradients(ours)
    for name, grad in found.items():
        if name in expected:
            torch.testing.assert_close(grad, expected[name], atol=tolerance, rtol=0, msg=name)
        else:
            assert not grad.any(), name
    assert len(expected) > 10


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("kind", ["classification", "multiple_choice", "span"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_same_loss_and_gradients(family: str, kind: Kind, dropout: bool, tmp_path: Path) -> None:
    """With dropout both draw the same decisions in the same order, so that even then the numbers agree."""
    data = of_kind(kind)
    theirs, ours, _ = networks(tiny_model(tmp_path, family, labels=3, **({} if dropout else NO_DROPOUT)), data)
    found = []
    for network in (theirs, ours):
        found.append(losses(network, data, range(data.units)))
        found[-1].mean().backward()
    torch.testing.assert_close(found[1].detach(), found[0].detach(), atol=1e-5, rtol=0)
    compared(ours, theirs)
    assert theirs.noise is not None and ours.noise is not None and torch.equal(theirs.noise.state, ours.noise.state)
    torch.testing.assert_close(losses(ours.eval(), data, [0, 2]), losses(theirs.eval(), data, [0, 2]), atol=1e-5, rtol=0)


def test_parts_of_a_batch_add_up_and_the_next_step_starts_anew(tmp_path: Path) -> None:
    data = of_kind("classification")
    theirs, ours, flats = networks(tiny_model(tmp_path, **NO_DROPOUT), data)
    losses(ours, data, [8, 1, 4]).mean().backward()
    flats.clear()
    assert ours.stack is not None
    ours.stack.clear()
    for rows in ([0, 1, 2], [3, 4], [5, 6, 7, 8]):
        (losses(ours, data, rows).sum() / data.units).backward()
    losses(theirs, data, range(data.units)).mean().backward()
    compared(ours, theirs)


def test_bf16_errs_no_more_than_autocast_does(tmp_path: Path) -> None:
    """Distance of the gradients to those in fp32, all parameters together: within 1.2 times that of transformers' layers under autocast."""
    data = of_kind("classification")
    path = tiny_model(tmp_path, **NO_DROPOUT)
    exact, _, _ = networks(path, data)
    theirs, ours, _ = networks(path, data, torch.bfloat16)
    for network, dtype in ((exact, torch.float32), (theirs, torch.bfloat16), (ours, torch.bfloat16)):
        losses(network, data, range(data.units), dtype).mean().backward()
    truth = gradients(exact)

    def distance(network: Network) -> float:
        return sum(float((gradients(network)[name] - grad).square().sum()) for name, grad in truth.items()) ** 0.5

    assert 0 < distance(ours) <= 1.2 * distance(theirs)


def test_flat_parameters_are_the_network_s_own(tmp_path: Path) -> None:
    """A change of the whole is a change of the network, and of the copy in bf16 after `renew`; joined weights are adjacent views."""
    data = of_kind("classification")
    _, ours, flats = networks(tiny_model(tmp_path, **NO_DROPOUT), data, torch.bfloat16)
    assert sum(flat.whole.numel() for flat in flats.groups.values()) == sum(p.numel() for p in ours.parameters() if p.requires_grad)
    own = ours.model.base_model.encoder.layer[0].attention.self
    weight, grads = flats.joined([own.query.weight, own.key.weight, own.value.weight])
    with torch.no_grad():
        for flat in flats.groups.values():
            flat.whole.add_(1.0)
    flats.renew()
    assert torch.equal(weight, torch.cat([own.query.weight, own.key.weight, own.value.weight]).bfloat16())
    grads.fill_(2.0)
    assert all(bool((layer.weight.grad == 2.0).all()) for layer in (own.query, own.key, own.value))
    with pytest.raises(AssertionError, match="must follow each other"):
        flats.joined([own.key.weight, own.query.weight])


@pytest.mark.parametrize("act", ["gelu", "gelu_new"])
def test_other_activations_keep_transformers_layers(act: str, tmp_path: Path) -> None:
    data = of_kind("classification")
    network = load_network(tiny_model(tmp_path, hidden_act=act), data, used_tokens(data))
    network.write_out_layers(Flats(network, torch.float32))
    assert (network.stack is not None) == (act == "gelu")
