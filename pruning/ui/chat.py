"""Conversations on the pages: turns in reading order as a chat, and the tokens that are learned in colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from pruning.data import lengths, mask_preview, models
from pruning.data.mask_preview import MaskedRow
from pruning.data.tasks.base import Part
from pruning.errors import WinnowError
from pruning.formatting import counted
from pruning.reports.answer_tokens import AnswerToken, answer_tokens, where_it_goes_wrong
from pruning.reports.browse import View
from pruning.settings import Settings
from pruning.ui import escaping, theme

TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.5"
LONGEST = 4000
"""Characters of one piece of a preview; more is cut in its middle."""


def turns(parts: Sequence[Part], tokens: Sequence[str] = ()) -> None:
    """Draw the turns of a conversation; a learned one is marked at its edge. Never read as Markdown or HTML.

    `tokens` are the learned turns as HTML, in the place of their texts where there are as many.
    """
    coloured = iter(tokens if len(tokens) == sum(part.right is True for part in parts) else ())
    drawn = []
    for part in parts:
        edge = theme.RIGHT if part.right else "transparent"
        name = escape(part.name + (" (learned)" if part.right else ""))
        style = f"border-inline-start:4px solid {edge};padding-inline-start:0.5rem;margin:0 0 0.75rem 0"
        head = f'<small style="font-size:0.8rem">{name}</small>'
        text = next(coloured, escape(part.text)) if part.right else escape(part.text)
        drawn.append(f'<div style="{style}">{head}<div dir="auto" style="{TEXT}">{text}</div></div>')
    st.html("".join(drawn))


def of_example(view: View, position: int, parts: Sequence[Part], row: Mapping[str, Any]) -> None:
    """Draw a conversation, its answers' tokens coloured by the looks that wrote the answer right up to there, where that is recorded."""
    experiment = view.experiment
    looks = experiment.dynamics.runs * experiment.dynamics.epochs
    try:
        tokenizer = _tokenizer(experiment.settings.model, experiment.settings.template)
        stretches = answer_tokens(experiment, position, row, tokenizer) if tokenizer is not None else []
    except WinnowError:  # the template's file is gone, say; the turns are readable without colours
        stretches = []
    turns(parts, ["".join(_shade(token, looks) for token in stretch) for stretch in stretches])
    if sentence := where_it_goes_wrong(stretches, looks):
        st.caption(
            escaping.markdown(
                f"Shade: in how many of {counted(looks, 'look')} the answer was right up to and including this token. {sentence}"
            )
        )


def _tokenizer(model: str, template: str) -> Any:
    path = lengths.tokenizer(model)
    return None if path is None else models.load_tokenizer(path.parent, template)


def _shade(token: AnswerToken, looks: int) -> str:
    text = escape(token.text)
    if token.reached is None:
        return f'<span title="cut off, not learned" style="opacity:0.6">{text}</span>'
    strength = round(60 * token.reached / looks)
    style = f"background:color-mix(in srgb, {theme.RIGHT} {strength}%, transparent);color:inherit"
    return f'<mark title="right up to here in {token.reached} of {looks} looks" style="{style}">{text}</mark>'


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
