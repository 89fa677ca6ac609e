"""Which run goes where, and what is given again, without any training: slots that report what a test tells them to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning.errors import Cancelled, TrainingError
from pruning.records import Notice, Progress, RunDiverged, RunLost, RunPlan, RunResult, RunStarted
from pruning.training.dispatch import MOST_LOSSES, SlotLost, dispatch, packed, unpacked
from pruning.training.loop import Report


def plan(name: str, rows: int = 1, epochs: int = 1, checkpoint: str | None = None) -> RunPlan:
    return RunPlan(key=name, seed=0, rows=np.arange(rows), epochs=epochs, checkpoint=checkpoint)


def result(key: str) -> RunResult:
    return RunResult(key=key, seconds=0.0, steps=0, outputs=None)


def progress(key: str, epoch: int) -> Progress:
    return Progress(key=key, epoch=epoch, examples=0, total=0, accuracy=0.0)


@dataclass(eq=False)
class Fake:
    """A slot for `most` runs; each look at it takes the next of a run's reports, by default its result."""

    where: str
    most: int = 1
    script: Callable[[str], Iterator[Report | Exception]] = lambda key: iter([result(key)])
    runs: dict[str, Iterator[Report | Exception]] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    ended: int = 0

    def room(self) -> bool:
        return len(self.runs) < self.most

    def give(self, plan: RunPlan) -> None:
        assert self.room() and not self.ended
        self.given.append(plan.key)
        self.runs[plan.key] = self.script(plan.key)

    def take(self) -> Iterator[Report]:
        for key, reports in list(self.runs.items()):
            item = next(reports)
            if isinstance(item, Exception):
                raise item
            if isinstance(item, RunResult | RunDiverged):
                del self.runs[key]
            yield item

    def end(self) -> None:
        self.ended += 1


class Machine:
    """Fake slots, kept for a test to look at; `scripts` are those of the first ones."""

    def __init__(self, *scripts: Callable[[str], Iterator[Report | Exception]], most: int = 1) -> None:
        self.slots: list[Fake] = []
        self.scripts, self.most = list(scripts), most

    def start(self) -> Fake:
        more = {"script": self.scripts.pop(0)} if self.scripts else {}
        self.slots.append(Fake(f"slot {len(self.slots)}", self.most, **more))
        return self.slots[-1]

    def run(
        self, plans: list[RunPlan], most: int, stop: Callable[[], bool] = lambda: False, enough: Callable[[], bool] = lambda: False
    ) -> Iterator[Report]:
        return dispatch(plans, self.start, most, lambda slots: slots, stop, enough)

    @property
    def given(self) -> list[list[str]]:
        return [slot.given for slot in self.slots]


def ends(items: list[Report], kind: type = RunResult) -> list[str]:
    return [item.key for item in items if isinstance(item, kind)]


def test_the_longest_run_starts_first_and_equal_ones_in_their_order() -> None:
    machine = Machine()
    plans = [plan("short"), plan("first", 5), plan("long", 4, 3), plan("second", 5)]
    items = list(machine.run(plans, most=2))
    assert ends(items, RunStarted) == ["long", "first", "second", "short"]
    assert machine.given == [["long", "second"], ["first", "short"]]
    assert sorted(ends(items)) == sorted(one.key for one in plans)
    assert [slot.ended for slot in machine.slots] == [1, 1]


def test_no_slot_is_opened_without_a_run_for_it_and_one_that_is_free_ends_while_others_train() -> None:
    long = lambda key: iter([progress(key, 0)] * 5 + [result(key)])  # noqa: E731
    machine = Machine(long)
    running = machine.run([plan("a", 2), plan("b")], most=9)
    for item in running:
        if isinstance(item, RunResult):
            break
    assert item.key == "b"
    next(running)
    assert [slot.ended for slot in machine.slots] == [0, 1]
    assert ends(list(running)) == ["a"]


def test_runs_share_a_slot_only_when_every_slot_has_one() -> None:
    machine = Machine(most=3)
    running = machine.run([plan(name) for name in "abcde"], most=2)
    assert [next(running).key for _ in range(5)] == list("abcde")
    assert machine.given == [["a", "c", "e"], ["b", "d"]]
    assert sorted(ends(list(running))) == list("abcde")


def test_a_lost_run_is_given_again_before_any_other_and_its_slot_is_not_replaced() -> None:
    machine = Machine(lambda key: iter([progress(key, 0), SlotLost("its process was killed.")]))
    items = list(machine.run([plan("a", 3, checkpoint="a.pt"), plan("b", 2), plan("c")], most=2))
    [lost] = [item for item in items if isinstance(item, RunLost)]
    assert lost == RunLost(
        key="a", where="slot 0", sentence="a on slot 0 was lost and starts again where it was last saved: its process was killed."
    )
    assert machine.given == [["a"], ["b", "c", "a"]] or machine.given == [["a"], ["b", "a", "c"]]
    assert ends(items).count("a") == 1 and sorted(ends(items)) == ["a", "b", "c"]
    assert [slot.ended for slot in machine.slots] == [1, 1]
    assert [item.where for item in items if isinstance(item, Progress)] == ["slot 0"]


def test_all_runs_of_a_lost_slot_are_given_again_and_the_last_slot_is_replaced() -> None:
    machine = Machine(lambda key: iter([progress(key, 0), SlotLost("gone.")]), most=2)
    items = list(machine.run([plan("a"), plan("b")], most=1))
    assert ends(items, RunLost) == ["a", "b"] and machine.given == [["a", "b"], ["a", "b"]]
    assert sorted(ends(items)) == ["a", "b"]
    assert "starts again: gone." in next(item.sentence for item in items if isinstance(item, RunLost))


def test_a_run_that_has_its_result_is_not_given_again() -> None:
    machine = Machine()
    lost_after = Fake("slot 0")

    def take() -> Iterator[Report]:
        yield result("a")
        raise SlotLost("gone.")

    lost_after.take = take  # type: ignore[method-assign]
    machine.start = lambda: lost_after  # type: ignore[method-assign]
    assert ends(list(machine.run([plan("a")], most=1))) == ["a"] and lost_after.given == ["a"]


def test_a_run_that_is_lost_without_getting_on_ends_the_training() -> None:
    """An epoch that it has not reached before counts as getting on; the same one again does not."""
    die = [lambda key: iter([progress(key, 0), SlotLost("gone.")]) for _ in range(MOST_LOSSES)]
    with pytest.raises(TrainingError, match=f"Training of a was lost {MOST_LOSSES} times before it finished an epoch: gone"):
        list(Machine(*die).run([plan("a")], most=1))
    further = [lambda key, epoch=epoch: iter([progress(key, epoch), SlotLost("gone.")]) for epoch in range(2 * MOST_LOSSES)]
    assert ends(list(Machine(*further).run([plan("a")], most=1))) == ["a"]
    again = [lambda key: iter([progress(key, 1), SlotLost("gone.")]) for _ in range(MOST_LOSSES + 1)]
    with pytest.raises(TrainingError, match="lost"):
        list(Machine(*again).run([plan("a")], most=1))


def test_a_slot_that_is_gone_when_it_gets_its_run_is_a_lost_one() -> None:
    machine = Machine()
    first = machine.start

    def start() -> Fake:
        slot = first()
        if len(machine.slots) == 1:
            slot.give = lambda plan: (_ for _ in ()).throw(SlotLost("gone."))  # type: ignore[method-assign]
        return slot

    machine.start = start  # type: ignore[method-assign]
    items = list(machine.run([plan("a")], most=1))
    assert ends(items, RunLost) == ends(items) == ["a"] and [slot.ended for slot in machine.slots] == [1, 1]


def test_a_diverged_run_is_a_report_and_stops_no_other() -> None:
    machine = Machine(lambda key: iter([RunDiverged(key=key, sentence="NaN") if key == "a" else result(key)]))
    items = list(machine.run([plan("a", 2), plan("b")], most=1))
    assert ends(items, RunDiverged) == ["a"] and ends(items) == ["b"] and machine.given == [["a", "b"]]


def test_a_run_that_fails_ends_all_slots() -> None:
    machine = Machine(lambda key: iter([progress(key, 0), TrainingError("a failed")]))
    with pytest.raises(TrainingError, match="a failed"):
        list(machine.run([plan("a", 2), plan("b"), plan("c")], most=2))
    assert [slot.ended for slot in machine.slots] == [1, 1]


def test_stop_ends_all_slots_and_counts_the_runs_in_progress() -> None:
    long = lambda key: iter([progress(key, 0)] * 99)  # noqa: E731
    machine, told = Machine(long, long, most=2), False
    running = machine.run([plan(name) for name in "abc"], most=2, stop=lambda: told)
    next(running)
    told = True
    with pytest.raises(Cancelled, match="3 runs were in progress"):
        list(running)
    assert [slot.ended for slot in machine.slots] == [1, 1]


def test_a_caller_that_leaves_ends_all_slots() -> None:
    machine = Machine()
    running = machine.run([plan("a"), plan("b")], most=2)
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert [slot.ended for slot in machine.slots] == [1, 1]


def test_none_starts_once_there_is_enough_which_is_asked_after_each_result_while_all_slots_train() -> None:
    """Two slots are busy all the time; of ten runs the two in progress at the third result are the last."""
    machine, asked, done = Machine(), [], []

    def enough() -> bool:
        asked.append(len(done))
        return len(done) >= 3

    for item in machine.run([plan(str(number)) for number in range(10)], most=2, enough=enough):
        if isinstance(item, RunResult):
            done.append(item.key)
            assert all(len(slot.given) <= len(done) for slot in machine.slots)
    assert done == ["0", "1", "2", "3"]
    assert asked == [0, 0, 2, 2, 4]


@given(st.lists(st.integers(0, 500), unique=True).map(sorted))
def test_packed_rows_are_the_rows_in_at_most_as_many_bytes(rows: list[int]) -> None:
    array = np.array(rows, dtype=np.int64)
    again = unpacked(packed(array))
    assert again.tolist() == rows and again.dtype == np.int64 and packed(array).nbytes <= array.nbytes


def test_many_rows_are_packed_as_bits_and_rows_out_of_order_as_they_are() -> None:
    assert packed(np.arange(1_000_000)).nbytes == 125_000
    for rows in ([3, 1], [1, 1], [-1, 2]):
        assert unpacked(packed(np.array(rows))).tolist() == rows


@dataclass(eq=False)
class Late(Fake):
    """A slot that waits for its machine until a test says it is there."""

    there: bool = False

    def room(self) -> bool:
        return self.there and super().room()


def test_slots_that_wait_for_a_machine_get_a_run_when_they_have_one_and_are_as_many_as_runs_wait() -> None:
    """Three runs, nine slots allowed: three are opened; the only one with a machine trains all runs, and the others end with the queue."""
    slots: list[Late] = []

    def start() -> Late:
        slots.append(Late(f"slot {len(slots)}", there=len(slots) == 1))
        return slots[-1]

    items = list(dispatch([plan(name) for name in "abc"], start, 9, lambda all_of_them: all_of_them, lambda: False))
    assert sorted(ends(items)) == ["a", "b", "c"]
    assert [slot.given for slot in slots] == [[], ["a", "b", "c"], []]
    assert [slot.ended for slot in slots] == [1, 1, 1]


@pytest.mark.parametrize("reason", ["machine 7 was lost.", ""], ids=["new", "said before"])
def test_a_lost_slot_is_replaced_where_its_reason_says_so_and_is_a_notice_if_it_had_no_run(reason: str) -> None:
    gone = SlotLost(reason, replace=True)
    long = lambda key: iter([progress(key, 0)] * 9 + [result(key)])  # noqa: E731
    machine = Machine(lambda key: iter([progress(key, 0), gone]), long)
    items = list(machine.run([plan("a", 3), plan("b", 2), plan("c")], most=2))
    assert len(machine.slots) == 3 and sorted(ends(items)) == ["a", "b", "c"] and ends(items, RunLost) == ["a"]
    slots: list[Late] = []

    def start() -> Late:
        slots.append(Late(f"slot {len(slots)}", there=bool(slots)))
        if len(slots) == 1:
            slots[0].take = lambda: (_ for _ in ()).throw(gone)  # type: ignore[method-assign]
        return slots[-1]

    items = list(dispatch([plan("a")], start, 1, lambda all_of_them: all_of_them, lambda: False))
    assert [item.sentence for item in items if isinstance(item, Notice)] == ([reason] if reason else [])
    assert ends(items) == ["a"] and not ends(items, RunLost) and [slot.ended for slot in slots] == [1, 1]
