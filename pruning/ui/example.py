"""One example: as its task shows it, how each run learned it, what the model said instead, and what is nearly the same."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from pruning.analysis.audit import Hard
from pruning.browse import View
from pruning.data.tasks import TASKS
from pruning.data.tasks.base import Part
from pruning.formatting import counted
from pruning.ui import charts, deciding, tables, theme, widgets

AT = "at"
"""Place of the open example among those that match, in the URL."""
NEAREST = 5


def detail(view: View, matching: NDArray[np.int64], kept: NDArray[np.bool_], size: int) -> None:
    """The open example, and the way to the ones before and after it."""
    place = min(max(0, int(st.session_state.get(AT) or 1) - 1), len(matching) - 1)
    position = int(matching[place])

    def go(step: int) -> None:
        there = min(max(0, place + step), len(matching) - 1)
        st.session_state[AT], st.session_state["page"] = there + 1, there // size + 1

    st.subheader(f"Example {view.experiment.ids[position]}")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if place + 1 != st.session_state.get(AT, 1):
            st.session_state[AT] = place + 1
        st.number_input("Number among those that match", 1, len(matching), key=AT, bind="query-params", width=220)
        st.button("Previous", icon=":material/arrow_upward:", shortcut="k", on_click=go, args=(-1,), disabled=place == 0)
        st.button("Next", icon=":material/arrow_downward:", shortcut="j", on_click=go, args=(1,), disabled=place + 1 == len(matching))
        deciding.one(view, position, lambda: go(1))
    row = view.row(position)
    names = view.experiment.label_names
    shown(TASKS[view.experiment.settings.task].display(row, names))
    said = answers(view, position)
    facts = [f"H = {view.h[position]} of {view.experiment.dynamics.runs}", "It stays" if kept[position] else "It goes"]
    if names:
        facts.insert(0, f"Label: {names[int(str(row['label']))]}")
    if said is not None:
        flat = pd.Series([name for run in said for name in run]).value_counts()
        facts.append("The model said: " + ", ".join(f"{name} {count}x" for name, count in flat.items()))
    st.text(". ".join(facts) + ".")
    _doubts(view, position)
    if words := tables.by_hand(view.decided, int(view.experiment.ids[position])):
        st.text(f"By hand: {words}.")
    deciding.more(view, position)
    _learned(view, position, said)
    _nearest(view, position, kept)


WHY = {
    Hard.MISLABELLED: "its label is a suspected error",
    Hard.RARE: "its words are rarer than those of nine in ten examples",
    Hard.CONTESTED: "runs and epochs disagree about it, or agree against its label without much conviction",
}


def _doubts(view: View, position: int) -> None:
    """Which label it looks like, where its own is suspected, and why no run got it right."""
    errors = view.label_errors if view.audited else None
    if errors is not None and errors.suspect[position]:
        st.text(f"Suspected wrong label: looks like {view.experiment.label_names[errors.suggested[position]]}.")
    kind = view.hard[position] if errors is not None else None
    if kind is not None:
        edge = f"border-left:4px solid {theme.CONTESTED if kind is Hard.CONTESTED else 'transparent'};padding-left:0.75rem"
        st.html(f'<div style="{edge}">No run got it right throughout: {kind} ({WHY[kind]}).</div>')


def shown(parts: Sequence[Part]) -> None:
    """The parts in reading order; two texts side by side, options marked, answers highlighted. Never read as Markdown or HTML."""
    plain = [part for part in parts if part.right is None]
    columns = st.columns(len(plain)) if len(plain) == 2 and not any(part.spans for part in plain) else [st.container() for _ in plain]
    for column, part in zip(columns, plain, strict=True):
        with column:
            _part(part)
    for part in parts:
        if part.right is not None:
            _part(part)


def _part(part: Part) -> None:
    mark = {True: " (right)", False: "", None: ""}[part.right]
    colour = theme.RIGHT if part.right else "transparent"
    edge = f"border-left:4px solid {colour};padding-left:0.75rem;white-space:pre-wrap;overflow-wrap:anywhere;margin:0 0 0.5rem 0"
    st.html(f'<div style="{edge}"><small>{escape(part.name + mark)}</small><br>{marked(part)}</div>')


def marked(part: Part) -> str:
    """A part's text as HTML that shows exactly its letters, its spans marked.

    >>> marked(Part(name="context", text="<b>in 1999</b>", spans=((6, 10),)))
    '&lt;b&gt;in <mark>1999</mark>&lt;/b&gt;'
    """
    pieces, end = [], 0
    for start, stop in part.spans:
        if start >= end:
            pieces += [escape(part.text[end:start]), "<mark>", escape(part.text[start:stop]), "</mark>"]
            end = stop
    return "".join([*pieces, escape(part.text[end:])])


def answers(view: View, position: int) -> list[list[str]] | None:
    """What the model answered, [runs][epochs]; None where answers have no names."""
    predicted = view.experiment.dynamics.predicted[:, :, position]
    names = list(view.experiment.label_names)
    if (predicted < 0).any():
        return None
    if names:
        return [[names[label] for label in run] for run in predicted]
    kind = TASKS[view.experiment.settings.task].kind
    return [[f"option {chr(ord('A') + int(option))}" for option in run] for run in predicted] if kind == "multiple_choice" else None


def _learned(view: View, position: int, said: list[list[str]] | None) -> None:
    dynamics = view.experiment.dynamics
    probability, correct = dynamics.gold_prob[:, :, position], dynamics.correct[:, :, position]
    grid, lines = st.columns(2)
    with grid:
        st.caption("Probability of the right answer, by run and epoch; a tick where it was right")
        widgets.chart(
            charts.grid(dynamics, position),
            tables.grid(probability, correct, said),
            key="grid",
            index=True,
            alt="Runs by epochs: probability of the right answer, with a tick where it was right; the table below says the same.",
        )
    with lines:
        st.caption("The same over the epochs, a line a run")
        table = pd.DataFrame(probability.T, index=pd.RangeIndex(dynamics.epochs, name="epoch"))
        table.columns = pd.Index([f"run {run}" for run in range(dynamics.runs)])
        widgets.chart(
            charts.lines(table, "epoch", "probability of the right answer"),
            table,
            key="lines",
            index=True,
            alt="Probability of the right answer over epochs, one line a run; the table below says the same.",
        )


def _nearest(view: View, position: int, kept: NDArray[np.bool_]) -> None:
    """Other examples of its group of (nearly) the same text."""
    if not view.audited:
        st.caption("Duplicates and label errors are not worked out yet; choose Only: duplicates above.")
        return
    group = view.duplicates.group[position]
    members = view.duplicates.members(group) if group >= 0 else np.empty(0, dtype=np.int64)
    others = members[(members != position) & (members < len(view.h))]
    leaked = int((members >= len(view.h)).sum())
    if leaked:
        leaking = counted(leaked, "evaluation example has", "evaluation examples have")
        st.warning(f"{leaking} (nearly) the same text.", icon=":material/warning:")
    if len(others):
        st.text(f"{counted(len(others), 'other example has', 'other examples have')} (nearly) the same text:")
        st.dataframe(tables.examples(view, others[:NEAREST], kept), hide_index=True, alt="Examples with nearly the same text")
