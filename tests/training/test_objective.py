"""What is minimised and recorded, by hand-worked numbers; and that questions train whole, in every architecture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from pruning.records import Kind
from pruning.training.batches import make_batch
from pruning.training.loop import in_data_order
from pruning.training.model import load_network, used_tokens
from pruning.training.objective import choice, options, outcome, span
from tests.support.networks import CPU, NO_DROPOUT, gradients
from tests.support.tiny import FAMILIES, tiny_model, tiny_questions
from tests.support.trainings import plan, recipe, run, same

LN3 = float(np.log(3.0))
CHOICES = [[5, 9], [3, 12, 4], [7, 7, 2, 6], [10, 3]]
WINDOWS = [[12, 5], [9], [20, 20, 4], [6, 2]]


def numbers(tensor: torch.Tensor) -> list[float]:
    return [round(float(value), 5) for value in tensor.detach()]


def test_choice_by_hand() -> None:
    """Logits (ln 3, 0) are probabilities 3/4 and 1/4; the second row is sure and wrong; the third has one answer less."""
    logits = torch.tensor([[LN3, 0.0, float("-inf")], [9.0, -9.0, 0.0], [0.0, LN3, float("-inf")]])
    made = choice(logits, torch.tensor([0, 1, 0]))
    assert made.correct.tolist() == [True, False, False]
    assert made.predicted.tolist() == [0, 0, 1]
    assert numbers(made.gold_prob) == [0.75, 0.0, 0.25]
    assert numbers(made.gold_margin) == [round(LN3, 5), -18.0, round(-LN3, 5)]
    assert numbers(made.loss) == [round(float(np.log(4 / 3)), 5), 18.00012, round(float(np.log(4)), 5)]
    assert numbers(made.error_norm) == [round(float(np.hypot(0.25, 0.25)), 5), round(float(made.error_norm[1]), 5), 1.06066]
    assert float(made.error_norm[1]) == pytest.approx(np.sqrt(2), abs=1e-3)


def test_options_become_rows() -> None:
    table = options(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.tensor([0, 0, 1, 1, 1]), units=2, most=3)
    assert table.tolist() == [[1.0, 2.0, float("-inf")], [3.0, 4.0, 5.0]]


def test_span_by_hand() -> None:
    """Two questions: one of two windows, the second of which is wrong; one of a single window, right.

    Scores ln 3 against 0 are probabilities 3/4 and 1/4. Window 1: gold start at the 3/4, gold end at the 3/4. Window 2: gold
    start at the 1/4, gold end at the 3/4. Window 3: both at the 3/4.
    """
    high_first, high_second = [LN3, 0.0], [0.0, LN3]
    ends = [(high_first, high_second), (high_second, high_first), (high_second, high_second)]
    logits = torch.tensor([list(zip(start, end, strict=True)) for start, end in ends], requires_grad=True)
    labels = torch.tensor([[0, 1], [0, 0], [1, 1]])
    made = span(logits, labels, torch.tensor([0, 0, 1]), 2)
    sure, unsure = np.log(4 / 3), np.log(4)
    assert made.correct.tolist() == [False, True]
    assert numbers(made.loss) == [round((sure + (unsure + sure) / 2) / 2, 5), round(sure, 5)]
    assert numbers(made.gold_prob) == [0.1875, 0.5625]
    assert numbers(made.gold_margin) == [round(-LN3, 5), round(LN3, 5)]
    near, far = 2 * 0.25**2, 2 * 0.75**2
    assert numbers(made.error_norm) == [round(float(np.sqrt((near + far) / 2)), 5), round(float(np.sqrt(near)), 5)]
    assert made.predicted.tolist() == [1, 1]
    made.loss.mean().backward()
    assert logits.grad is not None and bool(logits.grad.isfinite().all())


def test_outputs_return_to_the_data_s_order_and_are_padded() -> None:
    parts = [np.ones((1, 2, 2), np.float32), np.full((2, 3, 2), 2, np.float32)]
    joined = in_data_order(parts, np.array([2, 0, 1]))
    assert joined[:, :, 0].tolist() == [[2, 2, 2], [2, 2, 2], [1, 1, -np.inf]]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["multiple_choice", "span"])
def test_a_batch_of_questions_equals_each_alone(family: str, kind: Kind, tmp_path: Path) -> None:
    """Loss, everything recorded and every gradient, in every architecture."""
    data = tiny_questions(kind, CHOICES if kind == "multiple_choice" else WINDOWS)
    network = load_network(tiny_model(tmp_path, family, **NO_DROPOUT), data, used_tokens(data))
    network.train()

    def of(units: list[int]) -> list[torch.Tensor]:
        batch = make_batch(data, np.array(units), np.array(units), CPU, packed=network.packed)
        made = outcome(kind, network(batch), batch)
        (made.loss.sum() / data.units).backward()
        return [column.detach().float() for column in made]

    together = of([0, 1, 2, 3])
    expected = {name: grad.clone() for name, grad in gradients(network).items()}
    network.zero_grad()
    alone = [of([unit]) for unit in range(4)]
    for column, parts in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(column, torch.cat(parts), atol=1e-5, rtol=0)
    for name, grad in gradients(network).items():
        torch.testing.assert_close(grad, expected[name], atol=1e-5, rtol=0, msg=name)


def test_span_loss_is_that_of_question_answering(tmp_path: Path) -> None:
    """One window a question: the loss of transformers' own head with our weights."""
    data = tiny_questions("span", [[9], [14]])
    path = tiny_model(tmp_path, **NO_DROPOUT)
    network = load_network(path, data, used_tokens(data)).eval()
    theirs = AutoModelForQuestionAnswering.from_pretrained(path).eval()
    assert network.span_head is not None
    theirs.qa_outputs.load_state_dict(network.span_head.state_dict())
    batch = make_batch(data, np.arange(2), np.arange(2), CPU, packed=network.packed)
    ours = outcome("span", network(batch), batch).loss
    for unit in range(2):
        ids = torch.from_numpy(data.tokens[data.offsets[unit] : data.offsets[unit + 1]].astype(np.int64))[None]
        start, end = torch.from_numpy(data.labels[unit])
        expected = theirs(input_ids=ids, start_positions=start[None], end_positions=end[None]).loss
        assert ours[unit].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "opt"])
@pytest.mark.parametrize("kind", ["multiple_choice", "span"])
def test_questions_train_whole(family: str, kind: Kind, tmp_path: Path) -> None:
    """Records have one entry a question, outputs one row a sequence, and both are reproducible."""
    data = tiny_questions(kind, CHOICES if kind == "multiple_choice" else WINDOWS)
    model = tiny_model(tmp_path, family)
    made = plan([0, 2, 3], epochs=2)
    records, [result] = run(model, made, recipe(batch_size=2), data, data)
    again, _ = run(model, made, recipe(batch_size=2), data, data)
    assert result.steps == 4 and all(len(record.loss) == 3 and np.isfinite(record.loss).all() for record in records)
    assert all(same(a, b) for a, b in zip(records, again, strict=True))
    sequences = len(data.offsets) - 1
    assert result.outputs is not None
    assert result.outputs.shape == ((sequences,) if kind == "multiple_choice" else (sequences, 20, 2))
    if kind == "span":
        finite = np.isfinite(result.outputs[:, :, 0]).sum(1)
        assert np.array_equal(finite, np.diff(data.offsets))
