"""Logging: where the records of the loggers below "pruning" go. Each module logs to `logging.getLogger(__name__)`.

The library itself prints nothing. A command writes the log to stderr with --verbose; every job keeps a log in its experiment's folder.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pruning.files import umask
from pruning.formatting import one_line

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

JOB_LOG = "WINNOW_JOB_LOG"
"""Environment variable: the file that already receives this process's log, set for jobs in the background."""

LAST_LINES = 3
"""Lines that `last_words` returns."""

_RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING) ")
_BAR = re.compile(r"\d+%\|")
"""A progress bar of another library."""

_package = logging.getLogger("pruning")
_package.addHandler(logging.NullHandler())


@contextmanager
def to_stderr() -> Iterator[None]:
    """Write the log to stderr while the block runs."""
    with _receiving(_formatted(logging.StreamHandler(sys.stderr))):
        yield


def new_log(folder: Path) -> Path:
    """Create an empty log in `folder`, named after the time (UTC) and four letters that tell two jobs of one second apart.

    The folder is made where it is missing, but not the experiment's around it, which may have been moved meanwhile.
    """
    path = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(2)}.log"
    folder.mkdir(mode=0o777 & ~umask(), exist_ok=True)
    path.touch(mode=0o666 & ~umask())
    return path


@contextmanager
def of_job(folder: Path) -> Iterator[str]:
    """Write the log of a job to a file in `folder` while the block runs, and give the file's name.

    A job in the background has that file already: it receives all that the process writes to stderr.
    """
    named = os.environ.get(JOB_LOG)
    if named and Path(named).parent.absolute() == folder.absolute():
        yield Path(named).name
        return
    name = ""
    try:
        path = new_log(folder)
        handler: logging.Handler = _formatted(logging.FileHandler(path, encoding="utf-8"))
        name = path.name
    except OSError:  # the job itself says what is wrong with the folder, if anything is
        handler = logging.NullHandler()
    with _receiving(handler):
        yield name


def tail(path: Path, size: int = 8000) -> str:
    """Return the end of a log, at most `size` bytes of it; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def last_words(path: Path) -> str:
    """Return the last lines of a job's log that are neither records of its progress nor progress bars: the error it died of.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     log = Path(folder) / "job.log"
    ...     _ = log.write_text("2026-01-02 03:04:05,678 INFO pruning.jobs: run 0 finished\\nSegmentation fault\\n")
    ...     last_words(log)
    'Segmentation fault'
    """
    lines = [line for line in tail(path).splitlines() if line.strip() and not _RECORD.match(line) and not _BAR.search(line)]
    return "\n".join(lines[-LAST_LINES:])


@contextmanager
def _receiving(handler: logging.Handler) -> Iterator[None]:
    level = _package.level
    _package.addHandler(handler)
    _package.setLevel(logging.INFO)
    try:
        yield
    finally:
        _package.removeHandler(handler)
        _package.setLevel(level)
        handler.close()


class _OneLine(logging.Formatter):
    """Formats a message as one line, whatever it quotes from data; tracebacks keep their lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = one_line(record.message)
        return super().formatMessage(record)


def _formatted(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(_OneLine(FORMAT))
    return handler
