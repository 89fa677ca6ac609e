"""Conversations on the pages: turns in reading order as a chat, and the tokens that are learned in colour."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from pruning.data import mask_preview
from pruning.data.mask_preview import MaskedRow
from pruning.data.tasks.base import Part
from pruning.errors import WinnowError
from pruning.settings import Settings
from pruning.ui import escaping, theme

TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.5"
LONGEST = 4000
"""Characters of one piece of a preview; more is cut in its middle."""


def turns(parts: Sequence[Part]) -> None:
    """Draw the turns of a conversation; a learned one is marked at its edge. Never read as Markdown or HTML."""
    drawn = []
    for part in parts:
        edge = theme.RIGHT if part.right else "transparent"
        name = escape(part.name + (" (learned)" if part.right else ""))
        style = f"border-inline-start:4px solid {edge};padding-inline-start:0.5rem;margin:0 0 0.75rem 0"
        head = f'<small style="font-size:0.8rem">{name}</small>'
        drawn.append(f'<div style="{style}">{head}<div dir="auto" style="{TEXT}">{escape(part.text)}</div></div>')
    st.html("".join(drawn))


def mask(settings: Settings) -> None:
    """Show what is learned in the first rows of the data, or why it cannot be found; for the Score page."""
    try:
        rows, how = _preview(settings)
    except WinnowError as error:
        st.error(escaping.markdown(error))
        return
    with st.expander("What is learned", icon=":material/ink_highlighter:", expanded=True):
        st.caption(escaping.markdown(how))
        for row in rows:
            st.text(f"{row.sentence}.")
            st.html(f'<div dir="auto" style="{TEXT};font-size:0.9rem">{"".join(_piece(*piece) for piece in row.pieces)}</div>')


@st.cache_data(max_entries=8, show_spinner=False)
def _preview(settings: Settings) -> tuple[Sequence[MaskedRow], str]:
    return mask_preview.preview(settings)


def _piece(text: str, learned: bool) -> str:
    shown = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    if not learned:
        return escape(shown)
    return f'<mark style="background:color-mix(in srgb, {theme.RIGHT} 30%, transparent);color:inherit">{escape(shown)}</mark>'
