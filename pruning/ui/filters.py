"""Queues and filters of Inspect. Each widget's value is in the URL, so that a view is a link; a view can be saved under a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pruning.analysis.scores import SCORES
from pruning.errors import WinnowError
from pruning.experiment import list_experiments
from pruning.jobs import precompute
from pruning.reports import choices, conditions, review
from pruning.reports.browse import View
from pruning.reports.conditions import Filter
from pruning.store import saved_filters
from pruning.store.layout import Folder
from pruning.subsets.decisions import DECIDED_BY_HAND
from pruning.subsets.titles import title
from pruning.ui import address, escaping, state
from pruning.ui import difficulty_selection as picking

SHOW = ("all", "pruned", "kept", "only here", "only there")
OF_ANSWERS = (conditions.NEVER, conditions.ALWAYS, conditions.DOUBTED)
WIDE = 560
"""Width of the popover's two columns in pixels; on a phone they are one."""


def ask(view: View) -> tuple[Filter, str | None]:
    """Return the filter from the widgets, and the name of the subset to compare with."""
    _check(view)
    queue = _queues(view)
    versus = address.value(address.VERSUS)
    with st.container(horizontal=True, vertical_alignment="center"):
        shown = st.segmented_control(
            "Show",
            SHOW if versus else SHOW[:3],
            default="all",
            key=address.SHOW,
            label_visibility="collapsed",
            help=f"Only here: kept by this subset, not by {versus}; only there: the reverse." if versus else None,
        )
        text = st.text_input(
            "Search the text",
            key=address.SEARCH,
            placeholder='Search: all words, or "a phrase"',
            label_visibility="collapsed",
            icon=":material/search:",
            width=300,
        )
        with st.popover("Filter and sort", icon=":material/tune:"), st.container(width=WIDE):
            wanted, other = _more(view, *st.columns(2))
    wanted = review.queued(replace(wanted, show=shown or "all", text=text), queue, view.experiment.dynamics.runs, view.experiment.sampled)
    _changed((queue, wanted, other))
    return wanted, other


def _check(view: View) -> None:
    """Clear values in the URL that this experiment does not have."""
    runs, labels, scores = view.experiment.dynamics.runs, list(view.experiment.label_names), view.score_names
    versus = address.value(address.VERSUS)
    address.among(address.QUEUE, review.queues(view), "queue")
    address.among(address.VERSUS, [*choices.subset_names(view.experiment), *([versus] if versus == state.subset_name() else [])], "subset")
    address.among(address.SHOW, SHOW if address.value(address.VERSUS) else SHOW[:3], "view")
    address.among(address.LEVELS, range(runs + 1), "H")
    address.among(address.LABELS, labels, "label")
    address.among(address.SAID, labels, "label")
    address.among(address.ANSWERED, labels, "label")
    address.among(address.ONLY, conditions.ONLY, "filter")
    address.among(address.BESIDE, _beside(view), "experiment")
    address.among(address.COLUMN, view.columns, "column")
    address.among(address.SCORE, scores, "score")
    picking.known_area(view, address.AREA)
    address.among(address.SORT, [conditions.SOURCE_ORDER, *scores], "score")
    address.among(address.SIZE, address.SIZES, "page size")
    if column := address.text(address.COLUMN):
        address.among(address.VALUES, map(str, view.slices(column)[1].cat.categories), "value")


def _queues(view: View) -> str | None:
    counts = review.counts(view)
    names = {queue: name if counts[queue] is None else f"{name} {counts[queue]:,}" for queue, name in review.queues(view).items()}
    return st.pills("Review queue", list(names), key=address.QUEUE, format_func=names.__getitem__, label_visibility="collapsed")


def _more(view: View, left: DeltaGenerator, right: DeltaGenerator) -> tuple[Filter, str | None]:
    """Show the filters in the two columns of the popover."""
    dynamics, labels = view.experiment.dynamics, list(view.experiment.label_names)
    levels = left.multiselect(
        "H (runs that got it right in every epoch)", list(range(dynamics.runs + 1)), key=address.LEVELS, placeholder="any"
    )
    choices = [choice for choice in conditions.ONLY if view.experiment.sampled or choice not in OF_ANSWERS]
    only = left.selectbox("Only", choices, index=None, key=address.ONLY, placeholder="anything")
    label = left.multiselect("Label", labels, key=address.LABELS, placeholder="any") if labels else []
    said = left.multiselect("Majority prediction", labels, key=address.SAID, placeholder="any") if labels else []
    answered = left.multiselect("Predicted by any run (last epoch)", labels, key=address.ANSWERED, placeholder="any") if labels else []
    column = left.selectbox("Column", view.columns, index=None, key=address.COLUMN, placeholder="any")
    slices = [str(name) for name in view.slices(column)[1].cat.categories] if column else []
    values = left.multiselect("Its values", slices, key=address.VALUES, placeholder="any", disabled=not column)
    with right:
        beside = st.selectbox("Another experiment", _beside(view), index=None, key=address.BESIDE, placeholder="none")
        levels_there = _levels_beside(view, beside) if beside else []
        score = st.selectbox(
            "Score", view.score_names, index=None, key=address.SCORE, placeholder="any", format_func=_title, help=meanings(view)
        )
        between = _between(view, score) if score else None
        sort = st.selectbox(
            "Sort by",
            [conditions.SOURCE_ORDER, *view.score_names],
            key=address.SORT,
            format_func=_title,
            help=f"- **Source order**: As in the data; suspected labels worst first.\n{meanings(view)}",
        )
        descending = st.toggle("Highest first", key=address.DESCENDING)
        versus = st.selectbox(
            "Compare with", _others(view), index=None, key=address.VERSUS, placeholder="no other subset", format_func=title
        )
        st.segmented_control("Rows per page", address.SIZES, default=address.PAGE_SIZE, key=address.SIZE, required=True)
        _views(view)
    wanted = Filter(
        levels=tuple(levels),
        labels=tuple(label),
        predicted=tuple(said),
        answered=tuple(answered),
        column=column or "",
        values=tuple(values),
        only=only,
        beside=beside or "",
        beside_levels=tuple(levels_there),
        score=score or "",
        between=between,
        area=picking.known_area(view, address.AREA),
        sort=sort or conditions.SOURCE_ORDER,
        descending=descending,
    )
    return wanted, versus


def _changed(now: object) -> None:
    """Return to the first page and its first example when the filters change."""
    before = st.session_state.get(address.FILTERED)
    st.session_state[address.FILTERED] = now
    if before is not None and before != now:
        address.put(**{address.PAGE: None, address.EXAMPLE: None, address.PLACE: None})


@dataclass(frozen=True, slots=True)
class Chip:
    """An active filter: its words, the filter without it, and the keys that clear it."""

    words: str
    without: Filter
    keys: tuple[str, ...]


def chips(wanted: Filter) -> list[Chip]:
    """Return the active filters. Those of a queue are cleared with it.

    >>> [chip.words for chip in chips(Filter(text="film", labels=("good",)))]
    ['"film"', 'label: good']
    """
    on = []
    if wanted.show != "all":
        on.append(Chip(wanted.show, replace(wanted, show="all"), (address.SHOW,)))
    if wanted.text.strip():
        on.append(Chip(f'"{wanted.text.strip()}"', replace(wanted, text=""), (address.SEARCH,)))
    if wanted.levels:
        on.append(Chip(f"H: {_list(wanted.levels)}", replace(wanted, levels=()), (address.LEVELS, address.QUEUE)))
    if wanted.labels:
        on.append(Chip(f"label: {_list(wanted.labels)}", replace(wanted, labels=()), (address.LABELS,)))
    if wanted.predicted:
        on.append(Chip(f"predicted: {_list(wanted.predicted)}", replace(wanted, predicted=()), (address.SAID,)))
    if wanted.answered:
        on.append(Chip(f"a run predicted: {_list(wanted.answered)}", replace(wanted, answered=()), (address.ANSWERED,)))
    if wanted.beside and wanted.beside_levels:
        words = f"H in {wanted.beside}: {_list(wanted.beside_levels)}"
        on.append(Chip(words, replace(wanted, beside_levels=()), (address.BESIDE_H, address.BESIDE)))
    if wanted.column and wanted.values:
        on.append(Chip(f"{wanted.column}: {_list(wanted.values)}", replace(wanted, values=()), (address.VALUES, address.COLUMN)))
    if wanted.only:
        on.append(Chip(wanted.only, replace(wanted, only=None), (address.ONLY, address.QUEUE)))
    if wanted.score and wanted.between:
        low, high = wanted.between
        words = f"{_title(wanted.score)}: {low:g} to {high:g}"
        on.append(Chip(words, replace(wanted, between=None), (address.SCORE, f"{address.RANGE}{wanted.score}")))
    if wanted.area:
        on.append(Chip("area of the map", replace(wanted, area=None), (address.AREA,)))
    return on


def show_chips(wanted: Filter) -> None:
    """Show a button for each active filter; a click clears it."""
    for chip in chips(wanted):
        st.button(
            escaping.markdown(chip.words),
            key=f"chip-{chip.keys[0]}",
            type="tertiary",
            icon=":material/close:",
            icon_position="right",
            help="Clear this filter",
            on_click=clear,
            args=(chip.keys,),
        )


def clear(keys: Sequence[str]) -> None:
    """Clear some filters; for callbacks."""
    address.put(**dict.fromkeys([*keys, address.PAGE, address.EXAMPLE]))


def _list(values: Sequence[object]) -> str:
    first = ", ".join(map(str, values[:3]))
    return f"{first} and {len(values) - 3} more" if len(values) > 3 else first


def meanings(view: View) -> str:
    """Return one line per available score with its meaning, for help texts."""
    return "\n".join(f"- **{SCORES[name].title}**: {SCORES[name].explained}" for name in view.score_names)


def ready(view: View, wanted: Filter) -> bool:
    """Return True if the data for the filter is computed; else start the computation in the background and show a message."""
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
    return [name for name in choices.subset_names(view.experiment) if name != state.subset_name()]


def _beside(view: View) -> list[str]:
    """Return the other experiments of the folder."""
    return [folder.name for folder in list_experiments(state.root()) if folder.name != view.experiment.name]


def _levels_beside(view: View, name: str) -> list[int]:
    try:
        runs = view.compared(name).second.runs
    except WinnowError as error:
        st.error(escaping.markdown(error), icon=":material/error:")
        return []
    address.among(address.BESIDE_H, range(runs + 1), f"H in {name}")
    return st.multiselect(f"H in {name}", list(range(runs + 1)), key=address.BESIDE_H, placeholder="any")


def _between(view: View, score: str) -> tuple[float, float] | None:
    found, key = picking.span(view, score), f"{address.RANGE}{score}"
    whole, form = (found.low, found.high), picking.number_format(found)
    address.within(key, *whole, f"{_title(score)} from")
    address.usual(key, whole)
    chosen = st.slider(_title(score), *whole, whole, found.step, form, key=key, help=SCORES[score].explained)
    return None if chosen == whole else (float(chosen[0]), float(chosen[1]))


def _views(view: View) -> None:
    """Open, save and delete views."""
    folder = view.experiment.folder
    saved = saved_filters.saved(folder)
    chosen = st.selectbox("Saved views", list(saved), index=None, key="view", placeholder="open one" if saved else "none yet")
    name = st.text_input("Name of this view", key="view-name", placeholder="suspects to read")
    with st.container(horizontal=True):
        st.button("Save", icon=":material/bookmark_add:", disabled=not name, on_click=_save, args=(folder, name))
        st.button("Open", icon=":material/bookmark:", disabled=not chosen, on_click=lambda: _open(saved[chosen or ""]))
        st.button("Delete", icon=":material/bookmark_remove:", disabled=not chosen, on_click=_delete, args=(folder, chosen or ""))


@state.in_words
def _save(folder: Folder, name: str) -> None:
    replaced = name in saved_filters.saved(folder)
    saved_filters.save(folder, name, _now())
    state.say(f"{'Replaced' if replaced else 'Saved'} the view {name}.")


@state.in_words
def _delete(folder: Folder, name: str) -> None:
    saved_filters.save(folder, name, None)
    state.say(f"Deleted the view {name}.")


def _now() -> dict[str, object]:
    """Return the filters as plain values."""
    keys = [*address.FILTERS, address.SIZE, *(key for key in map(str, st.session_state) if key.startswith(address.RANGE))]
    unset: tuple[object, ...] = (None, "", [], (), False, "all", conditions.SOURCE_ORDER, address.PAGE_SIZE)
    return {key: st.session_state[key] for key in keys if st.session_state.get(key) not in unset}


def _open(filters: dict[str, object]) -> None:
    """Open a saved view. Older views have no "show" if they show the pruned examples."""
    address.filtered(
        **{key: tuple(value) if key.startswith(address.RANGE) and isinstance(value, list) else value for key, value in filters.items()}
    )
