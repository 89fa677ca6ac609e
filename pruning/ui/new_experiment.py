"""The dialog of a new experiment, open as long as the address says so, and the button that opens it."""

from __future__ import annotations

import streamlit as st

from pruning.errors import WinnowError
from pruning.ui import address, escaping, score_form, state


def button(page: str) -> None:
    """The button on that page that opens the dialog."""
    st.button("New experiment", icon=":material/add:", key="new-experiment", on_click=_open, args=(page,))


def _open(page: str) -> None:
    address.put(**{address.NEW: True})
    if page != "score":
        address.go("score")


def _close() -> None:
    address.put(**{address.NEW: None})


def dialog() -> None:
    """Draw the dialog if it is open; last on the page, which does not wait for it."""
    if address.value(address.NEW):
        _form()


@st.dialog("New experiment", width="large", on_dismiss=_close)
def _form() -> None:
    try:
        score_form.show(dialog=True)
    except WinnowError as error:
        st.error(escaping.markdown(error), icon=":material/error:")
    state.show_sayings()
    address.write()
