"""Which examples match: search and filters over an experiment, vectorised. Torch-free, face-free."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pruning.data import SOURCE_PREFIX
from pruning.experiment import Experiment


def source_columns(experiment: Experiment) -> list[str]:
    """Names of the source's own columns, without the prefix."""
    return [name.removeprefix(SOURCE_PREFIX) for name in experiment.schema.names if name.startswith(SOURCE_PREFIX)]


ONLY = ("suspected label errors", "duplicates", "decided by hand")
"""What `matching` can be narrowed to."""


def matching(
    experiment: Experiment,
    *,
    kept: NDArray[np.bool_],
    show: str,
    h: NDArray[np.int64],
    levels: Collection[int] = (),
    text: str = "",
    only: str | None = None,
) -> NDArray[np.int64]:
    """Positions of the examples that match, in source order.

    `show` is kept, pruned or all; `levels` the H-values wanted (none = any); `text` must occur in one of the text fields, letter
    case ignored; `only` is one of ONLY.
    """
    found = {"kept": kept, "pruned": ~kept}.get(show, np.ones(len(kept), dtype=bool)).copy()
    if levels:
        found &= np.isin(h, list(levels))
    if text:
        found &= contains(experiment.examples(experiment.text_columns), text)
    if only == "suspected label errors":
        found &= experiment.label_errors.suspect if experiment.label_errors is not None else False
    elif only == "duplicates":
        found &= experiment.duplicates.group[: len(found)] >= 0
    elif only == "decided by hand":
        found &= np.isin(experiment.ids, list(experiment.decided.touched))
    return np.flatnonzero(found)


def contains(table: pa.Table, text: str) -> NDArray[np.bool_]:
    """[N] rows in which any column contains the text, letter case ignored."""
    found = np.zeros(table.num_rows, dtype=bool)
    for column in table.columns:
        found |= np.asarray(pc.fill_null(pc.match_substring(column, text, ignore_case=True), False).combine_chunks())
    return found
