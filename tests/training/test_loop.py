"""One run, in this process: what it trains, what it records, and that both follow from the plan alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup

from pruning.errors import ModelError, TrainingError, UsageError
from pruning.records import Encoded, RunDiverged, RunResult
from pruning.training.devices import pick_device, pick_devices, slots
from pruning.training.interleaved import train_in_rounds
from pruning.training.order import epoch_batches, places, rate
from tests.support.networks import NO_DROPOUT
from tests.support.tiny import tiny_data, tiny_model
from tests.support.trainings import LENGTHS, plan, recipe, run, same, stand_for_gpus


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_model(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny BERT without dropout."""
    return tiny_model(tmp_path_factory.mktemp("models") / "calm", **NO_DROPOUT)


def test_records_what_the_untouched_model_says(calm: str) -> None:
    """With a learning rate of nothing, each recorded quantity is the initial model's own, computed here by hand."""
    data = tiny_data(LENGTHS, classes=3)
    rows = [0, 2, 3, 6, 9]
    [record, again], [result] = run(calm, plan(rows), recipe(learning_rate=1e-30, batch_size=2), data, data)
    assert result.outputs is not None
    logits = result.outputs[rows].astype(np.float64)
    gold = data.labels[rows]
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    at = (np.arange(len(rows)), gold)
    others = logits.copy()
    others[at] = -np.inf
    errors = probs.copy()
    errors[at] -= 1
    np.testing.assert_allclose(record.gold_prob, probs[at], atol=1e-5)
    np.testing.assert_allclose(record.gold_margin, logits[at] - others.max(1), atol=1e-5)
    np.testing.assert_allclose(record.error_norm, np.linalg.norm(errors, axis=1), atol=1e-5)
    np.testing.assert_allclose(record.loss, -np.log(probs[at]), atol=1e-5)
    assert np.array_equal(record.predicted, logits.argmax(1))
    assert np.array_equal(record.correct, logits.argmax(1) == gold)
    assert sorted(record.position) == sorted(again.position) == list(range(len(rows)))
    assert not np.array_equal(record.position, again.position)


def test_labels_of_a_plan_take_the_place_of_the_datas(calm: str) -> None:
    data, rows = tiny_data(LENGTHS, classes=3), [0, 2, 3, 6, 9]
    new = (data.labels[rows] + 1) % 3
    changed = replace(data, labels=data.labels.copy())
    changed.labels[rows] = new
    ours, theirs, before = (
        run(calm, one, recipe(batch_size=2), of)[0]
        for one, of in ((plan(rows, labels=new), data), (plan(rows), changed), (plan(rows), data))
    )
    assert all(map(same, ours, theirs)) and not any(map(same, ours, before))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_trains_as_a_plain_loop_does(calm: str, weight_decay: float) -> None:
    """Losses step by step and final logits equal those of transformers' model, PyTorch's AdamW and the Trainer's schedule."""
    settings = recipe(weight_decay=weight_decay, warmup_ratio=0.2, max_grad_norm=0.5)
    data = tiny_data(LENGTHS)
    records, [result] = run(calm, plan(), settings, data, data)
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(calm)
    plain = [p for name, p in model.named_parameters() if "LayerNorm" in name or name.endswith("bias")]
    decayed = [p for name, p in model.named_parameters() if "LayerNorm" not in name and not name.endswith("bias")]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}], lr=1e-3)
    schedule = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=2, num_training_steps=6)
    model.train()
    for epoch in range(2):
        order = np.random.default_rng([1, epoch]).permutation(len(LENGTHS))
        for rows in (order[:4], order[4:8], order[8:]):
            logits = torch.cat([model(input_ids=sentence(data, row)).logits for row in rows])
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(data.labels[rows]), reduction="none")
            np.testing.assert_allclose(records[epoch].loss[rows], loss.detach().numpy(), atol=1e-4)
            loss.mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()
    expected = torch.cat([model(input_ids=sentence(data, row)).logits for row in range(len(LENGTHS))])
    assert result.steps == 6 and result.outputs is not None
    np.testing.assert_allclose(result.outputs, expected.detach().numpy(), atol=1e-4)


def sentence(data: Encoded, row: int) -> torch.Tensor:
    return torch.from_numpy(data.tokens[data.offsets[row] : data.offsets[row + 1]].astype(np.int64))[None]


def test_same_plan_same_numbers_other_seed_others(bert: str) -> None:
    """Dropout included, also after another run in the same process."""
    data = tiny_data(LENGTHS)
    records, results = run(bert, [plan(seed=1), plan(seed=2)], recipe(), evaluation=data)
    [first, *_], [result] = run(bert, plan(seed=1), recipe(), evaluation=data)
    assert same(first, records[0]) and np.array_equal(result.outputs, results[0].outputs)
    assert not same(records[0], records[2])
    assert not np.array_equal(results[0].outputs, results[1].outputs)


def test_dropout_is_on_while_recording(bert: str) -> None:
    """At a learning rate of nothing, two epochs differ only through dropout; evaluation does not."""
    data = tiny_data(LENGTHS)
    records, [result] = run(bert, plan(), recipe(learning_rate=1e-30), data, data)
    assert not np.allclose(records[0].loss, records[1].loss, atol=1e-4)
    [again] = run(bert, plan(epochs=1), recipe(learning_rate=1e-30), data, data)[1]
    np.testing.assert_allclose(result.outputs, again.outputs, atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "llama"])
@pytest.mark.parametrize(("rows", "batch_size"), [([4], 4), ([2], 1), (range(5), 2), (range(11), 100), ([2, 6], 3)])
def test_any_number_of_rows(family: str, rows: list[int], batch_size: int, tmp_path: Path) -> None:
    """A batch of one, a last partial batch, a sentence of one token, batches larger than the data: every row trains once."""
    model = tiny_model(tmp_path, family)
    records, [result] = run(model, plan(rows, epochs=2), recipe(batch_size=batch_size), evaluation=tiny_data([3, 1]))
    assert [record.epoch for record in records] == [0, 1]
    assert all(np.isfinite(record.loss).all() and len(record.loss) == len(rows) for record in records)
    assert all(sorted(record.position) == list(range(len(rows))) for record in records)
    assert result.steps == 2 * -(-len(rows) // batch_size)
    assert result.outputs is not None and result.outputs.shape == (2, 2) and np.isfinite(result.outputs).all()


def test_learns_and_may_leave_out_recording_and_evaluation(bert: str) -> None:
    """The label is a function of the tokens: the training loss of a long run falls."""
    records, _ = run(bert, plan(range(4), epochs=40), recipe(learning_rate=1e-2))
    assert records[-1].loss.mean() < 0.5 * records[0].loss.mean()
    records, [result] = run(bert, plan(record=False), recipe())
    assert records == [] and result.outputs is None


def test_bf16_stays_close(calm: str) -> None:
    data = tiny_data(LENGTHS)
    exact, [full] = run(calm, plan(), recipe(), data, data)
    rough, [half] = run(calm, plan(), recipe(precision="bf16"), data, data)
    assert not same(exact[0], rough[0])
    np.testing.assert_allclose(full.outputs, half.outputs, atol=0.05)


def test_tokens_are_counted_over_all_epochs_without_padding(bert: str) -> None:
    rows = [0, 2, 5]
    _, [result] = run(bert, plan(rows, epochs=4), recipe())
    assert result.tokens == 4 * sum(LENGTHS[row] for row in rows)


def test_a_loss_that_is_not_a_number_names_the_run(bert: str) -> None:
    """It ends, and the other run in turn goes on to its result."""
    plans = [replace(plan(epochs=6), learning_rate=1e30), replace(plan(epochs=6), key="calm run")]
    items = list(train_in_rounds(plans, tiny_data(LENGTHS), None, bert, recipe(max_grad_norm=1e30), lambda: False, most=2))
    [diverged] = [item for item in items if isinstance(item, RunDiverged)]
    assert diverged.key == "run 1" and "run 1 became NaN" in diverged.sentence and "--learning-rate" in diverged.sentence
    assert [item.key for item in items if isinstance(item, RunResult)] == ["calm run"]


def test_a_sequence_that_does_not_fit_is_a_model_error(bert: str) -> None:
    with pytest.raises(ModelError, match=r"has 70 tokens, but .* takes at most 66; use --max-length 66"):
        run(bert, plan([0]), recipe(), tiny_data([70]))


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "needs config.json and"),
        (lambda folder: (folder / "config.json").unlink(), "needs config.json and"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"not a tensor"), "needs config.json and"),
        (lambda folder: [file.unlink() for file in folder.iterdir()], "has nothing"),
        (lambda folder: tiny_model(folder.parent / "other", layers=1) and grow(folder), "do not match its config.json"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_named(break_it: object, words: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    tiny_model(folder)
    break_it(folder)  # type: ignore[operator]
    with pytest.raises(ModelError, match=words) as caught:
        run(str(folder), plan(), recipe())
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def grow(folder: Path) -> None:
    """Weights of a model with one layer less than its config.json says."""
    (folder.parent / "other" / "model.safetensors").replace(folder / "model.safetensors")


def test_a_model_that_is_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="no-such-model"):
        run(str(tmp_path / "no-such-model"), plan(), recipe())


def test_a_device_has_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that two experiments which call it differently wait for each other."""
    assert {str(pick_device(name)) for name in ("cpu", "cpu:0")} == {"cpu"}
    stand_for_gpus(monkeypatch, 3)
    every, names = ["cuda:0", "cuda:1", "cuda:2"], ("auto", "cuda", "cuda:1", "cuda:2,0", "cpu")
    assert [list(map(str, pick_devices(name))) for name in names] == [every, every, ["cuda:1"], ["cuda:2", "cuda:0"], ["cpu"]]
    assert [str(pick_device(name)) for name in ("auto", "cuda:2,0")] == ["cuda:0", "cuda:2"]
    assert [slots(name) for name in ("auto", "cuda:1", "cuda:2,0")] == [3, 1, 2]


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:0,", "cuda:0,0", "cuda:0,cuda:1", "cuda:-1", "cuda:x", "cpu:0,1", "meta", ""])
def test_a_malformed_device_is_refused_in_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_for_gpus(monkeypatch, 3)
    with pytest.raises(UsageError, match=r"^device must be auto, cpu, cuda, cuda:N, cuda:N,N or mps, got .*\.$"):
        pick_devices(name)


def test_more_gpus_than_there_are_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, many in ((0, "no devices"), (1, "1 device"), (2, "2 devices")):
        stand_for_gpus(monkeypatch, count)
        with pytest.raises(UsageError, match=f"^device is 'cuda:0,3', but PyTorch finds {many} of this type"):
            pick_devices("cuda:0,3")


def test_a_device_beyond_those_there_are_is_named_with_their_number(bert: str) -> None:
    with pytest.raises(UsageError, match=r"'cpu:3', but PyTorch finds 1 device of this type"):
        run(bert, plan(), recipe(device="cpu:3"))


@pytest.mark.parametrize("name", ["tpu9", "cuda:77"])
def test_a_device_that_is_not_there_is_named(bert: str, name: str) -> None:
    with pytest.raises(UsageError, match=f"device .*'{name}'"):
        run(bert, plan(), recipe(device=name))


def test_fp16_needs_cuda(bert: str) -> None:
    with pytest.raises(UsageError, match="precision fp16 needs a CUDA device, got cpu"):
        run(bert, plan(), recipe(precision="fp16"))


@pytest.mark.parametrize(("count", "size"), [(1, 1), (7, 3), (6, 3), (1000, 4), (5, 100)])
@pytest.mark.parametrize("by_length", [False, True])
def test_an_epoch_has_every_position_once(count: int, size: int, by_length: bool) -> None:
    lengths = np.random.default_rng(0).integers(1, 50, count) if by_length else None
    for epoch in range(2):
        batches = epoch_batches(3, epoch, count, size, lengths=lengths)
        assert sorted(np.concatenate(batches)) == list(range(count))
        assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
        place = places(batches, count)
        assert np.array_equal(np.concatenate(batches)[place], np.arange(count))


def test_positions_that_repeat_are_refused() -> None:
    with pytest.raises(AssertionError, match="exactly once"):
        places([np.array([0, 1]), np.array([1])], 3)


def test_order_changes_by_epoch_unless_fixed_and_groups_lengths() -> None:
    free = [np.concatenate(epoch_batches(3, epoch, 100, 4)) for epoch in (0, 1)]
    fixed = [np.concatenate(epoch_batches(3, epoch, 100, 4, fixed=True)) for epoch in (0, 1)]
    assert not np.array_equal(*free) and np.array_equal(*fixed) and np.array_equal(free[0], fixed[0])
    lengths = np.random.default_rng(0).integers(1, 50, 1000)
    spread = [lengths[batch].max() - lengths[batch].min() for batch in epoch_batches(3, 0, 1000, 4, lengths=lengths)]
    assert np.mean(spread) < 5
    assert np.corrcoef(np.arange(250), [lengths[batch].mean() for batch in epoch_batches(3, 0, 1000, 4, lengths=lengths)])[0, 1] < 0.2


@pytest.mark.parametrize(("total", "ratio"), [(1, 0.0), (10, 0.0), (10, 0.25), (7, 0.5)])
def test_rate_is_the_trainers_schedule(total: int, ratio: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = get_linear_schedule_with_warmup(optimizer, int(np.ceil(total * ratio)), total)
    for step in range(total):
        assert rate(step, total, ratio) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def test_a_plan_without_rows_and_rows_that_are_not_there_are_named(bert: str) -> None:
    with pytest.raises(TrainingError, match="run 1 has no rows"):
        run(bert, plan(np.array([], np.int64)), recipe())
    with pytest.raises(TrainingError, match="Training of run 1 failed with IndexError"):
        run(bert, plan([99]), recipe())


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert", "deberta-v2", "opt", "llama", "qwen2", "qwen3"])
def test_dropout_leaves_losses_and_weights_finite(family: str, tmp_path: Path) -> None:
    """Padding beside windowed attention sees nothing to attend to; its gradient must be nothing, not NaN."""
    records, _ = run(tiny_model(tmp_path / family, family), plan(), recipe())
    assert all(np.isfinite(record.loss).all() and np.isfinite(record.gold_margin).all() for record in records)
