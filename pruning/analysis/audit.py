"""Audit of a subset: what it would lose, and which examples look wrong. Pure functions over arrays and columns.

`kept_shares` compares the kept share of classes and slices, `label_errors` lists labels that look wrong, `hard_kinds` tells the
examples that no run got right apart. Duplicates and leakage are in `pruning.analysis.duplicates`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise, product
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pruning.analysis.scores import h_score, missing
from pruning.errors import ScoreError, UsageError
from pruning.formatting import counted
from pruning.records import Dynamics

Floats = NDArray[np.float64]

FLOOR = 0.5
"""A class or slice is flagged when its kept share falls below this part of the overall kept share."""

CHANCE = 0.01
"""... and chance would do that in less than this share of random subsets (divided by the number of slices). A class that is gone is
flagged whatever chance would do: nothing can be learned of it."""

MOST = 20
"""Slices of one column; rarer values count together."""

OTHERS = "(others)"
"""Their name."""

EMPTY = "(empty)"
"""Name of the slice of texts without a letter."""

REPEATED = 5
"""Examples that a value needs on average for its column to have groups; fewer, and it is an id or a name."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One class or slice."""

    value: str
    total: int
    kept: int
    flag: str
    """"" = fine, "gone" = nothing of it is kept, "thin" = much less than its part is kept; see FLOOR and CHANCE."""

    @property
    def kept_fraction(self) -> float:
        """Share of it that is kept, 0..1."""
        return self.kept / self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """The kept share of every slice of one column."""

    column: str
    rows: tuple[Share, ...]
    p_value: float
    """Chi-square test that all slices are kept alike; nan where nothing can differ."""
    cramers_v: float
    """How strongly what is kept depends on the column, 0 (not at all) to 1."""
    sentence: str

    @property
    def flagged(self) -> tuple[Share, ...]:
        """Slices that are gone or thin."""
        return tuple(row for row in self.rows if row.flag)


def kept_shares(
    column: str,
    values: Sequence[object] | pd.Series | NDArray[np.generic],
    kept: NDArray[np.bool_],
    floor: float = FLOOR,
    classes: bool = False,
) -> Shares:
    """How a selection [N] treats the slices in `values` [N], or the `classes`. Raises UsageError where there are no examples.

    >>> shares = kept_shares("label", ["a"] * 50 + ["b"] * 50, np.arange(100) < 45)
    >>> [(row.value, row.kept, row.flag) for row in shares.rows], round(shares.cramers_v, 2)
    ([('a', 45, ''), ('b', 0, 'gone')], 0.9)
    """
    if len(kept) == 0:
        raise UsageError(f"There are no examples to compare by {column}.")
    slices = (
        values if isinstance(values, pd.Series) and isinstance(values.dtype, pd.CategoricalDtype) else pd.Series(values).astype("category")
    )
    codes, names = slices.cat.codes.to_numpy(), [str(name) for name in slices.cat.categories]
    totals = np.bincount(codes, minlength=len(names))
    stays = np.bincount(codes, kept, minlength=len(names)).astype(np.int64)
    chance = stats.hypergeom.cdf(stays, len(kept), int(kept.sum()), totals) * (totals > 0).sum()
    thin = (stays / np.maximum(totals, 1) < floor * kept.mean()) & (chance < CHANCE)
    gone = (stays == 0) & (thin | classes) & kept.any()
    flags = np.select([gone, thin], ["gone", "thin"], "")
    rows = tuple(
        Share(value=names[i], total=int(totals[i]), kept=int(stays[i]), flag=str(flags[i])) for i in range(len(names)) if totals[i]
    )
    p_value, strength = _dependence(totals, stays)
    return Shares(column=column, rows=rows, p_value=p_value, cramers_v=strength, sentence=_about(column, rows, kept.mean(), p_value))


def slices(column: str, values: pd.Series) -> tuple[str, pd.Series]:
    """A column as at most MOST comparable slices: what they are called, and a categorical [N].

    Numbers and times with many values become quarters of the examples, text becomes quarters by its number of words, other columns
    keep their most frequent values and put the rest together. Lists and structures are taken as the JSON they are; text without a
    letter is called "(empty)".

    >>> name, found = slices("review", pd.Series(["so good", "a much longer text than the other one", "bad"]))
    >>> name, list(found.cat.categories)
    ('words in review', ['1 to 1.5', '1.5 to 2', '2 to 5', '5 to 8'])
    """
    known = values.dropna()
    if pd.api.types.is_object_dtype(known.dtype) and known.map(pd.api.types.is_list_like).any():
        known = known.map(_as_json)
    if known.nunique() > MOST and (numbers := _as_numbers(known)) is not None:
        return column, _quarters(numbers.reindex(values.index), _as_times if _is_time(known) else _named)
    text = known.astype(str)
    text = text.mask(text.str.strip() == "", EMPTY)
    words = text.str.count(r"\S+")
    if (known.nunique() > MOST and words.mean() > 3) or (known.nunique() > len(known) / 2 and words.max() > 3):
        return f"words in {column}", _quarters(words.reindex(values.index).astype(float))
    counts = text.value_counts()
    if len(counts) > MOST:
        text = text.where(text.isin(counts.index[: MOST - 1]), OTHERS)
    filled = text.reindex(values.index).fillna("(missing)")
    return column, filled.astype(pd.CategoricalDtype(list(filled.value_counts().index)))


def names_each(found: pd.Series) -> bool:
    """Return True for slices of a column whose values hardly repeat, such as an id: those named hold too few examples to compare.

    >>> names_each(slices("ticket", pd.Series([f"t{i // 2}" for i in range(100)]))[1])
    True
    >>> names_each(slices("source", pd.Series([f"s{i % 10}" for i in range(100)]))[1])
    False
    """
    sizes = found[found != OTHERS].value_counts()
    sizes = sizes[sizes > 0]
    return len(found.cat.categories) >= MOST and bool(sizes.mean() < REPEATED)


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


def _dependence(totals: NDArray[np.int64], stays: NDArray[np.int64]) -> tuple[float, float]:
    """P of the chi-square test and Cramer's V of kept against slice."""
    table = np.stack([stays, totals - stays])[:, totals > 0]
    if table.shape[1] < 2 or (table.sum(axis=1) == 0).any():
        return nan, 0.0
    found = stats.chi2_contingency(table, correction=False)
    return float(found.pvalue), float(np.sqrt(found.statistic / table.sum()))


def _about(column: str, rows: Sequence[Share], overall: float, p_value: float) -> str:
    flagged = [row for row in rows if row.flag]
    if flagged:
        worst = "; ".join(f"{row.value} keeps {row.kept:,} of {row.total:,} ({row.kept_fraction:.0%})" for row in flagged[:3])
        more = f" and {len(flagged) - 3} more" if len(flagged) > 3 else ""
        return f"By {column}, {worst}{more}, where {overall:.0%} are kept overall."
    if p_value < CHANCE:
        low, high = (pick(rows, key=lambda row: row.kept_fraction) for pick in (min, max))
        return f"By {column}, between {low.kept_fraction:.0%} ({low.value}) and {high.kept_fraction:.0%} ({high.value}) are kept."
    return f"By {column}, no slice is kept differently for certain ({overall:.0%} overall)."


def _as_numbers(known: pd.Series) -> pd.Series | None:
    """Numbers, decimals, durations (seconds) and times (seconds since 1970 on their own clocks) as float64; None for anything else."""
    if pd.api.types.is_bool_dtype(known.dtype):
        return None
    if pd.api.types.is_numeric_dtype(known.dtype) or all(isinstance(value, Decimal) for value in known):
        return known.astype(float)
    if pd.api.types.is_timedelta64_dtype(known.dtype):
        return known.dt.total_seconds()
    if not _is_time(known):
        return None
    if pd.api.types.is_datetime64_any_dtype(known.dtype):
        times = known.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    else:
        times = np.array([value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in known], dtype="datetime64[us]")
    return pd.Series(times.astype(np.int64) / 1e6, index=known.index)


def _is_time(known: pd.Series) -> bool:
    return pd.api.types.is_datetime64_any_dtype(known.dtype) or all(isinstance(value, date) for value in known)


def _quarters(numbers: pd.Series, named: Callable[[Floats], list[str]] | None = None) -> pd.Series:
    """Four parts of about as many examples, named by their ends; "(missing)" where there is no finite number."""
    numbers = numbers.where(np.isfinite(numbers))
    edges = np.unique(np.nanquantile(numbers, [0, 0.25, 0.5, 0.75, 1])) if numbers.notna().any() else np.empty(0)
    ends = (named or _named)(edges)
    names = [f"{low} to {high}" for low, high in pairwise(ends)] or ends
    which = np.clip(np.searchsorted(edges, numbers.to_numpy(), side="right") - 1, 0, max(0, len(names) - 1))
    codes = np.where(numbers.notna(), which, len(names))
    categories = [*names, "(missing)"] if numbers.isna().any() else names
    return pd.Series(pd.Categorical.from_codes(codes, categories), index=numbers.index)


def _named(numbers: Floats) -> list[str]:
    """Different numbers with as few digits as tell them apart, at least four."""
    names = ([f"{number:.{digits}g}" for number in numbers] for digits in range(4, 18))
    return next(found for found in names if len(set(found)) == len(numbers))


def _as_times(seconds: Floats) -> list[str]:
    """Different times as days where that tells them apart, else to the second or finer."""
    times = np.round(seconds * 1e6).astype("datetime64[us]")
    for unit in ("D", "m", "s", "us"):
        names = [str(name).replace("T", " ") for name in np.datetime_as_string(times, unit=unit)]
        if len(set(names)) == len(names):
            break
    return names


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=lambda inner: inner.tolist() if isinstance(inner, np.ndarray) else str(inner))
