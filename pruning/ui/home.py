"""The first screen: what this is, the sample for whoever has no data at hand, and the experiments there are."""

from __future__ import annotations

import streamlit as st

from pruning.experiment import list_experiments
from pruning.ui import history, state

STEPS = (
    ("score", "Score", "Fine-tune a few times and record which examples come out right, in which runs and epochs."),
    ("difficulty", "Difficulty", "See which examples are easy, contested or never right."),
    ("frontier", "Frontier", "Measure smaller training sets against their accuracy, beside random ones of equal size."),
    ("inspect", "Inspect", "Read what would go and what would stay, and overrule it."),
    ("export", "Export", "Write the set you chose, byte for byte, with a manifest."),
)


def home() -> None:
    """What Winnow does, step by step, and the experiments so far."""
    st.title("Winnow")
    st.write("Find the part of a fine-tuning set that matters.")
    for name, title, sentence in STEPS:
        link, words = st.columns([1, 4], vertical_alignment="center")
        link.page_link(state.page(name), label=title, icon=":material/arrow_forward:")
        words.write(sentence)
    folders = list_experiments(state.root())
    if not folders:
        st.info("No experiment yet. Score your own data, or start with the sample: movie-review sentences that people rated.")
        st.page_link(state.page("score"), label="Start with the sample", icon=":material/science:")
        return
    st.subheader("Experiments")
    st.dataframe(history.table(folders), hide_index=True, alt="The experiments, latest first")
