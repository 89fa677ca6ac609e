"""Decisions by hand: keep, drop, relabel, note and tag, for one example, for those selected, or for all that match; undo."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pruning.audit_report import SETTLEMENTS, settlement
from pruning.browse import View
from pruning.data.tasks.base import preview_values
from pruning.errors import UsageError
from pruning.formatting import counted
from pruning.records import DecisionKind, Subset
from pruning.subsets.decisions import Decision
from pruning.ui import state

LISTED = 10
"""Decisions on a page of the list."""

NAMED = 5
"""Examples of one decision that are listed by their ids."""

PAGE = "decisions-page"


def decide(view: View, subset: Subset, chosen: NDArray[np.int64], matching: NDArray[np.int64], duplicates: bool) -> None:
    """One row of buttons for the rows chosen in the table, or for all that match; another for `duplicates`, settled for this subset."""
    scope = st.segmented_control(
        "Decide for",
        ["selected", "all"],
        default="selected",
        key="where",
        required=True,
        format_func=lambda where: f"{len(chosen):,} selected" if where == "selected" else f"all {len(matching):,} that match",
    )
    ids = view.experiment.ids[chosen if scope == "selected" else matching]
    act, none = partial(_act, view, ids), not len(ids)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button("Keep", icon=":material/check:", on_click=act, args=(DecisionKind.KEEP,), disabled=none)
        st.button("Drop", icon=":material/close:", on_click=act, args=(DecisionKind.DROP,), disabled=none)
        _boxes(view, act, ("Change the label to", "Tag", "Note"), "")
    if duplicates:
        with st.container(horizontal=True):
            for how, words in SETTLEMENTS.items():
                st.button(words, key=how, icon=":material/content_copy:", on_click=_settle, args=(view, subset, ids, how), disabled=none)
    st.caption("Nothing is deleted: decisions are a list, below, that can be undone.")


def one(view: View, position: int, then: Callable[[], None]) -> None:
    """Keep or drop the example that is open, by button or key, and go on to the next."""
    act = partial(_act, view, view.experiment.ids[[position]])

    def go(kind: DecisionKind) -> None:
        act(kind)
        then()

    st.button("Keep this", icon=":material/check:", shortcut="y", on_click=go, args=(DecisionKind.KEEP,))
    st.button("Drop this", icon=":material/close:", shortcut="x", on_click=go, args=(DecisionKind.DROP,))


def more(view: View, position: int) -> None:
    """Change the label of the example that is open, tag it, note something on it."""
    act = partial(_act, view, view.experiment.ids[[position]])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _boxes(view, act, ("Change its label to", "Tag it", "Note on it"), "-one")


def _boxes(view: View, act: Callable[..., None], labels: tuple[str, str, str], key: str) -> None:
    """A box each for a new label, a tag and a note; what is put in is decided at once, and the box is empty again."""
    relabel, tag, note = labels
    names = view.experiment.label_names
    if names:
        filled = partial(_from, act, DecisionKind.RELABEL, f"relabel{key}")
        st.selectbox(relabel, names, index=None, key=f"relabel{key}", on_change=filled, width=200)
    st.text_input(tag, key=f"tag{key}", on_change=partial(_from, act, DecisionKind.TAG, f"tag{key}"), width=160)
    st.text_input(note, key=f"note{key}", on_change=partial(_from, act, DecisionKind.NOTE, f"note{key}"), width=220)


def listed(view: View) -> None:
    """The standing decisions, latest first, each with its undo."""
    acts = view.standing
    st.subheader("Decisions")
    again = view.redoable
    if again is not None:
        st.button("Redo what was undone last", icon=":material/redo:", on_click=_undo, args=(view, again.key))
    if not acts:
        st.caption("None yet." if again is None else "None any more.")
        return
    decided = view.decided
    st.text(f"{len(decided.kept):,} kept and {len(decided.dropped):,} dropped by hand, {len(decided.labels):,} labels changed.")
    pages = -(-len(acts) // LISTED)
    if int(st.session_state.get(PAGE) or 1) > pages:  # what was undone was the last of its page
        st.session_state[PAGE] = pages
    page = st.pagination(pages, key=PAGE) if pages > 1 else 1
    for decision in acts[::-1][(page - 1) * LISTED : page * LISTED]:
        words, undo = st.columns([5, 1], vertical_alignment="center")
        words.text(told(decision))
        undo.button(
            "Undo",
            key=f"undo-{decision.key}",
            on_click=_undo,
            args=(view, decision.key),
            icon=":material/undo:",
            shortcut="u" if decision is acts[-1] else None,
        )


def told(decision: Decision) -> str:
    """A decision in words: what was done to which examples.

    >>> told(Decision(kind=DecisionKind.RELABEL, ids=(17,), value="good"))
    'relabel good: example 17'
    >>> told(Decision(kind=DecisionKind.DROP, ids=tuple(range(1000))))
    'drop: 1,000 examples (0, 1, 2, 3, 4 ...)'
    """
    if len(decision.ids) == 1:
        which = f"example {decision.ids[0]}"
    else:
        which = f"{counted(len(decision.ids), 'example')} ({preview_values(decision.ids, NAMED)})"
    return f"{decision.kind} {decision.value}".strip() + f": {which}"


@state.in_words
def _act(view: View, ids: NDArray[np.int64], kind: DecisionKind, value: str = "") -> None:
    if not len(ids):
        raise UsageError("No row is selected; tick some in the table, or choose all that match.")
    view.experiment.decide(Decision(kind=kind, ids=tuple(ids.tolist()), value=value))
    st.toast(f"{kind.capitalize()}: {counted(len(ids), 'example')}.")


@state.in_words
def _settle(view: View, subset: Subset, ids: NDArray[np.int64], how: str) -> None:
    """Settle duplicates among these examples; an example outside them may be the one of its group that stays."""
    decision = settlement(view.experiment, subset, how)
    among = np.intersect1d(ids, decision.ids)
    if not len(among):
        raise UsageError(f"{SETTLEMENTS[how]}: of these examples there is none to decide.")
    _act(view, among, decision.kind, decision.value)


def _from(act: Callable[[DecisionKind, str], None], kind: DecisionKind, key: str) -> None:
    value = st.session_state[key]
    if value:
        act(kind, str(value))
        st.session_state[key] = None if kind is DecisionKind.RELABEL else ""


@state.in_words
def _undo(view: View, key: str) -> None:
    view.experiment.decide(Decision(kind=DecisionKind.UNDO, value=key))
