"""A column of the data as slices that can be compared, and how a subset keeps each of them. Pure functions over arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pruning.errors import UsageError

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
    return f"By {column}, no slice is kept at a clearly different rate ({overall:.0%} overall)."


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
