"""Hand out runs to slots: longest first, at most so many slots at once; a run whose slot is lost is given to another one."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pruning.errors import TrainingError
from pruning.records import Notice, Progress, RunDiverged, RunLost, RunPlan, RunResult, RunStarted
from pruning.training.checkpoint import discard
from pruning.training.loop import Report, stopped

logger = logging.getLogger(__name__)

MOST_LOSSES = 3
"""Times in a row that a run may lose its slot before it finishes another epoch."""


class SlotLost(Exception):
    """A slot ended by itself, with its runs; the message is the reason, a clause that ends with a full stop; empty if it was said before.

    `replace` is True where another slot may take its place at once; a process lost for lack of memory would be lost again.
    """

    def __init__(self, reason: str, replace: bool = False) -> None:
        super().__init__(reason)
        self.replace = replace


class Slot(Protocol):
    """A place where runs train, such as a process with a core or a GPU of its own."""

    @property
    def where(self) -> str:
        """The device, process or machine, for people."""

    def room(self) -> bool:
        """Return True if one more run can start here now. A new slot may have none yet: it waits for its machine."""

    def give(self, plan: RunPlan) -> None:
        """Start a run. Raises `SlotLost`."""

    def take(self) -> Iterable[Report]:
        """Return what its runs reported since the last call. Raises `SlotLost`, or the error of a run that failed."""

    def end(self) -> None:
        """Stop the runs in progress and free the place."""


S = TypeVar("S", bound=Slot)


def dispatch(
    plans: Sequence[RunPlan],
    start: Callable[[], S],
    most: int,
    ready: Callable[[Sequence[S]], Iterable[S]],
    stop: Callable[[], bool],
    enough: Callable[[], bool] = lambda: False,
) -> Generator[Report, None, None]:
    """Train `plans` in at most `most` slots that `start` opens; yield what they report as it arrives, runs interleaved.

    `ready` waits a moment and returns the slots that may have something to take. A lost run is reported as `RunLost` and
    given again; its slot is replaced if `SlotLost` says so, or if it was the last one. None starts after `enough()`, which is asked
    only when a run could start. As many slots are opened as runs wait, so that those that get their machine first train first.

    Raises `Cancelled` once `stop()` is true, the error of the first run that fails, and `TrainingError` for a run that was lost
    `MOST_LOSSES` times without finishing an epoch. All slots are ended then, and also if the caller closes the iterator.
    """
    work = _Dispatch(plans, start, most)
    try:
        while True:
            if stop():
                raise stopped(work.in_progress)
            yield from work.hand_out(enough)
            work.end_idle()
            if not work.slots:
                return
            for slot in ready(list(work.slots)):
                yield from work.take(slot)
    finally:
        for slot in work.slots:
            slot.end()


class _Dispatch(Generic[S]):
    """Runs that wait, and slots with the runs they train."""

    def __init__(self, plans: Sequence[RunPlan], start: Callable[[], S], most: int) -> None:
        self.waiting = deque(sorted(plans, key=lambda plan: -len(plan.rows) * plan.epochs))
        self.start, self.most = start, most
        self.slots: dict[S, dict[str, RunPlan]] = {}
        self.losses: Counter[str] = Counter()
        self.furthest: Counter[str] = Counter()
        """Largest epoch that each run has reached, from 0."""

    @property
    def in_progress(self) -> int:
        return sum(map(len, self.slots.values()))

    def hand_out(self, enough: Callable[[], bool]) -> Iterator[Report]:
        """Give waiting runs to slots with room, those with the fewest runs first; a new slot comes before a second run in one."""
        reports: list[Report] = []
        while self.waiting and (free := self._free()) is not None:
            if enough():
                self.waiting.clear()
                break
            slot = free()
            runs = self.slots.setdefault(slot, {})
            if not slot.room():
                continue
            plan = self.waiting.popleft()
            runs[plan.key] = plan
            logger.info("%s starts on %s", plan.key, slot.where)
            try:
                slot.give(plan)
            except SlotLost as lost:
                reports += self._lose(slot, lost)
                continue
            reports.append(RunStarted(key=plan.key, where=slot.where))
        yield from reports

    def _free(self) -> Callable[[], S] | None:
        """Return a function that returns the slot for the next run, or one more slot that waits for its machine; None if neither is due."""
        with_room = sorted((slot for slot in self.slots if slot.room()), key=lambda slot: len(self.slots[slot]))
        if with_room and (not self.slots[with_room[0]] or len(self.slots) >= self.most):
            return lambda: with_room[0]
        without_machine = sum(not runs for runs in self.slots.values()) - len([slot for slot in with_room if not self.slots[slot]])
        return self.start if len(self.slots) < self.most and without_machine < len(self.waiting) else None

    def end_idle(self) -> None:
        """End slots without a run that nothing waits for."""
        for slot in [slot for slot, runs in self.slots.items() if not runs][len(self.waiting) :]:
            del self.slots[slot]
            slot.end()

    def take(self, slot: S) -> Iterator[Report]:
        """Yield what a slot has to report."""
        try:
            for item in slot.take():
                if isinstance(item, RunResult | RunDiverged):
                    del self.slots[slot][item.key]
                if isinstance(item, Progress):
                    if item.epoch > self.furthest[item.key]:
                        self.furthest[item.key] = item.epoch
                        del self.losses[item.key]
                    item = replace(item, where=slot.where)
                yield item
        except SlotLost as lost:
            yield from self._lose(slot, lost)

    def _lose(self, slot: S, lost: SlotLost) -> Iterable[Report]:
        """Put the runs of a lost slot back to the front; return a report of each, or of the slot if it had none."""
        runs, where = list(self.slots.pop(slot).values()), slot.where
        slot.end()
        if not lost.replace:
            self.most = max(1, min(self.most - 1, sum(map(bool, self.slots.values()))))
        if not runs:
            return [Notice(sentence=str(lost), lasting=True)] if str(lost) else []
        for plan in runs:
            self.losses[plan.key] += 1
            if self.losses[plan.key] >= MOST_LOSSES:
                raise TrainingError(f"Training of {plan.key} was lost {MOST_LOSSES} times before it finished an epoch: {lost}")
        self.waiting.extendleft(reversed(runs))
        again = "starts again where it was last saved" if any(plan.checkpoint for plan in runs) else "starts again"
        return [RunLost(key=plan.key, where=where, sentence=f"{plan.key} on {where} was lost and {again}: {lost}") for plan in runs]


def discarding_checkpoints(plans: Sequence[RunPlan], reports: Generator[Report, None, None]) -> Iterator[Report]:
    """Yield the reports; remove the checkpoint of each finished run once the caller has stored its result, and asks for what follows."""
    checkpoints = {plan.key: plan.checkpoint for plan in plans}
    with closing(reports):
        for item in reports:
            yield item
            if isinstance(item, RunResult):
                discard([checkpoints[item.key]])


def packed(rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return a plan's rows in fewer bytes, as one bit for each row up to the last one; as they are where that would take more.

    >>> packed(np.array([0, 1, 9]))
    array([192,  64], dtype=uint8)
    """
    if not len(rows) or rows[0] < 0 or int(rows[-1]) >= 64 * len(rows) or not (np.diff(rows) > 0).all():
        return rows
    mask = np.zeros(int(rows[-1]) + 1, dtype=np.bool_)
    mask[rows] = True
    return np.packbits(mask)


def unpacked(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows that `packed` was given."""
    return np.flatnonzero(np.unpackbits(rows)) if rows.dtype == np.uint8 else np.asarray(rows, dtype=np.int64)
