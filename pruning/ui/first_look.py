"""The first minute: what the look says of an experiment before and while it is fine-tuned."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from pruning.analysis.neighbours import SAME_MEANING
from pruning.errors import WinnowError
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.formatting import counted
from pruning.jobs import precompute
from pruning.records import DISTINCT
from pruning.reports.browse import at_hand
from pruning.reports.first_look import FirstLook, first_look
from pruning.store.layout import Folder
from pruning.ui import address, charts, escaping, score_form, state, theme, widgets

SHOWN = 20
"""Suspected labels in the table."""


def panel(experiment: Experiment) -> None:
    """Accuracy of the probe, expected success, suspected labels and duplicates; nothing where there is no look."""
    if experiment.look is None:
        if experiment.look_problem:
            st.warning(escaping.markdown(experiment.look_problem), icon=":material/warning:")
        if experiment.settings.look and experiment.status().state.under_way:
            st.fragment(_awaited, run_every=1)(experiment.folder)
        return
    if not at_hand(experiment):
        precompute.begin(experiment.folder.root)
        st.caption("Suspected labels and duplicates are being worked out; open this page again in a minute.")
        return
    try:
        found = first_look(experiment)
    except WinnowError as error:
        st.error(escaping.markdown(error), icon=":material/error:")
        return
    with st.container(border=True):
        st.subheader("First look", anchor=False, help="One pass of the pretrained model and a linear probe; fine-tuning sharpens it.")
        for sentence in (found.verdict, *found.notes):
            st.text(sentence)
        _numbers(found)
        if found.copies:
            _copies(experiment, found.copies)
        left, right = widgets.columns("look", [5, 8])
        with left:
            _histogram(found)
        with right:
            _suspects(experiment, found)


def _awaited(folder: Folder) -> None:
    """Draw the page again once the look is there."""
    if folder.look.exists():
        st.rerun()


def _numbers(found: FirstLook) -> None:
    row = st.container(horizontal=True)
    known = found.accuracy is not None and found.majority is not None
    beside = f"most frequent label {found.majority:.1%}" if known else "no probe"
    widgets.number(row, "Probe accuracy", f"{found.accuracy:.1%}" if known else "-", beside)
    widgets.number(row, "Suspected labels", "-" if found.suspects is None else f"{found.suspects:,}", "before training")
    widgets.number(row, "Duplicates", f"{found.redundant:,}", f"beyond the first of {counted(found.groups, 'group')}")
    alike = "-" if found.alike_redundant is None else f"{found.alike_redundant:,}"
    widgets.number(row, "Near-duplicates by meaning", alike, f"cosine {SAME_MEANING} or more, with copies")


def _copies(experiment: Experiment, words: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(words, width="content")
        st.button(
            "Score one of each",
            key="score-distinct",
            icon=":material/filter_none:",
            help="Writes them to the experiment's exports and opens New experiment on that file, with the same settings.",
            on_click=_score_distinct,
            args=(experiment,),
        )


@state.in_words
def _score_distinct(experiment: Experiment) -> None:
    subset = experiment.subset(DISTINCT)
    output = writer.default_output(experiment, subset, "jsonl")
    writer.build(experiment, subset, output, force=True)
    score_form.take_settings(experiment.folder.root)
    address.put(**{address.DATA: str(output)})
    st.session_state["name"] = f"{experiment.name}-{DISTINCT}"
    address.go("score")


def _histogram(found: FirstLook) -> None:
    if not found.histogram:
        return
    steps = [f"{step / 10:.1f}" for step in range(10)]
    counts = pd.DataFrame({"examples": found.histogram}, index=pd.Index(steps, name="expected success from"))
    st.markdown(f"**Expected success{'' if found.runs else ', before training'}**")
    widgets.chart(
        charts.histogram(counts, {"examples": theme.KEPT}, "expected success: right in every epoch of one more run", 300, ends=False),
        counts,
        key="expected-success",
        index=True,
        alt="Histogram of expected success from 0 to 1; the table below it has the same numbers.",
    )


def _suspects(experiment: Experiment, found: FirstLook) -> None:
    errors, labels, names = experiment.label_errors, experiment.labels, np.asarray(experiment.label_names)
    if errors is None or labels is None:
        return
    st.markdown(f"**Suspected labels{'' if found.runs else ', before training'}**")
    st.caption(escaping.markdown(found.suspected))
    worst = errors.ranked[:SHOWN]
    texts = experiment.texts.take(worst)
    table = {"id": experiment.ids[worst], "label": names[labels[worst]], "looks like": names[errors.suggested[worst]]}
    shown = pd.DataFrame({**table, **{name: texts[name].to_pylist() for name in texts.column_names}})
    st.dataframe(shown, hide_index=True, height=300, alt="The labels that look most wrong, worst first")
