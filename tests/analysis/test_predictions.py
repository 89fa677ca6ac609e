"""Losses in numpy against the engine's own objective."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pruning.analysis.predictions import guesses, outcomes, scaled_loss
from pruning.training.objective import choice, options, span
from tests.support.tiny import tiny_data, tiny_questions

LENGTHS = [[4, 6], [5, 3, 4], [7]]


def test_classification_is_the_engines_loss() -> None:
    data = tiny_data([4] * 30, classes=3)
    logits = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    assert_same(outcomes(logits, data), choice(torch.from_numpy(logits), torch.from_numpy(data.labels)))


def test_options_are_the_engines_loss() -> None:
    data = tiny_questions("multiple_choice", [[4, 6], [5, 3, 4], [7, 4]])
    scores = np.random.default_rng(0).normal(size=7).astype(np.float32)
    unit = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    assert_same(outcomes(scores, data), choice(options(torch.from_numpy(scores), unit, 3, 3), torch.from_numpy(data.labels)))


def test_spans_are_the_engines_loss_padding_and_windows_included() -> None:
    data = tiny_questions("span", LENGTHS)
    logits = np.random.default_rng(0).normal(size=(6, 7, 2)).astype(np.float32)
    for row, length in enumerate(length for unit in LENGTHS for length in unit):
        logits[row, length:] = -np.inf
    unit = torch.tensor([0, 0, 1, 1, 1, 2])
    assert_same(outcomes(logits, data), span(torch.from_numpy(logits), torch.from_numpy(data.labels), unit, 3))


@pytest.mark.parametrize("times", [0.2, 1.0, 8.0])
def test_the_scaled_loss_does_not_depend_on_how_sure_a_model_is(times: float) -> None:
    """Three classes, 70% of 300 answers right: the loss of its best temperature, found here on a grid, whatever the logits' scale."""
    data, random = tiny_data([4] * 300, classes=3), np.random.default_rng(0)
    right = np.where(random.random(300) < 0.7, data.labels, (data.labels + 1) % 3)
    logits = (2.0 * np.eye(3)[right] + random.normal(0, 0.3, (300, 3))).astype(np.float32)
    best = min(outcomes(logits / np.float32(t), data)[0].mean() for t in np.geomspace(0.3, 5, 400))
    found = scaled_loss(logits * np.float32(times), data).mean()
    assert found == pytest.approx(best, abs=1e-4)
    assert times == 1 or found < outcomes(logits * np.float32(times), data)[0].mean() - 0.01


def test_padding_has_no_part_in_the_scaled_loss() -> None:
    data = tiny_questions("span", LENGTHS)
    logits = np.random.default_rng(0).normal(size=(6, 7, 2)).astype(np.float32)
    for row, length in enumerate(length for unit in LENGTHS for length in unit):
        logits[row, length:] = -np.inf
    found = scaled_loss(logits, data)
    assert np.isfinite(found).all() and found.mean() <= outcomes(logits, data)[0].mean()


def test_guessing_has_the_accuracy_of_the_majority_class() -> None:
    data = tiny_data([4] * 50, classes=2)
    loss, correct = guesses(data)
    share = np.bincount(data.labels).max() / 50
    assert correct.mean() == share
    assert loss.mean() == pytest.approx(-(share * np.log(share) + (1 - share) * np.log(1 - share)))


def test_guessing_an_answer_says_unanswerable() -> None:
    data = tiny_questions("span", LENGTHS)
    data.labels[:2] = 0
    data.labels[2:, 1] = 2
    loss, correct = guesses(data)
    assert correct.tolist() == [True, False, False] and np.isnan(loss).all()


def assert_same(ours: tuple[np.ndarray, np.ndarray], theirs: object) -> None:
    assert np.allclose(ours[0], theirs.loss.numpy(), atol=1e-6)  # type: ignore[attr-defined]
    assert np.array_equal(ours[1], theirs.correct.numpy())  # type: ignore[attr-defined]
