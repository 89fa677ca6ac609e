"""Neurons cut out of a model are neurons that were set to zero, in each family; their importance is what a derivation by hand gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from pruning.analysis.neurons import Importance, any_neurons, kept_groups, kept_width
from pruning.errors import Cancelled, ModelError, UsageError
from pruning.records import Encoded, RunPlan
from pruning.settings import TrainSettings
from pruning.training import width
from pruning.training.batches import make_batch
from pruning.training.loop import Run
from pruning.training.width import Blocks, Heads, Kept, blocks, heads, measure, write
from tests.support.generative import tiny_answers, tiny_causal
from tests.support.networks import CPU, LENGTHS, NO_DROPOUT
from tests.support.tiny import tiny_data, tiny_model

CUTTABLE = ["bert", "roberta", "opt", "llama", "qwen2", "qwen3", "deberta-v2"]
RECIPE = TrainSettings(epochs=2, batch_size=4, learning_rate=1e-3, device="cpu", precision="fp32")


def narrowed(source: str, folder: Path, kept_neurons: int = 20) -> tuple[Blocks, Any]:
    """A folder with a narrower copy of a tiny model, and what was kept."""
    found = blocks(Path(source), source)
    kept = any_neurons(found.layers, found.width, kept_neurons, seed=3)
    folder.mkdir()
    write(Path(source), folder, found, Kept(kept), lambda: False)
    return found, kept


def silence(model: Any, found: Blocks, kept: Any) -> None:
    """Set the output of every neuron to zero that is not kept."""

    def hook(layer: int) -> Any:
        mask = torch.zeros(found.width)
        mask[torch.from_numpy(kept[layer])] = 1
        return lambda module, inputs: (inputs[0] * mask,)

    for name, module in model.named_modules():
        place = found.place(f"{name}.weight")
        if place is not None and place[1] == 1:
            module.register_forward_pre_hook(hook(place[0]))


@pytest.mark.parametrize("family", CUTTABLE)
def test_masked_neurons_give_the_logits_of_cut_ones(family: str, tmp_path: Path) -> None:
    source = tiny_model(tmp_path / "full", family, initializer_range=0.3, init_std=0.3)
    found, kept = narrowed(source, tmp_path / "cut")
    torch.manual_seed(0)
    full, cut = (AutoModelForSequenceClassification.from_pretrained(tmp_path / name, pad_token_id=0).eval() for name in ("full", "cut"))
    cut.load_state_dict({name: value for name, value in full.state_dict().items() if found.place(name) is None}, strict=False)
    ids = torch.randint(5, 30, (3, 9))
    with torch.no_grad():
        before = full(input_ids=ids).logits
        silence(full, found, kept)
        masked, logits = full(input_ids=ids).logits, cut(input_ids=ids).logits
    torch.testing.assert_close(logits, masked, atol=1e-5, rtol=0)
    assert (masked - before).abs().max() > 1e-4, "the cut neurons did nothing, so that the comparison shows nothing"


@pytest.mark.parametrize("family", ["opt", "llama", "qwen3"])
def test_a_narrower_language_model_loads_with_its_head(family: str, tmp_path: Path) -> None:
    source = tiny_causal(tmp_path / "full", family)
    found, kept = narrowed(source, tmp_path / "cut")
    full, cut = (AutoModelForCausalLM.from_pretrained(tmp_path / name).eval() for name in ("full", "cut"))
    silence(full, found, kept)
    ids = torch.arange(4, 12)[None]
    torch.testing.assert_close(cut(input_ids=ids).logits, full(input_ids=ids).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", CUTTABLE)
def test_the_whole_width_is_the_source_bit_by_bit(family: str, tmp_path: Path) -> None:
    source = tiny_model(tmp_path / "full", family)
    narrowed(source, tmp_path / "cut", 48)
    full, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("full", "cut"))
    assert list(full) == list(cut) and all(torch.equal(full[name], cut[name]) for name in full)
    assert json.loads((tmp_path / "full/config.json").read_text()) == json.loads((tmp_path / "cut/config.json").read_text())


def test_a_model_in_several_files_stays_in_several(tmp_path: Path) -> None:
    source = tiny_model(tmp_path / "whole")
    AutoModel.from_pretrained(source).save_pretrained(tmp_path / "full", max_shard_size="20KB")
    assert len(list((tmp_path / "full").glob("*.safetensors"))) > 2
    found, kept = narrowed(str(tmp_path / "full"), tmp_path / "cut")
    full, cut = AutoModel.from_pretrained(tmp_path / "full").eval(), AutoModel.from_pretrained(tmp_path / "cut").eval()
    silence(full, found, kept)
    ids = torch.arange(5, 14)[None]
    torch.testing.assert_close(cut(input_ids=ids)[0], full(input_ids=ids)[0], atol=1e-5, rtol=0)
    index = json.loads((tmp_path / "cut" / width.INDEX).read_text())
    assert index["metadata"]["total_parameters"] == sum(parameter.numel() for parameter in cut.parameters())


def test_counts_by_hand() -> None:
    """MiniLM: a neuron has 384 weights in, 384 out and a bias. Six layers of 1,536; half of each is 768."""
    config = AutoConfig.for_model("bert", hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=12)
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in AutoModel.from_config(config).parameters())]
        config.intermediate_size = kept_width(0.5, 1536)
        sizes.append(sum(p.numel() for p in AutoModel.from_config(config).parameters()))
    assert config.intermediate_size == 768 and sizes[0] - sizes[1] == 6 * 768 * 769


@pytest.mark.parametrize(("share", "full", "kept"), [(1, 1536, 1536), (0.7, 1536, 1088), (0.001, 1536, 64), (0.5, 64, 32), (0.01, 20, 1)])
def test_widths(share: float, full: int, kept: int) -> None:
    assert kept_width(share, full) == kept


@pytest.mark.parametrize(("share", "full"), [(0, 1536), (-0.5, 1536), (1.01, 1536), (float("nan"), 1536), (0.99, 1536), (0.9, 128)])
def test_impossible_widths(share: float, full: int) -> None:
    with pytest.raises(UsageError, match="width"):
        kept_width(share, full)


@pytest.mark.parametrize(
    ("family", "lacking"),
    [("modernbert", "no intermediate.dense, mlp.gate_proj, fc1"), ("phi3", "no mlp.gate_proj"), ("gpt2", "no interm")],
)
def test_a_family_that_cannot_be_cut(family: str, lacking: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model(family, **sizes, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"some-model cannot be narrowed.*a {family} model have {lacking}"):
        blocks(tmp_path, "some-model")


def test_a_configuration_that_does_not_fit_its_weights(tmp_path: Path) -> None:
    source = tiny_model(tmp_path / "full")
    path = Path(source) / "config.json"
    path.write_text(path.read_text().replace('"intermediate_size": 48', '"intermediate_size": 40'))
    with pytest.raises(ModelError, match=r"intermediate\.dense is not 40 wide in each layer"):
        blocks(Path(source), source)


def measured(path: str, data: Encoded, settings: TrainSettings = RECIPE) -> Any:
    plan = RunPlan(key="importance", seed=7, rows=np.arange(data.units), epochs=settings.epochs, record=False)
    *_, last = measure(plan, data, path, blocks(Path(path), path), settings)
    assert isinstance(last, Importance) and last.groups.shape == (2, 0)
    return last.neurons


def test_importance_by_hand(tmp_path: Path) -> None:
    """One batch, whose loss is computed again with each neuron's output scaled by 1 - e: the loss changes by e x its importance."""
    source, data = tiny_model(tmp_path, **NO_DROPOUT), tiny_data([5, 9, 3, 7])
    found = blocks(tmp_path, source)
    recipe = TrainSettings(epochs=1, batch_size=4, learning_rate=1e-3, device="cpu", precision="fp32")
    ours = measured(source, data, recipe)
    run = Run(RunPlan(key="x", seed=7, rows=np.arange(4), epochs=1, record=False), data, None, source, recipe)
    batch = make_batch(run.data, np.arange(4), np.arange(4), CPU, packed=True)
    matrices = {
        found.place(name)[0]: parameter  # type: ignore[index]
        for name, parameter in run.network.model.named_parameters()
        if (found.place(name) or (0, 0))[1] == 1
    }
    for layer, neuron in [(0, 0), (0, 31), (1, 5)]:
        losses = []
        for scale in (0.99, 1.01):
            before = matrices[layer].data[:, neuron].clone()
            matrices[layer].data[:, neuron] *= scale
            with torch.no_grad():
                losses.append(float(run.losses(batch).double().mean()))
            matrices[layer].data[:, neuron] = before
        assert ours[layer, neuron] == pytest.approx(abs(losses[1] - losses[0]) / 0.02, rel=0.02, abs=2e-6)


def test_importance_of_a_small_example() -> None:
    """Two neurons, two outputs, two batches. W = [[1, -2], [3, 0]]; g = [[.5, .1], [-.5, .2]] gives [|.5 - 1.5|, |-.2|] = [1, .2], and
    g = [[1, 1], [0, 0]] gives [1, 2]; the mean is [1, 1.1]. As one group of two: |-1 - .2| and |1 - 2|, mean 1.1.
    """
    weights = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [3.0, 0.0]]))
    run: Any = object.__new__(width._MeasuringRun)
    run.sums, run.group_sums = torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    run.batches, run.scaler = 0, torch.amp.GradScaler("cpu", enabled=False)
    run.outgoing = [(run.sums[0], weights), (run.group_sums[0], weights)]
    for grad in ([[0.5, 0.1], [-0.5, 0.2]], [[1.0, 1.0], [0.0, 0.0]]):
        weights.grad = torch.tensor(grad)
        run.look()
    assert run.importance().neurons == pytest.approx(np.array([[1, 1.1]]))
    assert run.importance().groups == pytest.approx(np.array([[1.1]]))


@pytest.mark.parametrize("family", ["bert", "opt", "llama", "deberta-v2"])
def test_the_same_bits_twice(family: str, tmp_path: Path) -> None:
    source, data = tiny_model(tmp_path, family), tiny_data(LENGTHS)
    first, again = (measured(source, data) for _ in range(2))
    assert (first > 0).any(axis=1).all() and np.array_equal(first, again)


def test_adapters_measure_the_pretrained_weights(tmp_path: Path) -> None:
    """Without a step, what a neuron is worth does not depend on the learning rate."""
    source, data = tiny_causal(tmp_path), tiny_answers()
    one, other = (
        measured(source, data, TrainSettings(batch_size=2, learning_rate=rate, device="cpu", lora_rank=4)) for rate in (1e-4, 1e-1)
    )
    assert one.any() and np.array_equal(one, other)


def test_measuring_can_be_stopped(tmp_path: Path) -> None:
    source, data = tiny_model(tmp_path), tiny_data(LENGTHS)
    plan = RunPlan(key="importance", seed=7, rows=np.arange(data.units), epochs=2, record=False)
    with pytest.raises(Cancelled):
        list(measure(plan, data, source, blocks(tmp_path, source), RECIPE, stop=lambda: True))


GROUPED = ["llama", "mistral", "qwen2", "qwen3"]


def without_groups(source: str, folder: Path, kept_groups: Any) -> tuple[Blocks, Heads]:
    """A folder with a copy of a tiny model that has all its neurons and these groups of heads."""
    found, of_heads = blocks(Path(source), source), heads(Path(source), source)
    folder.mkdir()
    every = np.tile(np.arange(found.width), (found.layers, 1))
    write(Path(source), folder, found, Kept(every, of_heads, kept_groups), lambda: False)
    return found, of_heads


@pytest.mark.parametrize("family", GROUPED)
def test_masked_heads_give_the_logits_of_cut_ones(family: str, tmp_path: Path) -> None:
    """Two groups of two heads of 8 numbers each; another one is kept in each layer."""
    source = tiny_causal(tmp_path / "full", family, initializer_range=0.3)
    kept = np.array([[1], [0]])
    _, of_heads = without_groups(source, tmp_path / "cut", kept)
    assert (of_heads.groups, of_heads.queries, of_heads.size) == (2, 2, 8)
    full, cut = (AutoModelForCausalLM.from_pretrained(tmp_path / name).eval() for name in ("full", "cut"))
    assert (cut.config.num_attention_heads, cut.config.num_key_value_heads, cut.config.head_dim) == (2, 1, 8)
    ids = torch.arange(4, 13)[None]
    with torch.no_grad():
        before = full(input_ids=ids).logits

        def hook(layer: int) -> Any:
            mask = torch.zeros(2, 16)
            mask[kept[layer]] = 1
            return lambda module, inputs: (inputs[0] * mask.ravel(),)

        for layer in range(2):
            full.model.layers[layer].self_attn.o_proj.register_forward_pre_hook(hook(layer))
        masked, logits = full(input_ids=ids).logits, cut(input_ids=ids).logits
    torch.testing.assert_close(logits, masked, atol=1e-5, rtol=0)
    assert (masked - before).abs().max() > 1e-4, "the cut heads did nothing, so that the comparison shows nothing"


@pytest.mark.parametrize("family", GROUPED)
def test_all_groups_are_the_source_bit_by_bit(family: str, tmp_path: Path) -> None:
    source = tiny_causal(tmp_path / "full", family)
    without_groups(source, tmp_path / "cut", np.array([[0, 1], [0, 1]]))
    full, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("full", "cut"))
    assert list(full) == list(cut) and all(torch.equal(full[name], cut[name]) for name in full)


def test_the_importance_of_groups_by_hand(tmp_path: Path) -> None:
    """One batch, whose loss is computed again with a group's columns of o_proj scaled by 1 - e: it changes by e x the importance."""
    source, data = tiny_model(tmp_path, "llama", attention_dropout=0.0), tiny_data([5, 9, 3, 7])
    found, of_heads = blocks(tmp_path, source), heads(tmp_path, source)
    plan = RunPlan(key="importance", seed=7, rows=np.arange(4), epochs=1, record=False)
    recipe = TrainSettings(epochs=1, batch_size=4, learning_rate=1e-3, device="cpu", precision="fp32")
    *_, ours = measure(plan, data, source, found, recipe, heads=of_heads)
    assert isinstance(ours, Importance) and ours.groups.shape == (2, 2) and ours.neurons.shape == (2, 48)
    run = Run(plan, data, None, source, recipe)
    batch = make_batch(run.data, np.arange(4), np.arange(4), CPU, packed=True)
    for name, parameter in run.network.model.named_parameters():
        place = of_heads.place(name)
        if place is None or place[1] != 1:
            continue
        for group in (0, 1):
            losses, columns = [], slice(group * place[2], (group + 1) * place[2])
            for scale in (0.99, 1.01):
                before = parameter.data.clone()
                parameter.data[:, columns] *= scale
                with torch.no_grad():
                    losses.append(float(run.losses(batch).double().mean()))
                parameter.data.copy_(before)
            assert ours.groups[place[0], group] == pytest.approx(abs(losses[1] - losses[0]) / 0.02, rel=0.02, abs=2e-6)


@pytest.mark.parametrize(
    ("share", "groups", "queries", "hidden", "kept"), [(0.5, 3, 3, 576, 1), (0.7, 4, 8, 2048, 2), (0.01, 9, 1, 576, 1)]
)
def test_numbers_of_groups(share: float, groups: int, queries: int, hidden: int, kept: int) -> None:
    assert kept_groups(share, groups, queries, hidden) == kept


@pytest.mark.parametrize(("share", "groups"), [(0, 4), (-1, 4), (1.2, 4), (float("nan"), 4), (0.9, 2), (0.5, 1)])
def test_impossible_numbers_of_groups(share: float, groups: int) -> None:
    with pytest.raises(UsageError, match="heads"):
        kept_groups(share, groups, 1, 32)


def test_bert_keeps_its_heads(tmp_path: Path) -> None:
    source = tiny_model(tmp_path)
    with pytest.raises(ModelError, match="some-model keeps all its heads: the configuration of a bert model derives"):
        heads(Path(source), "some-model")
