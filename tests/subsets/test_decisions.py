import time

import numpy as np
import pytest

from pruning.analysis.frontier import rows_sha256
from pruning.errors import UsageError
from pruning.records import DecisionKind, Subset
from pruning.subsets.decisions import Decision, apply, check, decided, redoable, relabelled, standing

IDS = np.array([2, 3, 5, 7, 11])


def act(kind: str, *ids: int, value: str = "") -> Decision:
    return Decision(kind=DecisionKind(kind), ids=ids, value=value)


def test_the_latest_act_on_an_example_counts() -> None:
    state = decided([act("drop", 2, 3), act("keep", 3), act("relabel", 5, value="a"), act("relabel", 5, value="b")])
    assert (state.dropped, state.kept, state.labels) == (frozenset({2}), frozenset({3, 5}), {5: "b"})


def test_undo_takes_back_only_its_act_and_can_be_undone() -> None:
    first, second = act("drop", 2), act("drop", 3)
    undo = act("undo", value=first.key)
    assert decided([first, second, undo]).dropped == {3}
    assert decided([first, second, undo, act("undo", value=undo.key)]).dropped == {2, 3}


def test_undo_brings_back_what_stood_before() -> None:
    later = act("drop", 2)
    assert decided([act("keep", 2), later, act("undo", value=later.key)]).kept == {2}


def test_tags_add_up_and_notes_replace() -> None:
    state = decided([act("tag", 2, value="x"), act("tag", 2, value="y"), act("note", 2, value="a"), act("note", 2, value="b")])
    assert state.tags == {2: {"x", "y"}}
    assert state.notes == {2: "b"}
    assert state.touched == {2}


def test_a_decision_survives_its_line() -> None:
    decision = act("relabel", 3, 5, value="ümlaut")
    back = Decision.from_dict(decision.to_dict())
    assert (back.kind, back.ids, back.value, back.key) == (decision.kind, decision.ids, decision.value, decision.key)


def test_only_an_undo_that_changed_something_can_be_redone() -> None:
    first, again = act("drop", 2), act("drop", 2)
    undo = act("undo", value=first.key)
    assert redoable([first, undo]) is undo
    assert redoable([first, undo, act("undo", value=undo.key)]) is None
    assert redoable([first, undo, again]) is redoable([first, undo, act("undo", value=first.key)]) is None
    assert redoable([first, act("undo", value="of another list")]) is redoable([]) is None


@pytest.mark.process
def test_a_decision_on_a_million_examples_takes_under_five_seconds() -> None:
    ids = np.arange(1_000_000)
    start = time.process_time()
    for kind in ("drop", "relabel", "tag"):
        decision = act(kind, *ids.tolist(), value="a")
        check(decision, ids, ("a", "b"))
        state = decided([act("keep", 1), act("tag", 3, value="x"), decision])
        assert len(state.touched) == len(ids)
    assert state.tags[3] == {"x", "a"} and state.kept == {1}
    assert time.process_time() - start < 5


def test_apply_keeps_source_order_and_renames() -> None:
    subset = Subset(name="winning-ticket", method="h-score", rule="remove H = 0 and 6", kept=np.array([3, 7]), total=5)
    changed = apply(subset, decided([act("keep", 2), act("drop", 7)]), IDS)
    assert changed.kept.tolist() == [2, 3]
    assert changed.name == "winning-ticket+decisions"


def test_apply_without_effect_returns_the_subset_itself() -> None:
    subset = Subset(name="winning-ticket", method="h-score", rule="r", kept=np.array([3, 7]), total=5)
    assert apply(subset, decided([act("keep", 3)]), IDS) is subset


def test_relabelling_changes_only_its_examples() -> None:
    labels, state = np.array([0, 1, 0, 1, 0]), decided([act("relabel", 3, 11, value="c"), act("drop", 5)])
    assert relabelled(labels, IDS, ("a", "b", "c"), state.labels).tolist() == [0, 2, 0, 1, 2]
    assert labels.tolist() == [0, 1, 0, 1, 0]
    assert relabelled(labels, IDS, ("a", "b", "c"), {}) is labels


def test_a_subset_has_the_new_labels_of_what_it_keeps_and_no_others() -> None:
    subset = Subset(name="full", method="full", rule="r", kept=IDS, total=5)
    labels, names = np.array([0, 1, 0, 1, 0]), ("a", "b", "c")
    state = decided([act("relabel", *IDS[:3].tolist(), value="b"), act("drop", int(IDS[2]))])
    changed = apply(subset, state, IDS, labels, names)
    assert changed.name == "full+decisions" and changed.labels == {int(IDS[0]): "b"}, "the second has that label already"
    assert apply(subset, decided([act("relabel", int(IDS[1]), value="b")]), IDS, labels, names) is subset
    assert rows_sha256(changed.kept, changed.labels) != rows_sha256(changed.kept) == rows_sha256(changed.kept, {})


def test_unknown_ids_and_labels_are_refused() -> None:
    with pytest.raises(UsageError, match="no example with id 4"):
        check(act("drop", 4), IDS, ("a", "b"))
    with pytest.raises(UsageError, match="the labels are a, b"):
        check(act("relabel", 2, value="c"), IDS, ("a", "b"))


def test_standing_decisions_are_in_order_of_time() -> None:
    acts = [act("drop", 2), act("keep", 2), act("drop", 3)]
    assert standing(acts) == acts
