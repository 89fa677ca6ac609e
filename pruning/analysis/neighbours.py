"""Nearest examples by meaning, from embeddings of length 1, or by words; groups of nearly the same meaning. Pure functions over arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

SAME_MEANING = 0.9
"""Cosine from which two texts count as nearly the same in meaning: of texts three times with small edits, 1,505 groups were found where
there were 1,400 (METHOD, "First results at a rate that learns")."""

MOST_COMPARED = 50_000
"""Examples that are compared in pairs; with more the comparison takes too long."""

INDISTINCT = 0.01
"""Share of pairs drawn at random above the threshold from which the model does not tell texts apart by cosine."""

DRAWN_PAIRS, BLOCK = 20_000, 1_024


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Nearest:
    """Examples nearest to one, nearest first: positions [n] and cosines [n], of the same label and of others."""

    same: NDArray[np.int64]
    same_cosine: NDArray[np.float32]
    other: NDArray[np.int64]
    other_cosine: NDArray[np.float32]


def cosines(embeddings: NDArray[Any], position: int) -> NDArray[np.float32]:
    """[N] cosine of every row with one; rows have length 1 (or 0)."""
    one = np.asarray(embeddings[position], dtype=np.float32)
    size = BLOCK * 64
    parts = [np.asarray(embeddings[start : start + size], dtype=np.float32) @ one for start in range(0, len(embeddings), size)]
    return np.concatenate(parts)


def nearest(closeness: NDArray[np.float32], position: int, labels: NDArray[np.int64] | None, count: int) -> Nearest:
    """Return the `count` nearest of the same label and of other labels; without labels all count as the same.

    >>> found = nearest(np.array([1.0, 0.9, 0.2, 0.5], dtype=np.float32), 0, np.array([0, 1, 0, 0]), 2)
    >>> found.same.tolist(), found.other.tolist()
    ([3, 2], [1])
    """
    alike = np.ones(len(closeness), dtype=bool) if labels is None else labels == labels[position]
    there = np.arange(len(closeness)) != position

    def top(wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
        found = np.flatnonzero(wanted & there)
        best = found[np.argpartition(-closeness[found], count - 1)[:count]] if len(found) > count else found
        return best[np.lexsort((best, -closeness[best]))]

    same, other = top(alike), top(~alike)
    return Nearest(same=same, same_cosine=closeness[same], other=other, other_cosine=closeness[other])


def word_vectors(texts: Sequence[str]) -> csr_array:
    """[N, words] weights of each text's words (TF-IDF), rows of length 1; what stands in for embeddings where there was no look."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return csr_array(TfidfVectorizer(token_pattern=r"(?u)\w+", sublinear_tf=True, dtype=np.float32).fit_transform(texts))
    except ValueError:  # no text has a word
        return csr_array((len(texts), 1), dtype=np.float32)


def word_cosines(vectors: csr_array, position: int) -> NDArray[np.float32]:
    """[N] cosine of every text's words with those of one."""
    return np.asarray((vectors @ vectors[[position]].T).todense(), dtype=np.float32).ravel()


def same_meaning(embeddings: NDArray[Any], threshold: float = SAME_MEANING) -> NDArray[np.int64] | None:
    """[N] group of each example, -1 for those in none: chains of pairs whose cosine reaches the threshold.

    None where there are more than `MOST_COMPARED` examples, or the model's embeddings do not tell texts apart: many pairs drawn at
    random reach the threshold too, as with models that were not made for sentences.

    >>> same_meaning(np.array([[1, 0, 0], [0, 1, 0], [0.95, 0.3, 0], [0, 0, 1]])).tolist()
    [0, -1, 0, -1]
    """
    rows = len(embeddings)
    if rows > MOST_COMPARED or rows < 2 or _indistinct(embeddings, threshold):
        return None
    whole = np.asarray(embeddings, dtype=np.float32)
    pairs = []
    for start in range(0, rows, BLOCK):
        close = whole[start : start + BLOCK] @ whole[start:].T >= threshold
        first, second = np.nonzero(np.triu(close, 1))
        pairs.append(np.stack([first, second]) + start)
    first, second = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=(rows, rows))
    _, part = connected_components(graph, directed=False)
    sizes = np.bincount(part)
    names = np.cumsum(sizes > 1) - 1
    return np.where(sizes[part] > 1, names[part], -1).astype(np.int64)


def repeats(groups: NDArray[np.int64], labels: NDArray[np.int64] | None) -> NDArray[np.bool_]:
    """[N] True for each example of a group (-1 = none) that an earlier one of the same group and label stands for.

    >>> repeats(np.array([0, -1, 0, 0, -1]), np.array([1, 1, 1, 0, 1])).tolist()
    [False, False, True, False, False]
    """
    return stand_ins(groups, labels) != np.arange(len(groups))


def stand_ins(groups: NDArray[np.int64], labels: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """[N] position of the example that stands for each: the first of its group (-1 = none) and label, or itself.

    >>> stand_ins(np.array([0, -1, 0, 0, -1]), np.array([1, 1, 1, 0, 1])).tolist()
    [0, 1, 0, 3, 4]
    """
    pairs = np.stack([groups, np.zeros_like(groups) if labels is None else labels])
    _, first, which = np.unique(pairs, axis=1, return_index=True, return_inverse=True)
    return np.where(groups >= 0, first[which.ravel()], np.arange(len(groups)))


def _indistinct(embeddings: NDArray[Any], threshold: float) -> bool:
    random = np.random.default_rng(0)
    first, second = random.integers(0, len(embeddings), (2, DRAWN_PAIRS))
    apart = first != second
    one, two = (np.asarray(embeddings[which[apart]], dtype=np.float32) for which in (first, second))
    return len(embeddings) > 100 and float(((one * two).sum(axis=1) >= threshold).mean()) > INDISTINCT
