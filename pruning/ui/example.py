"""The open example: as its task shows it, why it is pruned, how each run learned it, and what is nearly the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from pruning.data.tasks import TASKS
from pruning.data.tasks.base import Part
from pruning.formatting import counted
from pruning.records import Subset
from pruning.reports import reasons
from pruning.reports.browse import AT_ONCE, View
from pruning.ui import address, charts, chat, deciding, escaping, tables, theme, widgets
from pruning.ui import answers as sampled_answers

NEAREST = 5
LARGE = 1.2
"""Size of the text being read, in rem."""
LONG = 600
"""Characters beyond which two texts are set one above the other."""


def detail(view: View, subset: Subset, matching: NDArray[np.int64], position: int, kept: NDArray[np.bool_], size: int) -> None:
    """The open example: its text large, why it is pruned and why its label is doubted, the acts, how it was learned."""
    names = view.experiment.label_names
    row = view.row(position)
    _head(view, matching, position, bool(kept[position]), size)
    task = TASKS[view.experiment.settings.task]
    if task.kind == "generation":
        chat.of_example(view, position, task.display(row, names), row)
    else:
        shown(task.display(row, names))
    _why(view, subset, position, bool(kept[position]))
    deciding.one(view, position, partial(go, view, matching, position, 1, size))
    said = reasons.predictions(view, position)
    if view.experiment.sampled:
        sampled_answers.of_example(view, position)
    else:
        _learned(view, position, said)
    _nearest(view, position, kept)
    _by_meaning(view, position, kept)


def go(view: View, matching: NDArray[np.int64], position: int, step: int, size: int) -> None:
    """Open the example so many places further on among those that match; for callbacks."""
    if not len(matching):
        return
    places = np.flatnonzero(matching == position)
    place = int(places[0]) + step if len(places) else 0
    there = min(max(0, place), len(matching) - 1)
    address.put(**{address.EXAMPLE: int(view.experiment.ids[matching[there]]), address.PAGE: there // size + 1})


def _head(view: View, matching: NDArray[np.int64], position: int, kept: bool, size: int) -> None:
    """Which example, its place among those that match, what it is, and the way to the ones beside it."""
    places = np.flatnonzero(matching == position)
    place = int(places[0]) if len(places) else None
    example, runs, decided = int(view.experiment.ids[position]), view.experiment.dynamics.runs, view.decided
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(f"Example {example}", anchor=False, width="content")
        st.caption(f"{place + 1:,} of {len(matching):,}" if place is not None else "not among those that match", width="content")
        step = partial(go, view, matching, position)
        first, last = place == 0, place is not None and place + 1 >= len(matching)
        st.button("Previous", icon=":material/arrow_upward:", shortcut="k", key="previous", on_click=step, args=(-1, size), disabled=first)
        st.button("Next", icon=":material/arrow_downward:", shortcut="j", key="step-on", on_click=step, args=(1, size), disabled=last)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.badge(f"H {view.h[position]} of {runs}", color="gray")
        st.badge("kept" if kept else "pruned", color="blue" if kept else "orange")
        labels, names = view.labels, view.experiment.label_names
        if labels is not None:
            st.badge(escaping.badge(f"label: {names[labels[position]]}"), color="gray")
        if words := tables.by_hand(decided, example):
            st.badge(escaping.badge(words), icon=":material/gavel:", color="violet")


def _why(view: View, subset: Subset, position: int, kept: bool) -> None:
    """Why it is pruned or kept, why its label is doubted, and why no run got it right, a line each."""
    with st.container(border=True, gap="xsmall"):
        for title, words in reasons.lines(view, subset, position, kept):
            st.markdown(f"**{title}:** {escaping.markdown(words)}")


def shown(parts: Sequence[Part]) -> None:
    """The parts in reading order; two short texts side by side, options marked, answers highlighted. Never read as Markdown or HTML."""
    plain = [part for part in parts if part.right is None]
    short = len(plain) == 2 == len(parts) and all(len(part.text) <= LONG and not part.spans for part in plain)
    columns = st.columns(2) if short else [st.container() for _ in plain]
    for column, part in zip(columns, plain, strict=True):
        with column:
            _part(part, LARGE)
    for part in parts:
        if part.right is not None:
            _part(part, 1)


def _part(part: Part, size: float) -> None:
    mark = {True: " (right)", False: "", None: ""}[part.right]
    edge = f"border-inline-start:4px solid {theme.RIGHT if part.right else 'transparent'};padding-inline-start:0.5rem;"
    style = f"{edge}white-space:pre-wrap;overflow-wrap:anywhere;font-size:{size}rem;line-height:1.5;margin:0 0 0.25rem 0"
    name = f'<small style="font-size:0.8rem">{escape(part.name + mark)}</small>'
    st.html(f'<div>{name}<div dir="auto" style="{style}">{marked(part)}</div></div>')


def quoted(badge: str, text: str) -> None:
    """One line of an example's text with a word before it."""
    style = "display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical;overflow:hidden;overflow-wrap:anywhere"
    st.html(f'<div dir="auto" style="{style}"><small><b>{escape(badge)}</b></small> {escape(text)}</div>')


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


def _learned(view: View, position: int, said: list[list[str]] | None) -> None:
    """Probability of the right answer over the epochs, each run and their mean; the grid of runs and epochs behind it."""
    dynamics = view.experiment.dynamics
    probability, correct = dynamics.gold_prob[:, :, position], dynamics.correct[:, :, position]
    table = pd.DataFrame(probability.T, index=pd.RangeIndex(1, dynamics.epochs + 1, name="epoch"))
    table.columns = pd.Index([f"run {run}" for run in range(dynamics.runs)])
    chance = 1 / len(view.experiment.label_names) if view.experiment.label_names else None
    if not np.isnan(probability).any():
        st.caption("Probability of the right answer, by epoch: each run, and their mean")
        widgets.chart(
            charts.learned(table, chance),
            table.assign(mean=table.mean(axis=1)),
            key="lines",
            index=True,
            alt="Probability of the right answer over epochs, one line a run and their mean; the table below says the same.",
        )
    with st.expander("By run and epoch", icon=":material/grid_on:"):
        st.dataframe(tables.grid(probability, correct, said), alt="Right or wrong in every run and epoch, with the probability")


def _nearest(view: View, position: int, kept: NDArray[np.bool_]) -> None:
    """Other examples of its group of (nearly) the same text."""
    if not view.audited:
        st.caption("Duplicates and suspected labels are not worked out yet; open one of these queues to start.")
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
        st.dataframe(tables.examples(view, others[:NEAREST], kept), hide_index=True, alt="Examples with nearly identical texts")


def _by_meaning(view: View, position: int, kept: NDArray[np.bool_]) -> None:
    """Nearest examples of the same label and of other labels: the shortest argument for or against a label."""
    experiment = view.experiment
    looked = experiment.look is not None
    if not looked and len(view.h) > AT_ONCE:
        return
    with st.expander(f"Nearest examples by {'meaning' if looked else 'words'}", icon=":material/hub:"):
        if len(view.h) > AT_ONCE and not st.toggle("Show", key=f"nearest-{int(experiment.ids[position])}"):
            return
        found = experiment.nearest(position, NEAREST)
        sides = [("With the same label", found.same, found.same_cosine), ("With another label", found.other, found.other_cosine)]
        for title, rows, closeness in sides:
            if len(rows):
                st.text(title if experiment.labels is not None else "Nearest")
                table = tables.examples(view, rows, kept)
                table.insert(1, "cosine", closeness.round(2))
                st.dataframe(table, hide_index=True, alt=f"Nearest examples: {title.lower()}")
