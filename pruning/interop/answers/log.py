"""Sampled answers as every importer returns them, and how their files are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pruning.data import access
from pruning.errors import DataError, UsageError, system_words


@dataclass(slots=True, kw_only=True)
class Sample:
    """One sampled answer."""

    where: str
    """File and line, or row, for messages."""
    prompt: str
    """The prompt as the log has it; empty where it has only an id."""
    name: str = ""
    """The log's own id of the prompt; empty where it has none."""
    row: int = -1
    """Row of the prompt in the log, where the log has one row for each prompt."""
    step: int = 0
    """Training step or checkpoint."""
    answer: str | None = None
    reward: float = nan
    """As logged; nan = unscorable or not logged."""
    key: str | None = None
    tokens: int | None = None
    cut: bool | None = None
    """True where the answer ran into the length limit."""


@dataclass(slots=True, kw_only=True)
class Log:
    """The samples of one or several files of a tool."""

    tool: str
    samples: list[Sample]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Names that the user gives for parts of the log; empty = as detected."""

    reward: str = ""
    """Name of the reward or metric that means success."""
    prompt: str = ""
    key: str = ""
    answer: str = ""
    step: str = ""
    name: str = ""
    """Column with an id of the prompt."""
    rewards: str = ""
    """Column with a list of rewards, one for each answer."""
    answers: str = ""
    """Column with the list of answers."""
    pass_rate: str = ""
    successes: str = ""
    failures: str = ""
    attempts: str = ""
    """A number, or a column."""

    @property
    def table(self) -> bool:
        """True where a table's columns are named."""
        return bool(self.rewards or self.pass_rate or self.successes or self.failures)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Return the files, and those in folders, by the numbers in their names.

    Raises DataError where there is nothing to read, and for what may not be read (see `pruning.data.access`).
    """
    found: list[Path] = []
    for path in paths:
        if access.resolve(str(path)) is None or not path.exists():
            raise DataError(f"There is no {path}.")
        inside = [inner for inner in path.rglob("*") if inner.suffix in (".jsonl", ".parquet", ".ndjson")] if path.is_dir() else [path]
        inside = [inner for inner in inside if "effective" not in inner.parts] if path.is_dir() else inside
        if not inside:
            raise DataError(f"{path} holds no .jsonl or .parquet file.")
        for inner in inside:
            access.resolve(str(inner))
        found += sorted(inside, key=lambda inner: ([int(digits) for digits in re.findall(r"\d+", inner.as_posix())], inner.as_posix()))
    return found


def rows_of(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row of a .parquet or JSON lines file with its place in words. Raises DataError naming the line that is damaged."""
    if path.suffix == ".parquet":
        yield from _rows_of_parquet(path)
        return
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{path} line {number}", _object(line, f"{path} line {number}")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {system_words(error)}.") from None


def _rows_of_parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path} row {number}", row
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not a Parquet file that can be read: {str(error).splitlines()[0]}.") from None


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}; the log may have been cut while it was written, delete that line.") from None
    if not isinstance(value, dict):
        raise DataError(f"{where} is not a JSON object.")
    return value


def number(value: Any, where: str, what: str) -> float:
    """Return a reward as a number; None and nan are nan (unscorable). Raises DataError for anything that is not a number."""
    if value is None:
        return nan
    if isinstance(value, bool | int | float):
        return float(value) if isfinite(value) else nan
    raise DataError(f"{where} has {what} {str(value)[:60]!r}, which is not a number.")


def one_of(rewards: Sequence[str], wanted: Wanted, where: str) -> str:
    """Return the reward that means success. Raises UsageError where it has to be named, or does not exist."""
    if wanted.reward:
        if wanted.reward not in rewards:
            raise UsageError(f"{where} has no reward {wanted.reward!r}; it has {', '.join(rewards)}.", "reward")
        return wanted.reward
    if len(rewards) != 1:
        found = f"has the rewards {', '.join(rewards)}" if rewards else "has no reward"
        raise UsageError(f"{where} {found}; name the one that means success.", "reward")
    return rewards[0]
