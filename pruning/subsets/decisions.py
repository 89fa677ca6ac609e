"""Decisions made by hand: an append-only list, and the state it results in. Pure functions, no files.

A decision is one action on one or many examples. The latest action on an example counts; undoing an action removes only that
action, so that two people can decide at the same time and each undo their own.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.errors import SubsetError, UsageError
from pruning.records import DECISIONS, DecisionKind, Subset

DECIDED_BY_HAND = "decided by hand"
"""Filter name of examples with a decision in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One action: `kind` on `ids`, with the new label, note or tag as `value`."""

    kind: DecisionKind
    ids: tuple[int, ...] = ()
    value: str = ""
    """New label name, text of the note, tag, or, for undo, the key of the action undone."""
    key: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    time: float = field(default_factory=time.time)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for one line of decisions.jsonl."""
        return {"key": self.key, "time": round(self.time, 3), "kind": self.kind.value, "ids": list(self.ids), "value": self.value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decision:
        """Create a decision from the values of `to_dict`."""
        return cls(
            kind=DecisionKind(values["kind"]), ids=tuple(values["ids"]), value=values["value"], key=values["key"], time=values["time"]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Sum of all decisions in force, by example id."""

    kept: frozenset[int] = frozenset()
    dropped: frozenset[int] = frozenset()
    labels: Mapping[int, str] = field(default_factory=dict)
    notes: Mapping[int, str] = field(default_factory=dict)
    tags: Mapping[int, frozenset[str]] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """Counts of the decisions in words; empty if there are none.

        >>> Decided(kept=frozenset([1, 2]), dropped=frozenset([3]), labels={2: "good"}).sentence
        '2 kept and 1 dropped by hand, 1 of them with another label'
        """
        if not (self.kept or self.dropped):
            return ""
        changed = f", {len(self.labels):,} of them with another label" if self.labels else ""
        return f"{len(self.kept):,} kept and {len(self.dropped):,} dropped by hand{changed}"

    @property
    def touched(self) -> set[int]:
        """Ids of examples with any decision in force."""
        return {*self.kept, *self.dropped, *self.labels, *self.notes, *self.tags}


def without_suffix(name: str) -> tuple[str, bool]:
    """Return a subset's name without "+decisions", and True if it had the suffix. Raises SubsetError if more follows the suffix.

    >>> without_suffix("random@0.5+decisions"), without_suffix("full")
    (('random@0.5', True), ('full', False))
    """
    rule, asked = name.removesuffix(DECISIONS), name.endswith(DECISIONS)
    if DECISIONS in rule:
        raise SubsetError(f"{name!r} has text after {DECISIONS}, which must come last, as in winning-ticket{DECISIONS}.")
    return rule, asked


def standing(decisions: Iterable[Decision]) -> list[Decision]:
    """Return the actions in force, oldest first. Undoing an undo restores the action.

    >>> drop = Decision(kind=DecisionKind.DROP, ids=(3,))
    >>> standing([drop, Decision(kind=DecisionKind.UNDO, value=drop.key)])
    []
    """
    undone: set[str] = set()
    kept = []
    for decision in reversed(list(decisions)):
        if decision.key in undone:
            continue
        if decision.kind is DecisionKind.UNDO:
            undone.add(decision.value)
        else:
            kept.append(decision)
    return kept[::-1]


def redoable(decisions: Sequence[Decision]) -> Decision | None:
    """Return the latest action if it is an undo whose own undo would restore an action, else None.

    >>> drop = Decision(kind=DecisionKind.DROP, ids=(3,))
    >>> undo = Decision(kind=DecisionKind.UNDO, value=drop.key)
    >>> redoable([drop, undo]) is undo, redoable([drop]) is None
    (True, True)
    """
    last = decisions[-1] if decisions else None
    if last is None or last.kind is not DecisionKind.UNDO:
        return None
    return last if len(standing(decisions)) < len(standing(decisions[:-1])) else None


def decided(decisions: Iterable[Decision]) -> Decided:
    """Combine the actions in force into one state; for each example the latest action counts.

    A relabelled example is kept until it is dropped.

    >>> decided([Decision(kind=DecisionKind.DROP, ids=(1, 2)), Decision(kind=DecisionKind.KEEP, ids=(2,))]).dropped
    frozenset({1})
    """
    kept: set[int] = set()
    dropped: set[int] = set()
    labels: dict[int, str] = {}
    notes: dict[int, str] = {}
    tags: dict[int, frozenset[str]] = {}
    for act in standing(decisions):
        if act.kind in (DecisionKind.KEEP, DecisionKind.DROP, DecisionKind.RELABEL):
            side, other = (dropped, kept) if act.kind is DecisionKind.DROP else (kept, dropped)
            side.update(act.ids)
            other.difference_update(act.ids)
        if act.kind is DecisionKind.RELABEL:
            labels.update(dict.fromkeys(act.ids, act.value))
        elif act.kind is DecisionKind.NOTE:
            notes.update(dict.fromkeys(act.ids, act.value))
        elif act.kind is DecisionKind.TAG:
            tag = frozenset([act.value])  # one set shared by all examples without other tags: a million sets would take a second
            tags.update({example: tags[example] | tag if example in tags else tag for example in act.ids})
    return Decided(kept=frozenset(kept), dropped=frozenset(dropped), labels=labels, notes=notes, tags=tags)


def apply(
    subset: Subset, state: Decided, ids: NDArray[np.int64], labels: NDArray[np.int64] | None = None, names: Sequence[str] = ()
) -> Subset:
    """Return the subset after the keeps, drops and relabels; `ids` are all examples in source order, `labels` their indices into `names`.

    If anything changed, "+decisions" is added to the name, so that its points are not confused with the rule's own.
    """
    kept = subset.mask(ids)
    kept[np.isin(ids, _array(state.kept))] = True
    kept[np.isin(ids, _array(state.dropped))] = False
    changed, relabels = ids[kept], _changed_labels(state, ids, kept, labels, names)
    if not relabels and len(changed) == subset.size and np.array_equal(changed, subset.kept):
        return subset
    return Subset(
        name=subset.name + DECISIONS,
        method=subset.method,
        rule=f"{subset.rule}; {state.sentence}",
        kept=changed,
        total=subset.total,
        removes=subset.removes,
        labels=relabels,
    )


def _changed_labels(
    state: Decided, ids: NDArray[np.int64], kept: NDArray[np.bool_], labels: NDArray[np.int64] | None, names: Sequence[str]
) -> dict[int, str]:
    """Return id -> new label for the kept examples that have another one now."""
    if not state.labels:
        return {}
    rows = np.flatnonzero(np.isin(ids, _array(state.labels)) & kept).tolist()
    new = {int(ids[row]): state.labels[int(ids[row])] for row in rows}
    if labels is None:
        return new
    return {example: label for (example, label), row in zip(new.items(), rows, strict=True) if label != names[labels[row]]}


def relabelled(labels: NDArray[np.int64], ids: NDArray[np.int64], names: Sequence[str], new: Mapping[int, str]) -> NDArray[np.int64]:
    """Return [N] class indices into `names` with the `new` labels, by id; `labels` [N] are the original ones, `ids` [N] in the same order.

    >>> relabelled(np.array([0, 0]), np.array([7, 8]), ("a", "b"), {8: "b"})
    array([0, 1])
    """
    if not new:
        return labels
    changed, after = np.isin(ids, _array(new)), labels.copy()
    after[changed] = [names.index(new[example]) for example in ids[changed].tolist()]
    return after


def check(decision: Decision, ids: NDArray[np.int64], label_names: Sequence[str]) -> None:
    """Raise UsageError if a decision names an example or a label that does not exist."""
    named = np.asarray(decision.ids, dtype=np.int64)
    unknown = np.unique(named[np.isin(named, ids, invert=True)])
    if len(unknown):
        raise UsageError(f"There is no example with id {unknown[0]}; {len(unknown)} of the {len(decision.ids)} ids are unknown.")
    if decision.kind is DecisionKind.RELABEL and label_names and decision.value not in label_names:
        raise UsageError(f"There is no label {decision.value!r}; the labels are {', '.join(label_names)}.")


def _array(ids: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(ids, dtype=np.int64)
