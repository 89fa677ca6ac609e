"""Packed, padded and one at a time are the same computation: logits and gradients agree to 1e-5 with dropout off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from pruning.records import Encoded
from pruning.training.batches import make_batch
from pruning.training.model import Network, keep_occurring_rows, load_network, renumber, used_tokens
from pruning.training.objective import outcome
from pruning.training.packing import FAMILIES as PACKED
from tests.support.networks import CPU, LENGTHS, NO_DROPOUT, gradients, reference_weights
from tests.support.tiny import FAMILIES, tiny_data, tiny_model


def through_engine(network: Network, data: Encoded) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    rows = np.arange(data.units)
    batch = make_batch(data, rows, rows, CPU, packed=network.packed)
    network.train()
    logits = network(batch)
    outcome(data.kind, logits, batch).loss.mean().backward()
    return logits.detach(), gradients(network)


def reference(path: str, data: Encoded, weights: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Transformers' own forward, one sentence at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=data.classes)
    model.load_state_dict(weights)
    model.train()
    logits = []
    for start, end in zip(data.offsets, data.offsets[1:], strict=False):
        inputs = {"input_ids": torch.from_numpy(data.tokens[start:end].astype(np.int64))[None]}
        if data.token_types is not None:
            inputs["token_type_ids"] = torch.from_numpy(data.token_types[start:end].astype(np.int64))[None]
        logits.append(model(**inputs).logits)
    rows = torch.cat(logits)
    torch.nn.functional.cross_entropy(rows, torch.from_numpy(data.labels)).backward()
    return rows.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_equals_one_at_a_time(family: str, tmp_path: Path) -> None:
    """`load_network`'s own route (packed where the family can be) against transformers, logits and every gradient."""
    path = tiny_model(tmp_path, family, labels=3, **NO_DROPOUT)
    data = tiny_data(LENGTHS, classes=3, token_types=family == "bert")
    network = load_network(path, data, used_tokens(data))
    assert network.packed == (family != "deberta-v2")
    logits, ours = through_engine(network, data)
    expected, theirs = reference(path, data, reference_weights(network))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "deberta-v2"])
def test_packed_equals_padded(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fallback for unknown architectures gives what packing gives."""
    path = tiny_model(tmp_path, family, **NO_DROPOUT)
    data = tiny_data(LENGTHS)
    torch.manual_seed(1)
    packed, ours = through_engine(load_network(path, data, used_tokens(data)), data)
    monkeypatch.setattr("pruning.training.model.FAMILIES", {})
    torch.manual_seed(1)
    network = load_network(path, data, used_tokens(data))
    assert not network.packed
    padded, theirs = through_engine(network, data)
    torch.testing.assert_close(packed, padded, atol=1e-5, rtol=0)
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_trimmed_last_layer_is_exact(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_model(tmp_path, family, **NO_DROPOUT)
    data = tiny_data(LENGTHS)
    torch.manual_seed(1)
    trimmed, ours = through_engine(load_network(path, data, used_tokens(data)), data)
    monkeypatch.setattr("pruning.training.model.FAMILIES", {family: replace(PACKED[family], trim=False)})
    torch.manual_seed(1)
    full, theirs = through_engine(load_network(path, data, used_tokens(data)), data)
    torch.testing.assert_close(trimmed, full, atol=1e-6, rtol=0)
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_keeping_the_occurring_rows_is_exact(family: str, tmp_path: Path) -> None:
    """Same logits and gradients from the small embedding; the rows that are left out had none."""
    path = tiny_model(tmp_path, family, **NO_DROPOUT)
    data = tiny_data(LENGTHS)
    used = used_tokens(data)
    torch.manual_seed(1)
    whole = load_network(path, data, used)
    logits, theirs = through_engine(whole, data)
    torch.manual_seed(1)
    small = load_network(path, data, used)
    kept = keep_occurring_rows(small, used)
    shrunk, ours = through_engine(small, renumber(data, kept))
    assert torch.equal(logits, shrunk)
    for name in theirs:
        if theirs[name].shape == ours[name].shape:
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-7, rtol=0, msg=name)
        else:
            assert torch.equal(theirs[name][kept], ours[name])
            assert not np.delete(theirs[name].numpy(), kept, axis=0).any()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stored_head_is_not_used(tmp_path: Path, family: str) -> None:
    """A model saved after training has a head that fits; each seed draws its own all the same, as the model without a head does."""
    data = tiny_data([4, 5])
    path = tiny_model(tmp_path / "bare", family)
    stored = AutoModelForSequenceClassification.from_pretrained(path, num_labels=2)
    stored.save_pretrained(tmp_path / "trained")
    body = {id(parameter) for parameter in stored.base_model.parameters()}
    names = [name for name, parameter in stored.named_parameters() if id(parameter) not in body]
    heads = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        network = load_network(str(tmp_path / "trained"), data, used_tokens(data))
        found = dict(network.model.named_parameters())
        heads.append(torch.cat([found[name].detach().flatten() for name in names if "weight" in name]))
        kept = dict(stored.named_parameters())
        inner = [name for name in found if name in kept and name not in names and "embed" not in name and "layer" in name]
        assert inner and all(torch.equal(found[name], kept[name]) for name in inner if found[name].shape == kept[name].shape)
    old = torch.cat([dict(stored.named_parameters())[name].detach().flatten() for name in names if "weight" in name])
    assert torch.equal(heads[0], heads[1])
    for other in (old, heads[2]):
        assert torch.isclose(heads[0], other).float().mean() < 0.05, "but for the ones of a norm"
    assert 0.5 < float(heads[0].std() / old.std()) < 2, "as the architecture initialises it"
