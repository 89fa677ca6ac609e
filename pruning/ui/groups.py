"""Accuracy by class and slice on the Frontier and Export pages: who loses, and the floors against it."""

from __future__ import annotations

import streamlit as st

from pruning.analysis.groups import CORRECTION, FEWEST, LEVEL, Group, Groups
from pruning.formatting import counted
from pruning.records import Subset
from pruning.reports.browse import View
from pruning.reports.groups import floored, table
from pruning.store.saved_subsets import NAMING
from pruning.subsets.titles import spoken
from pruning.ui import address, charts, escaping, state, widgets

SHOWN = 12
"""Groups in the chart: those that lose, then the largest changes for the worse."""

LISTED = 6
"""Groups that lose, in sentences."""

COLUMNS = {
    "evaluated": st.column_config.NumberColumn("evaluated", help="Evaluation examples", format="localized"),
    "full data": st.column_config.NumberColumn("full data", format="%.1f%%"),
    "this subset": st.column_config.NumberColumn("this subset", format="%.1f%%"),
    "change": st.column_config.NumberColumn("change (pp)", format="%+.1f"),
    "low": st.column_config.NumberColumn("95% from", format="%+.1f"),
    "high": st.column_config.NumberColumn("to", format="%+.1f"),
    "others": st.column_config.NumberColumn("others (pp)", help="The same change on all other evaluation examples", format="%+.1f"),
    "p": st.column_config.NumberColumn(
        "p", help=f"Chance of losing this much more than the others by luck, corrected ({CORRECTION})", format="%.3f"
    ),
    "kept": st.column_config.NumberColumn("kept", help="Training examples that the subset keeps", format="localized"),
    "of": st.column_config.NumberColumn("of", help="Training examples", format="localized"),
    "floor": st.column_config.NumberColumn("floor", help="Proposed: keep at least this many", format="localized"),
}


def section(view: View, subset: Subset, budget: str) -> None:
    """Show whether a group loses under this subset, a chart of the largest losses, and the floors proposed."""
    found = view.groups(subset, budget)
    st.subheader("Does a group lose?", anchor=False)
    if found.missing:
        st.caption(escaping.markdown(found.missing))
        return
    left, right = widgets.columns("groups", [8, 5])
    with left:
        widgets.chart(
            charts.groups(found.rows[:SHOWN]),
            table(found),
            key="groups",
            alt="Change in accuracy of each group against full data, with 95% intervals; the table below has all groups.",
            columns=COLUMNS,
        )
    with right:
        verdict(found, subset.name)
        proposal(view, subset, found)


def verdict(found: Groups, name: str) -> None:
    """Say how many groups lose, and name them."""
    icon = ":material/warning:" if found.losing else ":material/check:"
    (st.warning if found.losing else st.info)(escaping.markdown(spoken(found.sentence, [name])), icon=icon)
    for row in found.losing[:LISTED]:
        st.markdown(f"**{escaping.markdown(row.name)}** {escaping.markdown(_numbers(row))}")
    if len(found.losing) > LISTED:
        st.caption(f"{len(found.losing) - LISTED:,} more are in the table.")
    st.caption(
        f"A group is flagged where it loses more than all other examples, at {LEVEL:.0%} false discoveries; it needs {FEWEST} evaluation "
        "examples. Intervals are not corrected."
    )


def _numbers(row: Group) -> str:
    kept = "" if row.total is None else f" Keeps {row.kept:,} of {row.total:,}."
    return f"{100 * row.full:.1f}% to {100 * row.subset:.1f}% ({100 * row.change.mean:+.1f} pp), others {100 * row.others:+.1f} pp.{kept}"


def proposal(view: View, subset: Subset, found: Groups) -> None:
    """Offer the subset with floors: to use where it has a name in the grammar, else to save under one."""
    better = floored(view.experiment, subset, found)
    if better is None:
        return
    floors = ", ".join(f"{row.name} at least {row.floor:,}" for row in found.losing[:LISTED] if row.floor is not None)
    st.markdown(f"Floors: {escaping.markdown(floors)}. Keeps {counted(better.size, 'example')} instead of {subset.size:,}.")
    if better.name != subset.name:
        st.button("Use the subset with floors", icon=":material/vertical_align_bottom:", on_click=state.choose, args=(better.name,))
        return
    with st.popover("Save with floors", icon=":material/bookmark_add:"), st.form("save-floors", border=False):
        st.text_input("Name of the subset", key="floors-name", value="with-floors", help=f"Use {NAMING}.")
        st.form_submit_button("Save", icon=":material/bookmark_add:", on_click=_save, args=(view, better))


@state.in_words
def _save(view: View, better: Subset) -> None:
    name = str(st.session_state["floors-name"]).strip()
    view.experiment.save(name, better)
    state.choose(name)
    state.say(f"Saved {counted(better.size, 'example')} as {name}; measure it to see whether the groups recover.")


def before_export(view: View, subset: Subset) -> None:
    """Show all groups as a table, before the export is written; the warnings above name those that lose."""
    found = view.groups(subset, address.text(address.BUDGET, "epochs"))
    with st.expander("Accuracy by group", icon=":material/groups:", expanded=bool(found.losing)):
        st.text(spoken(found.sentence, [subset.name]))
        if found.rows:
            st.dataframe(table(found), hide_index=True, column_config=COLUMNS, alt="Accuracy of each group with full data and this subset")
