"""The form of a new experiment, where the data is a log of sampled answers: it is imported, not scored."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pruning.data import access
from pruning.errors import UsageError, WinnowError
from pruning.experiment import Experiment
from pruning.interop.answers.importing import Options, import_answers
from pruning.interop.answers.log import Wanted
from pruning.interop.answers.reading import recognised
from pruning.store import library
from pruning.ui import address, escaping, state


def tool(chosen: str) -> str:
    """Name of the tool whose log the data is; empty where it is none, or cannot be read."""
    try:
        path = access.resolve(chosen)
    except WinnowError:
        return ""
    return "" if path is None else _tool(str(path), path.stat().st_mtime_ns)


@st.cache_data(max_entries=16, show_spinner=False)
def _tool(path: str, stamp: int) -> str:
    return recognised(Path(path))


def show(chosen: str, name: str, dialog: bool) -> None:
    """Ask for what the log does not say, and import it; in a dialog, close it then."""
    found = tool(chosen)
    st.caption(
        escaping.markdown(
            f"{f'A log of {found}' if found else 'A table with a row for each answer, or for each prompt'}: "
            "Winnow counts how often each prompt was solved. Nothing is trained."
        )
    )
    left, right = st.columns(2)
    folder = left.text_input("Name", key="name", placeholder=name, help="Of the experiment's folder. Empty = after the data.") or name
    data = right.text_input("The prompts' own data", key="log-data", help="Its rows are kept and exported. Empty = the rows of the log.")
    left, middle, right = st.columns(3)
    reward = left.text_input("Reward column", key="log-reward", placeholder="detected", help="The reward that means success.")
    threshold = middle.number_input(
        "Smallest right reward",
        value=None,
        key="log-threshold",
        help="Smallest reward that counts as right. Not needed for rewards of 0 and 1.",
    )
    chance = right.number_input(
        "Chance of a guess", 0.0, 0.99, 0.0, 0.05, key="log-chance", help="Probability that a guess is right: 0.25 with four options."
    )
    if st.button("Import", type="primary", icon=":material/input:"):
        options = Options(data=data, wanted=Wanted(reward=reward), threshold=threshold, chance=chance)
        with st.spinner("Reading the log ..."):
            make(chosen, folder, options)
        if dialog:
            address.put(**{address.NEW: None})
        st.rerun()


def make(chosen: str, name: str, options: Options) -> Experiment:
    """Import the log as an experiment of that name and make it this view's.

    Raises UsageError without a log, and what `import_answers` raises.
    """
    if not chosen:
        raise UsageError("Upload a log of sampled answers, or give its path.", "data")
    experiment = import_answers([Path(chosen).expanduser()], library.free(state.root(), name), options)
    address.open_next(name)
    return experiment
