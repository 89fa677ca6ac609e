"""The tables: data frames for people, never more rows than a page shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pruning.analysis.audit import Shares
from pruning.analysis.frontier import pareto
from pruning.browse import View
from pruning.formatting import bracketed
from pruning.records import Difference, FrontierPoint
from pruning.subsets.decisions import Decided


def examples(
    view: View, rows: NDArray[np.int64], kept: NDArray[np.bool_], score: str = "confidence", suggested: bool = False
) -> pd.DataFrame:
    """The examples at these positions: text, label (and the one `suggested`), H, a score, whether they stay, decisions by hand."""
    experiment, decided = view.experiment, view.decided
    names = experiment.label_names
    shown = view.rows(rows)
    shown.insert(0, "id", experiment.ids[rows])
    if names and experiment.labels is not None:
        shown["label"] = [names[i] for i in experiment.labels[rows]]
        if suggested and view.label_errors is not None:
            shown["looks like"] = [names[i] for i in view.label_errors.suggested[rows]]
        shown["mostly said"] = [names[i] if i >= 0 else "" for i in view.said[rows]]
    shown["H"] = view.h[rows]
    if score in view.score_names and score != "h":
        shown[score] = view.score(score)[rows].round(3)
    shown["stays"] = kept[rows]
    shown["by hand"] = [by_hand(decided, example) for example in shown["id"]]
    return shown


def frontier(points: Sequence[FrontierPoint], metric: str) -> pd.DataFrame:
    """The frontier's numbers."""
    unbeaten = {point.subset for point in pareto(points, metric)}
    return pd.DataFrame(
        {
            "subset": point.subset,
            "examples": point.kept,
            "share": f"{point.kept_fraction:.1%}",
            metric: round(point.metrics[metric], 4),
            "95% interval": bracketed(*point.ci95[metric]),
            "unbeaten": point.subset in unbeaten,
            "to full data": _difference(point.vs_full),
            "to random": _difference(point.vs_random),
            "seeds": point.seeds,
            "seconds a fine-tuning": round(point.seconds, 1),
            "seconds saved": round(point.seconds_saved, 1),
            "steps": point.steps,
        }
        for point in points
    )


def shares(audited: Shares) -> pd.DataFrame:
    """Each value's examples before and after."""
    words = {"gone": "nothing of it stays", "thin": "much less of it stays"}
    return pd.DataFrame(
        {
            "value": row.value,
            "before": row.total,
            "after": row.kept,
            "stays": f"{row.kept_fraction:.1%}",
            "remark": words.get(row.flag, ""),
        }
        for row in audited.rows
    )


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
    return pd.DataFrame(cells, index=[f"run {r}" for r in range(runs)], columns=[f"epoch {e}" for e in range(epochs)])


def epochs(accuracy: NDArray[np.float64]) -> pd.DataFrame:
    """[R, E] accuracies: a row a run, blank where there is none yet."""
    runs, count = accuracy.shape
    return pd.DataFrame(accuracy, index=[f"run {r}" for r in range(runs)], columns=[f"epoch {e}" for e in range(count)])


def by_hand(decided: Decided, example: int) -> str:
    """What stands by hand on an example, in words; empty when nothing does.

    >>> by_hand(Decided(dropped=frozenset([3]), tags={3: frozenset(["slang"])}, notes={3: "look again"}), 3)
    'drop, tagged slang, note: look again'
    """
    side = "keep" if example in decided.kept else "drop" if example in decided.dropped else ""
    label, tags, note = decided.labels.get(example), sorted(decided.tags.get(example, ())), decided.notes.get(example)
    words = [side, f"label {label}" * bool(label), f"tagged {', '.join(tags)}" * bool(tags), f"note: {note}" * bool(note)]
    return ", ".join(filter(None, words))


def _difference(difference: Difference | None) -> str:
    if difference is None or not difference.pairs:
        return ""
    return f"{difference.mean * 100:+.1f} points"
