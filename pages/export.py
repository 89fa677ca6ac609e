"""Write the subset of this view."""

import streamlit as st

from pruning.ui import audit_panel, exporting, groups, state, widgets

view = state.scored()
subset = state.subset(view)
left, right = widgets.columns("export")
with left.container(border=True):
    exporting.summary(view, subset)
    if not subset.size:
        exporting.nothing(view, subset)
        state.end()
    format, escape = exporting.ask_format()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        exporting.write(view, subset, format, escape)
        exporting.save(view, subset)
    manifest = exporting.built(view, subset, format, escape)
    if manifest:
        exporting.downloads(view, subset, format, manifest)
        exporting.push(view, subset, format)
with right:
    exporting.warnings(view, subset)
    if not view.experiment.sampled:
        groups.before_export(view, subset)
    exporting.coverage(view, subset)
    audit_panel.show(view, subset)
