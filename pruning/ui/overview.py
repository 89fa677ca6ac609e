"""The Overview: a verdict with one next action, five numbers, two charts that open examples, the review queues, the experiments."""

from __future__ import annotations

import streamlit as st

from pruning.analysis.frontier import headline_of
from pruning.analysis.recommendation import MARGIN
from pruning.errors import WinnowError
from pruning.experiment import Experiment, list_experiments
from pruning.formatting import counted, duration
from pruning.records import FrontierPoint
from pruning.reports import composition, review, standing
from pruning.reports.browse import View
from pruning.reports.next_step import NextStep
from pruning.subsets.titles import short
from pruning.ui import (
    address,
    answers,
    answers_overview,
    charts,
    comparing,
    escaping,
    first_look,
    first_visit,
    frontier_controls,
    history,
    job_progress,
    new_experiment,
    setting_boxes,
    state,
    theme,
    widgets,
)


def show() -> None:
    """The first screen: the sample or a file where nothing is scored yet, else the experiment of this view."""
    folders = list_experiments(state.root())
    if not folders:
        first_visit.show()
        return
    experiment = state.chosen()
    try:
        scored = experiment is not None and bool(experiment.finished_runs())
        if experiment is not None and scored:
            _experiment(experiment)
        elif experiment is not None:
            job_progress.panel(experiment)
            first_look.panel(experiment)
    except WinnowError as error:  # the other experiments can still be opened below
        state.report(error)
        scored = False
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Experiments", anchor=False, width="content")
        new_experiment.button("overview")
    history.opener(folders)
    if experiment is not None and scored and len(folders) > 1:
        comparing.show(state.view(experiment), [folder.name for folder in folders])


def _experiment(experiment: Experiment) -> None:
    view = state.scored()
    points = view.frontier("epochs")
    if experiment.status().state.under_way:
        job_progress.panel(experiment)
    if experiment.sampled:
        answers_overview.show(view, _histogram, _queues)
        return
    step = standing.step(view, points)
    frontier_controls.ended(view)
    with st.container(border=True):
        _verdict(view, points, step)
    _five(view, points, step)
    left, middle, right = widgets.columns("overview", [4, 5, 4])
    with left.container(border=True, height="stretch"):
        _histogram(view)
    with middle.container(border=True, height="stretch"):
        _frontier(points)
    with right.container(border=True, height="stretch"):
        _queues(view)


def _verdict(view: View, points: list[FrontierPoint], step: NextStep) -> None:
    st.subheader(escaping.markdown(step.headline), anchor=False)
    seconds = standing.seconds(view, points, step)
    st.text(setting_boxes.without_flags(step.detail) + (f" About {duration(seconds)}." if seconds else ""))
    running = view.experiment.status().state.under_way
    with st.container(horizontal=True, vertical_alignment="center"):
        if step.choose is not None:
            name = step.choose
            if st.button(
                f"Use {escaping.markdown(short(name))} and export",
                type="primary",
                icon=":material/check:",
                on_click=state.choose,
                args=(name,),
            ):
                st.switch_page(state.page("export"))
        elif step.measure:
            words = short(step.measure[0]) if len(step.measure) == 1 else counted(len(step.measure), "subset")
            if st.button(f"Measure {escaping.markdown(words)}", type="primary", icon=":material/play_arrow:", disabled=running):
                frontier_controls.more(view, points, step.measure, step.seeds, "epochs")
        st.page_link(state.page("frontier"), label="Choose on the frontier", icon=":material/show_chart:")


def _five(view: View, points: list[FrontierPoint], step: NextStep) -> None:
    row = st.container(horizontal=True, key=theme.FIVE)
    found = standing.standing(view, points, step.choose)
    full, smallest = found.full, found.smallest
    widgets.number(
        row,
        f"Full data, {found.metric.replace('_', ' ')}",
        f"{full.metrics[found.metric]:.3f}" if full else "-",
        counted(full.seeds, "seed") if full else "not measured",
    )
    widgets.number(
        row,
        f"Smallest within {100 * MARGIN:g} pp",
        f"{smallest.kept_fraction:.0%}" if smallest else "none yet",
        short(smallest.subset) if smallest else "not shown so far",
    )
    widgets.number(row, "Always right", f"{found.always / max(1, len(view.h)):.0%}", counted(found.always, "example"))
    if found.duplicates is None:
        widgets.number(row, "Suspected labels", "-", "not worked out yet")
        widgets.number(row, "Duplicates, leaks", "-", "not worked out yet")
        return
    widgets.number(row, "Suspected labels", "-" if found.suspects is None else f"{found.suspects:,}", f"{found.reviewed:,} reviewed")
    widgets.number(row, "Duplicates, leaks", f"{found.duplicates:,}, {found.leaked:,}", "in training, in evaluation")


def _histogram(view: View) -> None:
    runs = view.experiment.dynamics.runs
    st.markdown(f"**{answers.heading(view) or f'How many of the {runs} runs got it right'}**")
    counts = composition.by_level(view.h, composition.sides(view.kept(state.subset(view))), runs)
    st.plotly_chart(
        charts.histogram(counts, {"kept": theme.KEPT, "pruned": theme.PRUNED}, "H; click a bar to read its examples", 300),
        key=address.BARS,
        on_select=_bar,
        selection_mode="points",
        config={"displayModeBar": False},
        alt=f"Histogram of H from 0 to {runs}, kept and pruned; the queues beside it open the same examples.",
    )


def _bar() -> None:
    points = st.session_state[address.BARS].selection.points
    if points:
        address.filtered(**{address.LEVELS: [int(points[0]["x"])]})
        address.go()


def _frontier(points: list[FrontierPoint]) -> None:
    st.markdown("**Size against accuracy**")
    if not points:
        st.caption("Not measured yet.")
        return
    metric = headline_of(points[0].metrics)
    st.plotly_chart(
        charts.frontier(points, metric, state.subset_name(), MARGIN, small=True),
        key=address.SMALL,
        on_select=_point,
        selection_mode="points",
        config={"displayModeBar": False},
        alt="Share of the examples kept against accuracy; a point opens its subset on Frontier, whose table has the same points.",
    )


def _point() -> None:
    points = st.session_state[address.SMALL].selection.points
    if points and points[0].get("customdata"):
        state.choose(points[0]["customdata"][0])
        address.go("frontier")


def _queues(view: View) -> None:
    st.markdown("**To review**")
    for queue, count in review.counts(view).items():
        opened = st.button(
            f"{review.queues(view)[queue]}: {'?' if count is None else f'{count:,}'}",
            key=f"review-{queue}",
            icon=":material/arrow_forward:",
            icon_position="right",
            disabled=count == 0,
            width="stretch",
            on_click=address.filtered,
            kwargs={address.QUEUE: queue},
        )
        if opened:
            st.switch_page(state.page("inspect"))
