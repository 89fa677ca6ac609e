"""Losses in numpy against the engine's own objective."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pruning.analysis.predictions import guesses, outcomes
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
