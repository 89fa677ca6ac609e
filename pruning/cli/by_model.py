"""Data x model, printed: what each model makes of full data, a subset and random rows of its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from pruning.analysis.frontier import BUDGETS
from pruning.formatting import bracketed, duration, in_points
from pruning.reports.by_model import ModelPoint, by_model

if TYPE_CHECKING:
    from pruning.reading import Reading


def show(experiment: Reading, budget: str, show_table: Callable[[Table], None]) -> None:
    """Print the table where more than one model measured something; see `reports.by_model`."""
    rows = by_model(experiment, budget=budget)
    if not rows:
        return
    words = rows[0].metric.replace("_", " ")
    title = f"Data x model {BUDGETS[budget]}: {words} with its 95% interval; * = of {escape(rows[0].name)}, paired by seed"
    table = Table(title=title, title_justify="left", box=None)
    for column in ("model", "parameters", "subset", "keeps", words, "to full data*, pp", "seeds", "training", "ms per example"):
        table.add_column(column, no_wrap=column not in ("model", "subset"), overflow="fold")
    before = ""
    for row in rows:
        table.add_row(*_cells(row, named=row.fingerprint != before))
        before = row.fingerprint
    show_table(table)


def _cells(row: ModelPoint, named: bool) -> list[str]:
    point, change = row.point, row.change
    return [
        escape(row.name) if named else "",
        f"{row.parameters / 1e6:,.1f} M" if named and row.parameters is not None else "",
        point.subset,
        f"{point.kept:,}",
        f"{point.metrics[row.metric]:.3f} {bracketed(*point.ci95[row.metric])}",
        "" if change is None or not change.pairs else in_points(change.mean, change.low, change.high),
        str(point.seeds),
        "" if row.training_seconds is None else duration(row.training_seconds),
        "" if row.milliseconds is None else f"{row.milliseconds:.3g}",
    ]
