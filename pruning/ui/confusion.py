"""The model's predictions for each label, from the recording: a table whose cells open their examples."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pruning.analysis.confusion import most_confused, row_shares
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
    shares = pd.DataFrame(row_shares(counts.to_numpy()), index=counts.index, columns=names)
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
    gold, said = most_confused(shares.to_numpy())
    if gold != said:
        most = f"{shares.iat[gold, said]:.0%} of {names[gold]} is predicted as {names[said]}"
        words = f"Most confused: {most}. Rows are labels; click a cell to read its examples."
        st.caption(escaping.markdown(words))
