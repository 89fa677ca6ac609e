"""Inspect's filters. Each widget's value is in the URL, so a view is a link; a view can be saved under a name."""

from __future__ import annotations

import streamlit as st

from pruning import browse
from pruning.analysis.scores import SCORES
from pruning.browse import Filter, View
from pruning.jobs import precompute
from pruning.store import saved_filters
from pruning.subsets.decisions import DECIDED_BY_HAND
from pruning.ui import difficulty_selection, state

SIZES = (50, 100)
SHOW = ("pruned", "kept", "all", "only here", "only there")
KEYS = ("show", "q", "h", "label", "said", "column", "values", "only", "score", "sort", "desc", "versus", "size")
"""Names of the filters in the URL; a score's range is "in-<score>"."""


def ask(view: View) -> tuple[Filter, str | None]:
    """The filter that the widgets say, and the name of the subset it compares with."""
    dynamics, labels = view.experiment.dynamics, list(view.experiment.label_names)
    show, search, levels = st.columns([3, 3, 2])
    versus = st.session_state.get("versus")
    shown = show.segmented_control(
        "Show",
        SHOW if versus else SHOW[:3],
        default="pruned",
        key="show",
        bind="query-params",
        help=f"Only here: kept by this subset, not by {versus}; only there: the reverse." if versus else None,
    )
    text = search.text_input("Search the text", key="q", bind="query-params", help='All words must occur; put "a phrase" in quotes.')
    chosen = levels.multiselect(
        "H",
        list(range(dynamics.runs + 1)),
        key="h",
        bind="query-params",
        placeholder="any",
        help="Runs that got it right in every epoch; empty = any.",
    )
    with st.expander("More filters, order and saved views", icon=":material/tune:", key="more", on_change="rerun"):
        first, second, third = st.columns(3)
        only = first.selectbox("Only", browse.ONLY, index=None, key="only", bind="query-params", placeholder="anything")
        label = second.multiselect("Label", labels, key="label", bind="query-params", placeholder="any") if labels else []
        said = third.multiselect("The model mostly said", labels, key="said", bind="query-params", placeholder="any") if labels else []
        column = first.selectbox("Column", view.columns, index=None, key="column", bind="query-params", placeholder="any")
        slices = [str(name) for name in view.slices(column)[1].cat.categories] if column else []
        values = second.multiselect("Its values", slices, key="values", bind="query-params", placeholder="any")
        score = third.selectbox(
            "Score",
            view.score_names,
            index=None,
            key="score",
            bind="query-params",
            placeholder="any",
            format_func=_title,
            help=meanings(view),
        )
        between = _between(view, score) if score else None
        sort = first.selectbox(
            "Sort by",
            [browse.SOURCE_ORDER, *view.score_names],
            key="sort",
            bind="query-params",
            format_func=_title,
            help=f"- **Source order**: As in the data; suspected label errors worst first.\n{meanings(view)}",
        )
        descending = second.toggle("Highest first", key="desc", bind="query-params")
        third.selectbox("Compare with", _others(view), index=None, key="versus", bind="query-params", placeholder="no other subset")
        _views(view)
    wanted = Filter(
        show=shown or "all",
        text=text,
        levels=tuple(chosen),
        labels=tuple(label),
        predicted=tuple(said),
        column=column or "",
        values=tuple(values),
        only=only,
        score=score or "",
        between=between,
        sort=sort,
        descending=descending,
    )
    return wanted, versus


def meanings(view: View) -> str:
    """What each score on offer measures, a line each, for the help of a box that offers them."""
    return "\n".join(f"- **{SCORES[name].title}**: {SCORES[name].sentence}" for name in view.score_names)


def ready(view: View, wanted: Filter) -> bool:
    """Whether what the filter needs is worked out; if not, work begins elsewhere and the page says so until it is done."""
    if wanted.only in (None, DECIDED_BY_HAND) or view.audited:
        return True
    directory = view.experiment.folder.root
    precompute.begin(directory)

    @st.fragment(run_every=2)
    def wait() -> None:
        st.info(f"Comparing {len(view.h):,} texts; this takes a minute, once.", icon=":material/hourglass_top:")
        if view.audited:
            st.rerun()

    wait()
    return False


def _title(name: str) -> str:
    return SCORES[name].title if name in SCORES else name


def _others(view: View) -> list[str]:
    chosen = st.session_state.get(state.SUBSET)
    return [name for name in state.subset_names(view.experiment) if name != chosen]


def _between(view: View, score: str) -> tuple[float, float] | None:
    found = difficulty_selection.span(view, score)
    whole, form = (found.low, found.high), difficulty_selection.number_format(found)
    chosen = st.slider(_title(score), *whole, whole, found.step, form, key=f"in-{score}", bind="query-params", help=SCORES[score].sentence)
    return None if chosen == whole else chosen


def _views(view: View) -> None:
    """Open, save and forget views."""
    folder = view.experiment.folder
    saved = saved_filters.saved(folder)
    opened, named, buttons = st.columns([2, 2, 2], vertical_alignment="bottom")
    chosen = opened.selectbox("Saved views", list(saved), index=None, key="view", placeholder="none" if not saved else "open one")
    name = named.text_input("Name of this view", key="view-name", placeholder="suspects to read")
    with buttons.container(horizontal=True):
        st.button("Save", icon=":material/bookmark_add:", disabled=not name, on_click=lambda: saved_filters.save(folder, name, _now()))
        st.button("Open", icon=":material/bookmark:", disabled=not chosen, on_click=lambda: _open(saved[chosen or ""]))
        st.button(
            "Forget",
            icon=":material/bookmark_remove:",
            disabled=not chosen,
            on_click=lambda: saved_filters.save(folder, chosen or "", None),
        )


def _now() -> dict[str, object]:
    """What the filters say, as plain values."""
    keys = [*KEYS, *(key for key in map(str, st.session_state) if key.startswith("in-"))]
    unset: tuple[object, ...] = (None, "", [], (), False, browse.SOURCE_ORDER, SIZES[0])
    return {key: st.session_state[key] for key in keys if st.session_state.get(key) not in unset}


def _open(filters: dict[str, object]) -> None:
    for key in KEYS:
        if key in st.session_state and key not in filters:
            del st.session_state[key]
    for key, value in filters.items():
        st.session_state[key] = tuple(value) if key.startswith("in-") and isinstance(value, list) else value
    st.session_state["page"] = 1
