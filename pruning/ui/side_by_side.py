"""Samples of what a subset keeps and of what it prunes, side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pruning.formatting import counted
from pruning.reports import composition
from pruning.reports.browse import View
from pruning.reports.conditions import Filter
from pruning.ui import address, escaping, example

SAMPLED = 4
"""Examples of each side."""


def show(view: View, wanted: Filter, kept: NDArray[np.bool_]) -> None:
    """A few of the kept and of the pruned among those that match the filters, at even steps of their order."""
    matching = view.matching(replace(wanted, show="all"), kept)
    with st.expander("Kept and pruned, side by side", icon=":material/compare:", key="side-by-side"):
        sides = {"Kept": matching[kept[matching]], "Pruned": matching[~kept[matching]]}
        for column, (title, rows) in zip(st.columns(2, gap="medium"), sides.items(), strict=True):
            with column:
                st.markdown(f"**{title}: {counted(len(rows), 'example')}**")
                for position in composition.spread(rows, SAMPLED):
                    _one(view, int(position))


def _one(view: View, position: int) -> None:
    """One example: H, label, the beginning of its text, and a button that opens it."""
    labels, names, example_id = view.labels, view.experiment.label_names, int(view.experiment.ids[position])
    words = f"H {view.h[position]}" + (f", {names[labels[position]]}" if labels is not None and names else "")
    text, button = st.columns([5, 1], vertical_alignment="center")
    with text:
        example.quoted(words, " | ".join(map(str, view.rows(np.array([position])).iloc[0])))
    with button:
        st.button(
            escaping.markdown(f"Open {example_id}"),
            key=f"open-{example_id}",
            type="tertiary",
            on_click=address.put,
            kwargs={address.EXAMPLE: example_id, address.PAGE: None},
        )
