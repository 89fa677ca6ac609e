"""The verb narrow: a smaller model with the neurons that matter for the experiment's data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pruning.analysis.neurons import SOURCES, TAYLOR
from pruning.cli import report
from pruning.cli.base import Directory, app, one_sentence, program, say
from pruning.jobs.narrow import narrow as job


@app.command()
@one_sentence
def narrow(
    directory: Directory,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="New folder for the narrower model.")],
    width: Annotated[float, typer.Option(help="Share of each layer's feed-forward neurons to keep, above 0 and at most 1.")] = 0.5,
    importance: Annotated[str, typer.Option(help=f"Which neurons are kept: {', '.join(SOURCES)}.")] = TAYLOR,
) -> None:
    """Write the experiment's model with fewer neurons, those that matter most for its data, as a folder that any tool loads."""
    with report.listener("Measuring neurons") as listen:
        made = job(directory, width, output, importance, listen)
    say(made.sentence)
    say(f"Measure subsets with it: {program()} frontier {directory} --model {made.folder}")
