"""Which examples are easy, contested or hard."""

import numpy as np
import pandas as pd
import streamlit as st

from pruning import browse, scores
from pruning.stability import burn_in_advice, stability
from pruning.ui import charts, state, tables, widgets

st.title("Difficulty")
experiment = state.scored()
dynamics, h = experiment.dynamics, experiment.h_score(state.burn_in())
subset = state.subset(experiment)
kept = state.kept_mask(experiment, subset)

stack = st.selectbox("Stack by", [widgets.STAYS, *browse.source_columns(experiment)], key="stack", bind="query-params")
parts, colours = widgets.parts(experiment, kept, stack)
st.subheader("How many runs got it right", help="The H-score: the number of runs in which an example was right in every epoch counted.")
st.plotly_chart(
    charts.histogram(h, dynamics.runs, parts, colours),
    key="histogram",
    alt=f"Histogram of H from 0 to {dynamics.runs}, stacked by {stack}; the table below has the same numbers.",
)
if experiment.stopped:
    st.text(experiment.stopped)
if "position" not in scores.missing(dynamics):
    st.text(burn_in_advice(dynamics).sentence)
st.text(stability(dynamics.correct, state.burn_in()).sentence)
with st.expander("The same as a table"):
    st.dataframe(pd.crosstab(pd.Series(h, name="H"), pd.Series(parts, name=stack)))

st.subheader(
    "Data map",
    help="Each example by how sure the model was of the right answer and how much that moved while it learned (Swayamdipta et al. 2020).",
)
if "gold_prob" in scores.missing(dynamics):
    st.info("This recording says what was right, but not how probable it was; the data map needs probabilities.")
    st.stop()
confidence = scores.compute("confidence", dynamics, state.burn_in())
variability = scores.compute("variability", dynamics, state.burn_in())
correctness = scores.compute("correctness", dynamics, state.burn_in())
picked = st.plotly_chart(
    charts.data_map(confidence, variability, correctness),
    key="map",
    on_select="rerun",
    selection_mode="box",
    alt="Data map: variability across, confidence up; draw a box to list its examples below.",
)
boxes = picked.selection.get("box", [])
if boxes:
    (x0, x1), (y0, y1) = sorted(boxes[0]["x"]), sorted(boxes[0]["y"])
    inside = np.flatnonzero((variability >= x0) & (variability <= x1) & (confidence >= y0) & (confidence <= y1))
    st.write(f"{len(inside):,} examples in the box; the first 100:")
    st.dataframe(tables.examples(experiment, inside[:100], subset, state.burn_in()), hide_index=True)
