"""Worker process of `process_pool`: trains the plans it receives, on one thread, and ends with its parent."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pruning.records import Encoded, RunPlan
from pruning.settings import TrainSettings
from pruning.training.devices import Place
from pruning.training.dispatch import unpacked

if TYPE_CHECKING:
    from pruning.training.interleaved import Rounds

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """Settings and data of all plans that follow; the handle of the memory is sent after it."""

    model: str
    settings: TrainSettings
    size: int
    """Bytes of the shared memory that hold data; frozen weights follow them."""
    parts: tuple[Any, ...]
    """Training and evaluation data as `SharedMemory.add` returned them, or None."""
    place: Place


@dataclass(frozen=True, slots=True)
class Failure:
    """End of a process whose run failed."""

    error: str
    """Name of the error's class."""
    message: str


@dataclass(frozen=True, slots=True)
class Room:
    """A request for one more plan."""

    given: int
    """Plans received so far."""


Received = queue.SimpleQueue[RunPlan | tuple[Setup, int]]
"""Plans, and settings with the handle of their memory, as they arrive."""


def main(fd: int) -> None:
    """Serve the parent at the other end of socket `fd` until it closes the connection."""
    connection = Connection(fd)
    received: Received = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, received), daemon=True).start()
    _serve(connection, received)


def _listen(connection: Connection, received: Received) -> None:
    """Pass on what arrives; end this process at once when the parent closes the connection or dies."""
    while True:
        try:
            item = connection.recv()
            received.put((item, recv_handle(connection)) if isinstance(item, Setup) else item)
        except (EOFError, OSError, RuntimeError):  # RuntimeError: the connection ended where the handle was due
            os._exit(0)


def _serve(connection: Connection, received: Received) -> None:
    import torch

    from pruning.training.base import Base
    from pruning.training.devices import cores, repeatable
    from pruning.training.interleaved import Rounds
    from pruning.training.shared_memory import attach

    torch.set_num_threads(1)
    everywhere = cores()
    work = Work[tuple[Setup, int]](connection.send, received)
    following = received.get()
    while isinstance(following, tuple):
        setup, memory = following
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, everywhere if setup.place.core is None else {setup.place.core})
        data, evaluation = (part and attach(memory, setup.size, *part) for part in setup.parts)
        try:
            with repeatable(setup.settings.deterministic):
                device = torch.device(setup.place.device)
                base = Base(memory, setup.size)
                following = work.train(Rounds(_present(data), evaluation, setup.model, setup.settings, device=device, base=base))
        except Exception as error:
            connection.send(Failure(type(error).__name__, str(error)))
            return
        finally:
            os.close(memory)


class Work(Generic[T]):
    """The plans of this process: taken from a queue, what they report passed to `send`."""

    def __init__(self, send: Callable[[Any], object], received: queue.SimpleQueue[RunPlan | T]) -> None:
        self.send, self.received = send, received
        self.given = 0

    def train(self, rounds: Rounds) -> T:
        """Train plans as they arrive, and ask for one more whenever there is room; return what arrives that is none."""
        asked = True
        while True:
            if not rounds.runs or not self.received.empty():
                item = self.received.get()
                if not isinstance(item, RunPlan):
                    return item
                rounds.give(replace(item, rows=unpacked(item.rows)))
                self.given, asked = self.given + 1, False
            for report in rounds.take():
                self.send(report)
            if not asked and rounds.room():
                self.send(Room(self.given))
                asked = True


def _present(data: Encoded | None) -> Encoded:
    assert data is not None
    return data
