"""The columns of an experiment as groups of examples, and the fine-tunings whose accuracy on them is compared."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pruning.analysis.frontier import subset_sha256
from pruning.analysis.groups import Slicing
from pruning.analysis.slices import REPEATED, names_each, slices
from pruning.data.examples import SOURCE_PREFIX
from pruning.fine_tunings import RIGHT
from pruning.records import Subset
from pruning.store import cache
from pruning.store.stored import Stored

LABEL = "label"
"""Name of the classes as a column, whatever it is called in the source."""

Sides = tuple[dict[int, NDArray[np.bool_]], dict[int, NDArray[np.bool_]]]
"""Seed -> [E] whether each evaluation example was predicted right: of full data, and of the subset."""


def sides(rows: pd.DataFrame, subset: Subset, evaluated: int) -> Sides | str:
    """Return the predictions of full data and of the subset, or why there are none, in a sentence.

    `rows` are fine-tunings with the column `right`, `evaluated` is the number of evaluation examples.
    """
    if subset.name == "full":
        return "Full data is what groups are compared with."
    own = (rows["subset"] == subset.name) | (rows["rows_sha256"] == subset_sha256(subset))
    if not own.any():
        return f"Accuracy by group of {subset.name} is not measured; measure it on the frontier."
    full, ours = (_right(part, evaluated) for part in (rows[rows["subset"] == "full"], rows[own]))
    if full.keys() & ours.keys():
        return full, ours
    return (
        f"Accuracy by group of {subset.name} is not recorded: it was measured by an earlier version, or with other seeds than full data; "
        "measure more seeds of it."
    )


def _right(rows: pd.DataFrame, evaluated: int) -> dict[int, NDArray[np.bool_]]:
    if RIGHT not in rows:
        return {}
    known = [(int(row.seed), row.right) for row in rows.itertuples() if isinstance(row.right, (list, np.ndarray))]
    return {seed: np.asarray(right, dtype=np.bool_) for seed, right in known if len(right) == evaluated}


def slicings(stored: Stored) -> list[Slicing]:
    """Return the classes and the slices of every column of the evaluation data, as `slices.slices` cuts both parts of the data together.

    The result is kept in the experiment's cache.
    """
    data = stored.info["data"]

    def found() -> cache.Arrays:
        made = list(_made(stored))
        names = [[one.column, list(one.names), one.training is not None] for one in made]
        codes = [np.concatenate([one.evaluation, np.zeros(0, int) if one.training is None else one.training]) for one in made]
        return {"names": np.array(json.dumps(names)), **{f"codes{place}": each.astype(np.int32) for place, each in enumerate(codes)}}

    kept = cache.remember(stored.folder.cache("slices"), f"{REPEATED} {data['fingerprint']} {data['evaluation']['fingerprint']}", found)
    evaluated = stored.evaluation(["id"]).num_rows
    return [
        Slicing(column=column, names=tuple(names), evaluation=codes[:evaluated], training=codes[evaluated:] if trained else None)
        for (column, names, trained), codes in (
            (entry, kept[f"codes{place}"].astype(np.int64)) for place, entry in enumerate(json.loads(str(kept["names"])))
        )
    ]


def _made(stored: Stored) -> Iterator[Slicing]:
    evaluation, label = stored.evaluation(), SOURCE_PREFIX + stored.settings.label_column
    if stored.labels is not None:
        yield Slicing(
            column=LABEL,
            names=stored.label_names,
            evaluation=np.asarray(evaluation["label"], dtype=np.int64),
            training=stored.labels,
        )
    for name in evaluation.column_names:
        if not name.startswith(SOURCE_PREFIX) or name == label:
            continue
        values = evaluation[name].to_pandas()
        trained = name in stored.schema.names
        if trained:
            values = pd.concat([values, stored.examples([name])[name].to_pandas()], ignore_index=True)
        column, found = slices(name.removeprefix(SOURCE_PREFIX), values)
        if names_each(found):
            continue
        codes = found.cat.codes.to_numpy(dtype=np.int64)
        size = evaluation.num_rows
        yield Slicing(
            column=column,
            names=tuple(map(str, found.cat.categories)),
            evaluation=codes[:size],
            training=codes[size:] if trained else None,
        )
