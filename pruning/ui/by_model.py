"""Data x model on the Frontier page: the chosen subset with smaller and other models, or the command that measures it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from math import nan

import pandas as pd
import streamlit as st

from pruning.experiment import Experiment
from pruning.formatting import possible
from pruning.records import Subset
from pruning.reports.browse import View
from pruning.reports.by_model import ModelPoint, by_model
from pruning.subsets.titles import short
from pruning.ui import escaping, tables


def section(view: View, subset: Subset, budget: str, metric: str) -> None:
    """Show what each model makes of full data, the subset and random rows of its size; the command where nothing is measured."""
    experiment = view.experiment
    with st.expander("Smaller model, smaller data", icon=":material/compress:", expanded=False):
        rows = _rows(view, subset.name, budget, metric) if experiment.other_models else []
        if rows:
            _table(rows, metric)
        if len({row.fingerprint for row in rows if row.point.subset == subset.name}) < 2:
            name = escaping.markdown(short(subset.name))
            st.caption(
                f"{name} is not measured with another model. This writes models with 70% and 50% of the feed-forward neurons, those that "
                "matter for this data, and measures full data, the subset and random rows of its size with each:"
            )
            words = ["winnow", "narrow", str(experiment.folder.root), "--width", "0.7,0.5", "--output", "models", "--measure", subset.name]
            st.code(shlex.join(words), language=None, wrap_lines=True)


def _rows(view: View, name: str, budget: str, metric: str) -> list[ModelPoint]:
    folder = view.experiment.folder
    stamps = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in (folder.manifest, folder.frontier, folder.decisions))
    return _read(str(folder.root), stamps, view.burn_in, view.experiment.asked_success, name, budget, metric)


@st.cache_data(max_entries=8, show_spinner=False)
def _read(
    directory: str, stamps: tuple[int, ...], burn_in: int, success: str | None, name: str, budget: str, metric: str
) -> list[ModelPoint]:
    return by_model(Experiment(directory, burn_in, success=success), [name], budget, metric)


def _table(rows: Sequence[ModelPoint], metric: str) -> None:
    words, own = metric.replace("_", " "), rows[0].name
    st.dataframe(
        table(rows),
        hide_index=True,
        placeholder="",
        column_config={
            "parameters": st.column_config.NumberColumn("parameters", format="%.1f M", width=86, help="Of the whole model"),
            "keeps": st.column_config.NumberColumn("keeps", format="localized", width=64),
            metric: st.column_config.NumberColumn(words, format="%.3f", width=max(76, 9 * len(words))),
            tables.PLUS_MINUS: st.column_config.NumberColumn(
                tables.PLUS_MINUS, format="%.3f", width=52, help="Half the 95% interval over the seeds"
            ),
            tables.VS_FULL: st.column_config.NumberColumn(
                "vs full, pp", format="%+.1f", width=80, help=f"Against full data with {own}, paired by seed, in percentage points"
            ),
            "low": st.column_config.NumberColumn("95% from", format="%+.1f", width=72),
            "high": st.column_config.NumberColumn("to", format="%+.1f", width=56),
            "training": st.column_config.NumberColumn(
                "training, s", format="%.1f", width=80, help="One fine-tuning; CPU time where the model trained on the CPU"
            ),
            "ms": st.column_config.NumberColumn(
                "ms per example", format="%.2f", width=108, help="To predict the evaluation data, measured in each fine-tuning: the median"
            ),
            "seeds": st.column_config.NumberColumn("seeds", width=50),
        },
        alt="Full data, the subset and random rows of its size with each model: accuracy, parameters, time to train and to predict",
    )


def table(rows: Sequence[ModelPoint]) -> pd.DataFrame:
    """Return a row for each point and model; changes in percentage points."""
    return pd.DataFrame(
        {
            "model": row.name,
            "subset": "Random, same size" if row.point.method == "random" else short(row.point.subset),
            row.metric: round(row.point.metrics[row.metric], 4),
            tables.PLUS_MINUS: round(row.point.plus_minus(row.metric), 4),
            tables.VS_FULL: nan if row.change is None or not row.change.pairs else round(100 * row.change.mean, 1) + 0.0,
            "low": nan if row.change is None else round(100 * possible(row.change.low, row.change.high)[0], 1) + 0.0,
            "high": nan if row.change is None else round(100 * possible(row.change.low, row.change.high)[1], 1) + 0.0,
            "seeds": row.point.seeds,
            "keeps": row.point.kept,
            "parameters": nan if row.parameters is None else row.parameters / 1e6,
            "training": nan if row.training_seconds is None else round(row.training_seconds, 1),
            "ms": nan if row.milliseconds is None else round(row.milliseconds, 3),
        }
        for row in rows
    )
