"""Read a log of sampled answers, whatever tool wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from pruning.errors import DataError, UsageError
from pruning.interop.answers import tables
from pruning.interop.answers.log import Log, Sample, Wanted, files_of, rows_of
from pruning.interop.answers.tools import TABLE, TOOLS, Row, Tool

AUTO = "auto"


def read_log(paths: Sequence[Path], tool: str, wanted: Wanted) -> Log:
    """Return the samples of these files and folders. `tool` is auto, wide (a row for each prompt), or a name in `TOOLS`.

    Raises DataError naming the line that cannot be read, UsageError for what has to be named.
    """
    if tool not in (AUTO, "wide", *TOOLS):
        raise UsageError(f"tool must be {AUTO}, wide or one of {', '.join(TOOLS)}, got {tool!r}.", "tool")
    rows = ((where, path, row) for path in files_of(paths) for where, row in rows_of(path))
    start = next(rows, None)
    if start is None:
        raise DataError(f"{paths[0]} has no rows.")
    where, _, first = start
    everything = chain([start], rows)
    found = tables.detected(first, wanted) if tool in (AUTO, "wide") and (wanted.table or _detected(first).name == TABLE) else None
    if tool == "wide" and found is None:
        raise UsageError(f"{where} has no list of rewards by name; name it, or a rate or count.", "rewards")
    if found is not None:
        return _wide([(place, row) for place, _, row in everything], found)
    return _long(everything, _detected(first) if tool == AUTO else TOOLS[tool], wanted, paths[0])


def recognised(path: Path) -> str:
    """Return the name of the tool whose log this file or folder is, by its first row; "wide" for a list of rewards a row.

    Empty where it is neither, or cannot be read: any table may hold sampled answers, so that a person has to say so.
    """
    try:
        first = next((row for file in files_of([path]) for _, row in rows_of(file)), None)
    except DataError:
        return ""
    if first is None:
        return ""
    found = _detected(first).name
    if found != TABLE:
        return found
    return "wide" if tables.detected(first, Wanted()) is not None else ""


def _long(rows: Iterable[tuple[str, Path, Row]], tool: Tool, wanted: Wanted, name: Path) -> Log:
    """Read a row at a time: logs have token ids and more that is not needed."""
    samples: list[Sample] = []
    filters: set[str] = set()
    filtered = False
    for where, path, row in rows:
        samples += _read(tool, row, where, path, wanted)
        filtered = filtered or "filtered_rewards" in row
        filters.add(str(row.get("filter")))
    if not samples:
        raise DataError(f"{name} has no sampled answer that fits (reward {wanted.reward!r}).")
    warnings = []
    if tool.name == "nemo-rl" and filtered:
        warnings = [
            "The log was filtered by dynamic sampling (it has filtered_rewards), so prompts that are all right or all wrong are missing."
        ]
    if tool.name == "lm-eval" and len(filters) > 1 and "," not in wanted.reward:
        raise UsageError(
            f"{name} has each answer with the filters {', '.join(sorted(filters))}; choose one as METRIC,FILTER, or it counts twice.",
            "reward",
        )
    return Log(tool=tool.name, samples=samples, warnings=warnings)


def _detected(row: Row) -> Tool:
    return next(tool for tool in TOOLS.values() if tool.fits(row))


def _read(tool: Tool, row: Row, where: str, path: Path, wanted: Wanted) -> list[Sample]:
    """Return a row's samples. A row of another shape than the tool's is named."""
    if not tool.fits(row):
        raise DataError(f"{where} is not a row of {tool.name}: it has {', '.join(map(str, row))[:200]}.")
    try:
        found = list(tool.read(row, where, path, wanted))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise DataError(f"{where} is not a row of {tool.name} that can be read: {type(error).__name__} {error}.") from None
    for sample in found:
        for what, value in (("prompt", sample.prompt), ("answer", sample.answer or "")):
            if not isinstance(value, str):
                raise DataError(f"{where} has {str(value)[:60]!r} as its {what}, which is not text.")
        if not sample.prompt.strip() and not sample.name:
            raise DataError(f"{where} has neither a prompt nor an id of one.")
    return found


def _wide(rows: Sequence[tuple[str, Row]], wanted: Wanted) -> Log:
    percent = bool(wanted.pass_rate) and tables.rates_are_percent([tables.rate_of(row, where, wanted) for where, row in rows])
    samples: list[Sample] = []
    for index, (where, row) in enumerate(rows):
        for sample in tables.samples_of(row, where, wanted, percent):
            sample.row = index
            samples.append(sample)
    if not samples:
        raise DataError(f"{rows[0][0]} and the rows after it have no sampled answer.")
    notes = ["The order of samples is not known from rates and counts."] if not wanted.rewards else []
    return Log(tool="wide", samples=samples, warnings=notes + (["Rates go beyond 1: they are read as percent."] if percent else []))
