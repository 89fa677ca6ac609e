"""A table of counts coloured by size; a click on a cell, or Enter on it, opens its examples."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from pruning.ui import theme

DARKEST = 0.75
"""Opacity of the fullest cell: the text stands out from it in light and dark."""

FEW, NARROW = 6, 72
"""Columns that share the width; more of them are this narrow, in pixels."""

ROW, TALLEST = 35, 420
"""Pixels of a row, and of the table before it scrolls."""


def table(shown: pd.DataFrame, shares: pd.DataFrame, form: str, *, key: str, alt: str, picked: Callable[[int, int], None]) -> None:
    """Draw a table whose cells are chosen by click or keyboard.

    Parameters
    ----------
    shown
        Numbers to print, with string column names.
    shares
        Of the same shape: 0..1, how strongly each cell is coloured.
    form
        Format of a number, such as "{:,.0f}".
    key
        Key of the table in the session.
    alt
        Description for who cannot see it.
    picked
        Called with the places of the row and the column chosen.
    """
    columns = list(shown.columns)

    def chosen() -> None:
        cells = st.session_state[key].selection.cells
        if cells and cells[0][1] in columns:
            picked(int(cells[0][0]), columns.index(cells[0][1]))

    styles = shares.map(lambda share: f"background-color: {_shade(share)}" if share > 0 else "")
    st.dataframe(
        shown.style.apply(lambda _: styles, axis=None).format(form),
        key=key,
        on_select=chosen,
        selection_mode="single-cell",
        height=min(TALLEST, ROW * (len(shown) + 1) + 3),
        row_height=ROW,
        column_config={name: st.column_config.NumberColumn(name, width=NARROW) for name in columns} if len(columns) > FEW else None,
        alt=alt,
    )


def _shade(share: float) -> str:
    red, green, blue = (int(theme.NEUTRAL[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{DARKEST * share**0.5:.3f})"
