"""Train runs in this process: one after another on the CPU, several in turns on a GPU with enough memory."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext

import torch

from pruning.errors import WinnowError
from pruning.records import Encoded, RunPlan
from pruning.settings import TrainSettings
from pruning.training.devices import one_thread, pick_device, repeatable
from pruning.training.loop import Report, failed, stopped, train_run

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 6
"""Most runs that share a GPU: more do not use it better."""

SETTLING = 50
"""Steps after which a run's memory counts as having reached its peak."""


def train_in_rounds(
    plans: Sequence[RunPlan],
    data: Encoded,
    evaluation: Encoded | None,
    model: str,
    settings: TrainSettings,
    stop: Callable[[], bool],
    most: int | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> Generator[Report, None, None]:
    """Train `plans`, at most `most` of them in turns of one step (default: one; on CUDA up to 6 while memory lasts,
    unless `settings.deterministic`). None starts after `enough()`.

    Raises `Cancelled` between two steps once `stop()` is true, and `TrainingError` with the key of the run that failed.
    """
    device = pick_device(settings.device)
    at_once = most or (MOST_AT_ONCE if device.type == "cuda" and not settings.deterministic else 1)
    waiting = deque(plans)
    seats: list[Seat] = []
    with one_thread(), repeatable(settings.deterministic):
        while waiting or seats:
            if stop():
                raise stopped(len(seats))
            if waiting and len(seats) < at_once and (not seats or _has_room(device, seats)):
                if enough():
                    waiting.clear()
                    continue
                plan = waiting.popleft()
                logger.info("%s starts on %s, %d in progress", plan.key, device, len(seats))
                seats.append(Seat(plan, train_run(plan, data, evaluation, model, settings), device))
            for seat in list(seats):
                item = seat.advance()
                if item is not None:
                    yield item
                elif seat.done:
                    seats.remove(seat)


class Seat:
    """A run in progress, with its own CUDA stream, so that the GPU can overlap it with the others."""

    def __init__(self, plan: RunPlan, run: Iterator[Report | None], device: torch.device) -> None:
        self.plan = plan
        self.run = run
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.turns = 0
        self.done = False

    def advance(self) -> Report | None:
        """Train one step and return its progress, record or result, or None. Sets `done` after the last step."""
        self.turns += 1
        try:
            with torch.cuda.stream(self.stream) if self.stream is not None else nullcontext():
                return next(self.run)
        except StopIteration:
            self.done = True
            return None
        except WinnowError:
            raise
        except Exception as error:
            raise failed(self.plan.key, type(error).__name__, str(error)) from error


def _has_room(device: torch.device, seats: Sequence[Seat]) -> bool:
    """Return True if memory suffices for one more run, at 1.5 times what each run in progress needs."""
    if device.type != "cuda":
        return True
    if any(seat.turns < SETTLING for seat in seats):
        return False
    free, _ = torch.cuda.mem_get_info(device)
    spare = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + spare > 1.5 * torch.cuda.max_memory_allocated(device) / len(seats)
