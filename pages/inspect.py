"""Inspect page: read pruned and kept examples, and decide about them."""

import streamlit as st

from pruning.reports import composition
from pruning.ui import deciding, escaping, filters, reading, reliability, side_by_side, state, widgets

view = state.scored()
subset = state.subset(view)
reliability.caveat(view)
wanted, versus = filters.ask(view)
if not filters.ready(view, wanted):
    state.end()
reading.panes(view, subset, wanted, versus)
kept = view.kept(subset)
st.caption(escaping.markdown(f"{composition.class_shares_sentence(view, kept)} {widgets.estimate(view, subset.name, subset.size)}"))
side_by_side.show(view, wanted, kept)
deciding.listed(view)
