"""The verb groups: accuracy by class and slice."""

from __future__ import annotations

import json
from math import isnan
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pruning.analysis.groups import Groups
from pruning.cli import report
from pruning.cli.base import Budget, BurnIn, Directory, Json, SubsetName, SuccessRule, WithoutDecisions, app, one_sentence, say
from pruning.formatting import counted
from pruning.store.saved_subsets import NAMING


@app.command()
@one_sentence
def groups(
    directory: Directory,
    subset: SubsetName = "winning-ticket",
    budget: Budget = "epochs",
    burn_in: BurnIn = None,
    success: SuccessRule = None,
    without_decisions: WithoutDecisions = False,
    save: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Save the subset with the proposed floors under this name: {NAMING}.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare a measured subset with full data by class and by slice of every column, and propose floors where a group loses."""
    from pruning.experiment import Experiment
    from pruning.reports.groups import floored
    from pruning.reports.summary import without_nan

    experiment = Experiment(directory, burn_in, not without_decisions, success)
    chosen = experiment.subset(subset)
    found = experiment.groups(chosen, budget)
    better = floored(experiment, chosen, found)
    if save is not None and better is not None:
        experiment.save(save, better)
        say(f"Saved {counted(better.size, 'example')} ({better.rule}) as {save}.", error=as_json)
    if as_json:
        every = [row.to_dict() for row in found.rows]
        print(json.dumps(without_nan({**found.to_dict(), "rows": every, "proposed": None if better is None else better.rule})))
        return
    _print(found)
    if better is not None and save is None:
        named = better.name if better.name != chosen.name else ""
        how = f"the subset {named}" if named else "--save NAME"
        say(f"With the floors: {counted(better.size, 'example')} of {better.total:,}; {how} keeps them. Measure it like any other.")
    if save is not None and better is None:
        say(f"Nothing saved as {save}: no floor is proposed.", error=True)


MOST = 20
"""Groups that are printed beside those that lose."""


def _print(found: Groups) -> None:
    """Print the groups that lose, then those that lose most without certainty."""
    columns = ("group", "evaluated", "full data", "subset", "change (pp)", "95% interval", "others (pp)", "kept", "floor")
    table = Table(*columns, title=f"Accuracy by group: {escape(found.subset)}", title_justify="left", box=None)
    for row in found.rows[: len(found.losing) + MOST]:
        change = row.change
        table.add_row(
            f"{'! ' if row.loses else '  '}{escape(row.name)}",
            f"{row.evaluated:,}",
            f"{row.full:.3f}",
            f"{row.subset:.3f}",
            f"{100 * change.mean:+.1f}",
            "" if isnan(change.low) else f"[{100 * change.low:+.1f}, {100 * change.high:+.1f}]",
            "" if isnan(row.others) else f"{100 * row.others:+.1f}",
            "" if row.total is None else f"{row.kept:,} of {row.total:,}",
            f"{row.floor:,}" if row.loses and row.floor is not None else "",
        )
    if found.rows:
        report.console.print(table)
    if len(found.rows) > len(found.losing) + MOST:
        say(f"{len(found.rows) - len(found.losing) - MOST:,} more groups: --json lists all.")
    say(found.sentence)
    for row in found.losing:
        say(f"! {row.sentence}")
