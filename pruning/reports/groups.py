"""The subset that keeps more of the groups that lose, and the table of all groups."""

from __future__ import annotations

from math import ceil, isnan

import pandas as pd

from pruning.analysis.groups import Groups
from pruning.reading import Reading
from pruning.reading.grouping import LABEL
from pruning.records import Subset
from pruning.subsets.decisions import without_suffix
from pruning.subsets.floors import Floor, with_floors


def floored(reading: Reading, subset: Subset, found: Groups) -> Subset | None:
    """Return the subset with the proposed floors; None where no group loses, or nothing of those that do was pruned.

    Where only classes lose it is one of the grammar, floor-0.5@..., with one share for all classes. Else it has no name of its own: it
    is to be saved under one (`Reading.save`).
    """
    losing = [row for row in found.losing if row.floor is not None]
    if not losing:
        return None
    if all(row.column == LABEL for row in losing):
        share = max(ceil(100 * (row.floor or 0) / (row.total or 1)) for row in losing)
        return reading.subset(f"floor-{min(share, 99) / 100:g}@{_operand(without_suffix(subset.name)[0])}")
    by_name = {slicing.column: slicing for slicing in reading.slicings}
    floors = []
    for row in losing:
        slicing = by_name[row.column]
        assert slicing.training is not None and row.floor is not None
        floors.append(Floor(name=row.name, members=slicing.training == slicing.names.index(row.value), at_least=row.floor))
    return with_floors(subset, floors, reading.ids, reading.settings.seeds[0])


def _operand(name: str) -> str:
    """Return a subset's name as it stands after an @.

    >>> _operand("winning-ticket"), _operand("0.5"), _operand("drop-hard or full")
    ('winning-ticket', '0.5', '(drop-hard or full)')
    """
    return f"({name})" if " " in name else name


def table(found: Groups) -> pd.DataFrame:
    """Return a row for each group, the largest loss first: accuracies in percent, changes in percentage points."""
    return pd.DataFrame(
        {
            "column": row.column,
            "value": row.value,
            "evaluated": row.evaluated,
            "full data": 100 * row.full,
            "this subset": 100 * row.subset,
            "change": 100 * row.change.mean,
            "low": 100 * row.change.low,
            "high": 100 * row.change.high,
            "others": 100 * row.others,
            "p": row.p_value,
            "kept": row.kept,
            "of": row.total,
            "floor": row.floor if row.loses else None,
            "remark": "loses" if row.loses else "too few to test" if isnan(row.p_value) else "",
        }
        for row in found.rows
    )
