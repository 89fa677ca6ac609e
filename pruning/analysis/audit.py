"""Which examples look wrong, and why an example is never right. Pure functions over arrays and columns.

`label_errors` lists labels that look wrong, `hard_kinds` tells the examples that no run got right apart. Duplicates and leakage are in
`pruning.analysis.duplicates`, what a subset loses in `pruning.analysis.slices`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.scores import h_score, missing
from pruning.errors import ScoreError, UsageError
from pruning.formatting import counted
from pruning.records import Dynamics

Floats = NDArray[np.float64]


NEEDED = frozenset(["gold_prob", "gold_margin", "predicted"])
"""Quantities needed for class probabilities, and so for label errors."""

LABEL_EPOCHS = 2
"""Epochs whose online predictions are used to find wrong labels. The first alone is out of sample but unsure in small sets; from the
third on a model has memorized many wrong labels, so the list ends too early (benchmarks/results/label-noise.md)."""

MOST_CELLS = 2**28
"""Most examples x classes for which label errors are looked for: their probabilities are 1 GiB then, and the search takes a few of them."""

BLOCK = 2**22
"""Examples x classes whose probabilities are rebuilt at a time."""

RARE = 0.9
"""Examples whose words are rarer than in this share of all examples count as rare."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LabelErrors:
    """Labels that look wrong, by confident learning on the first epochs' online predictions, the look's probe, or both."""

    suspect: NDArray[np.bool_]
    """[N] probably mislabelled."""
    quality: Floats
    """[N] how well the label fits the predictions, 0..1; the lowest first is the order to look at them in."""
    suggested: NDArray[np.int64]
    """[N] the class that the predictions favour; of a suspect, always another than its label."""
    sentence: str

    @property
    def ranked(self) -> NDArray[np.int64]:
        """Positions of the suspects, worst first."""
        found = np.flatnonzero(self.suspect)
        return found[np.argsort(self.quality[found], kind="stable")]


def too_large(examples: int, classes: int) -> str:
    """Return why label errors are not looked for, in a sentence; empty where they are.

    >>> too_large(70_000, 2), too_large(100_000, 100_000)[:67]
    ('', 'Label errors are not looked for: the probabilities of 100,000 examp')
    """
    if examples * classes <= MOST_CELLS:
        return ""
    size = 4 * examples * classes / 2**30
    return (
        f"Label errors are not looked for: the probabilities of {counted(examples, 'example')} and {counted(classes, 'class', 'classes')} "
        f"take {size:,.1f} GiB, more than {4 * MOST_CELLS / 2**30:g} GiB; merge rare classes, or score fewer examples (--limit)."
    )


PROBE_SHARE = 0.3
"""Weight of the probe beside the recorded probabilities. At 20% flipped labels: precision .66 at recall .66, and 3.5% listed where nothing
was flipped; the recording alone .69 at .63, and 2.7% (METHOD, "A free by-product")."""


def label_errors(
    dynamics: Dynamics,
    labels: NDArray[np.int64],
    classes: int,
    epochs: int = LABEL_EPOCHS,
    probe: NDArray[np.float32] | None = None,
) -> LabelErrors:
    """Confident learning (Northcutt et al. 2021, by cleanlab) on the first `epochs` epochs' online predictions, averaged over runs.

    They cost nothing: each was made at the example's own step, before its update. With `epochs` = 1 the model had never trained on
    the example, so the predictions are out of sample; with few more it has seen it once or twice, but is much surer of the rest.
    `probe` [N, classes] are a look's out-of-sample probabilities, which weigh `PROBE_SHARE`.
    Raises ScoreError when the recording lacks gold_prob, gold_margin or predicted, or examples x classes exceed `MOST_CELLS`, and
    UsageError for fewer than two classes.
    """
    _refuse(len(labels), classes)
    probabilities = class_probabilities(dynamics, labels, classes, epochs)
    if probe is not None:
        probabilities = (1 - PROBE_SHARE) * probabilities + np.float32(PROBE_SHARE) * probe
    exactly = "" if classes == 2 else "; of the other classes only the predicted one's probability is recorded, the rest is spread evenly"
    also = "" if probe is None else " and by the look"
    how = f"judged by {counted(dynamics.runs, 'run')}, each time just before {'they' if dynamics.runs > 1 else 'it'} trained on the example"
    return _confident_learning(probabilities, labels, f"{how}{also}{exactly}")


def label_errors_of_probe(probe: NDArray[np.float32], labels: NDArray[np.int64], trained: bool = False) -> LabelErrors:
    """The same from the look's probe alone, [N, classes] out-of-sample probabilities; `trained` once there is a run, which lacks answers.

    Raises ScoreError where they exceed `MOST_CELLS`, and UsageError for fewer than two classes.
    """
    _refuse(*probe.shape)
    return _confident_learning(np.array(probe), labels, f"{'' if trained else 'before training, '}judged by the look alone")


def _refuse(examples: int, classes: int) -> None:
    if reason := too_large(examples, classes):
        raise ScoreError(reason)
    if classes < 2:
        raise UsageError(f"Label errors need at least two classes; there {'is' if classes == 1 else 'are'} {classes}.")


def _confident_learning(probabilities: NDArray[np.float32], labels: NDArray[np.int64], how: str) -> LabelErrors:
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    quality = np.asarray(get_label_quality_scores(labels, probabilities, method="normalized_margin"), dtype=np.float64)
    rows = np.arange(len(labels))
    given = probabilities[rows, labels]
    probabilities[rows, labels] = -1
    best_other = probabilities.argmax(axis=1)
    probabilities[rows, labels] = given
    found = np.zeros(len(labels), dtype=bool)
    if len(np.unique(labels)) > 1:
        found = np.asarray(find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1), dtype=bool)
    suggested = np.where(found, best_other, probabilities.argmax(axis=1)).astype(np.int64)
    many = f"{found.sum():,} of {counted(len(labels), 'label')} {'looks' if found.sum() == 1 else 'look'} wrong"
    return LabelErrors(suspect=found, quality=quality, suggested=suggested, sentence=f"{many}, {how}.")


def class_probabilities(dynamics: Dynamics, labels: NDArray[np.int64], classes: int, epochs: int = 1) -> NDArray[np.float32]:
    """[N, classes] probabilities, mean over runs and the first `epochs` epochs, rebuilt from what is recorded.

    See `rebuilt` for how exact they are. Raises ScoreError when the recording lacks what they follow from.
    """
    lacking = missing(dynamics) & NEEDED
    if lacking:
        raise ScoreError(f"Class probabilities need {', '.join(sorted(lacking))}, which this recording does not have.")
    total = np.zeros((len(labels), classes), dtype=np.float32)
    size = max(1, BLOCK // classes)
    for run, epoch in product(range(dynamics.runs), range(min(epochs, dynamics.epochs))):
        gold, margin, predicted = dynamics.gold_prob[run, epoch], dynamics.gold_margin[run, epoch], dynamics.predicted[run, epoch]
        for start in range(0, len(labels), size):
            some = slice(start, start + size)
            total[some] += rebuilt(gold[some], margin[some], predicted[some], labels[some], classes)
    total /= total.sum(axis=1, keepdims=True)
    return total


def rebuilt(
    gold: NDArray[np.float32], margin: NDArray[np.float32], predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int
) -> NDArray[np.float32]:
    """[N, classes] probabilities from what is recorded of N examples: gold_prob, gold_margin, predicted, and their labels.

    Exact for two classes. With more, the gold class is exact, and so is the predicted class where it is another: its probability
    is gold_prob * exp(-gold_margin). What remains is spread evenly over the classes that are left.

    >>> rebuilt(np.array([0.25], np.float32), np.log(np.array([0.5], np.float32)), np.array([2]), np.array([0]), 4)
    array([[0.25 , 0.125, 0.5  , 0.125]])
    """
    wrong, rows = predicted != labels, np.arange(len(labels))
    with np.errstate(over="ignore", invalid="ignore"):
        best = np.where(gold > 0, gold * np.exp(-margin.astype(np.float64)), 1)  # 0: too sure of another class for 32 bits
    said = np.where(wrong, np.minimum(best, 1 - gold), 0)
    left = np.maximum(1 - gold - said, 0) / np.maximum(classes - 1 - wrong, 1)
    probabilities = np.repeat(left[:, None], classes, axis=1)
    probabilities[rows, labels] = gold
    probabilities[rows[wrong], predicted[wrong]] = said[wrong] if classes > 2 else 1 - gold[wrong]
    return probabilities


class Hard(StrEnum):
    """Why no run got an example right throughout."""

    MISLABELLED = "probably mislabelled"
    RARE = "rare"
    CONTESTED = "contested"


def hard_kinds(dynamics: Dynamics, errors: LabelErrors, rarity: Floats, burn_in: int = 0) -> NDArray[np.object_]:
    """[N] a `Hard` for each example with H = 0, else None.

    Probably mislabelled: in the list of label errors. Rare: its words are rarer than those of nine in ten examples (`rarity`, see
    `word_rarity`). Contested: the rest; runs and epochs disagree about it, or agree against its label without much conviction.
    """
    kinds = np.full(dynamics.examples, None, dtype=object)
    hard = h_score(dynamics.correct, burn_in) == 0
    kinds[hard] = Hard.CONTESTED
    kinds[hard & (rarity > np.quantile(rarity, RARE))] = Hard.RARE
    kinds[hard & errors.suspect] = Hard.MISLABELLED
    return kinds


def word_rarity(texts: Sequence[str], few: int = 2) -> Floats:
    """[N] share of an example's different words that occur in at most `few` other examples; 0..1, 0 for a text without words.

    >>> word_rarity(["the cat", "the dog", "the cat", "the axolotl"], few=0)
    array([0. , 0.5, 0. , 0.5])
    """
    from sklearn.feature_extraction.text import CountVectorizer

    try:
        words = CountVectorizer(token_pattern=r"(?u)\w+", binary=True, dtype=np.int32).fit_transform(texts)
    except ValueError:  # no text has a word
        return np.zeros(len(texts))
    rare = (words.sum(axis=0) <= few + 1).astype(np.float64)
    return np.asarray(words @ np.asarray(rare).ravel()).ravel() / np.maximum(np.asarray(words.sum(axis=1)).ravel(), 1)
