"""What every page asks first: which experiment, which subset. The answers live in the URL, so a view is a link."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import streamlit as st

from pruning.browse import View
from pruning.errors import WinnowError
from pruning.experiment import Experiment, list_experiments
from pruning.records import DECISIONS, JobState, Subset
from pruning.store import manifest
from pruning.store.saved_subsets import saved_names
from pruning.subsets.rules import TICKET, ladder, subset_name
from pruning.ui import escaping, theme

P = ParamSpec("P")

SUBSET_HELP = (
    "The training set that every page is about. 'Winning ticket' is the paper's name for dropping what is always right (H = R) "
    "and what is never right (H = 0). Any rule can be typed: ccs@0.3, random@500, floor-0.2@winning-ticket, drop-hard minus remove-0-1-6, "
    "or any saved on the Export page: mine, random@mine, mine or drop-hard."
)
BURN_IN_HELP = "First epochs left out of H. 0 is the paper; on small sets the first epoch measures luck more than difficulty."

EXPERIMENT, SUBSET, BURN_IN = "experiment", "subset", "burn_in"
"""Names in the URL."""


def root() -> Path:
    """The folder that holds the experiments."""
    return Path(os.environ.get("WINNOW_EXPERIMENTS", "experiments"))


def chosen() -> Experiment | None:
    """The experiment of this view, or None when there is none yet, or none that can be read; `shell` says why."""
    try:
        return _chosen()
    except WinnowError:
        return None


def _chosen() -> Experiment | None:
    name = st.session_state.get(EXPERIMENT)
    folder = root() / name if name else None
    if folder is None or not (folder / "experiment.json").exists():
        return None
    return _open(str(folder), _stamp(folder))


def scored() -> View:
    """The experiment of this view once it has a complete run; before, the page says what to do and ends here."""
    experiment = chosen()
    if experiment is None:
        st.info("No experiment yet. Score your data, or the sample, on the Score page.", icon=":material/science:")
        st.page_link(page("score"), label="Go to Score", icon=":material/play_circle:")
        st.stop()
    if not experiment.finished_runs():
        st.info(
            escaping.markdown(f"{experiment.name} has no complete run yet: {experiment.status().sentence}."),
            icon=":material/hourglass_top:",
        )
        st.page_link(page("score"), label="Watch it on Score", icon=":material/play_circle:")
        st.stop()
    folder = experiment.folder.root
    for sentence in _warnings(str(folder), _stamp(folder)):
        st.warning(escaping.markdown(sentence), icon=":material/warning:")
    return _view(str(folder), _stamp(folder), burn_in())


def subset(view: View) -> Subset:
    """The subset of this view, decisions by hand applied."""
    try:
        return view.subset(st.session_state.get(SUBSET) or TICKET)
    except WinnowError as error:
        st.error(escaping.markdown(error))
        st.stop()


def choose(name: str) -> None:
    """Make that subset the one that every page is about; for callbacks."""
    st.session_state[SUBSET] = name.removesuffix(DECISIONS)


def in_words(callback: Callable[P, None]) -> Callable[P, None]:
    """A callback whose errors that a person can mend are said in a sentence, as the pages' own are."""

    @wraps(callback)
    def said(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except WinnowError as error:
            st.toast(escaping.markdown(error), icon=":material/error:", duration="infinite")

    return said


def burn_in() -> int:
    """First epochs left out of H in this view."""
    return int(st.session_state.get(BURN_IN, 0))


def page(name: str) -> str:
    """The path of a page for links."""
    return str(Path(__file__).resolve().parents[2] / "pages" / f"{name}.py")


def shell() -> str:
    """The sidebar: experiment, subset and burn-in of the view, and whether something runs. The newest that can be read comes first.

    Returns why the experiment of this view cannot be shown, in a sentence; nothing when it can.
    """
    if st.context.theme.type == "dark":
        st.html(theme.READABLE)
    folders = list_experiments(root())
    names = [folder.name for folder in folders]
    if not names:
        st.caption("No experiment yet.")
        return ""
    opened = st.session_state.pop("_open", None)
    if opened in names:
        st.session_state[EXPERIMENT] = opened
    newest = next((place for place, folder in enumerate(folders) if _readable(folder)), 0)
    st.selectbox("Experiment", names, newest, key=EXPERIMENT, bind="query-params")
    try:
        _view_of(_chosen())
    except WinnowError as error:
        st.caption(f":material/error: {escaping.markdown(error)}")
        return str(error)
    return ""


def _readable(folder: Path) -> bool:
    try:
        manifest.read(folder / "experiment.json")
    except WinnowError:
        return False
    return True


def _view_of(experiment: Experiment | None) -> None:
    """The part of the sidebar that is about one experiment."""
    if experiment is None:
        return
    running = experiment.status().state.under_way
    st.fragment(_badge, run_every=2 if running else None)()
    if experiment.finished_runs():
        rules = subset_names(experiment)
        st.selectbox("Subset", rules, key=SUBSET, bind="query-params", accept_new_options=True, help=SUBSET_HELP)
        epochs, usual = experiment.settings.scoring.epochs, experiment.settings.burn_in
        if burn_in() >= epochs:  # another experiment's, which had more of them
            st.session_state[BURN_IN] = usual
        if epochs > 1:
            st.number_input("Burn-in", 0, epochs - 1, usual, key=BURN_IN, bind="query-params", help=BURN_IN_HELP)


def subset_names(experiment: Experiment) -> list[str]:
    """Every subset a person can choose: the ladder, what was saved, the ladder's ends, and whatever was measured."""
    runs = len(experiment.finished_runs())
    names = [subset_name(removes, runs) for removes in ladder(runs)]
    measured = [name.removesuffix(DECISIONS) for name in experiment.finished()["subset"].unique()]
    return list(dict.fromkeys([*names, *saved_names(experiment.folder), "drop-easy", "drop-hard", *measured, "full"]))


def _badge() -> None:
    experiment = chosen()
    if experiment is None:
        return
    status = experiment.status()
    icon = {JobState.RUNNING: ":material/autorenew:", JobState.DONE: ":material/check_circle:"}.get(status.state, ":material/info:")
    st.caption(f"{icon} {escaping.markdown(status.sentence)}")
    if status.total and status.state is JobState.RUNNING:
        st.progress(min(1.0, status.done / status.total))


def _stamp(folder: Path) -> tuple[int, ...]:
    """Changes whenever the settings, the set of recorded epochs or the saved subsets do."""
    epochs = sorted(path.stat().st_mtime_ns for path in (folder / "dynamics").glob("run=*/epoch=*.parquet"))
    saved = [path.stat().st_mtime_ns for path in sorted((folder / "subsets").glob("*.parquet"))]
    return ((folder / "experiment.json").stat().st_mtime_ns, *epochs, 0, *saved)


@st.cache_resource(max_entries=2, show_spinner=False)
def _open(folder: str, stamp: tuple[int, ...]) -> Experiment:
    return Experiment(folder)


@st.cache_resource(max_entries=3, show_spinner=False)
def _view(folder: str, stamp: tuple[int, ...], burn_in: int) -> View:
    return View(_open(folder, stamp), burn_in)


@st.cache_data(max_entries=8, show_spinner=False)
def _warnings(folder: str, stamp: tuple[int, ...]) -> list[str]:
    return Experiment(folder).warnings()
