"""Keys of the dashboard's URLs and of the session, all in one place.

A page's state is in its URL, so that a view is a link. `restore` reads the URL before any widget is drawn; `write` updates it after the
page is drawn, always with the experiment, the subset and the burn-in. Values that this experiment lacks are reported, never replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pruning.reports.conditions import Area

EXPERIMENT, SUBSET, BURN_IN, SUCCESS = "experiment", "subset", "burn_in", "success"
STACK, X, Y, LEVEL = "stack", "x", "y", "level"
KIND, COLOUR, DRAWN, AREA = "kind", "colour", "drawn", "area"
BUDGET, METRIC, MARGIN, MEASURED_WITH = "budget", "metric", "margin", "model"
QUEUE, SHOW, SEARCH, LEVELS, LABELS, SAID, COLUMN, VALUES = "queue", "show", "q", "h", "label", "said", "column", "values"
ANSWERED, BESIDE, BESIDE_H = "answered", "beside", "beside_h"
ONLY, SCORE, SORT, DESCENDING, VERSUS, SIZE, PAGE, EXAMPLE, PLACE = (
    *("only", "score", "sort", "desc", "versus", "size", "page", "example", "at"),
)
BY, FORMAT, ESCAPE, DATA, NEW = "by", "format", "escape", "data", "new"
OTHER = "with"
RANGE_X, RANGE_Y, RANGE = "x-", "y-", "in-"
"""Prefix of a score's name: the range chosen with its slider."""

SETTING = "new-"
"""Prefix of a setting's name: the session key of its box on Score."""

_AT, _KNOWN, _NOTES, _FRESH = "_page", "_known", "_notes", "_fresh"
"""Session keys: the page drawn last, its values, sentences to show, True if this run read the URL."""

_MISSING, _OPEN, _USUAL = "_missing", "_open", "_usual"
"""Session keys: an experiment that does not exist, one to open next, default values that are not written."""

ACTS, SEEN, DECIDED, TICKED, FILTERED = "_acts", "_seen", "_decided", "_ticked", "_filter"
"""Session keys: the decisions of this tab, those that the page showed, True if one was just made, the rows ticked before, the filter of
the last run."""

SAYINGS = "_sayings"
"""Session key: sentences of callbacks to show."""

REPORTED = "_reported"
"""Session key: the errors that this run has shown."""

GO = "_go"
"""Session key: the page that a callback asked for, because it shows what was clicked."""

ROWS, HISTOGRAM, BARS, MAP, POINTS, POINT_TABLE, EXPERIMENTS = "rows", "histogram", "bars", "map", "frontier", "points", "experiments"
CONFUSION, AGAINST, CHANGED, PRUNED_BARS, SMALL = "confusion", "against", "changed", "pruned-by-h", "small-frontier"
"""Charts and tables with a selection."""

AUDIT = "audit"
"""Session key: True while Export's full audit is open."""

SIZES = (50, 100)
PAGE_SIZE = SIZES[0]


class _Wrong(ValueError):
    """A value in the URL that cannot be read."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    read: Callable[[Sequence[str]], object]
    page: str = ""
    """Page of the key; empty = every page."""
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


def _area(values: Sequence[str]) -> list[str]:
    try:
        return Area.from_words(values).words()
    except (ValueError, IndexError):
        raise _Wrong("is not an area: it takes two axes and two corners or more") from None


def _flag(values: Sequence[str]) -> bool:
    if values[-1] not in ("true", "false"):
        raise _Wrong("is neither true nor false")
    return values[-1] == "true"


_PARAMETERS = {
    EXPERIMENT: _Parameter(_text),
    SUBSET: _Parameter(_text),
    BURN_IN: _Parameter(_whole),
    SUCCESS: _Parameter(_text),
    STACK: _Parameter(_text, "difficulty"),
    X: _Parameter(_text, "difficulty"),
    Y: _Parameter(_text, "difficulty"),
    LEVEL: _Parameter(_whole, "difficulty"),
    KIND: _Parameter(_text, "difficulty"),
    COLOUR: _Parameter(_text, "difficulty"),
    DRAWN: _Parameter(_area, "difficulty"),
    BUDGET: _Parameter(_text, "frontier", "epochs"),
    METRIC: _Parameter(_text, "frontier"),
    MEASURED_WITH: _Parameter(_text, "frontier", ""),
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
    AREA: _Parameter(_area, "inspect"),
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
    NEW: _Parameter(_flag, "score", False),
}
_PREFIXES = {
    RANGE_X: _Parameter(_range, "difficulty"),
    RANGE_Y: _Parameter(_range, "difficulty"),
    RANGE: _Parameter(_range, "inspect"),
}

FILTERS = (
    *(QUEUE, SHOW, SEARCH, LEVELS, LABELS, SAID, ANSWERED, BESIDE, BESIDE_H),
    *(COLUMN, VALUES, ONLY, SCORE, AREA, SORT, DESCENDING, VERSUS),
)
"""Keys of Inspect's filters; a score's range is RANGE and its name."""


def _parameter(key: str) -> _Parameter | None:
    return _PARAMETERS.get(key) or next((found for prefix, found in _PREFIXES.items() if key.startswith(prefix)), None)


def restore(page: str) -> None:
    """Copy the URL's values to the session before any widget is drawn.

    On the first run of a tab, on a change of page and after Back or Forward; otherwise the URL follows the session.
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
    if EXPERIMENT in given:  # a complete address: missing keys have their default
        for key in [key for key in map(str, st.session_state) if _belongs(key, page) and key not in given]:
            del st.session_state[key]
    for key, values in given.items():
        parameter = _parameter(key)
        assert parameter is not None
        try:
            st.session_state[key] = parameter.read(values)
        except _Wrong as wrong:
            note(f"This link has {key}={values[-1]}, which {wrong}; the default is used.")


def _belongs(key: str, page: str) -> bool:
    parameter = _parameter(key)
    return parameter is not None and parameter.page in ("", page)


def write() -> None:
    """Write the state of the page to its URL; called at the end of a run and of a fragment's run."""
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
    """Leave the key out of the URL while it has this value; for widgets whose default depends on the experiment."""
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
    """Show a message about the address on the page that it opens, but not after a click on the page changed the options."""
    if st.session_state.get(_FRESH):
        st.session_state.setdefault(_NOTES, []).append(sentence)


def notes() -> list[str]:
    """Return the sentences to show."""
    return list(dict.fromkeys(st.session_state.get(_NOTES, [])))


OF_ALL = ("page size", "format", "budget", "view", "map", "filter", "queue")
"""Things that are the same for every experiment."""

_GONE, _NEVER = "which is not in this folder", "which does not exist"


def among(key: str, options: Iterable[object], what: str) -> None:
    """Before a widget is drawn, clear values that are not among its options and report them; `what` names them, such as "label"."""
    value, there = st.session_state.get(key), list(options)
    if value is None:
        return
    wanted = value if isinstance(value, list) else [value]
    gone = [item for item in wanted if item not in there]
    if not gone:
        return
    why = _GONE if what == "experiment" else _NEVER if what in OF_ALL else "which this experiment does not have"
    note(f"This link asks for the {what} {', '.join(map(str, gone))}, {why}.")
    if isinstance(value, list):
        st.session_state[key] = [item for item in wanted if item in there]
    else:
        del st.session_state[key]


def within(key: str, low: float, high: float, what: str) -> None:
    """Do the same for a number, or a range of two numbers, that must be between two ends."""
    value = st.session_state.get(key)
    if value is None:
        return
    numbers = value if isinstance(value, (list, tuple)) else (value,)
    if all(low <= number <= high for number in numbers):
        return
    asked = " to ".join(f"{number:g}" for number in numbers)
    note(f"This link asks for {what} {asked}; here it must be between {low:g} and {high:g}.")
    del st.session_state[key]


def value(key: str, default: object = None) -> object:
    """Return the value of a key, before or after its widget is drawn."""
    found = st.session_state.get(key)
    return default if found is None else found


def number(key: str, default: int) -> int:
    """Return the value of a key that holds an integer."""
    found = value(key, default)
    return found if isinstance(found, int) else default


def text(key: str, default: str = "") -> str:
    """Return the value of a key that holds text."""
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
    """Set these filters of Inspect and clear all others; for a button that opens examples there."""
    for key in [*FILTERS, *(key for key in map(str, st.session_state) if key.startswith(RANGE)), PAGE, EXAMPLE, PLACE]:
        put(**{key: None})
    put(**filters)


def go(page: str = "inspect") -> None:
    """Ask for the page that shows what was clicked; for callbacks."""
    st.session_state[GO] = page


def other_experiment() -> None:
    """Clear everything about the experiment shown before, except the subset; for callbacks."""
    missing(None)
    for key in [key for key in map(str, [*st.session_state, *st.session_state.get(_KNOWN, {})]) if _parameter(key) is not None]:
        if key not in (EXPERIMENT, SUBSET, DATA, NEW):
            put(**{key: None})


def missing(name: str | None) -> None:
    """Remember that the URL names an experiment that does not exist, so that the URL is not changed."""
    st.session_state[_MISSING] = name


def missed() -> str | None:
    """Return the experiment in the URL that does not exist."""
    found = st.session_state.get(_MISSING)
    return None if found is None else str(found)


def open_next(name: str) -> None:
    """Open an experiment in the next run, for code that runs after its widget was drawn."""
    st.session_state[_OPEN] = name


def opened() -> str | None:
    """Return the experiment that `open_next` set, and clear it."""
    found = st.session_state.pop(_OPEN, None)
    return None if found is None else str(found)
