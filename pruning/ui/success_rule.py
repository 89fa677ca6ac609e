"""The success rule of generated answers on the Difficulty page: chosen with a slider, with the histogram of right looks below it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pruning import success
from pruning.reports import composition
from pruning.reports.browse import View
from pruning.reports.generated import looks_sentence
from pruning.success import Success
from pruning.ui import address, charts, escaping, theme, widgets

KINDS = {"auto": "Automatic", "exact": "Exact", "tokens": "Share of tokens", "loss": "Loss"}
KIND, SHARE, LOSS = "_success-kind", "_success-share", "_success-loss"
"""Session keys of the three widgets; the rule itself is in the address."""

MOST_LOSS = 10.0
"""Right end of the slider of losses, in nats a token."""

HELP = (
    "A look is one epoch of one run. Exact: no token of the answer is wrong, so greedy decoding writes it. A share of tokens works at any "
    "length. Changing the rule trains nothing and changes no file."
)


def panel(view: View, kept: NDArray[np.bool_]) -> None:
    """The rule, what it means, and the examples by right looks; nothing for other kinds of tasks."""
    rule = view.experiment.success
    if rule is None:
        return
    st.subheader("Right looks", help=HELP, anchor=False)
    _choose(rule)
    st.text(view.experiment.success_reason)
    right = view.experiment.dynamics.correct
    counts = composition.by_level(right.sum(axis=(0, 1)), composition.sides(kept), right.shape[0] * right.shape[1])
    counts.index.name = "right looks"
    widgets.chart(
        charts.histogram(counts, {"pruned": theme.PRUNED, "kept": theme.KEPT}, "right looks, over all runs and epochs"),
        counts,
        key="right-looks",
        alt=f"Examples by right looks, 0 to {right.shape[0] * right.shape[1]}; the table below it has the same numbers.",
        index=True,
    )
    st.caption(escaping.markdown(looks_sentence(view.experiment)))


def _choose(rule: Success) -> None:
    asked = address.text(address.SUCCESS) or success.AUTO
    kind = "auto" if asked == success.AUTO else "exact" if rule.share == 1 else "loss" if rule.share is None else "tokens"
    st.session_state[KIND] = kind
    st.session_state[SHARE] = round(100 * float(rule.share)) if rule.share is not None else 90
    st.session_state[LOSS] = min(MOST_LOSS, rule.most_loss) if rule.share is None else 1.0
    st.segmented_control("Success rule", list(KINDS), key=KIND, format_func=KINDS.__getitem__, required=True, on_change=_changed)
    if kind == "tokens":
        st.slider("Right = at least this share of the answer's tokens is right (%)", 1, 100, key=SHARE, on_change=_changed)
    if kind == "loss":
        st.slider("Right = a mean loss of at most (nats a token)", 0.0, MOST_LOSS, step=0.05, key=LOSS, on_change=_changed)


def _changed() -> None:
    """Put the rule that the widgets say into the address; for callbacks."""
    kind = st.session_state[KIND]
    share, loss = Fraction(int(st.session_state[SHARE]), 100), float(st.session_state[LOSS])
    names = {"exact": success.EXACT, "tokens": f"{success.TOKENS}{share}", "loss": f"{success.LOSS}{loss:g}"}
    address.put(**{address.SUCCESS: names.get(kind)})
