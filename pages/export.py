"""Write the subset of this view."""

import streamlit as st

from pruning import browse, export
from pruning.ui import state, tables, widgets

st.title("Export")
experiment = state.scored()
subset = state.subset(experiment)
st.write(f"{subset.name}: {subset.size:,} of {subset.total:,} examples ({subset.kept_fraction:.0%}); {subset.rule}.")
for sentence in export.warnings(experiment, subset, state.burn_in()):
    st.warning(sentence, icon=":material/warning:")
st.subheader("Before and after")
column = st.selectbox("By", [*[widgets.LABEL] * bool(experiment.label_names), *browse.source_columns(experiment)])
audited = widgets.audited(experiment, column, state.kept_mask(experiment, subset))
st.dataframe(tables.shares(audited), hide_index=True)
st.text(audited.sentence)

format = (
    st.segmented_control(
        "Format",
        list(export.WRITERS),
        default="jsonl",
        key="format",
        help="JSONL rows come out byte for byte; hf is a folder for datasets.load_from_disk.",
    )
    or "jsonl"
)
output = export.default_output(experiment, subset, format)
if st.button("Build", type="primary", icon=":material/inventory_2:"):
    export.build(experiment, subset, output, format, force=True, burn_in=state.burn_in())
if output.exists() and export.manifest_path(output).exists():
    manifest = export.verify(output)
    st.success(f"{manifest['output']['rows']:,} rows, verified against the manifest.", icon=":material/verified:")
    if output.is_file():
        st.download_button("Download", output.read_bytes, file_name=f"{experiment.name}.{subset.name}.{format}", icon=":material/download:")
    st.download_button("Download the manifest", export.manifest_path(output).read_bytes, file_name=f"{experiment.name}.manifest.json")
    st.caption("The command that repeats it")
    st.code(manifest["command"], language="bash")
    st.caption(f"On this machine it lies at {output}")
