"""Subsets saved under a name: fixed rows, even if their rule keeps other rows after more runs, another burn-in or other decisions."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.errors import ExperimentError, SubsetError, UsageError
from pruning.records import Subset
from pruning.store.checksums import SAVED, check_once, checksummed, checksums, forgotten
from pruning.store.layout import Folder
from pruning.subsets.rules import understood

NAMING = "1 to 60 lowercase letters, digits, '-', '_' and '.', a letter first"
"""Characters a name may have, in words."""

_NAME = re.compile(r"[a-z][a-z0-9._-]{0,59}", re.ASCII)
_TAKEN = ("auto",)
"""Words with a meaning on the command line, beside the grammar of subsets."""


class _Saved(Mapping[str, Subset]):
    """The saved subsets by name, sorted; each file is read and checked when its name is looked up."""

    def __init__(self, folder: Folder, ids: NDArray[np.int64]) -> None:
        self._folder, self._ids = folder, ids

    def __getitem__(self, name: str) -> Subset:
        if name not in self:
            raise KeyError(name)
        return _read(self._folder, self._ids, name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _fits(name) and self._folder.saved(name).is_file()

    def __iter__(self) -> Iterator[str]:
        return iter(saved_names(self._folder))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def saved_names(folder: Folder) -> list[str]:
    """Return the names of the saved subsets, sorted. Reads no file."""
    return sorted(path.stem for path in folder.subsets.glob("*.parquet") if _fits(path.stem) and path.is_file())


def saved_subsets(folder: Folder, ids: NDArray[np.int64]) -> Mapping[str, Subset]:
    """Return the saved subsets by name, of method "saved"; `ids` are all examples in source order. A look-up reads the file.

    A look-up raises SubsetError, naming the file, when it is damaged or does not hold examples of this experiment.
    """
    return _Saved(folder, ids)


def save_subset(folder: Folder, ids: NDArray[np.int64], name: str, subset: Subset, *, burn_in: int, seed: int, runs: int) -> Path:
    """Save the subset's rows under that name and return their file. Saving the same rows again changes nothing.

    `ids` are all examples in source order; `burn_in`, `seed` and `runs` (complete ones) are what the subset was made with.
    Raises UsageError for an invalid name, SubsetError when the name is used for other rows or there is no row to save.
    """
    check_name(name)
    if subset.size == 0:
        raise SubsetError(f"{subset.name} keeps no examples; there is nothing to save.")
    path, there = folder.saved(name), saved_subsets(folder, ids).get(name)
    if there is not None:
        if not np.array_equal(there.kept, subset.kept):
            raise SubsetError(f"{name} already exists and keeps {there.size:,} other examples ({there.rule}); choose another name.")
        return path
    described = {
        "rule": subset.name,
        "words": subset.rule,
        "burn_in": burn_in,
        "seed": seed,
        "runs": runs,
        "total": subset.total,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    table = pa.table({"id": pa.array(subset.kept, pa.int64())})
    with checksummed(folder, path) as temporary:
        pq.write_table(table.replace_schema_metadata({"subset": json.dumps(described, ensure_ascii=False)}), temporary)
    return path


def forget_subset(folder: Folder, name: str) -> None:
    """Remove a saved subset, even one whose file is damaged or missing. Raises SubsetError where nothing was saved under that name."""
    path = folder.saved(name) if _NAME.fullmatch(name) else None
    if path is None or path not in saved_files(folder):
        there = ", ".join(saved_names(folder)) or "none"
        raise SubsetError(f"No subset is saved under {name!r}; saved: {there}.")
    forgotten(folder, path)
    path.unlink(missing_ok=True)


def check_name(name: str) -> None:
    """Raise UsageError, naming the rule, for a name that a subset cannot be saved under."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name[:80]!r} is not a valid name for a subset; use {NAMING}.")
    if not _fits(name):
        raise UsageError(f"{name!r} is the name of a rule; choose another name, such as my-{name[:50]}.")


def saved_files(folder: Folder) -> list[Path]:
    """Return the files of saved subsets: those that exist, and missing ones that still have a checksum."""
    there = [path.name for path in folder.subsets.glob("*.parquet")]
    known = [Path(file).name for file, sums in checksums(folder).items() if file.startswith(SAVED) and sums]
    return [folder.subsets / name for name in sorted({*there, *known})]


def _fits(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name not in _TAKEN and not understood(name)


def _read(folder: Folder, ids: NDArray[np.int64], name: str) -> Subset:
    path = folder.saved(name)
    try:
        check_once(folder, path)
        with pq.ParquetFile(path) as file:
            described: dict[str, Any] = json.loads(file.schema_arrow.metadata[b"subset"])
            kept = file.read(columns=["id"])["id"].to_numpy()
        words, total = described["words"], described["total"]
    except ExperimentError as error:
        raise SubsetError(str(error)) from None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SubsetError(f"{path} is not a saved subset ({error}); restore it from a copy, or forget it.") from None
    if kept.dtype != np.int64 or total != len(ids) or not np.array_equal(kept, ids[np.isin(ids, kept)]):
        raise SubsetError(f"{path} does not hold examples of {folder.root}, each once and in their order; forget it.")
    return Subset(name=name, method="saved", rule=f"the saved subset {name}: {words}", kept=kept, total=total)
