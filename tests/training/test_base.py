"""Frozen weights are one memory for all runs of a process and of processes side by side, and the numbers are those of a run alone."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pruning.records import EpochRecord, RunPlan
from pruning.settings import TrainSettings
from pruning.training import train
from pruning.training.base import Base
from pruning.training.causal import adapt, load_causal
from pruning.training.interleaved import train_in_rounds
from pruning.training.shared_memory import SharedMemory
from tests.support.generative import tiny_answers, tiny_causal
from tests.support.networks import CPU, IN_4BIT
from tests.support.trainings import same

SETTINGS = TrainSettings(epochs=2, batch_size=2, learning_rate=1e-2, device="cpu", precision="bf16", lora_rank=2)


def plans(count: int = 2, **more: Any) -> list[RunPlan]:
    return [RunPlan(key=f"run {seed}", seed=seed, rows=np.arange(5), epochs=2, **more) for seed in range(count)]


def held(path: str, base: Base, in_4bit: bool = False) -> dict[str, torch.Tensor]:
    """Frozen weights of a network that `base` holds."""
    network = load_causal(path, tiny_answers(), frozen=True)
    adapt(network, 2)
    base.hold(network, torch.bfloat16, CPU, in_4bit=in_4bit)
    return {name: parameter.data for name, parameter in network.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_all_networks_of_a_base_are_views_of_its_tensor(tmp_path: Path, stored: torch.dtype) -> None:
    """Matrices in bf16, norms in fp32, whatever the file's type; a tied head and the embeddings are the same."""
    path = tiny_causal(tmp_path, dtype=stored)
    base = Base()
    one, two = held(path, base), held(path, base)
    assert base.whole is not None
    assert base.whole.numel() == sum(tensor.numel() for tensor in one.values() if tensor.ndim > 1)
    for name, tensor in one.items():
        assert tensor.dtype is (torch.bfloat16 if tensor.ndim > 1 else torch.float32), name
        assert torch.equal(tensor, two[name])
        assert (tensor.data_ptr() == two[name].data_ptr()) is (tensor.ndim > 1), name
    whole = load_causal(path, tiny_answers()).model.state_dict()
    assert torch.equal(one["model.model.layers.0.mlp.up_proj.base_layer.weight"], whole["model.layers.0.mlp.up_proj.weight"].bfloat16())


def test_adapters_begin_alike_whatever_the_file_s_type(tmp_path: Path) -> None:
    found = []
    for stored in (torch.float32, torch.bfloat16):
        torch.manual_seed(3)
        network = load_causal(tiny_causal(tmp_path / str(stored), dtype=stored), tiny_answers(), frozen=True)
        adapt(network, 2)
        found.append({name: parameter for name, parameter in network.named_parameters() if "lora_" in name})
    for name, parameter in found[0].items():
        assert parameter.dtype is torch.float32 and torch.equal(parameter, found[1][name])


def _mapped(path: str, memory: int, start: int, in_4bit: bool, connection: Any) -> None:
    held(path, base := Base(memory, start), in_4bit)
    assert base.whole is not None
    maps = re.findall(r"/memfd:winnow[^\n]*\n(?:(?!\w+-).*\n)*?Anonymous: +(\d+)", Path("/proc/self/smaps").read_text())
    connection.send((sha256(base.whole.view(torch.uint8).numpy()).hexdigest(), [int(kilobytes) for kilobytes in maps]))


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux: the other processes inherit a file in memory")
@pytest.mark.parametrize("in_4bit", IN_4BIT)
def test_processes_map_one_copy_behind_the_data(in_4bit: bool, tmp_path: Path) -> None:
    """The second process writes nothing of its own; the data before the weights are as they were."""
    path, memory = tiny_causal(tmp_path), SharedMemory()
    memory.add(tiny_answers())
    before = os.pread(memory.fd, memory.size, 0)
    found = []
    for _ in range(2):
        ours, theirs = get_context("fork").Pipe()
        process = get_context("fork").Process(target=_mapped, args=(path, memory.fd, memory.size, in_4bit, theirs))
        process.start()
        found.append(ours.recv())
        process.join()
    assert found[0][0] == found[1][0]
    assert found[1][1] and not any(found[1][1])
    assert os.pread(memory.fd, memory.size, 0) == before
    memory.close()


def test_weights_that_a_killed_process_wrote_half_are_written_again(tmp_path: Path) -> None:
    path, memory = tiny_causal(tmp_path), SharedMemory()
    first = Base(memory.fd)
    held(path, first)
    assert first.whole is not None
    expected = first.whole.clone()
    os.ftruncate(memory.fd, 1000)
    second = Base(memory.fd)
    held(path, second)
    assert second.whole is not None and torch.equal(second.whole, expected)
    memory.close()


def records(items: Any) -> list[EpochRecord]:
    return sorted((item for item in items if isinstance(item, EpochRecord)), key=lambda item: (item.key, item.epoch))


@pytest.mark.process
@pytest.mark.parametrize("in_4bit", IN_4BIT)
def test_runs_that_share_weights_record_what_each_records_alone(in_4bit: bool, tmp_path: Path) -> None:
    """One after another, in turns in one process, and side by side."""
    path, data, settings = tiny_causal(tmp_path), tiny_answers(), replace(SETTINGS, load_in_4bit=in_4bit)
    alone = [record for plan in plans() for record in records(train([plan], data, None, path, settings, workers=0))]
    ways = {
        "one after another": train(plans(), data, None, path, settings, workers=0),
        "in turns": train_in_rounds(plans(), data, None, path, settings, lambda: False, most=2),
        "side by side": train(plans(), data, None, path, settings, workers=2),
    }
    assert len(alone) == 4 and not same(alone[0], alone[2])
    for name, items in ways.items():
        assert all(same(one, other) for one, other in zip(records(items), alone, strict=True)), name


@pytest.mark.parametrize("in_4bit", IN_4BIT)
def test_a_checkpoint_has_the_adapters_only_and_resumes_bit_by_bit(in_4bit: bool, tmp_path: Path) -> None:
    path, data, state = tiny_causal(tmp_path / "m"), tiny_answers(), str(tmp_path / "state.pt")
    settings = replace(SETTINGS, load_in_4bit=in_4bit)
    [plan] = plans(1, checkpoint=state)
    whole = records(train([replace(plan, checkpoint=None)], data, None, path, settings, workers=0))
    for item in train([plan], data, None, path, settings, workers=0):
        if isinstance(item, EpochRecord):
            break
    names = torch.load(state, weights_only=True)["network"].keys()
    assert names and all("lora_" in name for name in names)
    resumed = records(train([plan], data, None, path, settings, workers=0))
    assert all(same(one, other) for one, other in zip(resumed, whole, strict=True))
