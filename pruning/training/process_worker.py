"""Worker process of `process_pool`: trains the plans it receives, one after another, on one thread, and ends with its parent."""

from __future__ import annotations

import os
import queue
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any

from pruning.records import Encoded, RunPlan
from pruning.settings import TrainSettings


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """Settings and data of all plans that follow; the handle of the memory is sent after it."""

    model: str
    settings: TrainSettings
    size: int
    """Bytes of the shared memory."""
    parts: tuple[Any, ...]
    """Training and evaluation data as `SharedMemory.add` returned them, or None."""
    core: int | None
    """Number of the core to run on; None = any."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed."""

    key: str
    error: str
    """Name of the error's class."""
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A run whose records and result were all sent."""

    key: str


def main(fd: int) -> None:
    """Serve the parent at the other end of socket `fd` until it closes the connection."""
    connection = Connection(fd)
    received: queue.SimpleQueue[RunPlan | tuple[Setup, int]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, received), daemon=True).start()
    _serve(connection, received)


def _listen(connection: Connection, received: queue.SimpleQueue[RunPlan | tuple[Setup, int]]) -> None:
    """Pass on what arrives; end this process at once when the parent closes the connection or dies."""
    while True:
        try:
            item = connection.recv()
            received.put((item, recv_handle(connection)) if isinstance(item, Setup) else item)
        except (EOFError, OSError, RuntimeError):  # RuntimeError: the connection ended where the handle was due
            os._exit(0)


def _serve(connection: Connection, received: queue.SimpleQueue[RunPlan | tuple[Setup, int]]) -> None:
    import torch

    from pruning.training.devices import cores
    from pruning.training.loop import train_run
    from pruning.training.shared_memory import attach

    torch.set_num_threads(1)
    everywhere = cores()
    while True:
        item = received.get()
        if isinstance(item, tuple):
            setup, memory = item
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, everywhere if setup.core is None else {setup.core})
            torch.use_deterministic_algorithms(setup.settings.deterministic)
            data, evaluation = (part and attach(memory, setup.size, *part) for part in setup.parts)
            os.close(memory)
            continue
        try:
            for report in train_run(item, _present(data), evaluation, setup.model, setup.settings):
                if report is not None:
                    connection.send(report)
            connection.send(Finished(item.key))
        except Exception as error:
            connection.send(Failure(item.key, type(error).__name__, str(error)))


def _present(data: Encoded | None) -> Encoded:
    assert data is not None
    return data
