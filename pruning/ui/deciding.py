"""Decisions made by hand: relabel, keep, drop, tag and note, for the open example or for many; undo."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pruning.data.tasks.base import preview_values
from pruning.errors import UsageError
from pruning.formatting import counted
from pruning.records import DecisionKind, Subset
from pruning.reports import review
from pruning.reports.audit_report import SETTLEMENTS, settlement
from pruning.reports.browse import View
from pruning.subsets.decisions import Decision
from pruning.ui import address, escaping, state

LISTED = 10
"""Decisions per page of the list."""

NAMED = 5
"""Most ids listed for one decision."""

NUMBERED = 9
"""Number of labels with a number key."""

PAGE = "decisions-page"
WORDS = {
    DecisionKind.KEEP: "Kept",
    DecisionKind.DROP: "Dropped",
    DecisionKind.RELABEL: "Relabelled",
    DecisionKind.NOTE: "Noted on",
    DecisionKind.TAG: "Tagged",
}


def seen(view: View) -> None:
    """Remember the decisions that the page shows, so that an act can name those made elsewhere since."""
    st.session_state[address.SEEN] = {decision.key for decision in view.standing}


def one(view: View, position: int, then: Callable[[], None]) -> None:
    """Show the decisions on the open example, by button or key; each opens the next example."""
    names, other = view.experiment.label_names, review.suggested(view, position)
    act = partial(_and_then, view, view.experiment.ids[[position]], then)
    with st.container(horizontal=True, gap="small"):
        if other is not None:
            st.button(
                f"Relabel to {escaping.markdown(names[other])} and keep",
                icon=":material/swap_horiz:",
                shortcut="a",
                type="primary",
                key="relabel-suggested",
                on_click=act,
                args=(DecisionKind.RELABEL, names[other]),
            )
        st.button("Keep", icon=":material/check:", shortcut="y", key="keep-this", on_click=act, args=(DecisionKind.KEEP,))
        st.button("Drop", icon=":material/close:", shortcut="x", key="drop-this", on_click=act, args=(DecisionKind.DROP,))
        undo(view, int(view.experiment.ids[position]))
        with st.popover("Label, tag, note", icon=":material/edit_note:"):
            _boxes(view, partial(_act, view, view.experiment.ids[[position]]), ("New label", "Tag", "Note"), "-one")
    _numbers(view, position, act)


def _numbers(view: View, position: int, act: Callable[..., None]) -> None:
    """Show a button for each label, with its number as its key; outside the popover, because keys do nothing while it is closed."""
    names, labels = view.experiment.label_names, view.labels
    if labels is None or len(names) > NUMBERED:
        return
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        st.caption("Label", width="content")
        for number, name in enumerate(names, 1):
            st.button(
                escaping.markdown(name),
                key=f"label-{number}",
                shortcut=str(number),
                disabled=labels[position] == number - 1,
                on_click=act,
                args=(DecisionKind.RELABEL, name),
            )


def many(view: View, subset: Subset, ticked: NDArray[np.int64], matching: NDArray[np.int64], duplicates: bool) -> None:
    """Show the decisions on the rows ticked in the list, or on all matching examples, and those that resolve `duplicates`."""
    scope = st.segmented_control(
        "Decide for",
        ["selected", "all"],
        default="selected",
        key="where",
        required=True,
        label_visibility="collapsed",
        format_func=lambda where: f"{len(ticked):,} ticked" if where == "selected" else f"all {len(matching):,} that match",
    )
    ids = view.experiment.ids[ticked if scope == "selected" else matching]
    act, none = partial(_act, view, ids), not len(ids)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.button(f"Keep {len(ids):,}", icon=":material/check:", key="keep-many", on_click=act, args=(DecisionKind.KEEP,), disabled=none)
        st.button(f"Drop {len(ids):,}", icon=":material/close:", key="drop-many", on_click=act, args=(DecisionKind.DROP,), disabled=none)
        with st.popover("Label, tag, note", icon=":material/edit_note:", disabled=none):
            _boxes(view, act, ("New label", "Tag", "Note"), "")
        if duplicates:
            for how, words in SETTLEMENTS.items():
                st.button(words, key=how, icon=":material/content_copy:", on_click=_settle, args=(view, subset, ids, how), disabled=none)
    _undo_many(view)


def _undo_many(view: View) -> None:
    """Show this tab's latest decision on many examples, with its undo."""
    latest = _latest(view)
    if latest is None or len(latest.ids) < 2:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.text(f"{WORDS[latest.kind]} {counted(len(latest.ids), 'example')}.", width="content")
        st.button("Undo", icon=":material/undo:", key="undo-many", type="tertiary", on_click=_undo, args=(view, latest.key))


def _latest(view: View) -> Decision | None:
    """Return this tab's latest decision that was not undone."""
    standing = {decision.key: decision for decision in view.standing}
    own = [key for key in st.session_state.get(address.ACTS, []) if key in standing]
    return standing[own[-1]] if own else None


def undo(view: View, example: int) -> None:
    """Undo this tab's latest decision in force, else the latest one on the open example; the button names it."""
    latest = _latest(view) or next((decision for decision in reversed(view.standing) if example in decision.ids), None)
    st.button(
        escaping.markdown(f"Undo {described(latest)}") if latest else "Undo",
        icon=":material/undo:",
        shortcut="u",
        key="undo",
        disabled=latest is None,
        on_click=_undo,
        args=(view, latest.key if latest else ""),
    )


def _boxes(view: View, act: Callable[..., None], labels: tuple[str, str, str], key: str) -> None:
    """Show a box each for a new label, a tag and a note; an entry is a decision, and the box is cleared."""
    relabel, tag, note = labels
    names = view.experiment.label_names
    if names:
        filled = partial(_from, act, DecisionKind.RELABEL, f"relabel{key}")
        st.selectbox(relabel, names, index=None, key=f"relabel{key}", on_change=filled, width=240)
    st.text_input(tag, key=f"tag{key}", on_change=partial(_from, act, DecisionKind.TAG, f"tag{key}"), width=240)
    st.text_input(note, key=f"note{key}", on_change=partial(_from, act, DecisionKind.NOTE, f"note{key}"), width=240)


def listed(view: View) -> None:
    """Show the decisions in force, latest first, each with its undo."""
    acts, again = view.standing, view.redoable
    with st.expander(f"Decisions ({len(acts):,})", icon=":material/gavel:"):
        if again is not None:
            st.button("Redo the last undo", icon=":material/redo:", on_click=_undo, args=(view, again.key, True))
        if not acts:
            st.caption("None yet. Decisions delete nothing and can be undone.")
            return
        decided = view.decided
        st.text(f"{len(decided.kept):,} kept, {len(decided.dropped):,} dropped, {counted(len(decided.labels), 'label')} changed.")
        pages = -(-len(acts) // LISTED)
        if int(st.session_state.get(PAGE) or 1) > pages:  # the only decision of the page was undone
            st.session_state[PAGE] = pages
        page = st.pagination(pages, key=PAGE) if pages > 1 else 1
        for decision in acts[::-1][(page - 1) * LISTED : page * LISTED]:
            words, button = st.columns([5, 1], vertical_alignment="center")
            words.text(described(decision))
            button.button("Undo", key=f"undo-{decision.key}", on_click=_undo, args=(view, decision.key), icon=":material/undo:")


def described(decision: Decision) -> str:
    """Describe a decision in words: its kind and its examples.

    >>> described(Decision(kind=DecisionKind.DROP, ids=(7,)))
    'drop: example 7'
    """
    if len(decision.ids) == 1:
        which = f"example {decision.ids[0]}"
    else:
        which = f"{counted(len(decision.ids), 'example')} ({preview_values(decision.ids, NAMED)})"
    return f"{decision.kind} {decision.value}".strip() + f": {which}"


def _and_then(view: View, ids: NDArray[np.int64], then: Callable[[], None], kind: DecisionKind, value: str = "") -> None:
    _act(view, ids, kind, value)
    then()


@state.in_words
def _act(view: View, ids: NDArray[np.int64], kind: DecisionKind, value: str = "") -> None:
    if not len(ids):
        raise UsageError("No row is ticked; tick rows in the list, or choose all that match.")
    decision, elsewhere = Decision(kind=kind, ids=tuple(ids.tolist()), value=value), _elsewhere(view, ids)
    view.experiment.decide(decision)
    st.session_state.setdefault(address.ACTS, []).append(decision.key)
    st.session_state[address.DECIDED] = True
    what = f"example {ids[0]}" if len(ids) == 1 else counted(len(ids), "example")
    words = f"{WORDS[kind]} {what}{f' to {value}' if kind is DecisionKind.RELABEL else ''}."
    if elsewhere is None:
        state.say(f"{words} Press U to undo.")
    else:
        state.say(f"{words} Meanwhile decided elsewhere: {described(elsewhere)}. Press U to undo.", ":material/warning:", lasting=True)


def _elsewhere(view: View, ids: NDArray[np.int64]) -> Decision | None:
    """Return the latest decision on one of these examples that the page did not show yet: another tab, or person, made it."""
    shown = {*st.session_state.get(address.SEEN, ()), *st.session_state.get(address.ACTS, ())}
    new = (decision for decision in reversed(view.standing) if decision.key not in shown)
    return next((decision for decision in new if np.isin(decision.ids, ids).any()), None)


@state.in_words
def _settle(view: View, subset: Subset, ids: NDArray[np.int64], how: str) -> None:
    """Resolve duplicates among these examples; the example kept of a group can be outside of them."""
    decision = settlement(view.experiment, subset, how, ids)
    if not decision.ids:
        raise UsageError(f"{SETTLEMENTS[how]}: no change among these examples.")
    _act(view, np.array(decision.ids, dtype=np.int64), decision.kind, decision.value)


def _from(act: Callable[[DecisionKind, str], None], kind: DecisionKind, key: str) -> None:
    value = st.session_state[key]
    if value:
        act(kind, str(value))
        st.session_state[key] = None if kind is DecisionKind.RELABEL else ""


@state.in_words
def _undo(view: View, key: str, redo: bool = False) -> None:
    """Undo exactly this decision, even if another tab has made others since; it may have been undone there already."""
    undone = next((decision for decision in view.standing if decision.key == key), None)
    if not redo and undone is None:
        raise UsageError("That decision was already undone in another tab.")
    view.experiment.decide(Decision(kind=DecisionKind.UNDO, value=key))
    state.say("Redone." if undone is None else f"Undone: {described(undone)}.")
    st.session_state[address.DECIDED] = True
