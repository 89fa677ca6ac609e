"""Runs in parallel on the CPU: one single-threaded process per core, longest plan first; all processes end with the caller."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import send_handle
from typing import Any

from pruning import errors
from pruning.errors import TrainingError
from pruning.files import package_environment
from pruning.records import Encoded, RunPlan
from pruning.settings import TrainSettings
from pruning.training.checkpoint import PART, discard
from pruning.training.devices import cores
from pruning.training.loop import Report, failed, stopped
from pruning.training.process_worker import Failure, Finished, Setup
from pruning.training.shared_memory import SharedMemory

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
"""Seconds between two calls of `stop` while no child reports anything."""

ALLOCATOR = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=17179869184"
"""Each step frees and allocates hundreds of MB; if they were returned to the system, page faults would take an eighth of a step."""

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
    workers: int,
    stop: Callable[[], bool],
    enough: Callable[[], bool] = lambda: False,
) -> Generator[Report, None, None]:
    """Train `plans` in `workers` processes; yield what they report as it arrives, runs interleaved. None starts after `enough()`.

    Raises `Cancelled` once `stop()` is true, and the error of the first run that fails. In both cases, and if the
    caller closes the iterator, all processes are stopped.
    """
    waiting = sorted(plans, key=lambda plan: len(plan.rows) * plan.epochs)
    memory = SharedMemory()
    children: list[Child] = []
    try:
        parts = tuple(part and memory.add(part) for part in (data, evaluation))
        usable = cores()
        for number in range(workers):
            core = usable[number] if workers == len(usable) and hasattr(os, "sched_setaffinity") else None
            children.append(SPARES.take() or Child())
            children[-1].set_up(Setup(model, settings, memory.size, parts, core), memory.fd)
            children[-1].give(waiting.pop())
        while busy := {child.connection: child for child in children if child.plan is not None}:
            if stop():
                raise stopped(len(busy))
            for connection in wait(list(busy), timeout=POLL_SECONDS):
                child = busy[connection]  # type: ignore[index]
                item = child.take()
                if not isinstance(item, Finished):
                    yield item
                elif waiting and not enough():
                    child.give(waiting.pop())
                else:
                    child.plan = None
                    SPARES.keep(child)
                    children.remove(child)
    finally:
        for child in children:
            child.end()
        memory.close()
        discard(plan.checkpoint and plan.checkpoint + PART for plan in plans)


class Spares:
    """Processes that wait for the next training: each start takes seconds of imports."""

    def __init__(self) -> None:
        self._depth = 0
        self._waiting: list[Child] = []

    def take(self) -> Child | None:
        """Return a process that is still alive, if there is one."""
        while self._waiting:
            child = self._waiting.pop()
            if child.process.poll() is None:
                return child
            child.end()
        return None

    def keep(self, child: Child) -> None:
        """Let a process wait, or end it outside `kept_processes`."""
        if self._depth:
            self._waiting.append(child)
        else:
            child.end()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """See `kept_processes`."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            while self._waiting and not self._depth:
                self._waiting.pop().end()


SPARES = Spares()


def kept_processes() -> AbstractContextManager[None]:
    """Return a context in which processes that have finished their runs wait for the next training; its end ends them."""
    return SPARES.kept()


class Child:
    """One worker process, seen from its parent."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # The kernel's death signal is sent when the thread that started the child ends, so only the main thread may ask for it.
            follow = threading.current_thread() is threading.main_thread()
            start = START.format(fd=theirs.fileno(), parent=os.getpid(), follow=follow, death_signal=PR_SET_PDEATHSIG)
            self.process = subprocess.Popen(
                [sys.executable, "-c", start],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=child_environment(),
            )
        self.connection = Connection(ours.detach())
        self.plan: RunPlan | None = None

    def set_up(self, setup: Setup, memory: int) -> None:
        """Send what the next plans share, and the handle of their memory."""
        self._send(setup)
        try:
            send_handle(self.connection, memory, self.process.pid)
        except OSError:
            raise self._broken() from None

    def give(self, plan: RunPlan) -> None:
        """Send the next plan to train."""
        self.plan = plan
        logger.info("%s starts in process %d", plan.key, self.process.pid)
        self._send(plan)

    def take(self) -> Any:
        """Return the child's next report. Raises its run's error, or `TrainingError` if the process died."""
        assert self.plan is not None
        try:
            item = self.connection.recv()
        except (EOFError, OSError):
            raise TrainingError(f"Training of {self.plan.key} exited without an error message: {_obituary(self.process)}") from None
        if isinstance(item, Failure):
            raise _error(item)
        return item

    def end(self) -> None:
        """Stop the process and close the connection."""
        self.plan = None
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def _send(self, message: object) -> None:
        try:
            self.connection.send(message)
        except OSError:
            raise self._broken() from None

    def _broken(self) -> TrainingError:
        return TrainingError(f"A training process could not be started: {_obituary(self.process)}")


def child_environment() -> dict[str, str]:
    """Return this process's environment with one thread, no busy waiting, an allocator that keeps its memory, and this package."""
    return {
        **package_environment(),
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", ALLOCATOR),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def _obituary(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    if code == -signal.SIGKILL:
        return "its process was killed, usually for lack of memory; a smaller --batch-size or --max-length needs less."
    return f"its process exited with code {code}; its error message is on standard error."


def _error(failure: Failure) -> errors.WinnowError:
    """Return the error a run failed with: as it is if the user can fix it, else as a `TrainingError` with run and cause."""
    known = getattr(errors, failure.error, None)
    if isinstance(known, type) and issubclass(known, errors.WinnowError):
        return known(failure.message)
    return failed(failure.key, failure.error, failure.message)
