"""The Export page's pieces: what to know first, building, downloading as a stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import streamlit as st

from pruning.audit_report import findings
from pruning.browse import View
from pruning.export import hub, writer
from pruning.export.formats import FORMATS, FORMATS_HELP
from pruning.formatting import counted
from pruning.jobs import precompute
from pruning.records import Subset
from pruning.store.saved_subsets import NAMING
from pruning.ui import address, escaping, state
from pruning.ui.server import signed_links


def warnings(view: View, subset: Subset) -> None:
    """What a person should know before training on this subset."""
    if not view.audited:
        precompute.begin(view.experiment.folder.root)
        st.info("Duplicates between training and evaluation data are still being looked for; open this page again in a minute.")
        return
    caveat = view.experiment.settings.caveat
    for sentence in [*([caveat] if caveat else []), *writer.subset_warnings(view.experiment, subset)]:  # runs that diverged: on every page
        st.warning(escaping.markdown(sentence), icon=":material/warning:")
    decided = view.decided
    if decided.touched:
        st.text(f"By hand: {len(decided.kept):,} kept, {len(decided.dropped):,} dropped, {len(decided.labels):,} labels changed.")


def audit(view: View, subset: Subset) -> None:
    """Every column at once, labels that look wrong, duplicates, leakage: what `python -m pruning audit` prints. It takes a moment."""
    if st.button("Audit every column", icon=":material/fact_check:", key="audit", disabled=not view.audited):
        with st.spinner("Auditing ..."):
            st.text("\n".join(findings(view.experiment, subset).sentences()))


def ask_format() -> str:
    """What to write it as."""
    address.among(address.FORMAT, FORMATS, "format")
    return st.segmented_control(
        "Format",
        list(FORMATS),
        default="jsonl",
        key=address.FORMAT,
        required=True,
        help=FORMATS_HELP,
    )


def save(view: View, subset: Subset) -> None:
    """Keep its rows under a name, and look at them by that name from now on."""
    with st.popover("Save under a name", icon=":material/bookmark_add:"), st.form("save-subset", border=False):
        st.text(f"Its {counted(subset.size, 'example')}, decisions by hand included, stay those of that name whatever changes later.")
        st.text_input("Name of the subset", key="subset-name", placeholder="mine", help=f"Use {NAMING}.")
        st.form_submit_button("Save it", icon=":material/bookmark_add:", on_click=_save, args=(view, subset))


@state.in_words
def _save(view: View, subset: Subset) -> None:
    name = str(st.session_state["subset-name"]).strip()
    path = view.experiment.save(name, subset)
    state.choose(name)
    st.toast(escaping.markdown(f"Saved {counted(subset.size, 'example')} in {path}"), icon=":material/bookmark_added:")


def write(view: View, subset: Subset, format: str) -> None:
    """The button that builds it."""
    if st.button("Build", type="primary", icon=":material/inventory_2:", key="build", disabled=not view.audited):
        output = writer.default_output(view.experiment, subset, format)
        with st.spinner(f"Writing {counted(subset.size, 'row')} ..."):
            writer.build(view.experiment, subset, output, format, force=True)
            if output.is_dir():
                writer.archive(output)


def built(view: View, subset: Subset, format: str) -> dict[str, Any] | None:
    """The manifest of what was built, checked; None where there is nothing, or what is there is not what would be built now."""
    output = writer.default_output(view.experiment, subset, format)
    path = writer.manifest_path(output)
    if not (output.exists() and path.exists()):
        return None
    manifest = _verified(str(output), path.stat().st_mtime_ns)
    if writer.is_current(manifest, view.experiment, subset):
        return manifest
    before = manifest["subset"]
    st.info(
        escaping.markdown(
            f"What was built of this name ({manifest['created']}) is from before: {before['kept']:,} rows, {before['rule']}, "
            f"burn-in {before['burn_in']}. The data, the rule, the burn-in or decisions by hand have changed since; build it again."
        ),
        icon=":material/history:",
    )
    return None


def downloads(view: View, subset: Subset, format: str, manifest: dict[str, Any]) -> None:
    """What was built, with links that stream it."""
    output = writer.default_output(view.experiment, subset, format)
    st.success(f"{manifest['output']['rows']:,} rows, verified against the manifest.", icon=":material/verified:")
    file = output if output.is_file() else writer.archived(output)
    with st.container(horizontal=True):
        if file:
            st.link_button("Download", link(file), icon=":material/download:")
        st.link_button("Download the manifest", link(writer.manifest_path(output)), icon=":material/receipt_long:")
    if not file:
        st.text("It is a folder, which a browser cannot fetch; build it here to have it as a zip too.")
    st.caption("The command that repeats it")
    st.code(manifest["command"], language=None, wrap_lines=True)
    st.caption(escaping.markdown(f"On this machine it lies at {output}"))


def push(view: View, subset: Subset, format: str) -> None:
    """Put what was built on the hub, private unless said otherwise."""
    output = writer.default_output(view.experiment, subset, format)
    with st.expander("Push to the hub", icon=":material/cloud_upload:"):
        repository = st.text_input("Dataset repository", key="repository", placeholder="name/dataset", help="Made when it is missing.")
        public = st.toggle("Public", key="public", help="Off: only you, and whom you let in, can see it.")
        st.text("Uses the login of this machine (hf auth login, or HF_TOKEN). The data and its manifest go up as one commit.")
        if st.button("Push", icon=":material/cloud_upload:", disabled=not repository):
            with st.spinner("Uploading ..."):
                st.success(escaping.markdown(f"Pushed: {hub.push(output, repository, private=not public)}"))


def link(path: Path) -> str:
    """Where the server streams that file of an export from (see `pruning.ui.server.routes`)."""
    name = path.relative_to(state.root()).as_posix()
    return f"/download/{quote(name)}?ticket={signed_links.ticket(name)}"


@st.cache_data(max_entries=8, show_spinner="Verifying ...")
def _verified(output: str, stamp: int) -> dict[str, Any]:
    """The manifest without its list of ids."""
    return {key: value for key, value in writer.verify(output).items() if key != "ids"}
