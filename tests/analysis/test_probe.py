"""The probe: out of sample, repeatable, and nothing looks learned where there is nothing to learn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pruning.analysis import probe
from pruning.errors import DataError


def embedded(
    examples: int, classes: int = 2, *, signal: float = 1.0, seed: int = 0, size: int = 24
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Rows of length 1 around a direction for each class."""
    random = np.random.default_rng(seed)
    labels = np.arange(examples) % classes
    rows = random.normal(size=(examples, size))
    rows[np.arange(examples), labels] += 4 * signal
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16), labels


def fitted(rows: NDArray[np.float16], labels: NDArray[np.int64], classes: int = 2) -> tuple[probe.Probe, NDArray[np.float32]]:
    out = np.empty((len(labels), classes), dtype=np.float32)
    return probe.fit(rows, labels, classes, out), out


@pytest.mark.parametrize("classes", [2, 3])
def test_labels_that_follow_from_the_embeddings_are_predicted(classes: int) -> None:
    rows, labels = embedded(300, classes)
    found, out = fitted(rows, labels, classes)
    assert found.accuracy > 0.85 and found.accuracy == np.mean(out.argmax(axis=1) == labels)
    assert np.allclose(out.sum(axis=1), 1, atol=1e-5) and found.majority == pytest.approx(1 / classes)
    assert found.losses[f"{found.strength:g}"] == min(found.losses.values()) and found.notes == ()


def test_no_fold_sees_the_label_of_its_own_rows() -> None:
    """A dimension for each row alone, in which a regression that saw the row would read its label; the labels themselves are random."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 120)
    leak = np.eye(120) * np.where(labels, 1.0, -1.0)[:, None]
    found, _ = fitted(leak.astype(np.float16), labels)
    assert abs(found.accuracy - 0.5) < 0.15


def test_copies_of_a_row_are_in_its_own_fold() -> None:
    """The same texts three times with random labels that the copies share: a fold with a copy in it would give the label away."""
    random = np.random.default_rng(0)
    rows, labels = embedded(150, signal=0.0, size=300)
    labels = random.permutation(labels)
    found, _ = fitted(np.tile(rows, (3, 1)), np.tile(labels, 3))
    assert found.accuracy < 0.62
    groups = probe.copies(np.tile(rows, (3, 1)))
    folds = probe.folds_of(np.tile(labels, 3), groups, 0)
    assert (folds[:150] == folds[150:300]).all() and (np.bincount(folds) == 90).all()


def test_folds_share_out_every_class() -> None:
    labels = np.repeat([0, 1, 2], [50, 20, 7])
    folds = probe.folds_of(labels, np.arange(77), 1)
    for label, count in enumerate([50, 20, 7]):
        shares = np.bincount(folds[labels == label], minlength=probe.FOLDS)
        assert shares.min() >= count // probe.FOLDS and shares.max() <= -(-count // probe.FOLDS)


def test_the_same_input_gives_the_same_bits_and_permuted_labels_nothing() -> None:
    rows, labels = embedded(200)
    first, second = fitted(rows, labels), fitted(rows, labels)
    assert first[0] == second[0] and np.array_equal(first[1], second[1])
    found, _ = fitted(rows, np.random.default_rng(1).permutation(labels))
    assert abs(found.accuracy - 0.5) < 0.1 and found.loss > 0.66 and found.strength == min(probe.STRENGTHS)


def test_a_rare_class_is_named_and_takes_part() -> None:
    rows, labels = embedded(100, 2)
    labels = labels.copy()
    labels[:3] = 2
    out = np.empty((100, 3), dtype=np.float32)
    found = probe.fit(rows, labels, 3, out, names=("bad", "good", "odd"))
    [note] = found.notes
    assert note == "Class 'odd' has 3 examples, fewer than the 5 that 5 folds need. The probe says little about such classes."
    assert np.isfinite(out).all() and np.allclose(out.sum(axis=1), 1, atol=1e-5)


def test_a_class_of_one_row_is_never_predicted_for_it() -> None:
    rows, labels = embedded(50)
    labels = labels.copy()
    labels[7] = 2
    _, out = fitted(rows, labels, 3)
    assert out[7, 2] == 0 and out[:7, 2].min() > 0


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0] * 9, r"two classes or more; there is one \('bad'\)"),
        ([1] * 9, r"two classes or more; there is one \('good'\)"),
        ([0, 1, 0], "at least 5 examples, one for each fold; there are 3"),
    ],
)
def test_labels_that_cannot_be_probed_are_refused(labels: list[int], sentence: str) -> None:
    rows, _ = embedded(len(labels))
    with pytest.raises(DataError, match=sentence):
        probe.fit(rows, np.array(labels), 2, np.empty((len(labels), 2), dtype=np.float32), names=("bad", "good"))


def test_large_sets_are_fitted_on_a_random_part_that_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "FIT_ROWS", 100)
    monkeypatch.setattr(probe, "CHOICE_ROWS", 80)
    monkeypatch.setattr(probe, "REPEATED_CELLS", 500)
    monkeypatch.setattr(probe, "FIT_CELLS", 300)
    rows, labels = embedded(400)
    ticks: list[tuple[int, int]] = []
    out = np.empty((400, 2), dtype=np.float32)
    found = probe.fit(rows, labels, 2, out, lambda done, total: ticks.append((done, total)))
    assert found.accuracy > 0.85 and found.repeats == 1 and found.fitted == 100
    assert "at most 100 of 400 rows" in found.notes[0] and "once instead of 3 times" in found.notes[1]
    assert ticks == [(done, 30) for done in range(1, 31)]


def test_the_random_part_has_rows_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [900, 95, 5])
    drawn = probe._drawn(labels, 100, np.random.default_rng(0))
    assert np.bincount(labels[drawn]).tolist() == [90, 10, 5]
