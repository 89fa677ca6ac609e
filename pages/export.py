"""Write the subset of this view."""

import streamlit as st

from pruning.ui import address, exporting, state, tables, widgets

view = state.scored()
subset = state.subset(view)
st.text(f"{subset.name}: {subset.size:,} of {subset.total:,} examples ({subset.kept_fraction:.0%}); {subset.rule}.")
exporting.warnings(view, subset)

st.subheader("Before and after")
address.among(address.BY, view.columns, "column")
column = st.selectbox("By", view.columns, key=address.BY)
if column:
    audited = widgets.shares(view, column, view.kept(subset))
    st.dataframe(tables.shares(audited), hide_index=True, alt=f"Examples before and after, by {column}")
    st.text(audited.sentence)

exporting.audit(view, subset)

st.subheader("Write it")
with st.container(horizontal=True, vertical_alignment="bottom"):
    format = exporting.ask_format()
    exporting.save(view, subset)
exporting.write(view, subset, format)
manifest = exporting.built(view, subset, format)
if manifest:
    exporting.downloads(view, subset, format, manifest)
    exporting.push(view, subset, format)
