"""Nearest examples and groups of the same meaning."""

from __future__ import annotations

import numpy as np
import pytest

from pruning.analysis import neighbours


def rows_of_length_one(count: int, size: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, size))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def test_nearest_are_those_of_a_full_sort() -> None:
    rows, labels = rows_of_length_one(300, 16), np.arange(300) % 3
    closeness = neighbours.cosines(rows, 7)
    assert closeness == pytest.approx(rows.astype(np.float32) @ rows[7].astype(np.float32), abs=1e-5)
    found = neighbours.nearest(closeness, 7, labels, 4)
    order = [place for place in np.argsort(-closeness, kind="stable") if place != 7]
    assert found.same.tolist() == [place for place in order if labels[place] == labels[7]][:4]
    assert found.other.tolist() == [place for place in order if labels[place] != labels[7]][:4]
    assert (found.same_cosine == closeness[found.same]).all()
    assert len(neighbours.nearest(closeness, 7, None, 5).same) == 5 and not len(neighbours.nearest(closeness, 7, None, 5).other)


def test_without_embeddings_nearest_examples_are_found_by_their_words() -> None:
    vectors = neighbours.word_vectors(["a fine film", "a dull plot", "a fine fine film", "", "music"])
    closeness = neighbours.word_cosines(vectors, 0)
    assert closeness[0] == pytest.approx(1) and closeness.argsort()[::-1][:2].tolist() == [0, 2] and closeness[3] == closeness[4] == 0
    assert neighbours.word_cosines(neighbours.word_vectors(["", " "]), 0).tolist() == [0, 0]


def test_groups_of_the_same_meaning_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    base = rows_of_length_one(40, 64)
    near = base.astype(np.float32) + 0.03 * np.random.default_rng(1).normal(size=(40, 64))
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float16)
    group = neighbours.same_meaning(np.concatenate([base, near[:25], rows_of_length_one(20, 64, seed=2)]))
    assert group is not None and (group[:25] == group[40:65]).all() and len(np.unique(group[:25])) == 25
    assert (group[25:40] == -1).all() and (group[65:] == -1).all()


def test_embeddings_that_are_all_alike_give_no_near_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    crowded = np.ones((200, 16)) + 0.05 * np.random.default_rng(0).normal(size=(200, 16))
    assert neighbours.same_meaning(crowded / np.linalg.norm(crowded, axis=1, keepdims=True)) is None
    monkeypatch.setattr(neighbours, "MOST_COMPARED", 10)
    assert neighbours.same_meaning(rows_of_length_one(11, 16)) is None
