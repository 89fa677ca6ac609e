"""The model's predictions for each label, from the recording: a table whose cells open their examples."""

from __future__ import annotations

import streamlit as st

from pruning.formatting import counted
from pruning.reports.browse import View
from pruning.ui import address, escaping, heat

HELP = (
    "Predictions in the last epoch, each made just before the model trained on the example; mean over runs. "
    "A cell opens the examples of that label to which at least one run gave that prediction."
)


def show(view: View) -> None:
    """The confusion in percent of each label; nothing where the task has no classes or predictions were not recorded."""
    counts = view.confusion
    if counts is None:
        return
    names = list(counts.columns)
    shares = counts.div(counts.sum(axis=1).clip(lower=1e-9), axis=0)
    st.subheader("What the model predicts for each label", help=HELP, anchor=False)

    def picked(row: int, column: int) -> None:
        address.filtered(**{address.LABELS: [names[row]], address.ANSWERED: [names[column]]})
        address.go()

    heat.table(
        100 * shares,
        shares,
        "{:.0f}%",
        key=address.CONFUSION,
        alt=f"Share of each label's examples by prediction in the last epoch, {counted(len(names), 'class', 'classes')}; a cell opens them",
        picked=picked,
    )
    wrong = shares.where(shares.index.to_numpy()[:, None] != shares.columns.to_numpy()[None, :], 0.0).stack()
    gold, said = wrong.idxmax()
    if wrong.max() > 0:
        words = f"Most confused: {wrong.max():.0%} of {gold} is predicted as {said}. Rows are labels; click a cell to read its examples."
        st.caption(escaping.markdown(words))
