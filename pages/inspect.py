"""Look at what goes and what stays, and overrule it."""

import numpy as np
import streamlit as st

from pruning import browse
from pruning.ui import charts, state, tables, widgets

PAGE = 50

st.title("Inspect")
experiment = state.scored()
subset = state.subset(experiment)
dynamics, h = experiment.dynamics, experiment.h_score(state.burn_in())

side, search, bars, narrow = st.columns([2, 3, 2, 2])
show = side.segmented_control("Show", ["pruned", "kept", "all"], default="pruned", key="show", bind="query-params")
text = search.text_input("Search the text", key="q", bind="query-params")
levels = bars.multiselect(
    "H", list(range(dynamics.runs + 1)), key="h", bind="query-params", help="Runs that got it right in every epoch; empty = any."
)
only = narrow.selectbox("Only", browse.ONLY, index=None, key="only", bind="query-params", placeholder="anything")
kept = state.kept_mask(experiment, subset)
matching = browse.matching(experiment, kept=kept, show=show or "all", h=h, levels=levels, text=text, only=only)
kept_now = f"{subset.name}: {subset.size:,} of {subset.total:,} stay ({subset.kept_fraction:.0%})."
st.write(f"{len(matching):,} examples match. {kept_now}")

pages = max(1, -(-len(matching) // PAGE))
number = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
rows = matching[(number - 1) * PAGE : number * PAGE]
picked = st.dataframe(
    tables.examples(experiment, rows, subset, state.burn_in()), key="rows", hide_index=True, on_select="rerun", selection_mode="multi-row"
)
chosen = rows[np.array([index for index in picked.selection.rows if index < len(rows)], dtype=int)]
widgets.decide(experiment, chosen, matching)

if len(rows):
    st.subheader("One example")
    options = [int(index) for index in (chosen if len(chosen) else rows)]
    index = st.selectbox("Example", options, format_func=lambda i: f"id {experiment.ids[i]}, H = {h[i]}")
    widgets.example(experiment, index)
    st.plotly_chart(
        charts.grid(dynamics, index), key="grid", alt="Runs by epochs: probability of the right answer, with a tick where it was right."
    )
widgets.decisions(experiment)
