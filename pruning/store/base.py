"""base.parquet: what is known of each answer before any training, for generation. One file, written once scoring begins."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.errors import ExperimentError
from pruning.store.checksums import check_once, checksummed
from pruning.store.layout import Folder, read_table

LENGTH, CUT, LOSS0, LOSS0_ALONE = "answer_length", "answer_cut", "loss0", "loss0_alone"
"""Columns: tokens of the answer, True where it lost its end, and the unadapted model's mean loss of it in nats a token, with its prompt
and without (nan where that was not measured)."""


def write_base(folder: Folder, ids: NDArray[np.int64], columns: Mapping[str, NDArray[np.generic]]) -> None:
    """Write the columns for the examples `ids`, atomically."""
    with checksummed(folder, folder.base) as temporary:
        pq.write_table(pa.table({"id": ids, **columns}), temporary)


def read_base(folder: Folder, ids: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return the columns by name, [N] each; those without a value are left out, and there are none without the file.

    Raises ExperimentError for a file that is damaged, or holds other examples.
    """
    if not folder.base.exists():
        return {}
    check_once(folder, folder.base)
    table = read_table(folder.base, None)
    if not np.array_equal(np.asarray(table["id"]), ids):
        raise ExperimentError(f"{folder.base} does not hold the examples of {folder.examples}, in their order.")
    columns = {name: np.asarray(table[name], dtype=np.float64) for name in table.column_names if name != "id"}
    return {name: values for name, values in columns.items() if not np.isnan(values).all()}
