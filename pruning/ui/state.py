"""What every page asks first: which experiment, which subset. The answers live in the URL, so a view is a link."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pruning.errors import WinnowError
from pruning.experiment import Experiment, list_experiments
from pruning.records import JobState, Subset
from pruning.report import status_sentence
from pruning.subsets import TICKET

SUBSET_HELP = (
    "The training set that every page is about. 'Winning ticket' is the paper's name for dropping what is always right (H = R) "
    "and what is never right (H = 0)."
)

EXPERIMENT, SUBSET, BURN_IN = "experiment", "subset", "burn_in"
"""Names in the URL."""


def root() -> Path:
    """The folder that holds the experiments."""
    return Path(os.environ.get("WINNOW_EXPERIMENTS", "experiments"))


def chosen() -> Experiment | None:
    """The experiment of this view, or None when there is none yet."""
    name = st.session_state.get(EXPERIMENT)
    folder = root() / name if name else None
    if folder is None or not (folder / "experiment.json").exists():
        return None
    return _open(str(folder), _stamp(folder))


def scored() -> Experiment:
    """The experiment of this view once it has a complete run; before, the page says what to do and ends here."""
    experiment = chosen()
    if experiment is None:
        st.info("No experiment yet. Score your data, or the sample, on the Score page.", icon=":material/science:")
        st.page_link(page("score"), label="Go to Score", icon=":material/play_circle:")
        st.stop()
    if not experiment.finished_runs():
        st.info(f"{experiment.name} has no complete run yet: {status_sentence(experiment.status())}.", icon=":material/hourglass_top:")
        st.page_link(page("score"), label="Watch it on Score", icon=":material/play_circle:")
        st.stop()
    return experiment


def subset(experiment: Experiment) -> Subset:
    """The subset of this view, decisions by hand applied."""
    name = st.session_state.get(SUBSET) or TICKET
    try:
        return experiment.measured_subset(f"{name}+decisions", burn_in())
    except WinnowError as error:
        st.error(str(error))
        st.stop()


def burn_in() -> int:
    """First epochs left out of H in this view."""
    return int(st.session_state.get(BURN_IN, 0))


def page(name: str) -> str:
    """The path of a page for links."""
    return str(Path(__file__).resolve().parents[2] / "pages" / f"{name}.py")


def shell() -> None:
    """The sidebar: experiment, subset and burn-in of the view, and whether something runs."""
    names = [folder.name for folder in list_experiments(root())]
    if not names:
        st.caption("No experiment yet.")
        return
    st.selectbox("Experiment", names, key=EXPERIMENT, bind="query-params")
    experiment = chosen()
    if experiment is None:
        return
    running = experiment.status().state is JobState.RUNNING
    st.fragment(_badge, run_every=2 if running else None)()
    if experiment.finished_runs():
        names = subset_names(experiment)
        st.selectbox(
            "Subset",
            names,
            key=SUBSET,
            bind="query-params",
            help=SUBSET_HELP,
        )
        if experiment.dynamics.epochs > 1:
            st.number_input(
                "Burn-in",
                0,
                experiment.dynamics.epochs - 1,
                experiment.settings.burn_in,
                key=BURN_IN,
                bind="query-params",
                help="First epochs left out of H. 0 is the paper; on small sets the first epoch measures luck more than difficulty.",
            )


def subset_names(experiment: Experiment) -> list[str]:
    """Every subset a person can choose: the ladder, its ends, and whatever was measured."""
    ladder = [subset.name for subset in experiment.subsets(burn_in())]
    measured = [name.removesuffix("+decisions") for name in experiment.finished()["subset"].unique()]
    return list(dict.fromkeys([*ladder, "drop-easy", "drop-hard", *measured, "full"]))


def kept_mask(experiment: Experiment, of: Subset) -> NDArray[np.bool_]:
    """[N] whether each example stays."""
    return np.isin(experiment.ids, of.kept)


def _badge() -> None:
    experiment = chosen()
    if experiment is None:
        return
    status = experiment.status()
    icon = {JobState.RUNNING: ":material/autorenew:", JobState.DONE: ":material/check_circle:"}.get(status.state, ":material/info:")
    st.caption(f"{icon} {status_sentence(status)}")
    if status.total and status.state is JobState.RUNNING:
        st.progress(min(1.0, status.done / status.total))


def _stamp(folder: Path) -> tuple[int, ...]:
    """Changes whenever the settings or the set of recorded epochs do."""
    epochs = sorted(path.stat().st_mtime_ns for path in (folder / "dynamics").glob("run=*/epoch=*.parquet"))
    return ((folder / "experiment.json").stat().st_mtime_ns, *epochs)


@st.cache_resource(max_entries=4, show_spinner=False)
def _open(folder: str, stamp: tuple[int, ...]) -> Experiment:
    return Experiment(folder)
