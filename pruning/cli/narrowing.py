"""The verb narrow: smaller models with the neurons that matter for the experiment's data, and what they make of a subset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pruning.analysis.frontier import USUAL_SEEDS
from pruning.analysis.neurons import SOURCES, TAYLOR
from pruning.cli import live, report
from pruning.cli.base import Directory, app, one_sentence, program, say, words
from pruning.errors import UsageError
from pruning.jobs import narrow as job
from pruning.options import parse, settings_of
from pruning.settings import TrainSettings


@app.command()
@one_sentence
def narrow(
    directory: Directory,
    output: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="New folder for the narrower model; with several widths, one that gets a folder for each."),
    ],
    width: Annotated[
        str,
        typer.Option(
            metavar="SHARE,...", help="Share of each layer's feed-forward neurons to keep, above 0 and at most 1; commas separate several."
        ),
    ] = "0.5",
    heads: Annotated[
        float, typer.Option(help="Share of each layer's attention heads to keep, in whole groups; below 1 only for Llama's kind of models.")
    ] = 1.0,
    importance: Annotated[str, typer.Option(help=f"Which neurons are kept: {', '.join(SOURCES)}.")] = TAYLOR,
    measure: Annotated[
        str | None,
        typer.Option(
            metavar="SUBSET",
            help="Then measure full data, this subset and random rows of its size with the experiment's model and each narrower one.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="With --measure: fine-tunings per point and model.")] = USUAL_SEEDS,
    learning_rate: Annotated[
        str, typer.Option(metavar="RATE", help="With --measure: peak rate of the narrower models; auto fits one to each.")
    ] = "auto",
) -> None:
    """Write the experiment's model with fewer neurons, those that matter most for its data, as a folder that any tool loads."""
    shares, rate = [_share(word) for word in words(width)], parse(settings_of(TrainSettings)["learning_rate"], learning_rate)
    if not shares:
        raise UsageError("width names no share; 0.5 keeps half of each layer's neurons.", "width")
    if measure is not None:
        job.check(directory, measure)
    with live.listener("Measuring neurons") as listen:
        narrowed = job.narrow_widths(directory, shares, output, importance, listen, heads)
    for made in narrowed:
        say(made.sentence)
    if measure is None:
        say(f"Measure subsets with it: {program()} frontier {directory} --model {narrowed[-1].folder}")
        return
    report.show_by_model(job.measure_with(directory, measure, narrowed, seeds, rate, live.listener))


def _share(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise UsageError(f"width must be a number above 0 and at most 1, or several with commas, got {word!r}.", "width") from None
