"""What would be lost, and what looks wrong: shares of classes and slices, label errors, duplicates, leakage. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pruning.records import Dynamics

FLAG = 0.5
"""A class or slice that keeps less than this part of what the whole set keeps is flagged."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shares:
    """How evenly a subset keeps the values of one column."""

    table: pd.DataFrame
    """A row per value: value, before, after, kept (0..1), flagged; most frequent first."""
    p_value: float
    """Chi-square test that keeping does not depend on the value; nan with one value."""
    cramers_v: float
    """Strength of that dependence, 0 = none to 1; nan with one value."""


def shares(values: Sequence[object] | NDArray[np.object_], kept: NDArray[np.bool_], flag: float = FLAG) -> Shares:
    """How many examples of each value stay, and whether that is more than chance.

    A value is flagged when it keeps less than `flag` times the overall share.

    >>> audit = shares(["a"] * 90 + ["b"] * 10, np.array([True] * 60 + [False] * 40))
    >>> audit.table[["value", "before", "after", "flagged"]].to_dict("records")
    [{'value': 'a', 'before': 90, 'after': 60, 'flagged': False}, {'value': 'b', 'before': 10, 'after': 0, 'flagged': True}]
    """
    table = pd.crosstab(pd.Series(np.asarray(values, dtype=object), name="value").astype(str), pd.Series(kept, name="kept"))
    table = table.reindex(columns=[False, True], fill_value=0)
    before, after = table.sum(axis=1).to_numpy(), table[True].to_numpy()
    share = after / before
    result = pd.DataFrame({"value": table.index.to_numpy(), "before": before, "after": after, "kept": share})
    result["flagged"] = share < flag * kept.mean()
    result = result.sort_values("before", ascending=False, kind="stable", ignore_index=True)
    if len(result) < 2 or kept.all() or not kept.any():
        return Shares(table=result, p_value=np.nan, cramers_v=np.nan)
    test = stats.chi2_contingency(table.to_numpy(), correction=False)
    return Shares(table=result, p_value=float(test.pvalue), cramers_v=float(np.sqrt(test.statistic / len(kept))))


def duplicate_groups(texts: Sequence[str]) -> NDArray[np.int64]:
    """[N] number of the group of equal texts that each belongs to, -1 for texts that occur once.

    Letter case, punctuation and spacing are ignored.

    >>> duplicate_groups(["A film.", "a  film", "another"])
    array([ 0,  0, -1])
    """
    codes, _ = pd.factorize(np.array([normal(text) for text in texts], dtype=object))
    counts = np.bincount(codes)
    numbers = np.cumsum(counts > 1) - 1
    return np.where(counts[codes] > 1, numbers[codes], -1).astype(np.int64)


def leaked(texts: Sequence[str], held_out: Sequence[str]) -> NDArray[np.bool_]:
    """[N] training texts that also occur in the evaluation data: the frontier would be measured on what was trained on.

    >>> leaked(["A film.", "b"], ["a film"])
    array([ True, False])
    """
    seen = {normal(text) for text in held_out}
    return np.array([normal(text) in seen for text in texts], dtype=bool)


def normal(text: str) -> str:
    """Text as duplicates are compared: words in lower case, one space between them."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def label_errors(dynamics: Dynamics, labels: NDArray[np.int64], classes: int) -> pd.DataFrame:
    """Suspected label errors by confident learning (Northcutt et al. 2021, cleanlab), most suspect first.

    Epoch 0 was predicted before the model had trained on the example, so its probabilities, averaged over runs, are
    out-of-sample: no cross-validation is needed. The recording holds the gold probability and the predicted class; with more than
    two classes what is left goes to the predicted class where that is wrong, else evenly to the others.
    Columns: position, quality (0..1, low = suspect), suggested (class index).
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    probabilities = out_of_sample(dynamics, labels, classes)
    suspects = find_label_issues(labels, probabilities, n_jobs=1)
    quality = get_label_quality_scores(labels, probabilities)
    found = pd.DataFrame({"position": np.flatnonzero(suspects), "quality": quality[suspects]})
    found["suggested"] = probabilities[suspects].argmax(axis=1)
    return found.sort_values("quality", kind="stable", ignore_index=True)


def out_of_sample(dynamics: Dynamics, labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """[N, classes] probabilities of epoch 0, mean over runs, each row adding up to 1."""
    rows = np.arange(dynamics.examples)
    total = np.zeros((dynamics.examples, classes))
    for gold, predicted in zip(dynamics.gold_prob[:, 0], dynamics.predicted[:, 0], strict=True):
        rest = 1 - gold.astype(np.float64)
        wrong = predicted != labels
        one = np.repeat((rest / (classes - 1))[:, None], classes, axis=1)
        one[wrong] = 0
        one[rows[wrong], predicted[wrong]] = rest[wrong]
        one[rows, labels] = gold
        total += one
    return total / total.sum(axis=1, keepdims=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEffect:
    """How much epoch 0 measured when an example came up rather than how hard it is."""

    early: float
    """Accuracy in the first tenth of epoch 0, mean over runs."""
    late: float
    """Accuracy in its last tenth."""
    correlation: float
    """Spearman's correlation of place in the epoch with being right, over all runs."""
    burn_in: int
    """Epochs better left out of H."""
    sentence: str


def order_effect(dynamics: Dynamics, threshold: float = 0.1) -> OrderEffect:
    """Whether epoch 0 is luck: accuracy by place within the epoch, and the burn-in that follows.

    Burn-in 1 is recommended when the last tenth of epoch 0 is better than the first by more than `threshold` and another
    epoch is left to count.
    """
    place = dynamics.position[:, 0].ravel()
    right = dynamics.correct[:, 0].ravel()
    tenth = max(1, dynamics.examples // 10)
    early, late = float(right[place < tenth].mean()), float(right[place >= dynamics.examples - tenth].mean())
    constant = right.all() or not right.any()
    correlation = 0.0 if constant else float(stats.spearmanr(place, right).statistic)
    lucky = late - early > threshold and dynamics.epochs > 1
    sentence = f"In the first epoch accuracy rose from {early:.0%} (first tenth) to {late:.0%} (last tenth): " + (
        "it measures when an example came up as much as how hard it is; leave it out (burn-in 1)." if lucky else "it can be counted."
    )
    return OrderEffect(early=early, late=late, correlation=correlation, burn_in=int(lucky), sentence=sentence)
