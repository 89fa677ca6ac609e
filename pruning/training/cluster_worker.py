"""Worker on a machine of a cluster: an actor that trains the plans it receives in a thread, and answers for it in another.

Its class is sent by value, so a machine without Winnow or torch can still say what it lacks. Nothing may be imported at the top that
such a machine does not have.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pruning.records import RunPlan
    from pruning.settings import TrainSettings

Model = str | tuple[str, list[tuple[str, Any]]]
"""A folder that every machine sees; or a fingerprint, with the names of the files and references to their bytes."""

ANSWER_SECONDS = 1.0
"""Longest time that a worker waits for something to report before it answers that there is nothing."""


class Worker:
    """An actor with one core or one GPU; one call at a time, each answered at once or within `ANSWER_SECONDS`."""

    def __init__(self) -> None:
        self.received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.reports: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.serves = False

    def place(self) -> dict[str, Any]:
        """Return which machine this is and how Ray was started there; without the imports that take seconds."""
        import ray

        context = ray.get_runtime_context()
        return {
            "node": context.get_node_id(),
            "machine": ray.util.get_node_ip_address(),
            "gpus": [str(gpu) for gpu in ray.get_gpu_ids()],
            "niceness": os.nice(0),
            "open": os.environ.get("RAY_AUTH_MODE") != "token",
            "shm": _bytes_of("/dev/shm"),
        }

    def facts(self, precision: str, gpu: bool, witness: tuple[str, str] | None) -> dict[str, str] | str:
        """Return what decides a run's numbers here; or why this machine cannot train, a clause.

        `witness` is the path of a file in the shared folder and what it holds.
        """
        if witness is not None and not _holds(*witness):
            return f"it does not see {Path(witness[0]).parent.parent}, the folder of --shared"
        try:
            import torch
            import transformers

            from pruning.errors import WinnowError
            from pruning.training.devices import ONLY_GPU, pick_precision
        except ImportError as error:
            return f"it lacks the Python package {error.name or error}; install there what Winnow needs"
        if gpu and not torch.cuda.is_available():
            return "its PyTorch finds no GPU"
        self.device = torch.device(ONLY_GPU if gpu else "cpu")
        try:
            dtype = pick_precision(precision, self.device)
        except WinnowError as error:
            return f"it cannot train in this precision ({error})"
        return {
            "PyTorch": torch.__version__,
            "transformers": transformers.__version__,
            "Python": sys.version.split()[0],
            "processor": torch.cuda.get_device_name(0) if gpu else torch.backends.cpu.get_cpu_capability(),
            "precision": str(dtype).removeprefix("torch."),
        }

    def start(self, model: Model, settings: TrainSettings, data: list[Any]) -> None:
        """Prepare to train plans: `data` has references to the training data and, if there is any, the evaluation data.

        They are fetched in the thread that trains, so that the answers of `take` do not wait for them.
        """
        self.received.put((model, settings, data))
        if not self.serves:
            self.serves = True
            threading.Thread(target=self._serve, daemon=True).start()

    def give(self, plan: RunPlan) -> None:
        """Train this plan too; its rows are packed."""
        self.received.put(plan)

    def take(self) -> list[Any]:
        """Return what there is to report, of progress the latest of each run; wait a moment if there is nothing but progress."""
        from pruning.records import Progress

        items, end = list[Any](), time.monotonic() + ANSWER_SECONDS
        latest: dict[str, Any] = {}
        while (left := end - time.monotonic()) > 0:
            try:
                item = self.reports.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(item, Progress):
                latest[item.key] = item
                continue
            if (key := getattr(item, "key", None)) in latest:
                items.append(latest.pop(key))
            items.append(item)
            end = min(end, time.monotonic() + 0.01)
        return [*items, *latest.values()]

    def _serve(self) -> None:
        """Train plans until this process is ended."""
        from pruning.training.process_worker import Failure

        try:
            self._train()
        except Exception as error:
            self.reports.put(Failure(type(error).__name__, str(error)))

    def _train(self) -> None:
        import ray
        import torch

        from pruning.training.devices import repeatable
        from pruning.training.interleaved import Rounds
        from pruning.training.process_worker import Work

        torch.set_num_threads(1)
        work = Work[Any](self.reports.put, self.received)
        following = self.received.get()
        while True:
            model, settings, references = following
            data, evaluation = (*ray.get(references), None)[:2]
            with repeatable(settings.deterministic):
                following = work.train(Rounds(data, evaluation, _folder(model), settings, device=self.device))


def _folder(model: Model) -> str:
    """Return the model's folder on this machine."""
    if isinstance(model, str):
        return model
    import ray

    from pruning.training.unpacked_model import unpacked_model

    fingerprint, files = model
    return unpacked_model(fingerprint, [(name, partial(ray.get, file)) for name, file in files])


def _holds(path: str, text: str) -> bool:
    try:
        return Path(path).read_text(encoding="ascii") == text
    except OSError:
        return False


def _bytes_of(path: str) -> int:
    try:
        found = os.statvfs(path)
    except OSError:
        return 0
    return found.f_frsize * found.f_blocks
