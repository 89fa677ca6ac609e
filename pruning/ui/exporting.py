"""The Export page's pieces: what to know first, building, downloading as a stream."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import streamlit as st

from pruning import derived, export, hub
from pruning.browse import View
from pruning.findings import findings
from pruning.records import Subset
from pruning.ui import plain, state, tickets


def warnings(view: View, subset: Subset) -> None:
    """What a person should know before training on this subset."""
    if not view.audited:
        derived.begin(view.experiment.folder.root)
        st.info("Duplicates between training and evaluation data are still being looked for; open this page again in a minute.")
        return
    for sentence in export.warnings(view.experiment, subset, view.burn_in):
        st.warning(plain.markdown(sentence), icon=":material/warning:")
    decided = view.decided
    if decided.touched:
        st.text(f"By hand: {len(decided.kept):,} kept, {len(decided.dropped):,} dropped, {len(decided.labels):,} labels changed.")


def audit(view: View, subset: Subset) -> None:
    """Every column at once, labels that look wrong, duplicates, leakage: what `python -m pruning audit` prints. It takes a moment."""
    if st.button("Audit every column", icon=":material/fact_check:", key="audit", disabled=not view.audited):
        with st.spinner("Auditing ..."):
            st.text("\n".join(findings(view.experiment, subset, view.burn_in).sentences()))


def write(view: View, subset: Subset, format: str) -> None:
    """The button that builds it."""
    if st.button("Build", type="primary", icon=":material/inventory_2:", disabled=not view.audited):
        output = export.default_output(view.experiment, subset, format)
        with st.spinner(f"Writing {subset.size:,} rows ..."):
            export.build(view.experiment, subset, output, format, force=True, burn_in=view.burn_in)


def downloads(view: View, subset: Subset, format: str) -> None:
    """What was built, checked against its manifest, with links that stream it."""
    output = export.default_output(view.experiment, subset, format)
    if not (output.exists() and export.manifest_path(output).exists()):
        return
    manifest = _verified(str(output), export.manifest_path(output).stat().st_mtime_ns)
    st.success(f"{manifest['output']['rows']:,} rows, verified against the manifest.", icon=":material/verified:")
    with st.container(horizontal=True):
        if output.is_file():
            st.link_button("Download", link(output), icon=":material/download:")
        st.link_button("Download the manifest", link(export.manifest_path(output)), icon=":material/receipt_long:")
    st.caption("The command that repeats it")
    st.code(manifest["command"], language=None, wrap_lines=True)
    st.caption(plain.markdown(f"On this machine it lies at {output}"))


def push(view: View, subset: Subset, format: str) -> None:
    """Put what was built on the hub, private unless said otherwise."""
    output = export.default_output(view.experiment, subset, format)
    if not export.manifest_path(output).exists():
        return
    with st.expander("Push to the hub", icon=":material/cloud_upload:"):
        repository = st.text_input("Dataset repository", key="repository", placeholder="name/dataset", help="Made when it is missing.")
        public = st.toggle("Public", key="public", help="Off: only you, and whom you let in, can see it.")
        st.text("Uses the login of this machine (hf auth login, or HF_TOKEN). The data and its manifest go up as one commit.")
        if st.button("Push", icon=":material/cloud_upload:", disabled=not repository):
            with st.spinner("Uploading ..."):
                st.success(plain.markdown(f"Pushed: {hub.push(output, repository, private=not public)}"))


def link(path: Path) -> str:
    """Where the server streams that file of an export from (see `pruning.ui.routes`)."""
    name = path.relative_to(state.root()).as_posix()
    return f"/download/{quote(name)}?ticket={tickets.ticket(name)}"


@st.cache_data(max_entries=8, show_spinner="Verifying ...")
def _verified(output: str, stamp: int) -> dict[str, dict[str, str]]:
    manifest = export.verify(output)
    return {"output": manifest["output"], "command": manifest["command"]}
