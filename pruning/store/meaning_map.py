"""The map by meaning on disk: look/map.parquet, one row per training example in source order.

Columns: id (int64), x and y (float32, within -1 to 1). In the schema's metadata, as "map", one JSON value: format, recipe (that of the
look whose embeddings it was made of), method, fitted (examples that t-SNE placed itself; the others stand between the nearest of them)
and regions (x, y and words of each).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.analysis.meaning_map import Places, Region
from pruning.errors import ExperimentError
from pruning.store.checksums import check_once, checksummed
from pruning.store.layout import Folder, read_notes, read_table

FORMAT = 1
"""Version of what a map holds and how it is computed; another one is computed again."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MeaningMap:
    """A finished map."""

    places: Places
    """[N, 2]"""
    fitted: int
    """Examples that t-SNE placed itself; fewer than all where there are many."""
    regions: tuple[Region, ...]


def read_map(folder: Folder, ids: NDArray[np.int64], recipe: str) -> MeaningMap | None:
    """Return the map made of the look with that recipe; None where there is none, or only one of another look or format.

    Raises ExperimentError when its file is damaged or does not hold these examples.
    """
    if not folder.map.exists():
        return None
    remedy = f"make it again: python -m pruning look {folder.root}"
    try:
        check_once(folder, folder.map)
        notes = json.loads(read_notes(folder.map)["map"])
        if notes["format"] != FORMAT or notes["recipe"] != recipe:
            return None
        table = read_table(folder.map, None)
        regions = tuple(Region(x=one["x"], y=one["y"], words=tuple(one["words"])) for one in notes["regions"])
        same = np.array_equal(table["id"].to_numpy(), ids)
        places = np.stack([table[axis].to_numpy() for axis in ("x", "y")], axis=1)
        found = MeaningMap(places=places, fitted=notes["fitted"], regions=regions)
    except (ExperimentError, ValueError, KeyError, TypeError):
        raise ExperimentError(f"{folder.map} is damaged; {remedy}.") from None
    if not same:
        raise ExperimentError(f"{folder.map} is of other examples; {remedy}.")
    return found


def write_map(folder: Folder, ids: NDArray[np.int64], recipe: str, places: Places, fitted: int, regions: Sequence[Region]) -> None:
    """Write the map of the look with that recipe."""
    notes = {
        "format": FORMAT,
        "recipe": recipe,
        "method": f"t-SNE by scikit-learn {version('scikit-learn')}",
        "fitted": fitted,
        "regions": [asdict(region) for region in regions],
    }
    table = pa.table({"id": ids, "x": places[:, 0], "y": places[:, 1]})
    with checksummed(folder, folder.map) as temporary:
        pq.write_table(table.replace_schema_metadata({"map": json.dumps(notes, ensure_ascii=False)}), temporary)
