"""Reliability of the scores: how they were made, and whether more runs would change them."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd
import streamlit as st

from pruning.analysis.stability import Stability
from pruning.errors import WinnowError
from pruning.experiment import Experiment
from pruning.formatting import from_to
from pruning.reports.browse import View
from pruning.ui import charts, widgets


def caveat(view: View) -> None:
    """Warn about scores that were not made with the full recipe."""
    if view.experiment.settings.caveat:
        st.warning(view.experiment.settings.caveat, icon=":material/speed:")


def show(view: View) -> None:
    """Show whether more runs would change H, with the details folded."""
    st.subheader("Are the runs enough?", anchor=False)
    found = view.stability
    st.text(found.sentence)
    if not found.about_more:
        return
    with st.expander("Details", icon=":material/query_stats:"):
        _details(found, len(view.h))


def _details(found: Stability, examples: int) -> None:
    row = st.container(horizontal=True)
    row.metric(
        "Added by the last run",
        _share(found.last_run_added),
        width="content",
        help="Share of the winning ticket that was added by the last run.",
    )
    row.metric(
        "Rank agreement (Spearman)",
        f"{found.half_rank:.2f}",
        from_to(found.half_rank_ci95, ".2f"),
        delta_color="off",
        delta_arrow="off",
        width="content",
        help="Rank correlation of H between two halves of the runs: 1 = same order, 0 = unrelated.",
    )
    row.metric(
        "Split-half overlap (Jaccard)",
        _share(found.half_jaccard),
        from_to(found.half_jaccard_ci95, ".0%"),
        delta_color="off",
        delta_arrow="off",
        width="content",
        help="Examples in the tickets of both halves, as a share of those in either. Needs four runs.",
    )
    st.text(found.about_more)
    table = by_runs(found, examples)
    widgets.chart(
        charts.lines(table[["rank agreement", "share in the ticket"]], "runs", "0 to 1"),
        table,
        key="stability",
        index=True,
        alt="Rank agreement and share of examples in the ticket by number of runs; the table has the same numbers.",
    )


def by_runs(found: Stability, examples: int) -> pd.DataFrame:
    """Return one row per number of runs; those not trained yet are forecasts."""
    rows = pd.DataFrame([asdict(outlook) for outlook in (*found.by_runs, *found.outlook)]).set_index("runs")
    columns = {"ticket": rows["ticket"], "share in the ticket": rows["ticket"] / examples, "rank agreement": rows["rank_agreement"]}
    return pd.DataFrame({**columns, "forecast": rows.index > found.runs})


def line(experiment: Experiment) -> None:
    """Show how stable H is over the runs finished so far, from the second on, while scoring continues."""
    finished = () if experiment.sampled else tuple(experiment.finished_runs())
    if len(finished) > 1:
        stamps = tuple(experiment.folder.epoch(run, 0).stat().st_mtime_ns for run in finished)
        st.text(_so_far(str(experiment.folder.root), stamps, experiment.settings.burn_in))


@st.cache_data(max_entries=8, show_spinner=False)
def _so_far(directory: str, stamps: tuple[int, ...], burn_in: int) -> str:
    try:
        return Experiment(directory, burn_in).stability().so_far
    except WinnowError as error:
        return str(error)


def _share(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.0%}"
