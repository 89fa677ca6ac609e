"""Pieces of the Export page: warnings, exporting, downloading."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import streamlit as st

from pruning.export import hub, writer
from pruning.export.formats import ESCAPE_HELP, FORMATS, FORMATS_HELP
from pruning.formatting import counted
from pruning.jobs import precompute
from pruning.records import Subset
from pruning.reports import choices, review
from pruning.reports.browse import View
from pruning.store.saved_subsets import NAMING
from pruning.subsets.titles import short, spoken, title
from pruning.ui import address, escaping, setting_boxes, state, tables, widgets
from pruning.ui.server import signed_links


def summary(view: View, subset: Subset) -> None:
    """Show the subset's name, size and decisions made by hand."""
    decided = view.decided
    st.subheader(escaping.markdown(title(subset.name)), anchor=False)
    row = st.container(horizontal=True)
    row.metric("Rows", f"{subset.size:,}", f"of {subset.total:,}", delta_color="off", delta_arrow="off", width="stretch")
    row.metric("Keeps", f"{subset.kept_fraction:.0%}", width="stretch")
    by_hand = f"{len(decided.kept):,} kept, {len(decided.dropped):,} dropped"
    row.metric("Labels changed", f"{len(decided.labels):,}", by_hand, delta_color="off", delta_arrow="off", width="stretch")
    st.caption(escaping.markdown(f"{subset.name}: {subset.rule}"))


def nothing(view: View, subset: Subset) -> None:
    """Say why a subset without examples cannot be exported, and offer one that can."""
    why = f"{title(subset.name)} keeps none of the {counted(subset.total, 'example')}, so there is nothing to export"
    other = choices.instead(view)
    if other is None:
        st.warning(escaping.markdown(f"{why}: every example was dropped by hand; undo that on Inspect."), icon=":material/block:")
        return
    words = f"{why}. Take {short(other.name)}, which keeps {other.size:,}."
    st.warning(escaping.markdown(words), icon=":material/block:")
    st.button(f"Use {short(other.name)}", key="instead", icon=":material/check:", on_click=state.choose, args=(other.name,))


def warnings(view: View, subset: Subset) -> None:
    """Show warnings about this subset; each one opens its examples."""
    if not view.audited:
        precompute.begin(view.experiment.folder.root)
        st.info("Looking for duplicates between training and evaluation data; open this page again in a minute.")
        return
    caveat = view.experiment.settings.caveat
    for sentence in [*([caveat] if caveat else []), *writer.subset_warnings(view.experiment, subset)]:  # runs that diverged: on every page
        st.warning(escaping.markdown(spoken(sentence, [subset.name])), icon=":material/warning:")
    for number, (sentence, queue) in enumerate(review.flags(view, view.kept(subset))):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(sentence, width="content")
            opened = st.button(
                "Review",
                key=f"flag-{number}",
                type="tertiary",
                icon=":material/arrow_forward:",
                on_click=address.filtered,
                kwargs={address.QUEUE: queue, address.SHOW: "kept"},
            )
            if opened:
                st.switch_page(state.page("inspect"))


def coverage(view: View, subset: Subset) -> None:
    """Show the examples before and after pruning by a column."""
    with st.expander("Before and after, by column", icon=":material/stacked_bar_chart:", expanded=True):
        address.among(address.BY, view.columns, "column")
        column = st.selectbox("Column", view.columns, key=address.BY)
        if column:
            audited = widgets.shares(view, column, view.kept(subset))
            st.dataframe(tables.shares(audited), hide_index=True, alt=f"Examples before and after, by {column}")
            st.caption(escaping.markdown(audited.sentence))


def ask_format() -> tuple[str, bool]:
    """Ask for the format and, for formats with cells, for escaping formulas; return both."""
    address.among(address.FORMAT, FORMATS, "format")
    format = st.segmented_control("Format", list(FORMATS), default="jsonl", key=address.FORMAT, required=True, help=FORMATS_HELP)
    if FORMATS[format].escape is None:
        return format, False
    return format, st.toggle("Escape formulas", key=address.ESCAPE, help=ESCAPE_HELP)


def save(view: View, subset: Subset) -> None:
    """Save the subset's rows under a name, and select it on every page."""
    with st.popover("Save under a name", icon=":material/bookmark_add:"), st.form("save-subset", border=False):
        st.text(f"The name always means these {counted(subset.size, 'example')}, decisions included.")
        st.text_input("Name of the subset", key="subset-name", placeholder="mine", help=f"Use {NAMING}.")
        st.form_submit_button("Save", icon=":material/bookmark_add:", on_click=_save, args=(view, subset))


@state.in_words
def _save(view: View, subset: Subset) -> None:
    name = str(st.session_state["subset-name"]).strip()
    path = view.experiment.save(name, subset)
    state.choose(name)
    st.toast(escaping.markdown(f"Saved {counted(subset.size, 'example')} in {path}"), icon=":material/bookmark_added:")


def write(view: View, subset: Subset, format: str, escape: bool) -> None:
    """Show the button that writes the export."""
    if st.button("Export", type="primary", icon=":material/download:", key="build", disabled=not view.audited):
        output = writer.default_output(view.experiment, subset, format)
        with st.spinner(f"Writing {counted(subset.size, 'row')} ..."):
            writer.build(view.experiment, subset, output, format, force=True, escape_formulas=escape)
            if output.is_dir():
                writer.archive(output)


def built(view: View, subset: Subset, format: str, escape: bool) -> dict[str, Any] | None:
    """Return the manifest of the export after verifying it; None if there is none, or it is out of date."""
    output = writer.default_output(view.experiment, subset, format)
    path = writer.manifest_path(output)
    if not (output.exists() and path.exists()):
        return None
    manifest = _verified(str(output), path.stat().st_mtime_ns)
    if writer.is_current(manifest, view.experiment, subset, escape):
        return manifest
    before = manifest["subset"]
    st.info(
        escaping.markdown(
            f"The export of this name ({manifest['created']}) is out of date: {before['kept']:,} rows, {before['rule']}, "
            f"burn-in {before['burn_in']}. The data, the rule, burn-in, decisions or escaping have changed; export it again."
        ),
        icon=":material/history:",
    )
    return None


def downloads(view: View, subset: Subset, format: str, manifest: dict[str, Any]) -> None:
    """Show the export with download links."""
    output = writer.default_output(view.experiment, subset, format)
    st.success(f"{manifest['output']['rows']:,} rows, verified against the manifest.", icon=":material/verified:")
    for sentence in writer.format_warnings(view.experiment, format, manifest.get("cells", {}).get("formulas_escaped", False)):
        words = setting_boxes.without_flags(sentence).replace("--escape-formulas", "Escape formulas on")
        st.warning(escaping.markdown(words), icon=":material/warning:")
    file = output if output.is_file() else writer.archived(output)
    with st.container(horizontal=True):
        if file:
            st.link_button("Download", link(file), icon=":material/download:")
        st.link_button("Download the manifest", link(writer.manifest_path(output)), icon=":material/receipt_long:")
    if not file:
        st.text("This export is a folder; export it again here to get a zip file for download.")
    st.caption("Reproduce")
    st.code(manifest["command"], language=None, wrap_lines=True)
    st.caption(escaping.markdown(f"On this machine: {output}"))


def push(view: View, subset: Subset, format: str) -> None:
    """Push the export to the hub, private by default."""
    output = writer.default_output(view.experiment, subset, format)
    with st.expander("Push to the hub", icon=":material/cloud_upload:"):
        repository = st.text_input("Dataset repository", key="repository", placeholder="name/dataset", help="Created if missing.")
        public = st.toggle("Public", key="public", help="Off: only you and people you invite can see it.")
        st.text("Uses the login of this machine (hf auth login, or HF_TOKEN). The data and its manifest are one commit.")
        if st.button("Push", icon=":material/cloud_upload:", disabled=not repository):
            with st.spinner("Uploading ..."):
                st.success(escaping.markdown(f"Pushed: {hub.push(output, repository, private=not public)}"))


def link(path: Path) -> str:
    """Return the URL of a file of an export (see `pruning.ui.server.routes`)."""
    name = path.relative_to(state.root()).as_posix()
    return f"/download/{quote(name)}?ticket={signed_links.ticket(name)}"


@st.cache_data(max_entries=8, show_spinner="Verifying ...")
def _verified(output: str, stamp: int) -> dict[str, Any]:
    """Return the manifest without its list of ids."""
    return {key: value for key, value in writer.verify(output).items() if key != "ids"}
