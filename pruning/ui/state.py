"""The experiment and the subset of a view, opened once and kept while nothing on disk changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import NoReturn, ParamSpec

import streamlit as st

from pruning.errors import UsageError, WinnowError
from pruning.experiment import Experiment
from pruning.paths import dashboard_folder
from pruning.records import DECISIONS, Subset
from pruning.reports import choices
from pruning.reports.browse import View
from pruning.store.layout import Folder
from pruning.subsets.rules import TICKET
from pruning.success import parse
from pruning.ui import address, escaping

P = ParamSpec("P")


class PageEnd(Exception):
    """A page has shown all that there is to show."""


def end() -> NoReturn:
    """End the page here. After `st.stop` Streamlit shows nothing more, neither notes on the address nor what callbacks had to say."""
    raise PageEnd


def root() -> Path:
    """The folder that holds the experiments."""
    return Path(os.environ.get("WINNOW_EXPERIMENTS", "experiments"))


def chosen() -> Experiment | None:
    """The experiment of this view, or None when there is none yet, or none that can be read; the context bar says why."""
    try:
        return read()
    except WinnowError:
        return None


def read() -> Experiment | None:
    """The same. Raises WinnowError when its folder cannot be read."""
    name = address.text(address.EXPERIMENT)
    folder = root() / name if name else None
    if folder is None or not Folder(folder).manifest.exists():
        return None
    return _open(str(folder), Folder(folder).stamp())


def scored() -> View:
    """The experiment of this view once it has a complete run; until then the page says what to do and ends here."""
    experiment = chosen()
    if experiment is None:
        st.info("No experiment yet. Score your data, or the sample, on the Score page.", icon=":material/info:")
        st.page_link(page("score"), label="Go to Score", icon=":material/play_circle:")
        end()
    if not experiment.finished_runs():
        st.info(
            escaping.markdown(f"{experiment.name} has no complete run yet: {experiment.status().sentence}."),
            icon=":material/hourglass_top:",
        )
        st.page_link(page("score"), label="Watch it on Score", icon=":material/play_circle:")
        end()
    folder = experiment.folder.root
    for sentence in _warnings(str(folder), Folder(folder).stamp()):
        st.warning(escaping.markdown(sentence), icon=":material/warning:")
    return view(experiment)


def view(experiment: Experiment) -> View:
    """An experiment with a complete run, read with the burn-in of this view."""
    folder = experiment.folder.root
    return _view(str(folder), Folder(folder).stamp(), burn_in(), success())


def subset(view: View) -> Subset:
    """The subset of this view, decisions by hand applied."""
    try:
        return view.subset(subset_name())
    except WinnowError as error:
        st.error(escaping.markdown(error))
        end()


def subset_name() -> str:
    """The name of the subset of this view, without decisions by hand."""
    if asked := address.text(address.SUBSET):
        return asked
    experiment = chosen()
    return TICKET if experiment is None else choices.usual(experiment)


def choose(name: str) -> None:
    """Make that subset the one that every page is about; for callbacks."""
    address.put(**{address.SUBSET: name.removesuffix(DECISIONS)})


def in_words(callback: Callable[P, None]) -> Callable[P, None]:
    """A callback whose errors that the user can fix are shown as one sentence, as on the pages."""

    @wraps(callback)
    def said(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except WinnowError as error:
            say(str(error), ":material/error:", lasting=True)

    return said


def say(sentence: str, icon: str = ":material/check:", lasting: bool = False) -> None:
    """Show a sentence in passing once the page is drawn: a callback, above all a fragment's, must not draw anything itself."""
    st.session_state.setdefault(address.SAYINGS, []).append((sentence, icon, lasting))


def show_sayings() -> None:
    """Show what callbacks had to say; at the end of a run, and of a fragment's."""
    for sentence, icon, lasting in st.session_state.pop(address.SAYINGS, []):
        st.toast(escaping.markdown(sentence), icon=icon, duration="infinite" if lasting else "long")


def report(error: WinnowError | str) -> None:
    """Show an error that the user can fix, once in a run: the context bar and the page may meet the same one."""
    shown = st.session_state.setdefault(address.REPORTED, [])
    if str(error) not in shown:
        shown.append(str(error))
        st.error(escaping.markdown(error), icon=":material/error:")


def burn_in() -> int:
    """First epochs left out of H in this view."""
    return address.number(address.BURN_IN, 0)


def success() -> str | None:
    """The success rule of this view; None = the experiment's own, also where the link's cannot be read."""
    name = address.text(address.SUCCESS)
    try:
        return parse(name).name if name else None
    except UsageError as error:
        address.note(f"This link has success={name}: {error}")
        return None


def page(name: str) -> str:
    """The path of a page for links."""
    return str(dashboard_folder() / "pages" / f"{name}.py")


def follow() -> None:
    """Go to the page that a callback asked for; before the page of this run is drawn."""
    asked = st.session_state.pop(address.GO, None)
    if asked:
        st.switch_page(page(asked))


@st.cache_resource(max_entries=2, show_spinner=False)
def _open(folder: str, stamp: tuple[int, ...]) -> Experiment:
    return Experiment(folder)


@st.cache_resource(max_entries=3, show_spinner=False)
def _view(folder: str, stamp: tuple[int, ...], burn_in: int, success: str | None) -> View:
    return View(_open(folder, stamp), burn_in, success)


@st.cache_data(max_entries=8, show_spinner=False)
def _warnings(folder: str, stamp: tuple[int, ...]) -> list[str]:
    return Experiment(folder).warnings()
