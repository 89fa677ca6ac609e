"""Help on every page, shown on H, and on ? (server/help_key.py): the keys of Inspect, and the words."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pruning.ui import deciding

KEYS = {
    "J": "next example",
    "K": "previous example",
    "A": "relabel to the suggested label and keep",
    "Y": "keep",
    "X": "drop",
    "U": "undo the latest decision",
    "? or H": "show this help, on every page",
}

WORDS = {
    "Run": "one fine-tuning with one seed",
    "H": "in how many runs an example was right in every counted epoch: 0 = never right, all runs = always right",
    "Burn-in": "first epochs that H ignores",
    "Subset": "a rule and the examples it keeps; the others are pruned",
    "Winning ticket": "the subset without what is always right and never right (Tayaranian et al. 2024)",
    "Frontier": "accuracy by subset size; each measured subset is a point",
    "pp": "percentage points: 80% is 2 pp more than 78%",
    "95% CI": "the range that holds the true mean with 95% confidence, from the seeds",
    "Confidence": "mean probability of the right answer over runs and epochs",
    "Variability": "how much that probability changes over runs and epochs",
    "Suspected label": "one that the model's predictions contradict more than chance explains (confident learning)",
    "Decision": "keep, drop, relabel, tag or note by a person; it overrules the rule",
}


def button(labels: Sequence[str]) -> None:
    """The button that opens the help. `labels`: the names of the classes, which have number keys."""
    if st.button("Help", icon=":material/help:", shortcut="h", key="keys", type="tertiary"):
        _listed(labels)


@st.dialog("Keys and words", width="medium")
def _listed(labels: Sequence[str]) -> None:
    numbers = {f"1 to {len(labels)}": "relabel and keep, in the order of the labels"} if 0 < len(labels) <= deciding.NUMBERED else {}
    st.markdown("**Keys of Inspect**")
    st.table({"key": [*KEYS, *numbers], "does": [*KEYS.values(), *numbers.values()]}, hide_index=True, border="horizontal")
    st.caption("Tab leads from the list to the example and on to its decisions. Escape closes this.")
    st.markdown("**Words**")
    st.table({"word": list(WORDS), "means": list(WORDS.values())}, hide_index=True, border="horizontal")
