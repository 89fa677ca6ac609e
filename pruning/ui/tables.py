"""The tables: data frames for people, never more rows than a page shows; epochs count from 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pruning.analysis.frontier import pareto
from pruning.analysis.slices import Shares
from pruning.formatting import bracketed
from pruning.records import Difference, FrontierPoint
from pruning.reports.browse import View
from pruning.subsets.decisions import Decided
from pruning.subsets.titles import short

PLUS_MINUS, VS_FULL, VS_RANDOM = "\u00b1", "vs full", "vs random"
"""Columns of the frontier: half the 95% interval, and paired differences in percentage points."""

FLAGS = {"gone": "none kept", "thin": "far fewer kept"}
"""Words for the flags of a class or slice."""

OPEN_MARK = ">"
"""Beside the example that is open. ASCII: a table that draws another sign first no longer wraps its texts."""


def examples(
    view: View, rows: NDArray[np.int64], kept: NDArray[np.bool_], score: str = "confidence", suggested: bool = False
) -> pd.DataFrame:
    """The examples at these positions: label (and the one `suggested`), H, kept or not, text, prediction, a score, decisions by hand."""
    experiment, decided, labels = view.experiment, view.decided, view.labels
    names = experiment.label_names
    texts = view.rows(rows)
    shown = pd.DataFrame({"id": experiment.ids[rows]})
    if names and labels is not None:
        shown["label"] = [names[i] for i in labels[rows]]
        if suggested and view.label_errors is not None:
            shown["looks like"] = [names[i] for i in view.label_errors.suggested[rows]]
    shown["H"] = view.h[rows]
    shown["kept"] = kept[rows]
    shown = pd.concat([shown, texts], axis=1)
    if names and labels is not None:
        shown["predicted"] = [names[i] if i >= 0 else "" for i in view.said[rows]]
    if score in view.score_names and score != "h":
        shown[score] = view.score(score)[rows].round(3)
    shown["by hand"] = [by_hand(decided, example) for example in shown["id"]]
    return shown


def queue(view: View, rows: NDArray[np.int64], kept: NDArray[np.bool_], opened: int | None, score: str, suggested: bool) -> pd.DataFrame:
    """The compact list beside the open example: one text, label, what it looks like, how it was learned, H, the decision."""
    wide = examples(view, rows, kept, score, suggested)
    texts = view.rows(rows)
    probability = view.experiment.dynamics.gold_prob[:, :, rows].mean(axis=0).T if len(rows) else np.empty((0, 1))
    shown = pd.DataFrame({"open": [OPEN_MARK if position == opened else "" for position in rows]}, index=texts.index)
    shown["text"] = texts.agg(" | ".join, axis=1) if len(texts.columns) > 1 else texts.iloc[:, 0]
    for name in ("label", "looks like"):
        if name in wide:
            shown[name] = wide[name]
    shown["decision"] = wide["by hand"].where(wide["by hand"] != "", np.where(wide["kept"], "", "pruned"))
    shown["H"] = wide["H"]
    if not np.isnan(probability).any():
        shown["learned"] = probability.round(3).tolist()
    if score in wide and score != "confidence":
        shown[score] = wide[score]
    shown["id"] = wide["id"]
    return shown


def frontier(points: Sequence[FrontierPoint], metric: str) -> pd.DataFrame:
    """The frontier's numbers, one row a point."""
    front = {point.subset for point in pareto(points, metric)}
    return pd.DataFrame(
        {
            "subset": short(point.subset),
            "keeps": round(point.kept_fraction, 3),
            metric: round(point.metrics[metric], 4),
            PLUS_MINUS: round(point.plus_minus(metric), 4),
            VS_FULL: _points(point.vs_full),
            VS_RANDOM: _points(point.vs_random),
            "seeds": point.seeds,
            "95% CI": bracketed(*point.ci95[metric]),
            "Pareto front": point.subset in front,
            "examples": point.kept,
            "steps": point.steps,
            "seconds saved": round(point.seconds_saved, 1),
            "name": point.subset,
        }
        for point in points
    )


def shares(audited: Shares) -> pd.DataFrame:
    """Each value's examples before and after, with remarks where there are any."""
    table = pd.DataFrame(
        {
            "value": row.value,
            "before": row.total,
            "after": row.kept,
            "kept": f"{row.kept_fraction:.1%}",
            "remark": FLAGS.get(row.flag, ""),
        }
        for row in audited.rows
    )
    return table if table.empty or table["remark"].any() else table.drop(columns="remark")


def unevenness(audited: Sequence[Shares]) -> pd.DataFrame:
    """One row a column: the values kept least and most, how strongly being kept depends on it, remarks; the uneven ones first."""
    rows = []
    for one in sorted(audited, key=lambda shares: (not shares.flagged, -shares.cramers_v)):
        ends = sorted(one.rows, key=lambda row: row.kept_fraction)
        least, most = (f"{end.kept_fraction:.0%} of {end.value}" for end in (ends[0], ends[-1]))
        remark = "; ".join(f"{row.value}: {FLAGS[row.flag]}" for row in one.flagged)
        rows.append({"column": one.column, "kept least": least, "kept most": most, "dependence": one.cramers_v, "remark": remark})
    table = pd.DataFrame(rows)
    return table if table.empty or table["remark"].any() else table.drop(columns="remark")


def grid(probability: NDArray[np.float32], correct: NDArray[np.bool_], said: Sequence[Sequence[str]] | None) -> pd.DataFrame:
    """One example's recording, [R, E]: a row a run, a column an epoch."""
    runs, epochs = probability.shape
    cells = [
        [
            f"{'right' if correct[r, e] else 'wrong'} {probability[r, e]:.2f}" + (f" ({said[r][e]})" if said and not correct[r, e] else "")
            for e in range(epochs)
        ]
        for r in range(runs)
    ]
    return pd.DataFrame(cells, index=[f"run {r}" for r in range(runs)], columns=[f"epoch {e + 1}" for e in range(epochs)])


def epochs(accuracy: NDArray[np.float64]) -> pd.DataFrame:
    """[R, E] accuracies: a row a run, blank where there is none yet."""
    runs, count = accuracy.shape
    return pd.DataFrame(accuracy, index=[f"run {r}" for r in range(runs)], columns=[f"epoch {e + 1}" for e in range(count)])


def by_hand(decided: Decided, example: int) -> str:
    """The standing decisions on an example, in words; empty when there are none.

    >>> by_hand(Decided(dropped=frozenset([3]), tags={3: frozenset(["slang"])}, notes={3: "look again"}), 3)
    'drop, tagged slang, note: look again'
    """
    side = "keep" if example in decided.kept else "drop" if example in decided.dropped else ""
    label, tags, note = decided.labels.get(example), sorted(decided.tags.get(example, ())), decided.notes.get(example)
    words = [side, f"label {label}" * bool(label), f"tagged {', '.join(tags)}" * bool(tags), f"note: {note}" * bool(note)]
    return ", ".join(filter(None, words))


def _points(found: Difference | None) -> float:
    """A mean difference in percentage points; nan where there is none."""
    return float("nan") if found is None or not found.pairs else round(found.mean * 100, 1) + 0.0  # no -0.0


def difference(found: Difference | None) -> str:
    """A mean difference in percentage points; empty where there is none."""
    return "" if found is None or not found.pairs else f"{found.mean * 100:+.1f} pp"
