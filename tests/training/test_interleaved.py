"""Runs that take turns in one process, and the fixed shapes that CUDA graphs need."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pruning.errors import Cancelled
from pruning.records import EpochRecord, Kind, RunResult
from pruning.training.batches import make_batch
from pruning.training.devices import WORKSPACE
from pruning.training.graphs import Shape, can_graph, flatten, unflatten
from pruning.training.interleaved import train_in_rounds
from pruning.training.model import load_network, used_tokens
from pruning.training.objective import outcome
from tests.support.networks import CPU, NO_DROPOUT, gradients
from tests.support.tiny import tiny_data, tiny_model, tiny_questions
from tests.support.trainings import LENGTHS, plan, recipe, run, same

PACKED = ["bert", "roberta", "modernbert", "opt", "llama", "qwen2", "qwen3"]


def test_interleaved_runs_give_the_same_numbers(tmp_path: Path) -> None:
    """Three runs in turns, step by step, against the same three one after another; the shorter one ends first."""
    model, data = tiny_model(tmp_path), tiny_data(LENGTHS)
    plans = [plan(seed=1), plan(range(5), seed=2, epochs=1), plan(seed=3)]
    records, results = run(model, plans, recipe(), data, data)
    items = list(train_in_rounds(plans, data, data, model, recipe(), lambda: False, most=3))
    assert next(item.key for item in items if isinstance(item, RunResult)) == "run 2"
    for record in records:
        [other] = [item for item in items if isinstance(item, EpochRecord) and (item.key, item.epoch) == (record.key, record.epoch)]
        assert same(record, other)
    for result in results:
        [end] = [item for item in items if isinstance(item, RunResult) and item.key == result.key]
        assert np.array_equal(result.outputs, end.outputs)


def test_stops_between_two_steps(tmp_path: Path) -> None:
    """Asked before every step: the fifth answer ends the run in the middle of its first epoch of eleven steps."""
    asked = iter(range(100))
    running = train_in_rounds([plan()], tiny_data(LENGTHS), None, tiny_model(tmp_path), recipe(batch_size=1), lambda: next(asked) == 4)
    with pytest.raises(Cancelled, match="1 run was in progress"):
        list(running)
    assert next(asked) == 5


@pytest.mark.parametrize("family", PACKED)
@pytest.mark.parametrize("kind", ["classification", "multiple_choice"])
def test_a_batch_of_fixed_shape_is_the_batch(family: str, kind: Kind, tmp_path: Path) -> None:
    """Fillers to 64 tokens and attention to the longest sentence change neither logits nor gradients."""
    options = [[5, 9], [3, 12], [17, 17], [10, 1]]
    data = tiny_data([5, 9, 3, 12, 21, 21, 10, 1], token_types=True) if kind == "classification" else tiny_questions(kind, options)
    network = load_network(tiny_model(tmp_path, family, **NO_DROPOUT), data, used_tokens(data))
    units = np.array([2, 0, 3])
    plain = make_batch(data, units, units, CPU, packed=True)
    shape = Shape(tokens=64, units=3, sequences=3 if kind == "classification" else 6, length=int(np.diff(data.offsets).max()))
    flat = flatten(make_batch(data, units, units, CPU, packed=False), shape)
    assert flat.dtype == torch.int64 and len(flat) == sum(shape.parts.values())
    fixed = unflatten(flat, shape, types=data.token_types is not None)
    found = []
    for batch in (plain, fixed):
        made = outcome(kind, network(batch), batch)
        made.loss.mean().backward()
        found.append((made, {name: grad.clone() for name, grad in gradients(network).items()}))
        network.zero_grad()
    for ours, theirs in zip(found[0][0], found[1][0], strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), atol=1e-5, rtol=0)
    for name, grad in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], grad, atol=1e-5, rtol=0, msg=name)


def test_batch_views_show_a_new_batch_copied_into_their_buffer() -> None:
    """One vector, filled anew, is the next batch."""
    data = tiny_data(LENGTHS)
    shape = Shape(tokens=64, units=2, sequences=2, length=22)
    first, second = (make_batch(data, units, units, CPU, packed=False) for units in (np.array([0, 1]), np.array([6, 3])))
    flat = flatten(first, shape)
    batch = unflatten(flat, shape, types=False)
    flat.copy_(flatten(second, shape))
    assert batch.ids[: second.tokens].tolist() == second.ids.tolist()
    assert batch.rows.tolist() == [6, 3] and batch.labels.tolist() == second.labels.tolist()


def test_graphs_are_for_cuda_and_units_of_one_kind() -> None:
    cuda, data = torch.device("cuda"), tiny_data(LENGTHS)
    assert can_graph(data, True, cuda, torch.bfloat16)
    assert not can_graph(data, True, CPU, torch.bfloat16)
    assert not can_graph(data, False, cuda, torch.bfloat16)
    assert not can_graph(data, True, cuda, torch.float16)
    assert not can_graph(tiny_questions("multiple_choice", [[3, 4], [5]]), True, cuda, torch.bfloat16)
    assert not can_graph(tiny_questions("span", [[3], [5]]), True, cuda, torch.bfloat16)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("family", PACKED)
def test_replayed_steps_are_the_plain_steps(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA, without dropout: records and outputs of a run with graphs equal those of the plain loop, and graphs were used."""
    model, data = tiny_model(tmp_path, family, **NO_DROPOUT), tiny_data(LENGTHS * 4)
    settings, made = recipe(device="cuda"), plan(range(44), epochs=3)
    replayed: list[bool] = []
    graphed = list(train_in_rounds([made], data, data, model, settings, lambda: False))
    monkeypatch.setattr("pruning.training.loop.can_graph", lambda *_: replayed.append(True) and False)
    plain = list(train_in_rounds([made], data, data, model, settings, lambda: False))
    assert replayed
    for ours, theirs in zip(
        [item for item in graphed if isinstance(item, EpochRecord)], [item for item in plain if isinstance(item, EpochRecord)], strict=True
    ):
        np.testing.assert_allclose(ours.loss, theirs.loss, atol=1e-3)
    [one, two] = [next(item for item in items if isinstance(item, RunResult)) for items in (graphed, plain)]
    np.testing.assert_allclose(one.outputs, two.outputs, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_dropout_changes_between_replays(tmp_path: Path) -> None:
    """On CUDA, at a learning rate of nothing: each replay of the same batch draws other masks."""
    model, data = tiny_model(tmp_path), tiny_data([9] * 4)
    settings = recipe(device="cuda", learning_rate=1e-30)
    items = list(train_in_rounds([plan(range(4), epochs=6)], data, None, model, settings, lambda: False))
    losses = np.stack([item.loss for item in items if isinstance(item, EpochRecord)])
    assert len(np.unique(losses.round(6), axis=0)) == 6


def test_deterministic_is_set_inside_the_run_alone_and_changes_nothing_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKSPACE, raising=False)
    model, data = tiny_model(tmp_path), tiny_data(LENGTHS)
    plain = list(train_in_rounds([plan()], data, data, model, recipe(), lambda: False))
    inside, repeated = [], []
    for item in train_in_rounds([plan()], data, data, model, recipe(deterministic=True), lambda: False):
        repeated.append(item)
        inside.append((torch.are_deterministic_algorithms_enabled(), os.environ[WORKSPACE]))
    assert set(inside) == {(True, ":4096:8")}
    assert not torch.are_deterministic_algorithms_enabled() and WORKSPACE not in os.environ
    records = [[item for item in items if isinstance(item, EpochRecord)] for items in (plain, repeated)]
    assert all(same(ours, theirs) for ours, theirs in zip(*records, strict=True))
    [one, two] = [next(item for item in items if isinstance(item, RunResult)) for items in (plain, repeated)]
    assert np.array_equal(one.outputs, two.outputs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_deterministic_run_goes_on_bit_by_bit_on_cuda(tmp_path: Path) -> None:
    """Dropout, several runs, an interruption after the first epoch: the numbers are those of a run that was left alone."""
    model, data, state = tiny_model(tmp_path / "bert"), tiny_data(LENGTHS * 4), str(tmp_path / "state.pt")
    settings = recipe(device="cuda", deterministic=True)

    def trained(checkpoint: str | None) -> list[object]:
        plans = [plan(range(44), epochs=3, checkpoint=checkpoint), plan(range(44), epochs=3, seed=2)]
        return list(train_in_rounds(plans, data, data, model, settings, lambda: False))

    whole = trained(None)
    running = train_in_rounds([plan(range(44), epochs=3, checkpoint=state)], data, data, model, settings, lambda: False)
    for item in running:
        if getattr(item, "epoch", 0) == 1:
            break
    running.close()
    resumed = trained(state)
    records = [[item for item in items if isinstance(item, EpochRecord)] for items in (whole, resumed)]
    assert len(records[0]) == 6 and all(same(ours, theirs) for ours, theirs in zip(*records, strict=True))
    for one, two in zip(*([item for item in items if isinstance(item, RunResult)] for items in (whole, resumed)), strict=True):
        assert np.array_equal(one.outputs, two.outputs)
