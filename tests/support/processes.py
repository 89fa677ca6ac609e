"""Real processes of the command line and the dashboard, found again by a mark in their environment whatever becomes of their parent."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pruning.settings import Settings
from pruning.settings_file import write_settings

ROOT = Path(__file__).resolve().parents[2]
MARK = "WINNOW_TEST_MARK"


@contextmanager
def room(bytes: int) -> Iterator[None]:
    """No file may grow beyond this many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def environment(mark: str = "", **more: str) -> dict[str, str]:
    """The environment of a process started from here; its descendants inherit the mark."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), MARK: mark, **more}


def alive(mark: str) -> list[int]:
    """Processes that carry the mark, this one left out; those that have ended but were not waited for do not count."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            ended = folder.joinpath("stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            if not ended and f"{MARK}={mark}".encode() in folder.joinpath("environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]


def winnow(*words: str | Path, mark: str = "", log: Path | None = None) -> subprocess.Popen[bytes]:
    """The command line in a process of its own, its words in `log`."""
    output = log.open("ab") if log else subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-m", "pruning", *map(str, words)],
        cwd=ROOT,
        env=environment(mark),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def score_words(settings: Settings, folder: Path) -> list[str]:
    """The command that scores with these settings, from a settings file beside the experiment."""
    file = folder.with_name(f"{folder.name}.settings.json")
    write_settings(file, settings)
    return ["score", "--settings", str(file), "--experiment", str(folder)]


def wait_until(condition: Callable[[], object], seconds: float, what: str = "it") -> float:
    """Wait for something to become true; the seconds that took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"{what} took more than {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - start


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def dashboard(
    experiments: Path, *words: str, mark: str = "", port: int | None = None, **more: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A dashboard that answers, its address and its process; ended afterwards."""
    port = port or free_port()
    command = [sys.executable, "-m", "pruning", "app", "--experiments", str(experiments), "--port", str(port), *words]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(mark, **more), stdout=subprocess.DEVNULL)
    address = f"http://localhost:{port}"
    try:
        wait_until(lambda: answers(address), 90, "the dashboard's start")
        yield address, process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()
            process.wait()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
