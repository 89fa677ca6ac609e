"""Read a log of sampled answers, whatever tool wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pruning.errors import DataError, UsageError
from pruning.interop.answers import tables
from pruning.interop.answers.log import Log, Sample, Wanted, files_of, rows_of
from pruning.interop.answers.tools import TOOLS, Tool

AUTO = "auto"


def read_log(paths: Sequence[Path], tool: str, wanted: Wanted) -> Log:
    """Return the samples of these files and folders. `tool` is auto, wide (a row for each prompt), or a name in `TOOLS`.

    Raises DataError naming the line that cannot be read, UsageError for what has to be named.
    """
    if tool not in (AUTO, "wide", *TOOLS):
        raise UsageError(f"tool must be {AUTO}, wide or one of {', '.join(TOOLS)}, got {tool!r}.", "tool")
    rows = [(where, path, row) for path in files_of(paths) for where, row in rows_of(path)]
    if not rows:
        raise DataError(f"{paths[0]} has no rows.")
    first = rows[0][2]
    found = tables.detected(first, wanted) if tool in (AUTO, "wide") and (wanted.table or _detected(first).name == "table") else None
    if tool == "wide" and found is None:
        raise UsageError(f"{rows[0][0]} has no list of rewards by name; name it, or a rate or count.", "rewards")
    if found is not None:
        return _wide(rows, found)
    chosen = _detected(first) if tool == AUTO else TOOLS[tool]
    samples = [sample for where, path, row in rows for sample in _read(chosen, row, where, path, wanted)]
    if not samples:
        raise DataError(f"{paths[0]} has no sampled answer that fits (reward {wanted.reward!r}).")
    return Log(tool=chosen.name, samples=samples, warnings=_about(chosen, rows))


def _detected(row: dict[str, Any]) -> Tool:
    return next(tool for tool in TOOLS.values() if tool.fits(row))


def _read(tool: Tool, row: dict[str, Any], where: str, path: Path, wanted: Wanted) -> list[Sample]:
    """Return a row's samples. A row of another shape than the tool's is named."""
    if not tool.fits(row):
        raise DataError(f"{where} is not a row of {tool.name}: it has {', '.join(map(str, row))[:200]}.")
    try:
        return list(tool.read(row, where, path, wanted))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise DataError(f"{where} is not a row of {tool.name} that can be read: {type(error).__name__} {error}.") from None


def _wide(rows: Sequence[tuple[str, Path, dict[str, Any]]], wanted: Wanted) -> Log:
    percent = bool(wanted.pass_rate) and tables.rates_are_percent([tables.rate_of(row, where, wanted) for where, _, row in rows])
    samples: list[Sample] = []
    for index, (where, _, row) in enumerate(rows):
        for sample in tables.samples_of(row, where, wanted, percent):
            sample.row = index
            samples.append(sample)
    if not samples:
        raise DataError(f"{rows[0][0]} and the rows after it have no sampled answer.")
    notes = ["The order of samples is not known from rates and counts."] if not wanted.rewards else []
    return Log(tool="wide", samples=samples, warnings=notes + (["Rates go beyond 1: they are read as percent."] if percent else []))


def _about(tool: Tool, rows: Sequence[tuple[str, Path, dict[str, Any]]]) -> list[str]:
    if tool.name == "nemo-rl" and any("filtered_rewards" in row for _, _, row in rows):
        return [
            "The log was filtered by dynamic sampling (it has filtered_rewards), so prompts that are all right or all wrong are missing."
        ]
    filters = {str(row.get("filter")) for _, _, row in rows} if tool.name == "lm-eval" else set()
    if len(filters) > 1:
        return [f"The log has each answer with the filters {', '.join(sorted(filters))}; choose one as --reward METRIC,FILTER."]
    return []
