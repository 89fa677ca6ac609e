"""The map by meaning: neighbours stay neighbours, the same bits, and words that name its regions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pruning.analysis import meaning_map


def clusters(rows: int, kinds: int = 3, size: int = 12) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Embeddings of length 1 around `kinds` centres, and the centre of each."""
    random = np.random.default_rng(0)
    kind = np.arange(rows) % kinds
    found = np.eye(size)[kind] + 0.15 * random.standard_normal((rows, size))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16), kind


def alike(places: NDArray[np.float32], kind: NDArray[np.int64]) -> float:
    """Share of examples whose nearest other one on the map is of the same kind."""
    away = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(away, np.inf)
    return float((kind[away.argmin(axis=1)] == kind).mean())


def test_kinds_lie_together_and_the_map_fills_its_square() -> None:
    embeddings, kind = clusters(90)
    places = meaning_map.places(embeddings)
    assert places.shape == (90, 2) and places.dtype == np.float32
    assert np.abs(places).max() == 1 and alike(places, kind) > 0.95


def test_the_same_bits_twice() -> None:
    embeddings, _ = clusters(80)
    assert meaning_map.places(embeddings).tobytes() == meaning_map.places(embeddings).tobytes()


def test_steps_are_counted_and_what_others_print_passes(capsys: pytest.CaptureFixture[str]) -> None:
    embeddings, _ = clusters(80)
    told: list[tuple[int, int]] = []

    def tick(done: int, total: int) -> None:
        told.append((done, total))
        print("mine")

    assert meaning_map.places(embeddings, tick).tobytes() == meaning_map.places(embeddings).tobytes()
    assert told[:2] == [(50, 1000), (100, 1000)] and told[-1] == (1000, 1000)
    assert capsys.readouterr().out == "mine\n" * len(told)


def test_many_are_placed_by_a_draw_and_beside_their_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meaning_map, "FITTED", 60)
    monkeypatch.setattr(meaning_map, "BLOCK", 50)
    embeddings, kind = clusters(240)
    places = meaning_map.places(embeddings)
    others = np.setdiff1d(np.arange(240), meaning_map.drawn_rows(240, 60))
    assert len(others) == 180 and alike(places, kind) > 0.95
    assert places.tobytes() == meaning_map.places(embeddings).tobytes()


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5])
def test_few_examples_have_places(rows: int) -> None:
    places = meaning_map.places(clusters(rows)[0])
    assert places.shape == (rows, 2) and np.isfinite(places).all()


def test_examples_that_are_all_the_same_share_one_place() -> None:
    same = np.tile(np.eye(4, dtype=np.float16)[:1], (50, 1))
    places = meaning_map.places(same)
    assert (places == 0).all() and meaning_map.regions(places, ["one text"] * 50) == []


def test_regions_are_named_by_words_that_others_lack() -> None:
    embeddings, kind = clusters(90)
    subject = ("ocean waves", "engine wheels", "piano concert")
    texts = [f"this is about {subject[one]} number {place}" for place, one in enumerate(kind)]
    found = meaning_map.regions(meaning_map.places(embeddings), texts)
    assert found and {word for region in found for word in region.words} <= set(" ".join(subject).split())
    assert all(-1 <= region.x <= 1 and -1 <= region.y <= 1 for region in found)


@pytest.mark.parametrize("text", ["", "12 34", "\u4e00\u4e01"])
def test_texts_without_words_have_no_regions(text: str) -> None:
    assert meaning_map.regions(meaning_map.places(clusters(60)[0]), [text] * 60) == []
