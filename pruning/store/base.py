"""base.parquet: what is known of each answer before any training, for generation. One file, written once scoring begins."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pruning.store.columns import read_columns, write_columns
from pruning.store.layout import Folder

LENGTH, CUT, LOSS0, LOSS0_ALONE = "answer_length", "answer_cut", "loss0", "loss0_alone"
"""Columns: tokens of the answer, True where it lost its end, and the unadapted model's mean loss of it in nats a token, with its prompt
and without (nan where that was not measured)."""


def write_base(folder: Folder, ids: NDArray[np.int64], columns: Mapping[str, NDArray[np.generic]]) -> None:
    """Write the columns for the examples `ids`, atomically."""
    write_columns(folder, folder.base, ids, columns)


def read_base(folder: Folder, ids: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return the columns by name, [N] each; those without a value are left out. Raises what `read_columns` does."""
    return {name: values for name, values in read_columns(folder, folder.base, ids).items() if not np.isnan(values).all()}
