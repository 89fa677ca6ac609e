"""The experiments there are: open, rename, copy, take the settings of, delete to the trash."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pandas as pd
import streamlit as st

from pruning.errors import WinnowError
from pruning.experiment import Experiment
from pruning.store import library
from pruning.ui import escaping, score_form, state


def table(folders: Sequence[Path]) -> pd.DataFrame:
    """One row an experiment, latest first; a folder that cannot be read says why."""
    return pd.DataFrame([_row(folder) for folder in folders])


def listed(folders: Sequence[Path]) -> None:
    """The table, and what can be done with the one chosen below it."""
    if not folders:
        return
    st.subheader("Experiments")
    st.dataframe(table(folders), hide_index=True, alt="The experiments, latest first")
    names = [folder.name for folder in folders]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        current = st.session_state.get(state.EXPERIMENT)
        name = st.selectbox("Experiment to change", names, names.index(current) if current in names else 0, key="manage", width=260)
        st.button("Open", icon=":material/folder_open:", on_click=_open, args=(name,))
        st.button("Use its settings", icon=":material/content_copy:", on_click=score_form.take_settings, args=(state.root() / name,))
        with st.popover("Rename", icon=":material/edit:"), st.form("rename-it", border=False):
            st.text_input("New name", key="rename")
            st.form_submit_button("Rename it", on_click=_rename, args=(name,))
        with st.popover("Duplicate", icon=":material/file_copy:"), st.form("duplicate-it", border=False):
            st.text_input("Name of the copy", placeholder=_copy(name, names), key="duplicate", help="Empty = as suggested.")
            st.form_submit_button("Duplicate it", on_click=_duplicate, args=(name, _copy(name, names)))
        with st.popover("Delete", icon=":material/delete:"):
            st.text(f"{name} is moved to {library.TRASH} beside the experiments; nothing is lost until you empty it.")
            st.button("Move it to the trash", type="primary", on_click=_discard, args=(name,))


def _row(folder: Path) -> dict[str, object]:
    try:
        experiment = Experiment(folder)
    except WinnowError as error:
        return {"experiment": folder.name, "latest job": str(error)}
    settings = experiment.settings
    return {
        "experiment": experiment.name,
        "made": experiment.info["created"][:16].replace("T", " "),
        "examples": experiment.info["data"]["rows"],
        "runs": f"{len(experiment.finished_runs())} of {settings.runs}",
        "model": settings.model,
        "latest job": experiment.status().sentence,
    }


def _open(name: str) -> None:
    st.session_state[state.EXPERIMENT] = name


@state.in_words
def _rename(old: str) -> None:
    new = st.session_state["rename"]
    library.rename(state.root(), old, new)
    if st.session_state.get(state.EXPERIMENT) == old:
        st.session_state["_open"] = new
    st.session_state["rename"] = ""


def _copy(name: str, names: Sequence[str]) -> str:
    """A name for a copy that no other experiment has.

    >>> _copy("films", ["films", "films-copy"])
    'films-copy-2'
    """
    names_of_copies = (f"{name[:55]}-copy{f'-{number}' * (number > 1)}" for number in count(1))
    return next(free for free in names_of_copies if free not in names)


@state.in_words
def _duplicate(old: str, suggested: str) -> None:
    made = library.duplicate(state.root(), old, st.session_state["duplicate"] or suggested)
    st.session_state["duplicate"], st.session_state["_open"] = "", made.name
    st.toast(escaping.markdown(f"{old} is copied to {made.name}, which is open now."))


@state.in_words
def _discard(name: str) -> None:
    st.toast(escaping.markdown(f"Moved to {library.discard(state.root(), name)}"))
