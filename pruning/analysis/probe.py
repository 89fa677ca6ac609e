"""The probe: out-of-sample probability of each label from logistic regression on frozen embeddings. Pure functions over arrays.

The usual baseline of label-error tutorials (Northcutt et al. 2021 and cleanlab's for text) and a linear case of usable information
(Ethayarajh et al. 2022, pointwise V-information): how much of the labels follows from the texts before anything is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.errors import DataError
from pruning.formatting import counted

FOLDS, REPEATS = 5, 3
"""Parts of the rows, each predicted by a regression that saw none of it, and divisions into such parts, whose predictions are averaged."""

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Values of C (inverse regularisation, as in scikit-learn) that cross-validated likelihood chooses from, for embeddings of length 1."""

CHOICE_ROWS, FIT_ROWS = 5_000, 20_000
"""Most rows that C is chosen on, and most rows of one regression; more are drawn from, stratified by label."""

FIT_CELLS = 4_000_000
"""Most rows x classes of one regression, as long as each class keeps `FEWEST_OF_A_CLASS` rows; also of one block of predictions."""

FEWEST_OF_A_CLASS = 10

MOST_CLASSES = 1_000
"""With more there is no probe: the time of a regression grows with their square."""

REPEATED_CELLS = 5_000_000
"""Above so many rows x classes one division into folds has to do: averaging takes a second copy of the probabilities."""

LEAST = 1e-6
"""Probabilities are taken as at least this in logarithms."""

SEED = 4_201


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How the probe was fitted and what it came to; its probabilities are an array beside it."""

    accuracy: float
    """Share of the rows whose label has the highest out-of-sample probability."""
    majority: float
    """Share of the most frequent label."""
    loss: float
    """Mean negative log of the label's out-of-sample probability, in nats."""
    strength: float
    """C that was chosen."""
    losses: dict[str, float]
    """The same loss for each C tried, on the rows that C was chosen on."""
    rows: int
    """Rows in all."""
    fitted: int
    """Most rows that one regression may have; fewer than `rows` where regressions were fitted on a draw."""
    folds: int
    repeats: int
    notes: tuple[str, ...]
    """Limits of it, in sentences."""

    @property
    def sentence(self) -> str:
        """The result in one sentence.

        >>> Probe(accuracy=0.781, majority=0.52, loss=0.5, strength=1.0, losses={}, rows=9, fitted=7, folds=5, repeats=3, notes=()).sentence
        'Before any training, a linear model on the pretrained embeddings gets 78.1% of the labels right; the most frequent label is 52.0%.'
        """
        right = f"a linear model on the pretrained embeddings gets {self.accuracy:.1%} of the labels right"
        return f"Before any training, {right}; the most frequent label is {self.majority:.1%}."

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `from_dict` is the inverse."""
        return {**asdict(self), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Probe:
        """Return the record of those values."""
        return cls(**{**values, "notes": tuple(values["notes"])})


def fit(
    embeddings: NDArray[Any],
    labels: NDArray[np.int64],
    classes: int,
    out: NDArray[np.float32],
    tick: Callable[[int, int], None] = lambda done, total: None,
    names: tuple[str, ...] = (),
) -> Probe:
    """Fit the probe and write each row's probabilities, predicted without the row itself and without its exact copies.

    Parameters
    ----------
    embeddings
        [N, D] rows of length 1, any float type; may be memory-mapped.
    labels
        [N] class indices.
    classes
        Number of classes; 2 or more must occur.
    out
        [N, classes] where the probabilities are written; rows sum to 1. May be memory-mapped.
    tick
        Called with the regressions fitted so far and in all; may raise to stop.
    names
        Names of the classes, for sentences.

    The same input gives the same bits. Raises DataError when fewer than two classes occur, more than
    `MOST_CLASSES`, or fewer rows than folds.
    """
    counts = np.bincount(labels, minlength=classes)
    refuse(counts, names)
    groups = copies(embeddings)
    repeats = REPEATS if out.size <= REPEATED_CELLS else 1
    total, done = FOLDS * (len(STRENGTHS) + repeats), 0

    def ticked() -> None:
        nonlocal done
        done += 1
        tick(done, total)

    losses = _losses(embeddings, labels, groups, classes, ticked)
    strength = float(min(losses, key=lambda name: (losses[name], float(name))))
    out[:] = 0
    for repeat in range(repeats):
        for rows, probabilities in _predicted(embeddings, labels, groups, classes, strength, repeat, ticked):
            out[rows] += probabilities / repeats
    right = sum(int((out[part].argmax(axis=1) == labels[part]).sum()) for part in _blocks(len(labels), classes))
    fitted = len(_drawn(labels, min(FIT_ROWS, _most(classes)), np.random.default_rng(SEED)))
    return Probe(
        accuracy=right / len(labels),
        majority=float(counts.max() / len(labels)),
        loss=_loss(out, labels),
        strength=strength,
        losses=losses,
        rows=len(labels),
        fitted=fitted,
        folds=FOLDS,
        repeats=repeats,
        notes=tuple(_notes(counts, len(labels), fitted, repeats, names)),
    )


def _losses(
    embeddings: NDArray[Any], labels: NDArray[np.int64], groups: NDArray[np.int64], classes: int, ticked: Callable[[], None]
) -> dict[str, float]:
    """Strength of the regularization -> out-of-sample loss, on a draw of the rows where there are many."""
    chosen = _drawn(labels, min(CHOICE_ROWS, _most(classes)), np.random.default_rng(SEED))
    losses = {}
    block = np.empty((len(chosen), classes), dtype=np.float32)
    for strength in STRENGTHS:
        block[:] = 0
        for rows, probabilities in _predicted(embeddings[chosen], labels[chosen], groups[chosen], classes, strength, 0, ticked):
            block[rows] = probabilities
        losses[f"{strength:g}"] = _loss(block, labels[chosen])
    return losses


def refuse(counts: NDArray[np.int64], names: tuple[str, ...] = ()) -> None:
    """Raise DataError when labels of these counts per class cannot be probed, in one sentence."""
    present = np.flatnonzero(counts)
    if len(present) < 2:
        only = f" ({_name(int(present[0]), names)})" if len(present) else ""
        raise DataError(f"The probe needs examples of two classes or more; there {'is one' if len(present) else 'are none'}{only}.")
    if len(present) > MOST_CLASSES:
        raise DataError(f"There is no probe for {len(present):,} classes: it takes at most {MOST_CLASSES:,}; merge rare ones for it.")
    if counts.sum() < FOLDS:
        raise DataError(f"The probe needs at least {FOLDS} examples, one for each fold; there are {counts.sum()}.")


def copies(embeddings: NDArray[Any]) -> NDArray[np.int64]:
    """[N] a number for each different row: exact copies share one, so that they can be kept in one fold.

    >>> copies(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=np.float16)).tolist()
    [0, 1, 0]
    """
    seen: dict[bytes, int] = {}
    return np.fromiter(
        (seen.setdefault(blake2b(row.tobytes(), digest_size=16).digest(), len(seen)) for row in embeddings),
        dtype=np.int64,
        count=len(embeddings),
    )


def folds_of(labels: NDArray[np.int64], groups: NDArray[np.int64], repeat: int) -> NDArray[np.int64]:
    """[N] fold of each row, 0 to FOLDS - 1: groups as wholes, as many of each class in every fold as their number allows.

    >>> folds_of(np.array([0] * 5 + [1] * 5), np.arange(10), 0)[:5].sum()
    np.int64(10)
    """
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    order = np.lexsort((np.random.default_rng([SEED, repeat]).random(len(first)), labels[first]))
    folds = np.empty(len(first), dtype=np.int64)
    folds[order] = np.arange(len(first)) % FOLDS
    return folds[inverse]


def _predicted(
    embeddings: NDArray[Any],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    classes: int,
    strength: float,
    repeat: int,
    ticked: Callable[[], None],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Rows of each fold, in blocks, and their probabilities by a regression on rows of the other folds."""
    from sklearn.linear_model import LogisticRegression

    fold = folds_of(labels, groups, repeat)
    for number in range(FOLDS):
        others = np.flatnonzero(fold != number)
        rows = others[_drawn(labels[others], min(FIT_ROWS, _most(classes)), np.random.default_rng([SEED, repeat, number]))]
        tested = np.flatnonzero(fold == number)
        known = np.unique(labels[rows])
        if len(known) > 1:
            model = LogisticRegression(C=strength, max_iter=300).fit(np.asarray(embeddings[rows], dtype=np.float64), labels[rows])
        for part in _blocks(len(tested), classes):
            probabilities = np.zeros((len(tested[part]), classes), dtype=np.float32)
            given = model.predict_proba(np.asarray(embeddings[tested[part]], dtype=np.float64)) if len(known) > 1 else 1.0
            probabilities[:, known] = given
            yield tested[part], probabilities
        ticked()


def _drawn(labels: NDArray[np.int64], size: int, random: np.random.Generator) -> NDArray[np.int64]:
    """[n] ascending positions of at most `size` rows with the classes' own shares, and `FEWEST_OF_A_CLASS` of each where there are."""
    if len(labels) <= size:
        return np.arange(len(labels))
    order = np.lexsort((random.random(len(labels)), labels))
    sizes = np.bincount(labels)
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    wanted = np.maximum(np.ceil(sizes * (size / len(labels))), FEWEST_OF_A_CLASS)
    return np.flatnonzero(place < wanted[labels])


def _most(classes: int) -> int:
    """Rows of one regression with so many classes."""
    return max(FEWEST_OF_A_CLASS * classes, FIT_CELLS // classes)


def _blocks(rows: int, classes: int) -> Iterator[slice]:
    size = max(1, FIT_CELLS // (4 * classes))
    yield from (slice(start, start + size) for start in range(0, rows, size))


def _loss(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    gold = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(gold, LEAST)).mean())


def _notes(counts: NDArray[np.int64], rows: int, fitted: int, repeats: int, names: tuple[str, ...]) -> Iterator[str]:
    rare = np.flatnonzero((counts > 0) & (counts < FOLDS))
    if len(rare):
        has = counted(int(counts[rare[0]]), "example")
        first = f"Class {_name(int(rare[0]), names)} has {has}, fewer than the {FOLDS} that {FOLDS} folds need"
        others = counted(len(rare) - 1, "other class", "other classes")
        more = f"; so {'has' if len(rare) == 2 else 'have'} {others}" if len(rare) > 1 else ""
        yield f"{first}{more}. The probe says little about such classes."
    if fitted < rows:
        yield f"Each regression of the probe was fitted on at most {fitted:,} of {rows:,} rows, drawn with the classes' own shares."
    if repeats < REPEATS:
        yield f"The probe divided the rows into folds once instead of {REPEATS} times, because there are many."


def _name(label: int, names: tuple[str, ...]) -> str:
    return repr(names[label]) if label < len(names) else str(label)
