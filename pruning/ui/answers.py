"""Sampled answers on the pages: the pass count, what so few samples say, and the answers to one prompt."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pruning.analysis.answers import final_answer
from pruning.analysis.rates import jeffreys
from pruning.formatting import counted
from pruning.reports import answers as reports
from pruning.reports.browse import View
from pruning.store import sampled
from pruning.ui import theme, widgets

SHOWN = 16
"""Answers shown at once; more on demand."""

TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;max-height:16rem;overflow:auto"

H = "H: runs that got it right in every epoch"


def heading(view: View) -> str:
    """The histogram's heading; empty where the experiment is not of sampled answers."""
    if not view.experiment.sampled:
        return ""
    runs, epochs = view.experiment.dynamics.runs, view.experiment.dynamics.epochs
    if _counted(view):
        return f"Expected pass rate, in {runs}ths"
    return f"Right answers of {runs}" if epochs == 1 else f"Of {runs} samples, right at every checkpoint"


def _counted(view: View) -> bool:
    """True where attempts differ, so that H is not a count of answers."""
    return len(np.unique(view.rates.attempts)) > 1 or view.rates.attempts.max(initial=0) > view.experiment.dynamics.runs * _epochs(view)


def _epochs(view: View) -> int:
    return view.experiment.dynamics.epochs


def about_h(view: View) -> str:
    """Meaning of H, for the heading's help."""
    if not view.experiment.sampled:
        return "H: runs in which it was right in every epoch."
    if _counted(view):
        return "H: the expected pass rate in R-ths; 0 where no answer was right, R where every answer was."
    return "H: samples that were right at every checkpoint; with one checkpoint the pass count."


def axis(view: View) -> str:
    """The title of the histogram's axis."""
    return f"H: {heading(view)[0].lower()}{heading(view)[1:]}" if view.experiment.sampled else H


def map_axes(view: View) -> tuple[str, str]:
    """The scores that the map shows first."""
    if not view.experiment.sampled:
        return "variability", "confidence"
    return ("answer-tokens" if "answer-tokens" in view.score_names else "pass-rate-high"), "pass-rate"


def colour(view: View) -> str:
    """The score that colours the map."""
    return "pass-rate" if view.experiment.sampled else "correctness"


def statement(view: View) -> None:
    """Say what so few samples can say, a line each; nothing for other experiments."""
    if view.experiment.sampled:
        for sentence in reports.sentences(view.rates):
            st.caption(sentence)


def numbers(row: Any, view: View) -> None:
    """Never right, and doubted keys, beside the other numbers of the Overview."""
    never, doubted = int(view.rates.never.sum()), int(view.rates.doubted.sum())
    widgets.number(row, "Never right", f"{never / max(1, len(view.h)):.0%}", counted(never, "prompt"))
    known = view.rates.disagrees is not None
    widgets.number(row, "Doubted keys", f"{doubted:,}" if known else "-", "most answers disagree" if known else "the log has no answers")


def of_example(view: View, position: int) -> None:
    """The pass rate of one prompt with its interval, and its answers, right and wrong ones marked."""
    k, n = view.rates.successes[position : position + 1], view.rates.attempts[position : position + 1]
    if n[0] == 0:
        st.text("Not sampled: nothing is known about this prompt.")
        return
    low, high = jeffreys(k, n)
    st.text(
        f"{int(k[0])} of {int(n[0])} answers right; pass rate {k[0] / n[0]:.0%}, 95% interval {low[0]:.0%} to {high[0]:.0%} (Jeffreys)."
    )
    table = sampled.read_answers(view.experiment.folder, int(view.experiment.ids[position]))
    if table.empty:
        st.caption("The log has no answers to read.")
        return
    finals = table["answer"].map(final_answer)
    counts = finals[finals != ""].value_counts()
    if len(counts):
        said = ", ".join(f"{answer[:60]} {count}x" for answer, count in counts.head(5).items())
        st.text(f"Final answers: {said}{' ...' if len(counts) > 5 else ''}")
    everything = len(table) <= SHOWN or st.toggle(f"Show all {len(table)} answers", key=f"answers-{int(view.experiment.ids[position])}")
    for row in table.itertuples() if everything else table.head(SHOWN).itertuples():
        _answer(row, several=view.experiment.dynamics.epochs > 1)


def _answer(row: Any, several: bool) -> None:
    unknown = pd.isna(row.right)
    word = "no verdict" if unknown else "right" if row.right else "wrong"
    facts = [f"checkpoint {row.epoch + 1}"] * several + [f"sample {row.sample + 1}", word]
    facts += [f"{row.tokens} tokens"] * (not pd.isna(row.tokens)) + ["cut at the length limit"] * (not pd.isna(row.cut) and bool(row.cut))
    edge = "transparent" if unknown else theme.RIGHT if row.right else theme.WRONG
    text = "(no text)" if row.answer is None else row.answer
    style = f"border-inline-start:4px solid {edge};padding-inline-start:0.5rem;{TEXT}"
    st.html(f'<div tabindex="0" style="{style}"><small>{escape(", ".join(facts))}</small><div dir="auto">{escape(text)}</div></div>')
