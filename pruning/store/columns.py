"""A file of numbers beside each example's id: written as a whole, read in the order of the experiment's examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.errors import ExperimentError
from pruning.store.checksums import check_once, checksummed
from pruning.store.layout import Folder, read_table


def write_columns(folder: Folder, path: Path, ids: NDArray[np.int64], columns: Mapping[str, NDArray[np.generic]]) -> None:
    """Write the columns, [N] each, for the examples `ids`, atomically."""
    with checksummed(folder, path) as temporary:
        pq.write_table(pa.table({"id": ids, **columns}), temporary)


def read_columns(folder: Folder, path: Path, ids: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return the columns by name, [N] each; none without the file.

    Raises ExperimentError for a file that is damaged, or holds other examples.
    """
    if not path.exists():
        return {}
    check_once(folder, path)
    table = read_table(path, None)
    if not np.array_equal(np.asarray(table["id"]), ids):
        raise ExperimentError(f"{path} does not hold the examples of {folder.examples}, in their order.")
    return {name: np.asarray(table[name], dtype=np.float64) for name in table.column_names if name != "id"}
