"""The full audit of a subset on the Export page: a verdict with its numbers first, then a table for each part."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pruning.analysis.slices import Shares
from pruning.formatting import counted
from pruning.records import Subset
from pruning.reports.audit_report import WORST, Findings, findings
from pruning.reports.browse import View
from pruning.store.layout import Folder
from pruning.subsets.titles import spoken
from pruning.ui import address, escaping, reading, state, tables, widgets

DEPENDENCE = "Cramer's V: how strongly being kept depends on the column, from 0 (not at all) to 1"


def show(view: View, subset: Subset) -> None:
    """Show the audit that the command line prints; it is made when a person opens it."""
    place = st.expander("Full audit", icon=":material/fact_check:", key=address.AUDIT, on_change="rerun")
    if not place.open:
        return
    with place:
        if not view.audited:
            st.caption("The audit needs the search for duplicates; open it in a minute.")
            return
        folder = view.experiment.folder.root
        found = _found(str(folder), Folder(folder).stamp(), view.burn_in, str(state.success()), subset.name, view, subset)
        _verdict(found, subset)
        _numbers(found)
        _columns(found.shares)
        _suspects(found)
        _hard(found)
        _answers(found)


@st.cache_resource(max_entries=4, show_spinner="Auditing ...")
def _found(folder: str, stamp: tuple[int, ...], burn_in: int, success: str, name: str, _view: View, _subset: Subset) -> Findings:
    return findings(_view.experiment, _subset)


def _verdict(found: Findings, subset: Subset) -> None:
    remarks = found.remarks
    if remarks:
        lines = "\n".join(f"- {escaping.markdown(spoken(remark, [subset.name]))}" for remark in remarks)
        st.warning(f"**{counted(len(remarks), 'finding')} to check before you train on it**\n\n{lines}", icon=":material/warning:")
    else:
        st.success("**Nothing to check:** every class and slice is kept in its share.", icon=":material/check:")
    if found.decisions:
        st.caption(escaping.markdown(f"Decisions by hand: {found.decisions}."))


def _numbers(found: Findings) -> None:
    row = st.container(horizontal=True)
    shifted = sum(bool(one.flagged) for one in found.shares)
    widgets.number(row, "Uneven columns", f"{shifted:,}", f"of {len(found.shares):,}")
    if found.suspects is not None:
        widgets.number(row, "Suspects kept", f"{found.suspects_kept:,}", f"of {len(found.suspects):,}")
    widgets.number(row, "Duplicates", f"{found.groups:,}", f"groups, {found.split:,} split")
    widgets.number(row, "Leaks kept", f"{found.leaking:,}", "in evaluation too")


def _columns(shares: tuple[Shares, ...]) -> None:
    if not shares:
        return
    st.markdown("**Kept by column**")
    st.dataframe(
        tables.unevenness(shares),
        hide_index=True,
        column_config={"dependence": st.column_config.NumberColumn("dependence", format="%.2f", help=DEPENDENCE)},
        alt="For each column, the values kept least and most, and how strongly being kept depends on the column",
    )


def _suspects(found: Findings) -> None:
    if not found.suspects:
        return
    st.markdown(f"**Labels that look wrong:** the worst {min(WORST, len(found.suspects))} of {len(found.suspects):,}")
    worst = [
        {"text": one.text, "label": one.label, "looks like": one.suggested, "kept": one.kept, "id": one.id}
        for one in found.suspects[:WORST]
    ]
    st.dataframe(
        pd.DataFrame(worst),
        hide_index=True,
        row_height=reading.ROW,
        height="content",
        column_config={"text": st.column_config.TextColumn("text", width=250)},
        alt="The labels that look most wrong",
    )


def _hard(found: Findings) -> None:
    causes = {} if found.hard is None else {why: count for why, count in found.hard.items() if count}
    if causes:
        st.markdown("**Why no run got them right** (H = 0)")
        st.dataframe(
            pd.DataFrame({"cause": list(causes), "examples": list(causes.values())}), hide_index=True, alt="Examples with H = 0 by cause"
        )


def _answers(found: Findings) -> None:
    rows = [{"finding": f"examples {one.what}", "all": one.all, "kept": one.kept} for one in found.answers if one.all]
    if rows:
        st.markdown("**Prompts and answers**")
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Findings about prompts and answers")
