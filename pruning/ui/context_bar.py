"""The bar above every page: which experiment, which subset, how much it keeps, and whether a job runs."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pruning.errors import WinnowError
from pruning.experiment import Experiment, list_experiments
from pruning.records import JobState
from pruning.reports import choices
from pruning.reports.browse import View
from pruning.store import manifest
from pruning.subsets.titles import title
from pruning.ui import address, escaping, keys, new_experiment, state, theme

SUBSET_HELP = (
    "The training set that every page is about. The winning ticket is the paper's name for dropping what is always right (H = R) "
    "and never right (H = 0). Type any rule: ccs@0.3, random@500, floor-0.2@winning-ticket, drop-hard minus remove-0-1-6, "
    "or a name saved on Export."
)
BURN_IN_HELP = "Epochs at the start of each run that H ignores. 0 counts every epoch, as in the paper."
WITHOUT_SUBSET = ("score",)
"""Pages that are about no subset."""


def show(page: str, heading: str) -> str:
    """Draw the bar. Returns why the experiment of this view cannot be shown, in a sentence; empty when it can."""
    st.html(theme.CSS)
    folders = list_experiments(state.root())
    problem = ""
    with st.container(horizontal=True, vertical_alignment="center", key="context"):
        st.title(heading, width="content", anchor=False)
        if folders:
            problem = _experiment([folder.name for folder in folders], folders)
            if not problem:
                problem = _about(page)
        elif wanted := address.text(address.EXPERIMENT):
            problem = _gone(wanted)
    return problem


def _experiment(names: list[str], folders: list[Path]) -> str:
    opened, wanted = address.opened(), address.text(address.EXPERIMENT) or (address.missed() or "")
    if opened in names:
        address.other_experiment()
        address.put(**{address.EXPERIMENT: opened})
        wanted = str(opened)
    elif not wanted:
        newest = next((folder.name for folder in folders if _readable(folder)), names[0])
        address.put(**{address.EXPERIMENT: newest})
        wanted = newest
    gone = wanted not in names
    if gone:
        address.put(**{address.EXPERIMENT: None})
    address.missing(wanted if gone else None)
    st.selectbox(
        "Experiment",
        names,
        None if gone else 0,
        key=address.EXPERIMENT,
        label_visibility="collapsed",
        placeholder="choose an experiment",
        width=220,
        on_change=address.other_experiment,
    )
    return _gone(wanted) if gone else ""


def _gone(name: str) -> str:
    return f"This link asks for the experiment {name}, which is not here: it was renamed or deleted, or lies in another folder."


def _readable(folder: Path) -> bool:
    try:
        manifest.read(folder / "experiment.json")
    except WinnowError:
        return False
    return True


def _about(page: str) -> str:
    """The part of the bar that is about one experiment; why it cannot be read, else nothing."""
    try:
        experiment = state.read()
        if experiment is None:
            return ""
        running = experiment.status().state.under_way
        if page == "score":
            new_experiment.button(page)
        if experiment.finished_runs() and page not in WITHOUT_SUBSET:
            _subset(experiment)
            _burn_in(experiment)
            _keeps(state.view(experiment))
        st.fragment(_job, run_every=2 if running else None)(page, running)
        if not address.value(address.NEW):  # one dialog at a time
            keys.button(experiment.label_names)
    except WinnowError as error:
        return str(error)
    return ""


def _subset(experiment: Experiment) -> None:
    names = choices.subset_names(experiment)
    if state.subset_name() not in names:
        names.append(state.subset_name())
    if address.value(address.SUBSET) is None:
        address.put(**{address.SUBSET: state.subset_name()})
    st.selectbox(
        "Subset",
        names,
        key=address.SUBSET,
        format_func=title,
        accept_new_options=True,
        help=SUBSET_HELP,
        label_visibility="collapsed",
        width=330,
    )


def _burn_in(experiment: Experiment) -> None:
    epochs, usual = experiment.scored_epochs, experiment.settings.burn_in
    address.within(address.BURN_IN, 0, epochs - 1, "a burn-in of")
    if address.value(address.BURN_IN) is None:
        address.put(**{address.BURN_IN: min(usual, epochs - 1)})
    if epochs > 1:
        with st.popover(f"Burn-in {state.burn_in()}", icon=":material/tune:", help=BURN_IN_HELP):
            st.number_input("Burn-in (epochs that H ignores)", 0, epochs - 1, key=address.BURN_IN, help=BURN_IN_HELP)


def _keeps(view: View) -> None:
    try:
        subset = view.subset(state.subset_name())
    except WinnowError:
        return  # the page says so
    decided = ", as decided" if subset.name.endswith("+decisions") else ""
    st.badge(f"keeps {subset.kept_fraction:.0%}{decided}", color="primary", help=escaping.markdown(f"{subset.name}: {subset.rule}"))


def _job(page: str, was_running: bool) -> None:
    """The job under way, or how it ended when it was not as asked; the page is drawn again at its end, with what it measured."""
    experiment = state.chosen()
    if experiment is None:
        return
    status = experiment.status()
    if was_running and not status.state.under_way and page != "score":
        st.rerun()
    if status.state in (JobState.DONE, JobState.NEW) or page == "score":
        return
    icon = ":material/autorenew:" if status.state.under_way else ":material/info:"
    done = f" {status.done / status.total:.0%}" if status.total and status.state is JobState.RUNNING else ""
    st.badge(escaping.badge(f"{status.verb} {status.state}{done}"), icon=icon, color="gray", help=escaping.markdown(status.sentence))
