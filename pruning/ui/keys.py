"""The keys of Inspect, shown on H: Streamlit 1.67 takes letters and digits as shortcuts, not "?"."""

from __future__ import annotations

import streamlit as st

from pruning.reports.browse import View
from pruning.ui import deciding

KEYS = {
    "J": "next example",
    "K": "previous example",
    "A": "relabel to the suggested label and keep",
    "Y": "keep",
    "X": "drop",
    "U": "undo the latest decision",
    "H": "show the keys",
}


def button(view: View) -> None:
    """The button that opens the list of keys."""
    if st.button("Keys", icon=":material/keyboard:", shortcut="h", key="keys"):
        _listed(view)


@st.dialog("Keys of Inspect")
def _listed(view: View) -> None:
    labels = view.experiment.label_names
    numbers = {f"1 to {len(labels)}": "relabel and keep, in the order of the labels"} if 0 < len(labels) <= deciding.NUMBERED else {}
    st.table({"key": [*KEYS, *numbers], "does": [*KEYS.values(), *numbers.values()]}, hide_index=True, border="horizontal")
    st.caption("Tab leads from the list to the example and on to its decisions. Escape closes this.")
