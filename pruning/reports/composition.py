"""Composition of a subset: what it keeps and prunes by H and by class, and a few examples of it. Face-free."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pruning.records import FrontierPoint
from pruning.reports.browse import View

OTHER = "other"
"""Name of the values that are counted together."""

KEPT, PRUNED = "kept", "pruned"


def sides(kept: NDArray[np.bool_]) -> pd.Series:
    """Return [N] "pruned" or "kept", a categorical in this order."""
    return pd.Series(pd.Categorical.from_codes(kept.astype(np.int8), [PRUNED, KEPT]))


def folded(values: pd.Series, most: int) -> pd.Series:
    """Return a categorical with its `most` frequent values, the rest as "other"; unchanged where there are no more.

    >>> folded(pd.Series(["a", "a", "b", "c", "a", "b"], dtype="category"), 2).cat.categories.tolist()
    ['a', 'b', 'other']
    """
    categories = [str(value) for value in values.cat.categories]
    if len(categories) <= most:
        return values
    names = [name for name in map(str, values.value_counts().index[:most]) if name != OTHER]
    codes = np.array([names.index(name) if name in names else len(names) for name in categories])
    return pd.Series(pd.Categorical.from_codes(codes[values.cat.codes], [*names, OTHER]))


def by_level(levels: NDArray[np.integer], parts: pd.Series, most: int) -> pd.DataFrame:
    """Return the number of examples at each level from 0 to `most` (row), such as H, in each part (column).

    >>> by_level(np.array([0, 2, 2]), sides(np.array([False, True, False])), 2).to_numpy().tolist()
    [[1, 0], [0, 0], [1, 1]]
    """
    return pd.crosstab(pd.Series(levels, name="H"), parts, dropna=False).reindex(range(most + 1), fill_value=0)


def spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return a few positions at even steps, the first and the last among them.

    >>> spread(np.arange(10), 4).tolist(), spread(np.arange(2), 4).tolist(), spread(np.arange(0), 4).tolist()
    ([0, 3, 6, 9], [0, 1], [])
    """
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]


def class_shares(view: View, kept: NDArray[np.bool_]) -> pd.DataFrame | None:
    """Return each class's share before and after pruning, 0..1, and the change in pp; None without classes.

    Before, the data's labels count; after, those changed by hand.
    """
    names, labels, now = view.experiment.label_names, view.experiment.labels, view.labels
    if labels is None or now is None or not names:
        return None
    before, after = np.bincount(labels, minlength=len(names)), np.bincount(now, kept, minlength=len(names))
    table = pd.DataFrame({"class": names, "before": before / max(1, len(labels)), "after": after / max(1, int(kept.sum()))})
    return table.assign(pp=((table["after"] - table["before"]) * 100).round(1)).round(3)


def class_shares_sentence(view: View, kept: NDArray[np.bool_], most: int = 6) -> str:
    """Return the same of the largest classes in a sentence; empty without classes."""
    table = class_shares(view, kept)
    if table is None:
        return ""
    largest, more = table.sort_values("before", ascending=False, kind="stable").head(most), len(table) - most
    changes = [f"\u2068{name}\u2069 {before:.0%} to {after:.0%}" for name, before, after, _ in largest.itertuples(index=False)]
    return f"Class shares: {', '.join(changes)}{f', and {more} more' if more > 0 else ''}."


def class_accuracy(point: FrontierPoint) -> pd.DataFrame:
    """Return the accuracy on each class's evaluation examples with full data and with the subset, paired by seed, most lost first."""
    rows = [(name, *both) for name, both in point.class_accuracy_vs_full.items()]
    table = pd.DataFrame(rows, columns=["class", "full data", "this subset"])
    return table.assign(pp=((table["this subset"] - table["full data"]) * 100).round(1)).sort_values("pp", kind="stable")
