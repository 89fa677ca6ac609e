"""Narrower models: the importance of neurons and attention heads measured in a training run, and both cut out of a model's files.

A neuron is a row of each layer that widens (with its bias) and a column of the one that narrows again. All layers keep the same number, so
that the configuration describes the cut model and plain `from_pretrained` loads it. Heads are cut in whole groups that share keys and
values, and only where the configuration names a head's size: BERT's kind derives it from their number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pruning.analysis.neurons import Importance
from pruning.data.model_checks import read_config, read_header
from pruning.errors import Cancelled, ExperimentError, ModelError, TrainingError
from pruning.records import Encoded, Progress, RunPlan
from pruning.settings import TrainSettings
from pruning.training.devices import one_thread, repeatable
from pruning.training.loop import Run

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Kind:
    """Names in one kind of feed-forward block."""

    size: str
    """Of the width in config.json."""
    up: tuple[str, ...]
    """Of the layers that widen."""
    down: str
    """Of the layer that narrows again."""


KINDS = (
    Kind("intermediate_size", ("intermediate.dense",), "output.dense"),
    Kind("intermediate_size", ("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj"),
    Kind("ffn_dim", ("fc1",), "fc2"),
)
"""Those of BERT and RoBERTa, of Llama, and of OPT."""

_PART = re.compile(r"(?:^|\.)layers?\.(?P<layer>\d+)\.(?:layer\.)?(?P<part>.+)\.(?P<what>weight|bias)$")
"""Name of a layer's tensor; the inner `layer.` is that of `packing.TrimmedLayer`."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The feed-forward blocks of one model: `layers` of them, `width` neurons each."""

    kind: Kind
    layers: int
    width: int

    def place(self, tensor: str) -> tuple[int, int] | None:
        """Return layer and dimension of the neurons in a tensor of that name; None for tensors that are not about neurons.

        >>> Blocks(KINDS[0], 6, 1536).place("encoder.layer.3.output.dense.weight")
        (3, 1)
        >>> Blocks(KINDS[0], 6, 1536).place("encoder.layer.3.attention.output.dense.weight")
        """
        found = _PART.search(tensor)
        if found is None:
            return None
        if found["part"] in self.kind.up:
            return int(found["layer"]), 0
        return (int(found["layer"]), 1) if found["part"] == self.kind.down and found["what"] == "weight" else None


WITH_HEADS = ("llama", "mistral", "qwen2", "qwen3")
"""Architectures whose configuration says how large a head is (head_dim)."""


@dataclass(frozen=True, slots=True)
class Heads:
    """The attention heads of one model: in each layer `groups` keys and values, each shared by `queries` heads of `size` numbers."""

    groups: int
    queries: int
    size: int
    hidden: int
    """Numbers in a token's hidden state; Llama's configuration takes only numbers of heads that divide it."""

    def place(self, tensor: str) -> tuple[int, int, int] | None:
        """Return layer, dimension and rows of a group in a tensor of that name; None for tensors that are not about heads.

        >>> Heads(3, 3, 64, 576).place("model.layers.7.self_attn.o_proj.weight")
        (7, 1, 192)
        """
        found = _PART.search(tensor)
        if found is None:
            return None
        layer, whole = int(found["layer"]), self.queries * self.size
        here = {"self_attn.q_proj": (layer, 0, whole), "self_attn.k_proj": (layer, 0, self.size), "self_attn.v_proj": (layer, 0, self.size)}
        if found["what"] == "weight":
            here["self_attn.o_proj"] = layer, 1, whole
        return here.get(found["part"])


def heads(path: Path, name: str) -> Heads:
    """Return the heads of a model folder, by its configuration. Raises ModelError where heads cannot be cut."""
    config = read_config(path / "config.json", name)
    if config["model_type"] not in WITH_HEADS:
        raise ModelError(
            f"{name} keeps all its heads: the configuration of a {config['model_type']} model derives a head's size from their number; "
            f"heads can be cut in {', '.join(WITH_HEADS)}."
        )
    count, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    groups = int(config.get("num_key_value_heads") or count)
    return Heads(groups, count // groups, int(config.get("head_dim") or hidden // count), hidden)


def blocks(path: Path, name: str) -> Blocks:
    """Return the feed-forward blocks of a model folder, by its configuration and the headers of its weights. Reads no weights.

    Raises ModelError for a model that cannot be cut: one sentence that names the layer it lacks.
    """
    config = read_config(path / "config.json", name)
    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(path.glob("*.safetensors")):
        shapes.update(read_header(file, name))
    parts: dict[tuple[str, str], dict[int, tuple[int, ...]]] = {}
    for tensor, shape in shapes.items():
        if match := _PART.search(tensor):
            own = parts.setdefault((match["part"], match["what"]), {})
            if own.setdefault(int(match["layer"]), shape) is not shape:
                raise ModelError(f"{name} cannot be narrowed: it has two stacks of layers, and their configuration is not known.")
    there = [kind for kind in KINDS if any((part, "weight") in parts for part in (*kind.up, kind.down))]
    if not there:
        known = ", ".join(kind.up[0] for kind in KINDS)
        raise ModelError(f"{name} cannot be narrowed: the layers of a {config['model_type']} model have no {known}.")
    kind, width = there[0], config.get(there[0].size)
    if lacking := next((part for part in (*kind.up, kind.down) if (part, "weight") not in parts), None):
        raise ModelError(f"{name} cannot be narrowed: the layers of a {config['model_type']} model have no {lacking}.")
    layers = len(parts[kind.down, "weight"])
    found = Blocks(kind, layers, width if type(width) is int else 0)
    for part, dimension in [*((up, 0) for up in kind.up), (kind.down, 1)]:
        own = parts[part, "weight"]
        if sorted(own) != list(range(layers)) or any(shape[dimension] != width for shape in own.values()):
            raise ModelError(
                f"{name} cannot be narrowed: {part} is not {width} wide in each layer, as {kind.size} in its config.json says."
            )
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """The part of a model that is kept."""

    neurons: NDArray[np.int64]
    """[layers, n] of each layer, ascending."""
    heads: Heads | None = None
    groups: NDArray[np.int64] | None = None
    """[layers, n] groups of heads of each layer, ascending; None = all."""


def cut(tensors: Mapping[str, torch.Tensor], found: Blocks, kept: Kept) -> dict[str, torch.Tensor]:
    """Return the tensors of a model with the neurons and groups of heads kept alone; all others are the same."""
    return {name: _cut(name, tensor, found, kept) for name, tensor in tensors.items()}


def _cut(name: str, tensor: torch.Tensor, found: Blocks, kept: Kept) -> torch.Tensor:
    if place := found.place(name):
        return tensor.index_select(place[1], torch.from_numpy(kept.neurons[place[0]]))
    if kept.heads is not None and kept.groups is not None and (group := kept.heads.place(name)):
        layer, dimension, rows = group
        return tensor.index_select(dimension, torch.from_numpy((kept.groups[layer][:, None] * rows + np.arange(rows)).ravel()))
    return tensor


def write(source: Path, folder: Path, found: Blocks, kept: Kept, stop: Callable[[], bool]) -> None:
    """Write config.json and the cut weights of a model to a folder, file by file as the source has them. Raises Cancelled."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config[found.kind.size] = kept.neurons.shape[1]
    if kept.heads is not None and kept.groups is not None:
        count = kept.groups.shape[1]
        config |= {"num_attention_heads": count * kept.heads.queries, "num_key_value_heads": count, "head_dim": kept.heads.size}
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    numbers = size = 0
    for file in sorted(source.glob("*.safetensors")):
        if stop():
            raise Cancelled("Cancelled; nothing was written.")
        with safe_open(file, framework="pt") as opened:
            notes = opened.metadata()
            tensors = cut({name: opened.get_tensor(name) for name in opened.keys()}, found, kept)  # noqa: SIM118 - not a dict
        try:
            save_file(tensors, folder / file.name, metadata=notes)
        except SafetensorError as error:  # the system's error, of which only the words are left
            raise ExperimentError(f"{file.name} of the narrower model could not be written: {error}.") from error
        numbers += sum(tensor.numel() for tensor in tensors.values())
        size += sum(tensor.nbytes for tensor in tensors.values())
    if (source / INDEX).exists():
        index = json.loads((source / INDEX).read_text(encoding="utf-8"))
        index["metadata"] = {**index.get("metadata", {}), "total_parameters": numbers, "total_size": size}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def measure(
    plan: RunPlan,
    data: Encoded,
    model: str,
    found: Blocks,
    settings: TrainSettings,
    stop: Callable[[], bool] = lambda: False,
    heads: Heads | None = None,
) -> Iterator[Progress | Importance]:
    """Train one run in this process; yield its progress, and at last the importance of each neuron, and of each group of `heads`.

    It is |sum of weight x gradient over the outgoing weights|, which is how much the loss changes to first order without the neuron or
    the group, as a mean over the batches in the second half of the run: in the first half, a fresh head says little about the neurons
    below it. Where the settings train adapters, one pass over the data measures the pretrained weights and nothing is trained: frozen
    weights have no gradients. The same bits each time. Raises TrainingError where gradients are not finite, Cancelled, and what training
    raises.
    """
    frozen = bool(settings.lora_rank)
    settings = replace(settings, lora_rank=0, load_in_4bit=False, deterministic=True)
    plan = replace(plan, epochs=1 if frozen else plan.epochs)
    with one_thread(), repeatable(True):
        run = _MeasuringRun(plan, data, model, settings, found, heads, frozen=frozen)
        for epoch in range(plan.epochs):
            for item in run.epoch(epoch):
                if stop():
                    raise Cancelled("Cancelled; nothing was written.")
                if item is not None:
                    yield item
        yield run.importance()


class _MeasuringRun(Run):
    """A run that looks at the gradients of outgoing weights before its optimizer does."""

    def __init__(
        self, plan: RunPlan, data: Encoded, model: str, settings: TrainSettings, found: Blocks, heads: Heads | None, *, frozen: bool
    ) -> None:
        super().__init__(plan, data, None, model, settings)
        self.frozen, self.batches = frozen, 0
        self.sums = torch.zeros(found.layers, found.width, dtype=torch.float64, device=self.device)
        self.group_sums = torch.zeros(found.layers, heads.groups if heads else 0, dtype=torch.float64, device=self.device)
        self.outgoing: list[tuple[torch.Tensor, torch.nn.Parameter]] = []
        for name, parameter in self.network.model.named_parameters():
            if (place := found.place(name)) and place[1] == 1:
                self.outgoing.append((self.sums[place[0]], parameter))
            elif heads and (group := heads.place(name)) and group[1] == 1:
                self.outgoing.append((self.group_sums[group[0]], parameter))

    def apply(self) -> None:
        if self.frozen or 2 * (self.steps + 1) > self.total_steps:
            self.look()
        if self.frozen:
            self.clear()
        else:
            super().apply()

    @torch.no_grad()
    def look(self) -> None:
        """Add the importance of each neuron and group in this batch."""
        for sums, weights in self.outgoing:
            assert weights.grad is not None
            parts = (weights * weights.grad).double().sum(0).unflatten(0, (len(sums), -1)).sum(1)
            sums += parts.abs() / self.scaler.get_scale()
        self.batches += 1

    def importance(self) -> Importance:
        """Return the means over batches."""
        neurons, groups = ((sums / self.batches).cpu().numpy() for sums in (self.sums, self.group_sums))
        if not (np.isfinite(neurons).all() and np.isfinite(groups).all()):
            raise TrainingError("The importance of neurons could not be measured: gradients are not finite; use --importance random.")
        return Importance(neurons=neurons, groups=groups)
