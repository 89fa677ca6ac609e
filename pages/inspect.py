"""Look at what goes and what stays, and overrule it."""

import numpy as np
import streamlit as st

from pruning import browse
from pruning.analysis.scores import SCORES
from pruning.formatting import counted
from pruning.ui import deciding, escaping, example, filters, reliability, state, tables, widgets

st.title("Inspect")
view = state.scored()
subset = state.subset(view)
kept = view.kept(subset)
reliability.caveat(view)
wanted, versus = filters.ask(view)
if not filters.ready(view, wanted):
    st.stop()
matching = view.matching(wanted, kept, view.kept(view.subset(versus)) if versus else None)
match = counted(len(matching), "example matches", "examples match")
st.text(f"{match}. {subset.name}: {subset.size:,} of {subset.total:,} stay ({subset.kept_fraction:.0%}).")
st.caption(escaping.markdown(f"{widgets.class_shares(view, kept)} {widgets.estimate(view, subset.name, subset.size)}"))

size = st.session_state.get("size") or filters.SIZES[0]
pages = max(1, -(-len(matching) // size))
with st.container(horizontal=True, vertical_alignment="center"):
    number = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
    st.segmented_control(
        "Rows a page", filters.SIZES, default=filters.SIZES[0], key="size", bind="query-params", label_visibility="collapsed"
    )
rows = matching[(number - 1) * size : number * size]
score = next((name for name in (wanted.sort, wanted.score) if name in SCORES), "confidence")


def opened() -> None:
    """The first row chosen in the table is the example shown below it."""
    if st.session_state["rows"].selection.rows:
        st.session_state[example.AT] = (number - 1) * size + st.session_state["rows"].selection.rows[0] + 1


picked = st.dataframe(
    tables.examples(view, rows, kept, score, suggested=wanted.only in browse.LABELS_DOUBTED),
    key="rows",
    hide_index=True,
    on_select=opened,
    selection_mode="multi-row",
    alt="The examples that match, a page at a time",
)
chosen = rows[np.array([index for index in picked.selection.rows if index < len(rows)], dtype=int)]
deciding.decide(view, subset, chosen, matching, duplicates=wanted.only == browse.DUPLICATES)
if len(matching):
    example.detail(view, matching, kept, size)
deciding.listed(view)
