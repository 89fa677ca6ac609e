"""Processes that verify answers and can be killed: a verifier that hangs or crashes makes a verdict unknown, never wrong."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from pruning.errors import UsageError
from pruning.sampling import verifiers

SECONDS = 20.0
"""Time for one verdict; unit tests have a shorter limit of their own."""

START = 120.0
"""Time for a process to start and import its verifier."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Judgement on one answer."""

    right: bool | None
    """None = unknown: the verifier crashed, hung, or could not read the key."""
    why: str = ""
    """Why it is unknown; starts with "key" where the key is the reason."""


class _Process:
    """One worker; started when first needed, and again after it was killed."""

    def __init__(self, spec: str, seconds: float) -> None:
        self._spec, self._seconds = spec, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    def verify(self, answer: str, key: str) -> Verdict:
        """Return the verdict; the process is killed where it does not answer in time."""
        process = self._started()
        line = json.dumps({"answer": answer, "key": key}) + "\n"
        try:
            assert process.stdin is not None
            process.stdin.write(line.encode())
            process.stdin.flush()
            said = self._line(self._seconds)
        except OSError:
            said = b""
        if said is None:
            self.kill()
            return Verdict(None, f"verifier: no verdict within {self._seconds:g} s")
        if not said:
            self.kill()
            return Verdict(None, "verifier: its process died")
        found = json.loads(said)
        return Verdict(found["right"], found.get("why", ""))

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.kill()
            self._buffer = b""
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pruning.sampling.worker", self._spec],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [*sys.path])), "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
            if not self._line(START):
                self.kill()
                raise UsageError(
                    f"The verifier {self._spec} cannot be started; run it by hand: python -m pruning.sampling.worker.", "verify"
                )
        return self._process

    def _line(self, seconds: float) -> bytes | None:
        """Return the next line of its output; None after so many seconds without one, empty at the end of the output."""
        assert self._process is not None and self._process.stdout is not None
        handle = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            if not select.select([handle], [], [], seconds)[0]:
                return None
            read = os.read(handle, 1 << 16)
            if not read:
                return b""
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def kill(self) -> None:
        """End the process and whatever it started."""
        if self._process is None:
            return
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process = None


class Pool:
    """Several such processes; a context manager that ends them all."""

    def __init__(self, spec: str, processes: int = 2, seconds: float = SECONDS) -> None:
        self._spec = spec
        self._free: SimpleQueue[_Process] = SimpleQueue()
        self._all = [_Process(spec, seconds) for _ in range(processes)]
        for process in self._all:
            self._free.put(process)

    def verify(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Return a verdict for each (answer, key), in their order."""
        with ThreadPoolExecutor(len(self._all)) as threads:
            return list(threads.map(self._one, pairs))

    def unreadable(self, keys: Sequence[str]) -> list[tuple[int, Verdict]]:
        """Return the keys (by position) that fail against themselves, because such a key makes every answer wrong.

        None where keys are not answers: their verifiers cannot be checked in this way.
        """
        if not verifiers.checks_itself(self._spec):
            return []
        verdicts = self.verify([(verifiers.own_answer(self._spec, key), key) for key in keys])
        return [(position, verdict) for position, verdict in enumerate(verdicts) if verdict.right is not True]

    def _one(self, pair: tuple[str, str]) -> Verdict:
        process = self._free.get()
        try:
            return process.verify(*pair)
        finally:
            self._free.put(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._all:
            process.kill()
