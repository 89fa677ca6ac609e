"""A map by meaning: two dimensions from embeddings, and names for its regions from their frequent, distinctive words. Pure functions.

t-SNE (van der Maaten and Hinton 2008) by scikit-learn, which keeps who is near whom; distances between far regions mean little.
`benchmarks/results/map.md` compares it with other libraries.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

FITTED = 5_000
"""Most examples that t-SNE places itself; with more, a draw of so many, and the others are placed by their nearest ones."""

SEED = 4_201

STEPS = 1_000
"""Steps of t-SNE at most."""

Tick = Callable[[int, int], None]
"""Called every 50 steps of t-SNE with the steps done, and those of all."""

PLACED_BY, SHARPNESS = 10, 30.0
"""Nearest placed examples that place another one, and how much more the nearest of them count: weights are exp(SHARPNESS x cosine)."""

BLOCK = 2_048

REGIONS, WORDS = 8, 2
"""Most regions that get a name, and words of a name."""

FEWEST_OF_A_WORD, FEWEST_OF_A_REGION = 3, 20
"""Examples of a region that a word of its name must be in, and examples that a region has on average."""

LIFT = 2.0
"""Times that a word of a name is as frequent in its region as in all texts, at least."""

NAMED_ON = 20_000
"""Most examples that regions and their names are found on."""

Places = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A named part of the map."""

    x: float
    y: float
    words: tuple[str, ...]
    """The most distinctive first."""


def places(embeddings: NDArray[np.floating], tick: Tick | None = None) -> Places:
    """[N, 2] place of each example, each axis within -1 to 1; [0, 0] for all where there are fewer than 3.

    The same embeddings give the same bits, on any number of cores: one thread works.
    """
    from threadpoolctl import threadpool_limits

    rows = len(embeddings)
    with threadpool_limits(1):
        if rows <= FITTED:
            found = _fitted(np.asarray(embeddings, dtype=np.float32), tick)
        else:
            drawn = drawn_rows(rows)
            base = np.asarray(embeddings[drawn], dtype=np.float32)
            found = _beside(embeddings, base, _fitted(base, tick), drawn)
    middle = (found.max(axis=0) + found.min(axis=0)) / 2 if rows else np.zeros(2)
    reach = np.abs(found - middle).max(initial=0.0)
    return np.asarray((found - middle) / (reach or 1.0), dtype=np.float32)


def drawn_rows(rows: int, most: int = FITTED) -> NDArray[np.int64]:
    """[n] ascending positions of at most `most` of so many examples, drawn at random; by default those that t-SNE places itself."""
    return np.sort(np.random.default_rng(SEED).permutation(rows)[:most])


def _fitted(rows: NDArray[np.float32], tick: Tick | None) -> NDArray[np.float64]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(rows) < 3 or not (rows != rows[0]).any():
        return np.zeros((len(rows), 2))
    start = PCA(2, svd_solver="full" if len(rows) < rows.shape[1] else "covariance_eigh").fit_transform(rows.astype(np.float64))
    start *= 1e-4 / max(float(start[:, 0].std()), 1e-12)
    perplexity = min(30.0, (len(rows) - 1) / 3)
    tsne = TSNE(
        perplexity=perplexity,
        init=start.astype(np.float32),
        random_state=SEED,
        n_jobs=1,
        method="barnes_hut",
        max_iter=STEPS,
        verbose=0 if tick is None else 2,
    )
    with nullcontext() if tick is None else redirect_stdout(cast("IO[str]", _Steps(tick))):
        return np.asarray(tsne.fit_transform(rows), dtype=np.float64)


class _Steps:
    """Standard output while t-SNE runs, which reports its steps there and nowhere else; what others print passes through."""

    def __init__(self, tick: Tick) -> None:
        self.tick, self.behind, self.own = tick, sys.stdout, False

    def write(self, text: str) -> int:
        if text.startswith("[t-SNE]"):
            self.own = True
            if found := re.match(r"\[t-SNE\] Iteration (\d+)", text):
                self.tick(int(found[1]), STEPS)
        elif self.own and text == "\n":
            self.own = False
        else:
            return self.behind.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


def _beside(
    embeddings: NDArray[np.floating], base: NDArray[np.float32], placed: NDArray[np.float64], drawn: NDArray[np.int64]
) -> NDArray[np.float64]:
    """[N, 2] the drawn rows where they were placed, every other row between the nearest of them."""
    found = np.empty((len(embeddings), 2))
    for start in range(0, len(embeddings), BLOCK):
        closeness = np.asarray(embeddings[start : start + BLOCK], dtype=np.float32) @ base.T
        nearest = np.argpartition(-closeness, PLACED_BY - 1, axis=1)[:, :PLACED_BY]
        near = np.take_along_axis(closeness, nearest, axis=1)
        weights = np.exp(SHARPNESS * (near - near.max(axis=1, keepdims=True)))
        found[start : start + BLOCK] = (placed[nearest] * weights[:, :, None]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    found[drawn] = placed
    return found


def regions(places: Places, texts: Sequence[str]) -> list[Region]:
    """Return the regions that have words of their own, largest first: words that are frequent in a region and rarer elsewhere.

    Regions are clusters by k-means of the places. A word's weight is the share of the region's texts that have it, times the log of
    how many times that is its share in all texts; words below `LIFT` times do not count, and a region without others has no name.
    """
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import CountVectorizer
    from threadpoolctl import threadpool_limits

    count = min(REGIONS, len(texts) // FEWEST_OF_A_REGION)
    if count < 2 or not (places != places[0]).any():
        return []
    try:
        counter = CountVectorizer(token_pattern=r"(?u)\b[^\W\d_]{3,}\b", binary=True, min_df=FEWEST_OF_A_WORD, dtype=np.int32)
        there = counter.fit_transform(texts)
    except ValueError:  # no word is in three texts
        return []
    with threadpool_limits(1):
        clusters = KMeans(count, n_init=4, random_state=SEED).fit(places.astype(np.float64))
    names, overall = counter.get_feature_names_out(), np.asarray(there.mean(axis=0)).ravel()
    found = []
    for cluster in np.argsort(-np.bincount(clusters.labels_, minlength=count), kind="stable"):
        members = np.flatnonzero(clusters.labels_ == cluster)
        inside = np.asarray(there[members].sum(axis=0)).ravel()
        share = inside / max(1, len(members))
        own = (inside >= FEWEST_OF_A_WORD) & (share >= LIFT * overall)
        weight = np.where(own, share * np.log(np.maximum(share, 1e-12) / overall), 0.0)
        best = [word for word in np.argsort(-weight, kind="stable")[:WORDS] if weight[word] > 0]
        if best:
            x, y = np.median(places[members], axis=0)
            found.append(Region(x=float(x), y=float(y), words=tuple(str(names[word]) for word in best)))
    return found
