"""The command line in this process, without the start of an interpreter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from pruning.cli import app


@dataclass(frozen=True)
class Done:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


def winnow(*words: str | Path, standard_input: str | None = None) -> Done:
    """Run the command line without a terminal; an exception that is no exit is a failure of the test."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=standard_input, catch_exceptions=False)
    return Done(result.exit_code, result.stdout, result.stderr)
