"""The command line in this process, without the start of an interpreter."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from pruning.cli import app, main


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


def entry_point(*words: str | Path) -> Done:
    """Run what `python -m pruning` runs, as by a user whose umask is the usual 022: the permissions of its files are its own doing."""
    arguments, umask = sys.argv, os.umask(0o022)
    sys.argv = ["winnow", *map(str, words)]
    try:
        with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        os.umask(umask)
        sys.argv = arguments
    return Done(code, stdout.getvalue(), stderr.getvalue())
