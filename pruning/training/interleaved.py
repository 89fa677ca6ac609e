"""Runs in this process: one after another on the CPU, several in turns on a GPU that has room for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext

import torch

from pruning.errors import WinnowError
from pruning.records import Encoded, RunPlan
from pruning.settings import TrainSettings
from pruning.training.devices import one_thread, pick_device, repeatable
from pruning.training.loop import Report, failed, stopped, train_run

MOST_AT_ONCE = 6
"""Runs that share a GPU: more find nothing idle left."""

SETTLING = 50
"""Steps after which a run's memory is taken to have reached its peak."""


def train_in_rounds(
    plans: Sequence[RunPlan],
    data: Encoded,
    evaluation: Encoded | None,
    model: str,
    settings: TrainSettings,
    stop: Callable[[], bool],
    most: int | None = None,
) -> Generator[Report, None, None]:
    """Trains `plans`, at most `most` of them taking turns step by step (default: one; on CUDA up to 6 while memory lasts,
    unless their numbers must repeat).

    Raises `Cancelled` between two steps when `stop()` is true, and `TrainingError` with the key of the run that failed.
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
                plan = waiting.popleft()
                seats.append(Seat(plan, train_run(plan, data, evaluation, model, settings), device))
            for seat in list(seats):
                item = seat.advance()
                if item is not None:
                    yield item
                elif seat.done:
                    seats.remove(seat)


class Seat:
    """One of the runs under way, with a CUDA stream of its own so that the GPU may overlap it with the others."""

    def __init__(self, plan: RunPlan, run: Iterator[Report | None], device: torch.device) -> None:
        self.plan = plan
        self.run = run
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.turns = 0
        self.done = False

    def advance(self) -> Report | None:
        """One step of the run; what it has to say, if anything. Sets `done` at its end."""
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
    """Whether one more run fits beside those under way, by half as much again as they were seen to need each."""
    if device.type != "cuda":
        return True
    if any(seat.turns < SETTLING for seat in seats):
        return False
    free, _ = torch.cuda.mem_get_info(device)
    spare = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + spare > 1.5 * torch.cuda.max_memory_allocated(device) / len(seats)
