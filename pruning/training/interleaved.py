"""Train runs in this process: one after another on the CPU, several in turns on a GPU with enough memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext

import torch

from pruning.errors import WinnowError
from pruning.records import Encoded, RunDiverged, RunPlan, RunResult
from pruning.settings import TrainSettings
from pruning.training.base import Base
from pruning.training.devices import one_thread, pick_device, repeatable
from pruning.training.dispatch import dispatch
from pruning.training.loop import Report, failed, train_run

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
    """Train `plans` in this process, at most `most` of them in turns (see `Rounds`). None starts after `enough()`.

    Raises `Cancelled` between two steps once `stop()` is true, and `TrainingError` with the key of the run that failed.
    """
    with one_thread(), repeatable(settings.deterministic):
        rounds = Rounds(data, evaluation, model, settings, most)
        yield from dispatch(plans, lambda: rounds, 1, lambda slots: slots, stop, enough)


class Rounds:
    """The slot in this process: runs take turns of one step, by default one run, on CUDA up to 6 while memory lasts, unless
    `settings.deterministic`. Frozen weights are the same memory in all runs.
    """

    def __init__(
        self,
        data: Encoded,
        evaluation: Encoded | None,
        model: str,
        settings: TrainSettings,
        most: int | None = None,
        device: torch.device | None = None,
        base: Base | None = None,
    ) -> None:
        base = base or Base()
        self.device = device or pick_device(settings.device)
        self.most = most or (MOST_AT_ONCE if self.device.type == "cuda" and not settings.deterministic else 1)
        self.runs: list[Seat] = []
        self._begin = lambda plan: train_run(plan, data, evaluation, model, settings, self.device, base)

    @property
    def where(self) -> str:
        """The device."""
        return str(self.device)

    def room(self) -> bool:
        """Return True if one more run can take turns with those in progress."""
        return len(self.runs) < self.most and (not self.runs or _has_room(self.device, self.runs))

    def give(self, plan: RunPlan) -> None:
        """Start a run."""
        self.runs.append(Seat(plan, self._begin(plan), self.device))

    def take(self) -> Iterator[Report]:
        """Train one step of each run and yield what they report."""
        for seat in list(self.runs):
            item = seat.advance()
            if isinstance(item, RunResult | RunDiverged):
                self.runs.remove(seat)
            if item is not None:
                yield item

    def end(self) -> None:
        """Forget the runs in progress."""
        self.runs.clear()


class Seat:
    """A run in progress, with its own CUDA stream, so that the GPU can overlap it with the others."""

    def __init__(self, plan: RunPlan, run: Iterator[Report | None], device: torch.device) -> None:
        self.plan = plan
        self.run = run
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.turns = 0

    def advance(self) -> Report | None:
        """Train one step and return its progress, record or result, or None."""
        self.turns += 1
        try:
            with torch.cuda.stream(self.stream) if self.stream is not None else nullcontext():
                return next(self.run)
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
