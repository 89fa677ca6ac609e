"""Sensitivity of the winning ticket on the Difficulty page: the variations of the scoring beside other seeds alone."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pruning.analysis.sensitivity import Sensitivity
from pruning.experiment import Experiment
from pruning.reports.browse import View
from pruning.reports.sensitivity import report
from pruning.ui import charts, escaping, widgets


def section(view: View) -> None:
    """Show the chart and the table; how to score the variations where there are none."""
    experiment = view.experiment
    if experiment.settings.recorded_by != "winnow":
        return
    with st.expander("What this ticket depends on", icon=":material/tune:", expanded=bool(experiment.folder.variations)):
        if not experiment.folder.variations:
            st.caption("Not scored yet. Print the time it takes, then leave out --estimate:")
            st.code(f"winnow sensitivity {experiment.folder.root} --estimate", language=None, wrap_lines=True)
            return
        files = [path for each in experiment.folder.variations for path in (each / "experiment.json", each / "frontier.parquet")]
        stamps = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in files)
        found = _report(str(experiment.folder.root), stamps, view.burn_in, experiment.asked_success)
        st.text(found.sentence)
        rows = [row for row in found.rows if not row.problem]
        if rows:
            alt = "Rank agreement of H with each variation, with 95% intervals; the band is that of other seeds alone."
            widgets.chart(charts.sensitivity(rows), table(found), key="sensitivity", alt=alt)
        for row in found.rows:
            if row.problem:
                st.caption(escaping.markdown(f"{row.name}: {row.problem}"))


@st.cache_data(max_entries=8, show_spinner=False)
def _report(directory: str, stamps: tuple[int, ...], burn_in: int, success: str | None) -> Sensitivity:
    return report(Experiment(directory, burn_in, success=success))


def table(found: Sensitivity) -> pd.DataFrame:
    """Return a row for each complete variation, the noise floor first."""
    return pd.DataFrame(
        {
            "changed": row.words,
            "rank agreement": round(row.rank_agreement, 3),
            "95% from": round(row.interval[0], 3),
            "to": round(row.interval[1], 3),
            "ticket overlap": f"{row.overlap:.0%}",
            "by chance": f"{row.by_chance:.0%}",
            "ticket keeps": f"{row.kept_fraction:.0%}",
            "accuracy": round(row.accuracy, 4),
            "runs": row.runs,
        }
        for row in found.rows
        if not row.problem
    )
