"""The Overview of sampled answers: the pass rate, what is never right, the histogram, and the review queues; nothing is measured here."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from pruning.formatting import counted
from pruning.reports.browse import View
from pruning.subsets.looks import SOMETIMES
from pruning.subsets.titles import short
from pruning.ui import answers, escaping, state, widgets


def show(view: View, histogram: Callable[[View], None], queues: Callable[[View], None]) -> None:
    """Show the verdict with its next steps, the numbers, the histogram and the queues."""
    kept = view.subset(SOMETIMES)
    with st.container(border=True):
        st.subheader(escaping.markdown(view.experiment.learned.sentence), anchor=False)
        st.text(f"{short(SOMETIMES)} keeps {kept.size:,} of {kept.total:,} prompts: those with right and with wrong answers.")
        with st.container(horizontal=True, vertical_alignment="center"):
            chosen = st.button(
                f"Use {escaping.markdown(short(SOMETIMES))} and export",
                type="primary",
                icon=":material/check:",
                on_click=state.choose,
                args=(SOMETIMES,),
                disabled=kept.size == 0,
            )
            st.page_link(state.page("difficulty"), label="See all pass rates", icon=":material/bar_chart:")
        if chosen:
            st.switch_page(state.page("export"))
    row = st.container(horizontal=True)
    found = view.rates
    total = int(found.attempts.sum())
    widgets.number(row, "Pass rate", f"{found.successes.sum() / max(1, total):.0%}", counted(total, "answer"))
    widgets.number(row, "Always right", f"{found.always.mean():.0%}", counted(int(found.always.sum()), "prompt"))
    answers.numbers(row, view)
    left, right = st.columns([3, 2])
    with left.container(border=True, height="stretch"):
        histogram(view)
        answers.statement(view)
    with right.container(border=True, height="stretch"):
        queues(view)
