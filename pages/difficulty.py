"""Which examples are easy, contested or hard."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from pruning.formatting import counted
from pruning.ui import charts, filters, reliability, state, widgets
from pruning.ui import difficulty_selection as picking

st.title("Difficulty")
view = state.scored()
dynamics, h = view.experiment.dynamics, view.h
kept = view.kept(state.subset(view))

stack = st.selectbox("Stack by", [widgets.STAYS, *view.columns], key="stack", bind="query-params")
parts, colours = widgets.parts(view, kept, stack)
st.subheader("How many runs got it right", help="The H-score: the number of runs in which an example was right in every epoch counted.")
counts = pd.crosstab(pd.Series(h, name="H"), parts).reindex(range(dynamics.runs + 1), fill_value=0)
widgets.chart(
    charts.histogram(counts, colours, "H: runs that got it right in every epoch"),
    counts,
    key="histogram",
    alt=f"Histogram of H from 0 to {dynamics.runs}, stacked by {stack}; the table below it has the same numbers.",
    on_select=picking.bar,
    index=True,
)
picking.level(view, kept)
reliability.caveat(view)
if view.experiment.stopped:
    st.text(view.experiment.stopped)
reliability.order(view)
reliability.enough(view)

st.subheader(
    "Map",
    help="Each example by two scores. Confidence against variability is the data map: how sure the model was of the right answer, "
    "and how much that moved while it learned (Swayamdipta et al. 2020).",
)
left, right = st.columns(2)
names, meanings, title = view.score_names, filters.meanings(view), picking.title
x = left.selectbox("Across", names, picking.place(view, "variability"), key="x", bind="query-params", format_func=title, help=meanings)
y = right.selectbox("Up", names, picking.place(view, "confidence"), key="y", bind="query-params", format_func=title, help=meanings)
box = picking.box(view, x, y)
chosen = picking.inside(view, x, y, box)
cells = picking.cells(view, x, y)
widgets.chart(
    charts.plane(view.score(x), view.score(y), view.score("correctness"), (title(x), title(y), "share right"), box),
    cells,
    key="map",
    alt=f"{title(x)} across, {title(y)} up; the sliders above choose a box, whose examples are listed below.",
    on_select=partial(picking.drawn, view, x, y),
    mode="box",
    index=True,
)
if box is not None:
    picking.listed(view, chosen, kept, f"{counted(len(chosen), 'example')} in the box ({len(chosen) / max(1, len(h)):.0%} of all).")
    stays = int(np.count_nonzero(kept[chosen]))
    st.caption(f"{stays:,} of them stay in this subset.")
