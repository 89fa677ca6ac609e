"""Verbs about jobs: frontier, status, cancel, resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pruning.analysis.frontier import USUAL_SEEDS
from pruning.analysis.recommendation import MARGIN, margin_of
from pruning.cli import live, report
from pruning.cli.base import (
    Budget,
    BurnIn,
    Directory,
    Json,
    Margin,
    On,
    Shared,
    SuccessRule,
    Workers,
    app,
    one_sentence,
    say,
    words,
)
from pruning.errors import UsageError
from pruning.formatting import duration
from pruning.options import parse, settings_of
from pruning.reports import in_progress
from pruning.settings import TrainSettings
from pruning.subsets.rules import BASELINES, USUAL_BASELINES


@app.command()
@one_sentence
def frontier(
    directory: Directory,
    subsets: Annotated[str, typer.Option(help="auto = the whole ladder, or comma-separated names.")] = "auto",
    baselines: Annotated[str, typer.Option(help=f"Measured at each subset's size: {', '.join(BASELINES)}; empty for none.")] = ",".join(
        USUAL_BASELINES
    ),
    seeds: Annotated[int, typer.Option(help="Fine-tunings per point; use at least 3 for a useful interval.")] = USUAL_SEEDS,
    budget: Budget = "epochs",
    burn_in: BurnIn = None,
    success: SuccessRule = None,
    with_decisions: Annotated[
        bool, typer.Option("--with-decisions", help="Measure every subset with the decisions made by hand, not as its rule chooses.")
    ] = False,
    margin: Margin = 100 * MARGIN,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Measure with this model instead of the one that scored the data: a folder or a hub name."),
    ] = None,
    learning_rate: Annotated[str, typer.Option(metavar="RATE", help="Peak learning rate of --model; auto fits it to that model.")] = "auto",
    own: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Experiment of --model on the same data: its winning ticket is measured too.")
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="With --model: print how long it would take, and stop.")] = False,
    on: On = None,
    workers: Workers = None,
    shared: Shared = None,
) -> None:
    """Fine-tune on each subset and measure it on the evaluation data; finished points are kept."""
    from pruning.jobs import transfer, worker
    from pruning.jobs.cluster import cluster

    place = cluster(on, workers, shared)
    names, allowed = [] if subsets == "auto" else words(subsets), margin_of(margin)
    rate, beside = parse(settings_of(TrainSettings)["learning_rate"], learning_rate), None if own is None else str(own)
    if estimate:
        if model is None:
            raise UsageError("--estimate needs --model; for the experiment's own model use score DATA --estimate.", "estimate")
        seconds = transfer.estimated(directory, names, words(baselines), seeds, budget, model, rate, beside)
        say(f"Measuring with {model}: about {duration(seconds)}.")
        return
    with live.listener("Measuring the frontier") as listen:
        experiment = worker.frontier(
            directory, names, words(baselines), seeds, budget, burn_in, listen, with_decisions, success, model, rate, beside, place
        )
    report.show(experiment.reading(burn_in, success=success), budget, allowed)


@app.command()
@one_sentence
def status(directory: Directory, as_json: Json = False) -> None:
    """Show the state of the experiment's latest job."""
    from pruning.experiment import Experiment

    experiment = Experiment(directory)
    found, notes = experiment.status(), [*experiment.notes(), *experiment.warnings()]
    if as_json:
        print(json.dumps({**found.to_dict(), "notes": notes}))
    else:
        for sentence in (found.sentence, *map(in_progress.sentence, in_progress.running(found)), *notes):
            say(sentence)


@app.command()
@one_sentence
def cancel(directory: Directory) -> None:
    """Stop the experiment's worker at its next step; finished work is kept."""
    from pruning.jobs import background

    stopped = background.cancel(directory)
    say("Cancelled; finished work is kept." if stopped else "Stop requested; the worker is finishing a step.")


@app.command()
@one_sentence
def resume(
    directory: Directory,
    redo: Annotated[bool, typer.Option("--redo-diverged", help="Train diverged runs again, each with the next seed.")] = False,
    on: On = None,
    workers: Workers = None,
    shared: Shared = None,
) -> None:
    """Resume a cancelled or interrupted job, on the cluster where it was started unless --on says otherwise."""
    from pruning.cli.whole import finish
    from pruning.experiment import Experiment
    from pruning.jobs import prune, worker
    from pruning.jobs.cluster import cluster, remembered

    place = remembered(Experiment(directory)) if (on, workers, shared) == (None, None, None) else cluster(on, workers, shared)
    with live.listener("Resuming") as listen:
        done = (worker.redo if redo else prune.resume)(directory, listen, place)
    if isinstance(done, prune.Pruned):
        finish(done)
    else:
        report.show(done)
