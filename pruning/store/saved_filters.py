"""Filters that a person saved under a name: an append-only list in the folder, the latest of a name counts."""

from __future__ import annotations

from collections.abc import Mapping

from pruning.store import lines
from pruning.store.layout import Folder


def saved(folder: Folder) -> dict[str, dict[str, object]]:
    """Name -> what its widgets were set to, in the order in which they were first saved."""
    found: dict[str, dict[str, object]] = {}
    for line in lines.read(folder.views):
        if line["filters"] is None:
            found.pop(line["name"], None)
        else:
            found[line["name"]] = line["filters"]
    return found


def save(folder: Folder, name: str, filters: Mapping[str, object] | None) -> None:
    """Remember these filters under that name; None forgets the name."""
    lines.append(folder, folder.views, {"name": name, "filters": filters})
