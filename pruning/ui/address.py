"""The dashboard's addresses: one place for every key of the URL and of the session.

A page's state is in its URL, so a view is a link. `restore` reads the URL before any widget is drawn; `write` puts the state back once
the page is drawn, the experiment, the subset and the burn-in always. What the URL names and this experiment lacks is said, never replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

EXPERIMENT, SUBSET, BURN_IN = "experiment", "subset", "burn_in"
STACK, X, Y, LEVEL = "stack", "x", "y", "level"
BUDGET, METRIC, MARGIN = "budget", "metric", "margin"
QUEUE, SHOW, SEARCH, LEVELS, LABELS, SAID, COLUMN, VALUES = "queue", "show", "q", "h", "label", "said", "column", "values"
ANSWERED, BESIDE, BESIDE_H = "answered", "beside", "beside_h"
ONLY, SCORE, SORT, DESCENDING, VERSUS, SIZE, PAGE, EXAMPLE, PLACE = (
    *("only", "score", "sort", "desc", "versus", "size", "page", "example", "at"),
)
BY, FORMAT, ESCAPE, DATA = "by", "format", "escape", "data"
OTHER = "with"
RANGE_X, RANGE_Y, RANGE = "x-", "y-", "in-"
"""Before a score's name: the part of it that a slider lets through."""

_AT, _KNOWN, _NOTES, _FRESH = "_page", "_known", "_notes", "_fresh"
"""In the session: the page drawn last, its values, sentences to show, whether this run read the URL."""

_MISSING, _OPEN, _USUAL = "_missing", "_open", "_usual"
"""In the session: an experiment that is not there, one to open next, usual values that are not written."""

ACTS, DECIDED, TICKED, FILTERED = "_acts", "_decided", "_ticked", "_filter"
"""In the session: the acts of this tab, whether one was just made, the rows ticked before, the filter of the last run."""

SAYINGS = "_sayings"
"""In the session: sentences that callbacks left to show."""

GO = "_go"
"""In the session: a callback opened examples or data, and the page that shows them comes next."""

ROWS, HISTOGRAM, BARS, MAP, POINTS, POINT_TABLE, EXPERIMENTS = "rows", "histogram", "bars", "map", "frontier", "points", "experiments"
CONFUSION, AGAINST, CHANGED = "confusion", "against", "changed"
"""Charts and tables whose selection is read."""

SIZES = (50, 100)
PAGE_SIZE = SIZES[0]


class _Wrong(ValueError):
    """A value in the URL that cannot be read."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    read: Callable[[Sequence[str]], object]
    page: str = ""
    """The page that has it; empty = every page."""
    default: object = None
    """Not written."""


def _text(values: Sequence[str]) -> str:
    return values[-1]


def _texts(values: Sequence[str]) -> list[str]:
    return list(values)


def _whole(values: Sequence[str]) -> int:
    try:
        return int(values[-1])
    except ValueError:
        raise _Wrong("is not a whole number") from None


def _wholes(values: Sequence[str]) -> list[int]:
    return [_whole([value]) for value in values]


def _real(values: Sequence[str]) -> float:
    try:
        return float(values[-1])
    except ValueError:
        raise _Wrong("is not a number") from None


def _range(values: Sequence[str]) -> tuple[float, float]:
    if len(values) != 2:
        raise _Wrong("is not a range: it takes a lower and an upper end")
    low, high = sorted(_real([value]) for value in values)
    return low, high


def _flag(values: Sequence[str]) -> bool:
    if values[-1] not in ("true", "false"):
        raise _Wrong("is neither true nor false")
    return values[-1] == "true"


_PARAMETERS = {
    EXPERIMENT: _Parameter(_text),
    SUBSET: _Parameter(_text),
    BURN_IN: _Parameter(_whole),
    STACK: _Parameter(_text, "difficulty"),
    X: _Parameter(_text, "difficulty"),
    Y: _Parameter(_text, "difficulty"),
    LEVEL: _Parameter(_whole, "difficulty"),
    BUDGET: _Parameter(_text, "frontier", "epochs"),
    METRIC: _Parameter(_text, "frontier"),
    MARGIN: _Parameter(_real, "frontier"),
    QUEUE: _Parameter(_text, "inspect"),
    SHOW: _Parameter(_text, "inspect", "all"),
    SEARCH: _Parameter(_text, "inspect", ""),
    LEVELS: _Parameter(_wholes, "inspect"),
    LABELS: _Parameter(_texts, "inspect"),
    SAID: _Parameter(_texts, "inspect"),
    ANSWERED: _Parameter(_texts, "inspect"),
    BESIDE: _Parameter(_text, "inspect"),
    BESIDE_H: _Parameter(_wholes, "inspect"),
    COLUMN: _Parameter(_text, "inspect"),
    VALUES: _Parameter(_texts, "inspect"),
    ONLY: _Parameter(_text, "inspect"),
    SCORE: _Parameter(_text, "inspect"),
    SORT: _Parameter(_text, "inspect", "source order"),
    DESCENDING: _Parameter(_flag, "inspect", False),
    VERSUS: _Parameter(_text, "inspect"),
    SIZE: _Parameter(_whole, "inspect", PAGE_SIZE),
    PAGE: _Parameter(_whole, "inspect", 1),
    EXAMPLE: _Parameter(_whole, "inspect"),
    PLACE: _Parameter(_whole, "inspect"),
    OTHER: _Parameter(_text, "overview"),
    BY: _Parameter(_text, "export"),
    FORMAT: _Parameter(_text, "export", "jsonl"),
    ESCAPE: _Parameter(_flag, "export", False),
    DATA: _Parameter(_text, "score", "sample"),
}
_PREFIXES = {
    RANGE_X: _Parameter(_range, "difficulty"),
    RANGE_Y: _Parameter(_range, "difficulty"),
    RANGE: _Parameter(_range, "inspect"),
}

FILTERS = (QUEUE, SHOW, SEARCH, LEVELS, LABELS, SAID, ANSWERED, BESIDE, BESIDE_H, COLUMN, VALUES, ONLY, SCORE, SORT, DESCENDING, VERSUS)
"""Keys of Inspect's filters; a score's range is RANGE and its name."""


def _parameter(key: str) -> _Parameter | None:
    return _PARAMETERS.get(key) or next((found for prefix, found in _PREFIXES.items() if key.startswith(prefix)), None)


def restore(page: str) -> None:
    """Put into the session what the URL says, before any widget is drawn.

    On the first run of a tab, on a change of page and after Back or Forward; between those the session leads and the URL follows.
    """
    context = get_script_run_ctx()
    back = context is not None and context.is_history_navigation
    before = st.session_state.get(_AT)
    st.session_state[_NOTES], st.session_state[_FRESH] = [], before != page or back
    if not st.session_state[_FRESH]:
        return
    st.session_state[_AT] = page
    if before != page:
        for key, value in st.session_state.get(_KNOWN, {}).items():
            st.session_state.setdefault(key, value)
    given = {key: st.query_params.get_all(key) for key in st.query_params if _belongs(key, page)}
    if EXPERIMENT in given:  # a whole address: what it leaves out has its default
        for key in [key for key in map(str, st.session_state) if _belongs(key, page) and key not in given]:
            del st.session_state[key]
    for key, values in given.items():
        parameter = _parameter(key)
        assert parameter is not None
        try:
            st.session_state[key] = parameter.read(values)
        except _Wrong as wrong:
            note(f"This link has {key}={values[-1]}, which {wrong}; the usual value is shown.")


def _belongs(key: str, page: str) -> bool:
    parameter = _parameter(key)
    return parameter is not None and parameter.page in ("", page)


def write() -> None:
    """Put the state of the page into its URL; at the end of a run, and of a fragment's."""
    page = st.session_state.get(_AT, "")
    known = {str(key): st.session_state[key] for key in st.session_state if _parameter(str(key)) is not None}
    st.session_state[_KNOWN] = {**{k: v for k, v in st.session_state.get(_KNOWN, {}).items() if not _belongs(k, page)}, **known}
    missing = st.session_state.get(_MISSING)
    address = {
        **({EXPERIMENT: [missing]} if missing else {}),
        **{key: _written(value) for key, value in known.items() if _told(key, value, page)},
    }
    if {key: st.query_params.get_all(key) for key in st.query_params} != address:
        st.query_params.from_dict(address)


def usual(key: str, value: object) -> None:
    """Leave the key out of the URL while it has this value; for widgets whose usual value depends on the experiment."""
    st.session_state.setdefault(_USUAL, {})[key] = value


def _told(key: str, value: object, page: str) -> bool:
    parameter = _parameter(key)
    if key in (found := st.session_state.get(_USUAL, {})) and value == found[key]:
        return False
    unset: tuple[object, ...] = (None, "", [], ())
    return parameter is not None and parameter.page in ("", page) and value not in unset and value != parameter.default


def _written(value: object) -> list[str]:
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return [str(value)]


def note(sentence: str) -> None:
    """Say something about the address on the page that it opens; not later, when a click on the page changed what it offers."""
    if st.session_state.get(_FRESH):
        st.session_state.setdefault(_NOTES, []).append(sentence)


def notes() -> list[str]:
    """The sentences to say."""
    return list(dict.fromkeys(st.session_state.get(_NOTES, [])))


def among(key: str, options: Iterable[object], what: str) -> None:
    """Before a widget is drawn: let go of a value that is none of its options, and say so (`what` names them, as "label")."""
    value, there = st.session_state.get(key), list(options)
    if value is None:
        return
    wanted = value if isinstance(value, list) else [value]
    gone = [item for item in wanted if item not in there]
    if not gone:
        return
    note(f"This link asks for the {what} {', '.join(map(str, gone))}, which this experiment does not have.")
    if isinstance(value, list):
        st.session_state[key] = [item for item in wanted if item in there]
    else:
        del st.session_state[key]


def within(key: str, low: float, high: float, what: str) -> None:
    """The same for a number, or a range of two, which must lie between two ends."""
    value = st.session_state.get(key)
    if value is None:
        return
    numbers = value if isinstance(value, (list, tuple)) else (value,)
    if all(low <= number <= high for number in numbers):
        return
    asked = " to ".join(f"{number:g}" for number in numbers)
    note(f"This link asks for {what} {asked}; here it lies between {low:g} and {high:g}.")
    del st.session_state[key]


def value(key: str, default: object = None) -> object:
    """The value of a key, before or after its widget is drawn."""
    found = st.session_state.get(key)
    return default if found is None else found


def number(key: str, default: int) -> int:
    """The value of a key that holds a whole number."""
    found = value(key, default)
    return found if isinstance(found, int) else default


def text(key: str, default: str = "") -> str:
    """The value of a key that holds text."""
    return str(value(key, default))


def put(**values: object) -> None:
    """Set keys; for callbacks. None clears a key."""
    for key, new in values.items():
        if new is None:
            st.session_state.pop(key, None)
            st.session_state.get(_KNOWN, {}).pop(key, None)
        else:
            st.session_state[key] = new
            st.session_state.setdefault(_KNOWN, {})[key] = new


def filtered(**filters: object) -> None:
    """Inspect's filters, all others cleared: for a button that opens some examples there."""
    for key in [*FILTERS, *(key for key in map(str, st.session_state) if key.startswith(RANGE)), PAGE, EXAMPLE, PLACE]:
        put(**{key: None})
    put(**filters)


def other_experiment() -> None:
    """Let go of everything that is about the experiment shown before, but the subset; for callbacks."""
    missing(None)
    for key in [key for key in map(str, [*st.session_state, *st.session_state.get(_KNOWN, {})]) if _parameter(key) is not None]:
        if key not in (EXPERIMENT, SUBSET, DATA):
            put(**{key: None})


def missing(name: str | None) -> None:
    """Remember that the URL names an experiment that is not there, so that the URL keeps saying so."""
    st.session_state[_MISSING] = name


def missed() -> str | None:
    """The experiment named by the URL that is not there."""
    found = st.session_state.get(_MISSING)
    return None if found is None else str(found)


def open_next(name: str) -> None:
    """Make an experiment the one of this view, from where its widget may already be drawn."""
    st.session_state[_OPEN] = name


def opened() -> str | None:
    """The experiment that `open_next` named, once."""
    found = st.session_state.pop(_OPEN, None)
    return None if found is None else str(found)
