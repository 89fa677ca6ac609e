"""The verb sensitivity: what the scoring depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isnan
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pruning.analysis.sensitivity import Sensitivity
from pruning.cli import live, report
from pruning.cli.base import Directory, Json, app, one_sentence, say, words
from pruning.formatting import duration
from pruning.jobs import sensitivity as job


@app.command()
@one_sentence
def sensitivity(
    directory: Directory,
    variations: Annotated[
        str,
        typer.Option(help=f"Comma-separated, of {', '.join(job.VARIATIONS)}."),
    ] = ",".join(job.DEFAULT),
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Also score with this model, at a learning rate fitted to it: a folder or a hub name."),
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Print how long the variations would take, and stop.")] = False,
    as_json: Json = False,
) -> None:
    """Score again with one thing changed each time, and show how far H and the winning ticket move, beside other seeds alone."""
    from pruning.reports.summary import without_nan

    asked = words(variations)
    base = job.checked(directory, asked)
    expected = job.estimated(base, asked, model)
    if estimate and as_json:
        print(json.dumps(expected))
        return
    _say_estimate(expected, as_json)
    if estimate:
        return
    found = job.sensitivity(directory, asked, model) if as_json else job.sensitivity(directory, asked, model, live.listener)
    if as_json:
        print(json.dumps(without_nan(found.to_dict())))
    else:
        _print(found)


def _say_estimate(expected: Mapping[str, float], error: bool) -> None:
    if expected:
        each = ", ".join(f"{name} {duration(seconds)}" for name, seconds in expected.items())
        say(f"To score: about {duration(sum(expected.values()))} ({each}).", error=error)
    else:
        say("All of these variations are scored; nothing is left to train.", error=error)


def _print(found: Sensitivity) -> None:
    columns = ("variation", "changed", "runs", "rank agreement", "95% interval", "ticket overlap", "by chance", "ticket keeps", "accuracy")
    table = Table(*columns, title="What this ticket depends on", title_justify="left", box=None)
    for row in found.rows:
        if row.problem:
            continue
        table.add_row(
            f"{'! ' if row.matters else '  '}{escape(row.name)}",
            escape(row.words),
            str(row.runs),
            "" if isnan(row.rank_agreement) else f"{row.rank_agreement:.2f}",
            "" if isnan(row.interval[0]) else f"[{row.interval[0]:.2f}, {row.interval[1]:.2f}]",
            "" if isnan(row.overlap) else f"{row.overlap:.0%}",
            "" if isnan(row.by_chance) else f"{row.by_chance:.0%}",
            f"{row.kept_fraction:.0%}",
            "" if isnan(row.accuracy) else f"{row.accuracy:.3f}",
        )
    report.console.print(table)
    for row in found.rows:
        if row.problem:
            say(f"{row.name}: {row.problem}")
    say(found.sentence)
