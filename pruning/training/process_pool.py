"""Runs in parallel: one single-threaded process per core or GPU; all processes end with the caller."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any

from pruning import errors
from pruning.errors import TrainingError
from pruning.files import package_environment, training_environment
from pruning.formatting import ended
from pruning.records import Encoded, RunDiverged, RunPlan, RunResult
from pruning.settings import TrainSettings
from pruning.training.checkpoint import discard_parts
from pruning.training.devices import Place
from pruning.training.dispatch import SlotLost, dispatch, packed
from pruning.training.loop import Report
from pruning.training.process_worker import Failure, Room, Setup
from pruning.training.shared_memory import SharedMemory

POLL_SECONDS = 0.1
"""Seconds between two calls of `stop` while no child reports anything."""

START = """
import ctypes, os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
if {follow} and sys.platform == "linux":
    ctypes.CDLL(None).prctl({death_signal}, signal.SIGKILL)
if os.getppid() != {parent}:
    os._exit(1)
from pruning.training.process_worker import main
main({fd})
"""
"""Program of a child process. It ignores Ctrl-C, which only the parent handles. Before the slow imports it asks the kernel to be
killed with its parent, and exits if the parent is gone already."""

PR_SET_PDEATHSIG = 1


def train_side_by_side(
    plans: Sequence[RunPlan],
    data: Encoded,
    evaluation: Encoded | None,
    model: str,
    settings: TrainSettings,
    places: Sequence[Place],
    stop: Callable[[], bool],
    enough: Callable[[], bool] = lambda: False,
) -> Generator[Report, None, None]:
    """Train `plans` in a process for each place; yield what they report as it arrives, runs interleaved. None starts after `enough()`.

    Raises what `dispatch` raises. However it ends, all processes are stopped, except idle ones in `kept_processes`.
    """
    memory = SharedMemory()
    try:
        parts = tuple(part and memory.add(part) for part in (data, evaluation))
        started: set[Child] = set()

        def start() -> Child:
            taken = Counter(child.place for child in started if child.place is not None)
            place = next((Counter(places) - taken).elements())
            child = SPARES.take(place.gpu) or Child(place.gpu)
            started.add(child)
            child.set_up(Setup(model, settings, memory.size, parts, place), memory.fd)
            return child

        yield from dispatch(plans, start, len(places), _ready, stop, enough)
    finally:
        memory.close()
        for plan in plans:
            if plan.checkpoint:
                discard_parts(Path(plan.checkpoint))


def _ready(children: Sequence[Child]) -> list[Child]:
    """Return the children with something to take, after a moment at most."""
    return wait(children, POLL_SECONDS)  # type: ignore[return-value, arg-type]


class Spares:
    """Processes that wait for the next training: each start takes seconds of imports."""

    def __init__(self) -> None:
        self._depth = 0
        self._waiting: list[Child] = []

    def take(self, gpu: str) -> Child | None:
        """Return a process that is still alive and sees that GPU, if there is one."""
        for child in [child for child in reversed(self._waiting) if child.gpu == gpu]:
            self._waiting.remove(child)
            if child.process.poll() is None:
                return child
            child.kill()
        return None

    def keep(self, child: Child) -> None:
        """Let a process wait, or end it outside `kept_processes`."""
        if self._depth:
            self._waiting.append(child)
        else:
            child.kill()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """See `kept_processes`."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            while self._waiting and not self._depth:
                self._waiting.pop().kill()


SPARES = Spares()


def kept_processes() -> AbstractContextManager[None]:
    """Return a context in which processes that have finished their runs wait for the next training; its end ends them."""
    return SPARES.kept()


class Given:
    """The plans that a process was given and what it reports of them, seen from its caller; at the other end is a `Work`."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self._given, self._room = 0, True

    def _to_send(self, plan: RunPlan) -> RunPlan:
        """Note a plan, and return it as it is sent."""
        self.keys.add(plan.key)
        self._given, self._room = self._given + 1, False
        return replace(plan, rows=packed(plan.rows))

    def _heard(self, item: Any) -> list[Report]:
        """Return what the process sent, if that is a report. Raises its run's error."""
        if isinstance(item, Failure):
            raise error_of(item)
        if isinstance(item, Room):
            self._room = item.given == self._given
            return []
        if isinstance(item, RunResult | RunDiverged):
            self.keys.discard(item.key)
        return [item]


class Child(Given):
    """A slot in a process of its own, seen from its parent."""

    def __init__(self, gpu: str = "") -> None:
        super().__init__()
        self.gpu = gpu
        ours, theirs = socket.socketpair()
        with theirs:
            # The kernel's death signal is sent when the thread that started the child ends, so only the main thread may ask for it.
            follow = threading.current_thread() is threading.main_thread()
            start = START.format(fd=theirs.fileno(), parent=os.getpid(), follow=follow, death_signal=PR_SET_PDEATHSIG)
            self.process = subprocess.Popen(
                [sys.executable, "-c", start],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=child_environment(gpu),
            )
        self.connection = Connection(ours.detach())
        self.place: Place | None = None

    def set_up(self, setup: Setup, memory: int) -> None:
        """Send what the next plans share, and the handle of their memory. Raises `TrainingError` if the process died."""
        self._room = True
        self.place = setup.place
        try:
            self.connection.send(setup)
            send_handle(self.connection, memory, self.process.pid)
        except OSError:
            raise TrainingError(f"A training process could not be started: {_obituary(self.process)}") from None

    @property
    def where(self) -> str:
        """The device or core that it was set up for, else the process."""
        return (self.place and self.place.where) or f"process {self.process.pid}"

    def fileno(self) -> int:
        """Return the handle to wait on for reports."""
        return self.connection.fileno()

    def room(self) -> bool:
        """Return True if the process asked for a plan and got none since."""
        return self._room

    def give(self, plan: RunPlan) -> None:
        """Send the next plan to train."""
        try:
            self.connection.send(self._to_send(plan))
        except OSError:
            raise self._gone() from None

    def take(self) -> list[Report]:
        """Return the process's next report, if that is one. Raises its run's error, and what `_gone` returns."""
        try:
            item = self.connection.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        return self._heard(item)

    def end(self) -> None:
        """Stop the process, or let it wait for the next training if it has no run."""
        self.place = None
        if self.keys:
            self.kill()
        else:
            SPARES.keep(self)

    def kill(self) -> None:
        """Stop the process and close the connection."""
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def _gone(self) -> Exception:
        """Return `SlotLost` for a process that was killed, `TrainingError` for one that exited by itself, as it would again."""
        reason = _obituary(self.process)
        if self.process.returncode < 0:
            return SlotLost(reason)
        return TrainingError(f"Training of {' and '.join(sorted(self.keys))} exited without an error message: {reason}")


def child_environment(gpu: str = "") -> dict[str, str]:
    """Return this process's environment with one thread, no busy waiting, an allocator that keeps its memory, this package, and one GPU
    if it is named.
    """
    return {
        **package_environment(),
        **training_environment(),
        **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {}),
    }


def _obituary(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    remedy = "a smaller --batch-size or --max-length needs less" if code == -signal.SIGKILL else "its error message is on standard error"
    return f"its process {ended(code)}; {remedy}."


def error_of(failure: Failure) -> errors.WinnowError:
    """Return the error that a run failed with."""
    known = getattr(errors, failure.error, None)
    return known(failure.message) if isinstance(known, type) and issubclass(known, errors.WinnowError) else TrainingError(failure.message)
