"""The tables: data frames for people, never more rows than a page shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pruning import report
from pruning.audit import Shares
from pruning.decisions import Decided
from pruning.experiment import Experiment
from pruning.records import Difference, FrontierPoint, Subset
from pruning.scores import missing


def examples(experiment: Experiment, rows: NDArray[np.int64], subset: Subset, burn_in: int) -> pd.DataFrame:
    """The examples at these positions: text, label, H, confidence, whether they stay, decisions by hand."""
    columns = experiment.text_columns
    table = experiment.examples(["id", *columns]).take(pa.array(rows))
    shown = pd.DataFrame({name: table[name].to_pylist() for name in table.column_names})
    if experiment.label_names and experiment.labels is not None:
        shown["label"] = [experiment.label_names[i] for i in experiment.labels[rows]]
    if experiment.label_names and "predicted" not in missing(experiment.dynamics):
        last = experiment.dynamics.predicted[:, -1, rows]
        shown["mostly said"] = [experiment.label_names[np.bincount(votes).argmax()] for votes in last.T]
    shown["H"] = experiment.h_score(burn_in)[rows]
    shown["confidence"] = experiment.dynamics.gold_prob[:, burn_in:, rows].mean(axis=(0, 1)).round(3)
    shown["stays"] = np.isin(experiment.ids[rows], subset.kept)
    decided = experiment.decided
    shown["by hand"] = [_by_hand(decided, example) for example in shown["id"]]
    return shown


def frontier(points: Sequence[FrontierPoint], metric: str) -> pd.DataFrame:
    """The frontier's numbers."""
    return pd.DataFrame(
        {
            "subset": point.subset,
            "examples": point.kept,
            "share": f"{point.kept_fraction:.1%}",
            metric: round(point.metrics[metric], 4),
            "95% interval": report.interval(*point.ci95[metric]),
            "to full data": _difference(point.vs_full),
            "to random": _difference(point.vs_random),
            "seeds": point.seeds,
            "seconds": round(point.seconds, 1),
            "steps": point.steps,
        }
        for point in points
    )


def shares(audited: Shares) -> pd.DataFrame:
    """Each value's examples before and after."""
    words = {"gone": "nothing of it stays", "thin": "much less of it stays"}
    return pd.DataFrame(
        {"value": row.value, "before": row.total, "after": row.kept, "stays": f"{row.kept_fraction:.1%}", "": words.get(row.flag, "")}
        for row in audited.rows
    )


def _by_hand(decided: Decided, example: int) -> str:
    side = "keep" if example in decided.kept else "drop" if example in decided.dropped else None
    label = decided.labels.get(example)
    return ", ".join(filter(None, [side, label and f"label {label}", *decided.tags.get(example, ()), decided.notes.get(example)]))


def _difference(difference: Difference | None) -> str:
    if difference is None or not difference.pairs:
        return ""
    return f"{difference.mean * 100:+.1f} points"
