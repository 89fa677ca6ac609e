"""Inspect's two panes: the list of what matches, and the example that is open. Ticking, paging and stepping redraw these alone."""

from __future__ import annotations

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pruning.analysis.scores import SCORES
from pruning.formatting import counted
from pruning.records import Subset
from pruning.reports import conditions
from pruning.reports.browse import View
from pruning.reports.conditions import Filter
from pruning.ui import address, deciding, escaping, example, filters, state, tables, widgets

HEADER, ROW, SHOWN_ROWS = 35, 78, 6
"""Height of the header and of a row of four lines in pixels, and rows seen without scrolling. Rows of 64 pixels or less do not wrap."""

COLUMNS = {
    "open": st.column_config.TextColumn("", width=24, pinned=True, help="The open example"),
    "text": st.column_config.TextColumn("text", width=260),
    "label": st.column_config.TextColumn("label", width=74),
    "looks like": st.column_config.TextColumn("looks like", width=74),
    "decision": st.column_config.TextColumn("decision", width=74),
    "H": st.column_config.NumberColumn("H", width=34, pinned=True),
    "learned": st.column_config.LineChartColumn(
        "learned", width=70, y_min=0, y_max=1, help="Mean probability of the right answer by epoch"
    ),
}


def panes(view: View, subset: Subset, wanted: Filter, versus: str | None) -> None:
    """The list and the open example, side by side."""
    st.fragment(_panes)(view, subset, wanted, versus)


def _panes(view: View, subset: Subset, wanted: Filter, versus: str | None) -> None:
    if st.session_state.pop(address.DECIDED, False) and _in_fragment():
        st.rerun()  # what is kept and what a queue holds changed: everything above says so too
    if _in_fragment() and not view.experiment.folder.manifest.exists():
        st.rerun()  # renamed or deleted while the page was open: the page says so
    deciding.seen(view)
    kept = view.kept(subset)
    matching = view.matching(wanted, kept, _kept_by(view, versus))
    size = address.number(address.SIZE, address.PAGE_SIZE)
    left, right = widgets.columns("panes", [6, 5])
    position = _opened(view, matching, size)
    with left:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(f"{counted(len(matching), 'example matches', 'examples match')} of {len(view.h):,}.", width="content")
            filters.show_chips(wanted)
        if len(matching):
            ticked = _list(view, wanted, kept, matching, position, size)
            deciding.many(view, subset, ticked, matching, duplicates=wanted.only == conditions.DUPLICATES)
        else:
            _empty(view, wanted, kept, versus)
    with right.container(border=True):
        if position is not None:
            example.detail(view, subset, matching, position, kept, size)
        elif not len(matching):
            st.caption("No example is open.")
    state.show_sayings()
    address.write()


def _in_fragment() -> bool:
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx()
    return context is not None and bool(context.fragment_ids_this_run)


def _kept_by(view: View, name: str | None) -> NDArray[np.bool_] | None:
    return view.kept(view.subset(name)) if name else None


def _opened(view: View, matching: NDArray[np.int64], size: int) -> int | None:
    """Position of the open example: the one named by the address, else the first of its page. None where there is none."""
    place = address.value(address.PLACE)
    if isinstance(place, int):
        address.put(**{address.PLACE: None})
        if 1 <= place <= len(matching):
            address.put(**{address.EXAMPLE: int(view.experiment.ids[matching[place - 1]]), address.PAGE: (place - 1) // size + 1})
        else:
            st.warning(f"This link asks for number {place:,}; {counted(len(matching), 'example matches', 'examples match')}.")
    wanted = address.value(address.EXAMPLE)
    pages = max(1, -(-len(matching) // size))
    page = address.number(address.PAGE, 0)
    if isinstance(wanted, int):
        found = np.flatnonzero(view.experiment.ids == wanted)
        if not len(found):
            st.warning(f"This experiment has no example {wanted}.", icon=":material/link_off:")
            return None
        if not page:
            places = np.flatnonzero(matching == found[0])
            address.put(**{address.PAGE: int(places[0]) // size + 1 if len(places) else 1})
        return int(found[0])
    if not 1 <= address.number(address.PAGE, 1) <= pages:
        st.warning(f"This link asks for page {page:,}; there {'is one page' if pages == 1 else f'are {pages:,} pages'}.")
    page = min(max(1, page), pages)
    return int(matching[(page - 1) * size]) if len(matching) else None


def _list(
    view: View, wanted: Filter, kept: NDArray[np.bool_], matching: NDArray[np.int64], position: int | None, size: int
) -> NDArray[np.int64]:
    """One page of what matches; returns the positions of the ticked rows."""
    pages = max(1, -(-len(matching) // size))
    number = min(max(1, address.number(address.PAGE, 1)), pages)
    address.put(**{address.PAGE: number})
    rows = matching[(number - 1) * size : number * size]
    score = next((name for name in (wanted.sort, wanted.score) if name in SCORES), "pass-rate" if view.experiment.sampled else "confidence")
    table = tables.queue(view, rows, kept, position, score, suggested=wanted.only in conditions.LABELS_DOUBTED)
    picked = st.dataframe(
        table,
        key=address.ROWS,
        hide_index=True,
        on_select=lambda: _ticked(view, rows),
        selection_mode="multi-row",
        column_config=COLUMNS,
        column_order=[name for name in table if name != "id"],  # the open example says its own
        row_height=ROW,
        height=HEADER + ROW * min(len(rows), SHOWN_ROWS) + 3,
        alt="The examples that match, a page at a time; the mark is beside the open one",
    )
    if pages > 1:
        st.pagination(pages, key=address.PAGE, on_change=lambda: address.put(**{address.EXAMPLE: None}))
    return rows[np.array([index for index in picked.selection.rows if index < len(rows)], dtype=int)]


def _ticked(view: View, rows: NDArray[np.int64]) -> None:
    """The row ticked last is the example that is open."""
    now = set(st.session_state[address.ROWS].selection.rows)
    new = now - set(st.session_state.get(address.TICKED, ()))
    st.session_state[address.TICKED] = now
    there = [index for index in new if index < len(rows)]
    if there:
        address.put(**{address.EXAMPLE: int(view.experiment.ids[rows[there[-1]]])})


def _empty(view: View, wanted: Filter, kept: NDArray[np.bool_], versus: str | None) -> None:
    """Which filter empties the list: how many match without each."""
    other = _kept_by(view, versus)
    for chip in filters.chips(wanted):
        count = len(view.matching(chip.without, kept, other))
        st.button(
            escaping.markdown(f"{count:,} without {chip.words}"),
            key=f"without-{chip.keys[0]}",
            icon=":material/filter_alt_off:",
            on_click=filters.clear,
            args=(chip.keys,),
            disabled=not count,
        )
