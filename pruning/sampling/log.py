"""The file of sampled answers: one JSON line an answer, so that sampling continues where it stopped and verdicts can be made again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pruning.errors import DataError, UsageError
from pruning.files import atomic_write


@dataclass(slots=True, kw_only=True)
class Line:
    """One answer."""

    row: int
    """Place of the prompt among the data's rows, from 0; rows that were skipped do not count."""
    sample: int
    seed: int
    answer: str
    cut: bool | None
    tokens: int | None
    right: bool | None = None
    why: str = ""
    """Why there is no verdict."""
    verifier: str = ""
    """Specification of the verifier that judged it; empty = not judged yet."""
    time: float = 0.0
    """Seconds since 1970."""


class AnswerLog:
    """The file, opened to continue it. Its first line states how the answers are sampled.

    Raises UsageError where that differs from what is asked now, DataError where the file is something else.
    """

    def __init__(self, path: Path, sampled: Mapping[str, Any]) -> None:
        self.path, self.lines = path, list[Line]()
        self._sampled = dict(sampled)
        if path.exists():
            self._read()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._rewrite()

    def add(self, lines: Iterable[Line]) -> None:
        """Append answers; each is on disk when this returns."""
        new = list(lines)
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(asdict(line), ensure_ascii=False) + "\n" for line in new)
        self.lines += new

    def replace(self, lines: Iterable[Line]) -> None:
        """Write all answers again, with other verdicts."""
        self.lines = list(lines)
        self._rewrite()

    def _rewrite(self) -> None:
        with atomic_write(self.path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps({"sampled": self._sampled}, ensure_ascii=False) + "\n")
            file.writelines(json.dumps(asdict(line), ensure_ascii=False) + "\n" for line in self.lines)

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole, _, torn = content.rpartition(b"\n")
        rows = [self._row(number, line) for number, line in enumerate(whole.split(b"\n"), 1) if line.strip()]
        if not rows or "sampled" not in rows[0]:
            raise DataError(f"{self.path} is not a file of sampled answers; choose another --experiment.")
        for name, value in self._sampled.items():
            if rows[0]["sampled"].get(name) != value:
                before = rows[0]["sampled"].get(name)
                raise UsageError(
                    f"The answers in {self.path} were sampled with {name} = {before!r}, not {value!r}; other settings are another "
                    "recording, so choose another --experiment."
                )
        self.lines = [Line(**row) for row in rows[1:]]
        if torn:  # the answer that was being written when the process ended
            self._rewrite()

    def _row(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{self.path} line {number} is damaged: {error}; delete that line to continue.") from None
        if not isinstance(row, dict):
            raise DataError(f"{self.path} line {number} is not a JSON object; delete that line to continue.")
        return row
