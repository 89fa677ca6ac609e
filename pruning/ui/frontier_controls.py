"""Pieces of the Frontier page: choosing a point, its cost, measuring more seeds or more points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import isnan

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pruning.analysis.frontier import USUAL_SEEDS
from pruning.analysis.recommendation import recommend
from pruning.data.tasks.generation import GENERATION
from pruning.formatting import counted, scientific
from pruning.jobs import background
from pruning.records import DECISIONS, FrontierPoint, JobState, Subset
from pruning.reports import choices, composition, next_step
from pruning.reports.browse import View
from pruning.subsets.rules import BASELINES, OF_ANSWERS, USUAL_BASELINES
from pruning.subsets.titles import short, spoken, title
from pruning.ui import address, charts, escaping, example, job_progress, setting_boxes, state, tables, theme, widgets

BASELINES_HELP = (
    "What every subset is compared with, at its own size. random: chance. ambiguous: the highest variability (the paper's). "
    "ccs: spread over all difficulties. stratified: random with the share that each H has in each class. "
    "mixed: half ambiguous, half stratified. anchored: half the highest AUM of each class, half stratified. "
    "For generated answers also s2l: the same number from each cluster of loss trajectories; length-matched: random with the same lengths."
)


def clicked() -> None:
    """Select the subset of a clicked point on every page."""
    points = st.session_state[address.POINTS].selection.points
    if points and points[0].get("customdata"):
        state.choose(points[0]["customdata"][0])


TABLE = {
    "subset": st.column_config.TextColumn("subset", width=232),
    "keeps": st.column_config.ProgressColumn("keeps", format="percent", min_value=0, max_value=1, width=84),
    tables.PLUS_MINUS: st.column_config.NumberColumn(
        tables.PLUS_MINUS, format="%.3f", width=52, help="Half the 95% interval over the seeds"
    ),
    tables.VS_FULL: st.column_config.NumberColumn("vs full, pp", format="%+.1f", width=80, help="Paired by seed, in percentage points"),
    tables.VS_RANDOM: st.column_config.NumberColumn("vs random, pp", format="%+.1f", width=98, help="Against random of equal size, pp"),
    "seeds": st.column_config.NumberColumn("seeds", width=50),
}
FIRST = ("subset", "keeps")


def table(points: Sequence[FrontierPoint], metric: str) -> None:
    """Show the points as a table; a selected row is the subset of every page. Every number is in the table below it."""
    numbers, words = tables.frontier(points, metric), metric.replace("_", " ")
    st.dataframe(
        numbers,
        key=address.POINT_TABLE,
        hide_index=True,
        on_select=lambda: _row(points),
        selection_mode="single-row",
        placeholder="",
        column_order=(*FIRST, metric, *(name for name in TABLE if name not in FIRST)),
        column_config={**TABLE, metric: st.column_config.NumberColumn(words, format="%.3f", width=max(76, 9 * len(words)))},
        alt="Measured points, largest first; a selected row is the subset of every page",
    )
    widgets.numbers(numbers, "points", "The same with intervals, Pareto front, steps and names, and to download")


def _row(points: Sequence[FrontierPoint]) -> None:
    rows = st.session_state[address.POINT_TABLE].selection.rows
    if rows:
        state.choose(points[rows[0]].subset)


def cost(view: View, subset: Subset, points: Sequence[FrontierPoint], metric: str) -> None:
    """Show the accuracy cost of the chosen subset, and what it prunes."""
    kept, name = view.kept(subset), state.subset_name()
    point = next((point for point in points if point.subset == subset.name), None)
    with st.container(border=True):
        st.subheader(escaping.markdown(title(name)), anchor=False)
        if point is None:
            st.caption("Not measured: its cost in accuracy is unknown.")
        else:
            _numbers(view, point, metric)
        if point is not None:
            _by_class(point)
        _pruned(view, kept)
        with st.container(horizontal=True, vertical_alignment="center"):
            pruned = st.button(
                "Inspect pruned examples",
                icon=":material/search:",
                key="read-pruned",
                on_click=address.filtered,
                kwargs={address.SHOW: "pruned"},
            )
            if pruned:
                st.switch_page(state.page("inspect"))
            st.page_link(state.page("export"), label="Export it", icon=":material/download:")


def _numbers(view: View, point: FrontierPoint, metric: str) -> None:
    half = point.plus_minus(metric)
    interval = "" if isnan(half) else f"\u00b1{half:.3f} over {counted(point.seeds, 'seed')}"
    row = st.container(horizontal=True)
    row.metric("Keeps", f"{point.kept_fraction:.0%}", f"{point.kept:,} examples", delta_color="off", delta_arrow="off", width="stretch")
    row.metric(
        metric.replace("_", " "), f"{point.metrics[metric]:.3f}", interval or None, delta_color="off", delta_arrow="off", width="stretch"
    )
    row.metric("vs full data", tables.difference(point.vs_full) or "-", delta_color="off", delta_arrow="off", width="stretch")
    if words := next_step.against_random(point):
        st.caption(words)
    if words := next_step.savings(view.experiment, point):
        st.caption(words)


def _by_class(point: FrontierPoint) -> None:
    """Accuracy on each class's evaluation examples, full data's and the subset's, most lost first."""
    table = composition.class_accuracy(point)
    if table.empty:
        return
    st.caption("Accuracy by class, on the evaluation data")
    st.dataframe(
        table,
        hide_index=True,
        column_config=BY_CLASS,
        height=min(len(table), CLASSES) * 35 + 38,
        alt="Accuracy on each class with full data and with this subset, and the difference in percentage points",
    )


def _pruned(view: View, kept: NDArray[np.bool_]) -> None:
    """Show the pruned examples by H and by class, and three of them."""
    runs = view.experiment.dynamics.runs
    counts = composition.by_level(view.h, composition.sides(kept), runs)
    figure = charts.histogram(counts, {"kept": theme.KEPT, "pruned": theme.PRUNED}, "H: runs that got it right", 230)
    st.plotly_chart(
        figure,
        key=address.PRUNED_BARS,
        on_select=partial(_bar, list(counts.columns)),
        selection_mode="points",
        config={"displayModeBar": False},
        alt=f"Kept and pruned examples by H, 0 to {runs}; a bar opens its examples, and Difficulty has the numbers as a table.",
    )
    shares = composition.class_shares(view, kept)
    if shares is not None and len(shares) <= CLASSES:
        st.dataframe(shares, hide_index=True, column_config=SHARES, alt="Share of each class before and after pruning")
    rows = np.flatnonzero(~kept)
    if len(rows):
        st.caption("Three pruned examples")
        for position in composition.spread(rows, 3):
            words = " | ".join(map(str, view.rows(np.array([position])).iloc[0]))
            example.quoted(f"H {view.h[position]}", words)


def _bar(sides: Sequence[str]) -> None:
    """A click on a bar opens its examples."""
    points = st.session_state[address.PRUNED_BARS].selection.points
    if points:
        address.filtered(**{address.LEVELS: [int(points[0]["x"])], address.SHOW: sides[int(points[0]["curve_number"])]})
        address.go()


CLASSES = 12
"""Export shows all classes."""

BY_CLASS = {
    "full data": st.column_config.NumberColumn("full data", format="%.3f"),
    "this subset": st.column_config.NumberColumn("this subset", format="%.3f"),
    "pp": st.column_config.NumberColumn("change (pp)", format="%+.1f"),
}

SHARES = {
    "before": st.column_config.NumberColumn("before", format="percent"),
    "after": st.column_config.NumberColumn("after", format="percent"),
    "pp": st.column_config.NumberColumn("change (pp)", format="%+.1f"),
}


def ask_model(view: View) -> View:
    """Ask which model's measurements to show, where there are others than the own; return their view."""
    names = {"": view.experiment.settings.model, **view.experiment.other_models}
    address.among(address.MEASURED_WITH, names, "model")
    if len(names) == 1:
        return view
    chosen = st.selectbox(
        "Measured with",
        list(names),
        key=address.MEASURED_WITH,
        format_func=lambda fingerprint: f"{names[fingerprint]}{'' if fingerprint else ' (scored the data)'}",
        width=260,
        help="The subsets are always those of the model that scored the data.",
    )
    other = view.measured_with(chosen or "")
    if chosen and (rate := other.experiment.settings.measuring.learning_rate):
        st.caption(escaping.markdown(f"Chosen with {names['']}, measured with {names[chosen]} at learning rate {scientific(rate)}."))
    return other


def advise(view: View, points: Sequence[FrontierPoint], margin: float, chosen: str, budget: str) -> None:
    """Show the recommended subset or the next measurement, with a button for it."""
    status = view.experiment.status()
    found = recommend(points, margin, measuring=status.measuring, refusal=view.experiment.learned.refusal)
    running = status.state.under_way
    st.info(
        escaping.markdown(spoken(setting_boxes.without_flags(found.sentence), [point.subset for point in points])),
        icon=":material/lightbulb:",
    )
    seeds = {point.subset: point.seeds for point in points}
    with st.container(horizontal=True):
        if found.subset is not None and found.subset.removesuffix(DECISIONS) != chosen:
            text = f"Use {escaping.markdown(short(found.subset))}"
            st.button(text, icon=":material/check:", on_click=state.choose, args=(found.subset,))
        if found.measure:
            one = len(found.measure) == 1
            of = escaping.markdown(short(found.measure[0])) if one else "each subset"
            if st.button(f"{counted(found.more_seeds, 'more seed')} of {of}", icon=":material/add:", disabled=running):
                fewest = min(seeds[name] for name in found.measure)
                more(view, points, found.measure, fewest + found.more_seeds, budget)


def ended(view: View) -> None:
    """Say why the latest measurement was not completed, and where it is resumed."""
    status = view.experiment.status()
    if status.verb in ("frontier", "prune") and status.state in (JobState.FAILED, JobState.INTERRUPTED):
        st.error(escaping.markdown(f"Measuring {status.state}: {setting_boxes.in_boxes(status.message)}"), icon=":material/error:")
        st.page_link(state.page("score"), label="Resume it on Score", icon=":material/resume:")


def unmeasured(view: View) -> None:
    """Say that no subset is measured, and where none can be, why."""
    if reason := choices.unmeasurable(view.experiment):
        st.info(escaping.markdown(f"{view.experiment.name} {reason}"), icon=":material/info:")
    else:
        st.info("Not measured yet. Each subset is fine-tuned with several seeds, with a random and an ambiguous subset of equal size.")


def ask(view: View, points: Sequence[FrontierPoint], chosen: str, budget: str) -> None:
    """Start a measurement: more seeds of the chosen point, or more points."""
    experiment = view.experiment
    running = experiment.status().state.under_way
    measured = next((point for point in points if point.subset.removesuffix(DECISIONS) == chosen), None)
    if measured is not None:
        wanted = st.button(
            f"Three more seeds of {escaping.markdown(short(chosen))}",
            icon=":material/add:",
            disabled=running,
            help="Also for the subsets of its size that it is compared with.",
        )
        if wanted:
            more(view, points, [measured.subset], measured.seeds + 3, budget)
    with (
        st.expander("Measure more subsets" if points else "Measure subsets", icon=":material/add_chart:", expanded=not points),
        st.form("measure", border=False),
    ):
        names = st.multiselect(
            "Subsets",
            [*choices.subset_names(experiment), f"{chosen}{DECISIONS}"],
            accept_new_options=True,
            placeholder="the paper's whole ladder",
            help="Type any rule, such as mixed@0.5 or random@500; the suffix +decisions applies your decisions.",
        )
        offered = [name for name in BASELINES if name not in OF_ANSWERS or experiment.settings.task == GENERATION]
        baselines = st.multiselect("Baselines of equal size", offered, default=USUAL_BASELINES, help=BASELINES_HELP)
        seeds = st.number_input("Seeds per point", 1, 50, USUAL_SEEDS, help="At least 3 for a useful interval; finished seeds are kept.")
        if st.form_submit_button("Measure", type="primary", icon=":material/play_arrow:", disabled=running):
            start(view, names, baselines, int(seeds), budget)


def more(view: View, points: Sequence[FrontierPoint], names: Sequence[str], seeds: int, budget: str) -> None:
    """Measure these with so many seeds, and what they are compared with; a random subset of equal size where one was not measured yet."""
    if set(names) <= {point.subset for point in points}:
        beside = [other for name in names for other in next_step.with_compared(points, name)]
        start(view, list(dict.fromkeys(beside)), [], seeds, budget)
    else:
        start(view, names, ["random"], seeds, budget)


def start(view: View, names: Sequence[str], baselines: Sequence[str], seeds: int, budget: str) -> None:
    """Measure these subsets in the background. Raises ExperimentError where no job can start, as another one runs."""
    root = view.experiment.folder.root
    for name in names:
        view.subset(name)
    experiment = view.experiment
    other = experiment.model != experiment.own_model
    model = experiment.settings.model if other else None
    rate = experiment.asked.train.learning_rate if other else None
    command = background.frontier_command(root, names, baselines, seeds, budget, view.burn_in, experiment.asked_success, model, rate)
    worker = background.start(command, root)
    st.toast("Measuring in the background; the bar at the top shows the progress.")
    job_progress.begun(view.experiment, worker)
