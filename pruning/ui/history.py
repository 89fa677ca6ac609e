"""The experiments of the folder: open, rename, copy, take the settings of, delete to the trash."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from pruning.reports.listing import Listing
from pruning.store import library
from pruning.ui import address, escaping, score_form, state


def table(folders: Sequence[Path]) -> pd.DataFrame:
    """One row an experiment, latest first; a folder that cannot be read says why. Of a model's path, its last part is shown."""
    found = pd.DataFrame(_listing(state.root()).rows(folders))
    if "model" in found:
        found["model"] = [Path(name).name if isinstance(name, str) and Path(name).is_absolute() else name for name in found["model"]]
    return found


COLUMNS = {
    "experiment": st.column_config.TextColumn("experiment", width=160),
    "latest job": st.column_config.TextColumn("latest job", width=260, help="A click on a cell shows a long one whole"),
    "runs": st.column_config.ProgressColumn("runs", format="percent", min_value=0, max_value=1, help="Runs that are complete"),
    "difficulty": st.column_config.BarChartColumn("difficulty", y_min=0, help="Examples by H, from never right to always right"),
    "accuracy": st.column_config.NumberColumn("accuracy", format="%.3f", help="Of full data on the evaluation data"),
}


def opener(folders: Sequence[Path]) -> None:
    """The table; a row chosen is opened."""
    names = [folder.name for folder in folders]

    def opened() -> None:
        rows = st.session_state[address.EXPERIMENTS].selection.rows
        if rows:
            _open(names[rows[0]])

    st.dataframe(
        table(folders),
        key=address.EXPERIMENTS,
        hide_index=True,
        on_select=opened,
        selection_mode="single-row",
        column_config=COLUMNS,
        placeholder="",
        alt="The experiments, latest first; choosing a row opens it",
    )


def listed(folders: Sequence[Path]) -> None:
    """The table, and what can be done with the one chosen below it."""
    if not folders:
        return
    st.subheader("Experiments")
    st.dataframe(table(folders), hide_index=True, column_config=COLUMNS, placeholder="", alt="The experiments, latest first")
    names = [folder.name for folder in folders]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        current = address.value(address.EXPERIMENT)
        name = st.selectbox("Experiment to change", names, names.index(current) if current in names else 0, key="manage", width=260)
        st.button("Open", icon=":material/folder_open:", on_click=_open, args=(name,))
        st.button("Use its settings", icon=":material/content_copy:", on_click=score_form.take_settings, args=(state.root() / name,))
        with st.popover("Rename", icon=":material/edit:"), st.form("rename-it", border=False):
            st.text_input("New name", key="rename")
            st.form_submit_button("Rename it", on_click=_rename, args=(name,))
        with st.popover("Duplicate", icon=":material/file_copy:"), st.form("duplicate-it", border=False):
            st.text_input("Name of the copy", placeholder=library.copy_name(name, names), key="duplicate", help="Empty = as suggested.")
            st.form_submit_button("Duplicate it", on_click=_duplicate, args=(name, library.copy_name(name, names)))
        with st.popover("Delete", icon=":material/delete:"):
            st.text(f"{name} is moved to {library.TRASH} beside the experiments; you can restore it until you empty that folder.")
            st.button("Move it to the trash", type="primary", on_click=_discard, args=(name,))


@st.cache_resource(show_spinner=False)
def _listing(root: Path) -> Listing:
    return Listing(root)


def _open(name: str) -> None:
    address.open_next(name)


@state.in_words
def _rename(old: str) -> None:
    new = st.session_state["rename"]
    library.rename(state.root(), old, new)
    if address.value(address.EXPERIMENT) == old:
        address.open_next(new)
    st.session_state["rename"] = ""


@state.in_words
def _duplicate(old: str, suggested: str) -> None:
    made = library.duplicate(state.root(), old, st.session_state["duplicate"] or suggested)
    st.session_state["duplicate"] = ""
    address.open_next(made.name)
    st.toast(escaping.markdown(f"{old} is copied to {made.name}, which is open now."))


@state.in_words
def _discard(name: str) -> None:
    place = library.discard(state.root(), name)
    if address.value(address.EXPERIMENT) == name:
        address.other_experiment()
        address.put(**{address.EXPERIMENT: None})
    st.toast(escaping.markdown(f"Moved to {place}"))
