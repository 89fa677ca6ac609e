"""How far the scores can be relied on: what they were made with, and whether the runs are enough."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd
import streamlit as st

from pruning.analysis.stability import BurnInAdvice, Stability, stability
from pruning.errors import ScoreError, WinnowError
from pruning.experiment import Experiment
from pruning.formatting import from_to
from pruning.reports.browse import View
from pruning.ui import address, charts, widgets


def caveat(view: View) -> None:
    """What a person must know of scores that are not the full recipe's; nothing for those that are."""
    if view.experiment.settings.caveat:
        st.warning(view.experiment.settings.caveat, icon=":material/speed:")


def show(view: View) -> None:
    """How far H can be relied on, as numbers; the charts behind "Details"."""
    st.subheader("Can H be relied on?", anchor=False)
    found = view.stability
    try:
        advised: int | None = view.advice.burn_in
    except ScoreError:
        advised = None
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.metric(
            "Rank agreement (Spearman)",
            "-" if pd.isna(found.half_rank) else f"{found.half_rank:.2f}",
            help="How alike two halves of the runs order the examples by H: 1 = exactly, 0 = not at all.",
            width="content",
        )
        if advised is not None:
            st.metric("Advised burn-in", f"{advised} epochs" if advised != 1 else "1 epoch", help=LUCK, width="content")
            if advised != view.burn_in:
                label = f"Ignore epoch{'s 1 to' if advised > 1 else ''} {advised}" if advised else "Count every epoch"
                st.button(label, icon=":material/visibility:", on_click=_count_from, args=(advised,))
    with st.expander("Details", icon=":material/query_stats:"):
        order(view)
        enough(view)


LUCK = (
    "Early in the first epoch the model knows nothing yet, so an easy example that comes then is answered wrongly. "
    "Orders are drawn at random: whatever depends on the place within the epoch is luck. Burn-in ignores first epochs."
)


def order(view: View) -> None:
    """Whether H tells difficulty or luck: how being right in the first epoch depended on when an example came, and what burn-in follows."""
    st.markdown("**Difficulty or luck?**")
    try:
        advice = view.advice
    except ScoreError as error:
        st.text(str(error))
        return
    st.text(advice.sentence)
    table = by_place(advice)
    widgets.chart(
        charts.lines(table, "part of the first epoch passed (%)", "share right", dtick=10),
        table,
        key="order",
        index=True,
        alt="Share right by place within the first epoch, for each run and their mean; the table says the same.",
    )


def _count_from(epoch: int) -> None:
    address.put(**{address.BURN_IN: epoch})


def by_place(advice: BurnInAdvice) -> pd.DataFrame:
    """A row for each part of the first epoch (its end, in percent), a column for each run and for their mean."""
    accuracy = advice.effects[0].accuracy
    ends = [round(100 * (place + 1) / accuracy.shape[1]) for place in range(accuracy.shape[1])]
    table = pd.DataFrame(accuracy.T, index=pd.Index(ends, name="% of the epoch"), columns=[f"run {run}" for run in range(len(accuracy))])
    return table.assign(mean=table.mean(axis=1))


def enough(view: View) -> None:
    """Whether the runs are enough: how far they agree among themselves, by number of runs, and what more would likely change."""
    found = view.stability
    st.markdown("**Are the runs enough?**")
    st.text(found.sentence)
    if not found.about_more:
        return
    added, ranks, overlap = st.columns(3)
    added.metric(
        "Added by the last run",
        _share(found.last_run_added),
        help="Share of the winning ticket that is in it only because of the last run.",
    )
    ranks.metric(
        "Rank agreement (Spearman)",
        f"{found.half_rank:.2f}",
        from_to(found.half_rank_ci95, ".2f"),
        delta_color="off",
        delta_arrow="off",
        help="How alike two halves of the runs order the examples by H: 1 = exactly, 0 = not at all.",
    )
    overlap.metric(
        "Split-half overlap (Jaccard)",
        _share(found.half_jaccard),
        from_to(found.half_jaccard_ci95, ".0%"),
        delta_color="off",
        delta_arrow="off",
        help="Examples in both tickets, as a share of those in either (Jaccard). It takes four runs: a half of one has no ticket.",
    )
    st.text(found.about_more)
    table = by_runs(found, len(view.h))
    widgets.chart(
        charts.lines(table[["rank agreement", "share in the ticket"]], "runs", "0 to 1"),
        table,
        key="stability",
        index=True,
        alt="Rank agreement and share of examples in the ticket by number of runs; the table says the same.",
    )


def by_runs(found: Stability, examples: int) -> pd.DataFrame:
    """A row for each number of runs, those not trained yet as forecasts."""
    rows = pd.DataFrame([asdict(outlook) for outlook in (*found.by_runs, *found.outlook)]).set_index("runs")
    columns = {"ticket": rows["ticket"], "share in the ticket": rows["ticket"] / examples, "rank agreement": rows["rank_agreement"]}
    return pd.DataFrame({**columns, "forecast": rows.index > found.runs})


def line(experiment: Experiment) -> None:
    """While it is being scored: how steady the runs finished so far are, from the second on."""
    finished = tuple(experiment.finished_runs())
    if len(finished) > 1:
        stamps = tuple(experiment.folder.epoch(run, 0).stat().st_mtime_ns for run in finished)
        st.text(_so_far(str(experiment.folder.root), stamps, experiment.settings.burn_in))


@st.cache_data(max_entries=8, show_spinner=False)
def _so_far(directory: str, stamps: tuple[int, ...], burn_in: int) -> str:
    try:
        return stability(Experiment(directory).dynamics.correct, burn_in).so_far
    except WinnowError as error:
        return str(error)


def _share(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.0%}"
