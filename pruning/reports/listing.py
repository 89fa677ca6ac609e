"""The list of experiments: one row each, read once and kept beside the experiments until its files change."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pruning.errors import WinnowError
from pruning.files import write_text
from pruning.reading import Reading

FILE = ".list.json"
"""Name of the file with the rows, in the folder of the experiments; it may be deleted at any time."""

SECONDS = 2.0
"""Time to read experiments for one look at the list; rows that are not read by then say so, and are read at the next look."""

Row = dict[str, Any]


class Listing:
    """Rows of the experiments of one folder, latest first, each kept with the times of the files that it was made of."""

    def __init__(self, root: Path) -> None:
        self.path = root / FILE
        self._rows: dict[str, tuple[list[int], Row]] = {}
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            self._rows = {str(name): ([int(time) for time in stamp], dict(row)) for name, (stamp, row) in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # none yet, or not ours: every row is read

    def rows(self, folders: Sequence[Path], seconds: float = SECONDS) -> list[Row]:
        """Return a row for each folder, spending `seconds` at most on those that changed; one that cannot be read says why."""
        end, read, found = time.monotonic() + seconds, 0, []
        for folder in folders:
            stamp = [_written(folder / name) for name in ("experiment.json", "events.jsonl", "frontier.parquet", "dynamics")]
            kept = self._rows.get(folder.name)
            if kept is not None and kept[0] == stamp:
                found.append(kept[1])
            elif read and time.monotonic() > end:
                found.append({"experiment": folder.name, "latest job": "not read yet; open the list again"})
            else:
                row, keep = _row(folder)
                read += 1
                self._rows.pop(folder.name, None)
                if keep:
                    self._rows[folder.name] = (stamp, row)
                found.append(row)
        if read:
            self._keep({folder.name for folder in folders})
        return found

    def _keep(self, names: set[str]) -> None:
        self._rows = {name: kept for name, kept in self._rows.items() if name in names}
        with suppress(WinnowError):  # a folder that cannot be written to is listed all the same
            write_text(self.path, json.dumps(self._rows, ensure_ascii=False))


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _row(folder: Path) -> tuple[Row, bool]:
    """Return an experiment's row, and if it holds until a file changes: no job is under way, and nothing failed."""
    try:
        experiment = Reading(folder)
        settings, finished = experiment.settings, len(experiment.finished_runs())
        counts, accuracy = _results(experiment) if finished else ([], None)
        status = experiment.status()
    except (WinnowError, OSError) as error:
        return {"experiment": folder.name, "latest job": str(error).removeprefix(f"{folder}/")}, False
    row = {
        "experiment": experiment.name,
        "latest job": status.sentence,
        "runs": finished / max(1, settings.runs),
        "examples": experiment.info["data"]["rows"],
        "difficulty": counts,
        "accuracy": accuracy,
        "model": settings.model,
        "created": str(experiment.info.get("created", ""))[:16].replace("T", " "),
    }
    return row, not status.state.under_way


def _results(experiment: Reading) -> tuple[list[int], float | None]:
    """Return examples by H, and full data's accuracy where it was measured."""
    counts = experiment.h_histogram().tolist()
    rows = experiment.finished()
    full = rows.loc[rows["subset"] == "full", "accuracy"] if "accuracy" in rows else rows["subset"].iloc[:0]
    return counts, float(full.mean()) if len(full) else None
