"""The Frontier page's pieces: choosing a point, asking for more seeds or more points."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import streamlit as st

from pruning.analysis.frontier import USUAL_SEEDS, score_seconds
from pruning.analysis.recommendation import payback, recommend
from pruning.browse import View
from pruning.formatting import counted, duration
from pruning.jobs import background
from pruning.records import DECISIONS, FrontierPoint
from pruning.subsets.rules import BASELINES, USUAL_BASELINES
from pruning.ui import escaping, job_progress, state, tables

BASELINES_HELP = (
    "What every subset is compared with, at its own size. random: chance. ambiguous: the highest variability (the paper's). "
    "ccs: spread over all difficulties. stratified: random with the share that each H has in each class. "
    "mixed: half ambiguous, half stratified. anchored: half the highest AUM of each class, half stratified."
)


def clicked() -> None:
    """A click on a point chooses its subset for every page."""
    points = st.session_state["frontier"].selection.points
    if points and points[0].get("customdata"):
        state.choose(points[0]["customdata"][0])


def chooser(view: View, points: Sequence[FrontierPoint], metric: str, chosen: str) -> None:
    """The same without the chart: one point's numbers, and a button for each point beside it in size."""
    names = [point.subset for point in points]
    start = next((i for i, point in enumerate(points) if point.subset.removesuffix(DECISIONS) == chosen), 0)
    st.session_state["point"] = names[start]
    st.selectbox("Point", names, key="point", on_change=lambda: state.choose(st.session_state["point"]), help="Largest first.")
    point = points[start]
    row = tables.frontier([point], metric).iloc[0]
    scoring = score_seconds(view.experiment.finished(), view.experiment.settings)
    columns = st.columns(4 if scoring is None else 5)
    columns[0].metric("Examples", f"{point.kept:,}", f"{point.kept_fraction:.0%} of all", delta_color="off", delta_arrow="off")
    seeds = counted(point.seeds, "seed")
    columns[1].metric(
        f"{metric}, {seeds}",
        f"{point.metrics[metric]:.3f}",
        row["95% interval"],
        delta_color="off",
        delta_arrow="off",
    )
    columns[2].metric(
        "Against full data",
        row["to full data"] or "-",
        f"random: {row['to random'] or '-'}",
        delta_color="off",
        delta_arrow="off",
        help="The mean difference over the seeds that both were trained with; full data's own mean may be over more.",
    )
    saved = "-" if isnan(point.seconds_saved) else duration(max(0.0, point.seconds_saved))
    columns[3].metric("Saved a fine-tuning", saved, f"it takes {duration(point.seconds)}", delta_color="off", delta_arrow="off")
    if scoring is not None:
        times = payback(scoring, point.seconds_saved)
        back = f"pays back after {times:,}" if times else "no pay-back"
        explained = "Time of the scoring runs, and the number of fine-tunings on this subset after which it is saved again."
        columns[4].metric("Cost to score", duration(scoring), back, delta_color="off", delta_arrow="off", help=explained)


def advise(view: View, points: Sequence[FrontierPoint], margin: float, chosen: str, budget: str) -> None:
    """What to take or to measure next, in words and as buttons that do it."""
    status = view.experiment.status()
    found, running = recommend(points, margin, measuring=status.measuring), status.state.under_way
    st.info(escaping.markdown(found.sentence), icon=":material/lightbulb:")
    seeds = {point.subset: point.seeds for point in points}
    with st.container(horizontal=True):
        if found.subset is not None and found.subset.removesuffix(DECISIONS) != chosen:
            text = f"Make {escaping.markdown(found.subset)} the subset of every page"
            st.button(text, icon=":material/check:", on_click=state.choose, args=(found.subset,))
        if found.measure:
            one = len(found.measure) == 1
            of = escaping.markdown(found.measure[0]) if one else "each subset"
            if st.button(f"{counted(found.more_seeds, 'more seed')} of {of}", icon=":material/add:", disabled=running):
                fewest = min(seeds[name] for name in found.measure)
                _start(view, found.measure, ["random"] if one else [], fewest + found.more_seeds, budget)
        safe = found.safe
        if safe is not None and st.button(f"Measure {escaping.markdown(safe)}", icon=":material/play_arrow:", disabled=running):
            _start(view, [safe], ["random"], max(count for name, count in seeds.items() if name != "full"), budget)


def ask(view: View, points: Sequence[FrontierPoint], chosen: str, budget: str) -> None:
    """Start a measurement: more seeds of the chosen point, or more points."""
    experiment = view.experiment
    running = experiment.status().state.under_way
    measured = next((point for point in points if point.subset.removesuffix(DECISIONS) == chosen), None)
    st.subheader("Measure")
    if measured is not None:
        more = st.button(
            f"Three more seeds of {escaping.markdown(chosen)}",
            icon=":material/add:",
            disabled=running,
            help="And of what it is compared with.",
        )
        if more:
            _start(view, [measured.subset], None, measured.seeds + 3, budget)
    with st.form("measure"):
        names = st.multiselect(
            "Subsets",
            [*state.subset_names(experiment), f"{chosen}{DECISIONS}"],
            accept_new_options=True,
            help="Empty = the paper's whole ladder. Any name of the grammar can be typed, such as mixed@0.5 or random@500; "
            "+decisions is the subset as you changed it by hand.",
        )
        baselines = st.multiselect("Beside each, at equal size", BASELINES, default=USUAL_BASELINES, help=BASELINES_HELP)
        seeds = st.number_input("Fine-tunings per point", 1, 50, USUAL_SEEDS, help="Three give an interval; finished ones are kept.")
        if st.form_submit_button("Measure", type="primary", icon=":material/play_arrow:", disabled=running):
            _start(view, names, baselines, int(seeds), budget)


def _start(view: View, names: Sequence[str], baselines: Sequence[str] | None, seeds: int, budget: str) -> None:
    root = view.experiment.folder.root
    for name in names:
        view.subset(name)
    background.start(background.frontier_command(root, names, baselines, seeds, budget, view.burn_in), root)
    st.toast("Measuring in the background; the sidebar shows how far it is.")
    job_progress.begun(view.experiment)
