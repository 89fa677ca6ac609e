"""Worker process of `process_pool`: trains the plans it receives, one after another, on one thread, and ends with its parent."""

from __future__ import annotations

import os
import queue
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from pruning.records import Encoded, RunPlan
from pruning.settings import TrainSettings


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """Data shared by all plans of a pool; sent once to each child."""

    model: str
    settings: TrainSettings
    memory: int
    """File descriptor of the shared memory, the same number in parent and child."""
    size: int
    parts: tuple[Any, ...]
    """Training and evaluation data as `SharedMemory.add` returned them, or None."""
    core: int | None
    """Number of the core to run on."""


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
    try:
        setup: Setup = connection.recv()
    except EOFError:
        os._exit(0)
    if setup.core is not None:
        os.sched_setaffinity(0, {setup.core})
    plans: queue.SimpleQueue[RunPlan] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, plans), daemon=True).start()
    _serve(connection, plans, setup)


def _listen(connection: Connection, plans: queue.SimpleQueue[RunPlan]) -> None:
    """Pass plans on; end this process at once when the parent closes the connection or dies."""
    while True:
        try:
            plans.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)


def _serve(connection: Connection, plans: queue.SimpleQueue[RunPlan], setup: Setup) -> None:
    import torch

    from pruning.training.loop import train_run
    from pruning.training.shared_memory import attach

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(setup.settings.deterministic)
    data, evaluation = (part and attach(setup.memory, setup.size, *part) for part in setup.parts)
    while True:
        plan = plans.get()
        try:
            for item in train_run(plan, _present(data), evaluation, setup.model, setup.settings):
                if item is not None:
                    connection.send(item)
            connection.send(Finished(plan.key))
        except Exception as error:
            connection.send(Failure(plan.key, type(error).__name__, str(error)))


def _present(data: Encoded | None) -> Encoded:
    assert data is not None
    return data
