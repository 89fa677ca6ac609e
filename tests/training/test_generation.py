"""Answers of causal language models: packed as padded, in parts as whole, recorded as worked by hand, right as greedy decoding is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from pruning.errors import ModelError
from pruning.records import Encoded, EpochRecord, RunPlan, RunResult
from pruning.settings import TrainSettings
from pruning.training import train
from pruning.training.batches import make_batch
from pruning.training.causal import CausalNetwork, adapt, load_causal
from pruning.training.generation import COLUMN, answer_tokens, outcome
from pruning.training.loop import Run
from tests.support.generative import CAUSAL, PAIRS, tiny_answers, tiny_causal
from tests.support.networks import CPU
from tests.support.tiny import tiny_model


def rows_of(data: Encoded) -> list[tuple[NDArray[np.int32], NDArray[np.bool_]]]:
    assert data.answer is not None
    return [(data.tokens[start:end], data.answer[start:end]) for start, end in zip(data.offsets, data.offsets[1:], strict=False)]


@pytest.mark.parametrize("family", CAUSAL)
def test_packed_answers_have_the_losses_of_transformers_row_by_row(tmp_path: Path, family: str) -> None:
    """Loss, wrong tokens, worst margin, error norm and first wrong token, against each row alone through transformers' own model."""
    path, data = tiny_causal(tmp_path, family), tiny_answers()
    network = load_causal(path, data).eval()
    assert network.packed is (family != "gpt2")
    units = np.asarray([3, 0, 4, 2, 1])
    batch = make_batch(data, units, units, CPU, packed=network.packed)
    assert batch.answers is not None
    with torch.no_grad():
        found, wrong = outcome(network(batch), batch.answers)
    reference = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    rows = rows_of(data)
    for place, unit in enumerate(units):
        ids, learned = rows[unit]
        with torch.no_grad():
            logits = reference(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).logits[0]
        targets = np.flatnonzero(learned)
        gold = torch.from_numpy(ids[targets].astype(np.int64))
        said = logits[targets - 1]
        losses = torch.nn.functional.cross_entropy(said, gold, reduction="none")
        probs = said.softmax(-1)
        errors = (probs - torch.nn.functional.one_hot(gold, probs.shape[1])).norm(dim=-1)
        own = said.gather(1, gold[:, None])[:, 0]
        margins = own - said.scatter(1, gold[:, None], float("-inf")).amax(-1)
        right = said.argmax(-1) == gold
        assert float(found.loss[place]) == pytest.approx(float(losses.mean()), abs=1e-5)
        assert int(wrong[place]) == int((~right).sum())
        assert bool(found.correct[place]) is bool(right.all())
        assert float(found.gold_margin[place]) == pytest.approx(float(margins.min()), abs=1e-4)
        assert float(found.error_norm[place]) == pytest.approx(float(errors.square().mean().sqrt()), abs=1e-4)
        assert int(found.predicted[place]) == (len(right) if right.all() else int((~right).long().argmax()))
        assert float(found.gold_prob[place]) == pytest.approx(float((-losses.mean()).exp()), abs=1e-5)


def test_parts_of_logits_give_the_numbers_and_gradients_of_the_whole(tmp_path: Path) -> None:
    data = tiny_answers()
    network = load_causal(tiny_causal(tmp_path), data)
    units = np.arange(data.units)
    batch = make_batch(data, units, units, CPU, packed=True)
    assert batch.answers is not None
    found = []
    for most in (10**9, 3 * 261):
        network.zero_grad()
        tokens = answer_tokens(network.hidden(batch), network.project, batch.ids, batch.answers, most)
        tokens[:, COLUMN.loss].sum().backward()
        found.append((tokens.detach(), [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    assert len(found[0][1]) > 10
    for whole, parts in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_computed_with_the_losses_are_those_of_a_backward_pass(tmp_path: Path, dtype: torch.dtype) -> None:
    """Of a head that is not trained, in parts, for losses of different weight; under autocast to its rounding."""
    data = tiny_answers()
    network = load_causal(tiny_causal(tmp_path), data)
    network.head.requires_grad_(False)
    units = np.arange(data.units)
    batch = make_batch(data, units, units, CPU, packed=True)
    assert batch.answers is not None
    hidden = torch.randn(len(batch.ids), 32, generator=torch.Generator().manual_seed(1))
    found = []
    for frozen in (None, network.head.weight):
        states = hidden.clone().requires_grad_()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
            tokens = answer_tokens(states, network.project, batch.ids, batch.answers, 3 * 261, frozen)
        (tokens[:, COLUMN.loss] * torch.arange(len(tokens))).sum().backward()
        assert states.grad is not None
        found.append((tokens.detach(), states.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert 0 < (found[0][1] - found[1][1]).norm() / found[0][1].norm() < (1e-5 if dtype is torch.float32 else 1e-2)


def test_a_row_without_wrong_tokens_is_what_greedy_decoding_writes(tmp_path: Path) -> None:
    """After it learned some answers by heart: the count says exactly which rows generation reproduces."""
    path, data = tiny_causal(tmp_path / "m"), tiny_answers([*PAIRS[:3], ("never ", "seen"), ("also ", "not")])
    settings = TrainSettings(epochs=120, batch_size=3, learning_rate=5e-3, device="cpu")
    run = Run(RunPlan(key="run 0", seed=1, rows=np.arange(3), epochs=120), data, data, path, settings)
    for epoch in range(120):
        for _ in run.epoch(epoch):
            pass
    outputs = run.evaluate()
    assert outputs is not None and outputs.shape == (5, 3)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    model.load_state_dict(run.network.model.state_dict())
    model.eval()
    same = []
    for ids, learned in rows_of(data):
        first = int(learned.argmax())
        prompt = torch.from_numpy(ids[:first].astype(np.int64))[None]
        said = model.generate(prompt, max_new_tokens=len(ids) - first, do_sample=False, attention_mask=torch.ones_like(prompt))[0, first:]
        same.append(said.tolist() == ids[first:].tolist())
    assert same == (outputs[:, 1] == 0).tolist() and set(same) == {True, False}
    assert outputs[:, 2].tolist() == [float(learned.sum()) for _, learned in rows_of(data)]


def test_a_step_minimises_the_mean_over_answer_tokens_also_in_parts(tmp_path: Path) -> None:
    path, data = tiny_causal(tmp_path), tiny_answers()
    settings = TrainSettings(epochs=1, batch_size=5, learning_rate=1e-3, device="cpu", precision="fp32")
    plan = RunPlan(key="run 0", seed=1, rows=np.arange(5), epochs=1)
    whole, parts = (Run(plan, data, None, path, settings) for _ in range(2))
    rows = np.arange(5)
    gradients: list[dict[str, torch.Tensor]] = []
    for run in (whole, parts):
        run.apply = lambda: None  # type: ignore[method-assign]
        if run is whole:
            run.update(make_batch(data, rows, rows, CPU, packed=True))
        else:
            run.update_in_parts(rows, rows, 2)
        gradients.append({name: p.grad for name, p in run.network.named_parameters() if p.grad is not None})
    reference = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    total = torch.zeros(())
    count = 0
    for ids, learned in rows_of(data):
        labels = torch.from_numpy(np.where(learned, ids, -100).astype(np.int64))
        logits = reference(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).logits[0]
        total = total + torch.nn.functional.cross_entropy(logits[:-1], labels[1:], reduction="sum")
        count += int(learned.sum())
    (total / count).backward()
    own = {f"model.{name}": p.grad for name, p in reference.named_parameters() if p.grad is not None}
    for name, wanted in own.items():
        for found in gradients:
            torch.testing.assert_close(found[name], wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.process
def test_runs_record_every_quantity_and_are_the_same_in_any_number_of_processes(tmp_path: Path) -> None:
    path, data = tiny_causal(tmp_path / "m"), tiny_answers()
    settings = TrainSettings(epochs=2, batch_size=2, learning_rate=1e-3, device="cpu")
    plans = [RunPlan(key=f"run {seed}", seed=seed, rows=np.arange(5), epochs=2) for seed in (1, 2)]
    found = []
    for workers in (0, 2):
        items = list(train(plans, data, data, path, settings, workers=workers))
        records = sorted((item for item in items if isinstance(item, EpochRecord)), key=lambda item: (item.key, item.epoch))
        results = {item.key: item.outputs for item in items if isinstance(item, RunResult)}
        found.append((records, results))
    assert len(found[0][0]) == 4
    for one, two in zip(found[0][0], found[1][0], strict=True):
        assert one.wrong is not None and one.wrong.dtype == np.int32 and (one.correct == (one.wrong == 0)).all()
        assert np.allclose(one.gold_prob, np.exp(-one.loss)) and np.isfinite(one.error_norm).all()
        for name in ("wrong", "loss", "predicted", "gold_margin"):
            assert np.array_equal(getattr(one, name), getattr(two, name)), name
    for key, outputs in found[0][1].items():
        assert np.array_equal(outputs, found[1][1][key])


def test_adapters_train_every_linear_layer_and_nothing_else(tmp_path: Path) -> None:
    data = tiny_answers()
    for family in ("llama", "opt", "gpt2"):
        network = load_causal(tiny_causal(tmp_path / family, family), data)
        adapt(network, 4)
        trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        assert trained and all("lora_" in name for name in trained)
        linear = [name for name, _ in network.model.base_model.named_modules() if name.endswith("base_layer")]
        assert len(trained) == 2 * len(linear) and len(linear) >= 8, family
        units = np.arange(data.units)
        network(make_batch(data, units, units, CPU, packed=network.packed))[:, COLUMN.loss].sum().backward()


def test_what_is_no_causal_language_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    data = tiny_answers()
    for family in ("bert", "deberta-v2"):
        with pytest.raises(ModelError, match=f"is a {family} model, which reads a text as a whole"):
            load_causal(tiny_model(tmp_path / family, family), data)
    with pytest.raises(ModelError, match=r"lacks 1 tensor of .*, first lm_head\.weight"):
        load_causal(tiny_model(tmp_path / "qwen2", "qwen2"), data)
    with pytest.raises(ModelError, match="use --max-length 256 or less"):
        load_causal(tiny_causal(tmp_path / "m"), tiny_answers([("a", "b" * 400)], 1000))


def test_tied_embeddings_remain_tied_and_whole(tmp_path: Path) -> None:
    data = tiny_answers()
    network = load_causal(tiny_causal(tmp_path), data)
    assert isinstance(network, CausalNetwork) and not network.renumbers
    assert network.head.weight is network.model.get_input_embeddings().weight
    assert replace(data, kind="generation").answer is not None
