"""Verbs that create a recording: demo, demo-llm, score, import."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from pruning import presets
from pruning.analysis.frontier import USUAL_SEEDS
from pruning.cli import live, report
from pruning.cli.base import (
    Json,
    LabelColumn,
    On,
    Shared,
    TextColumn,
    TextPairColumn,
    Workers,
    app,
    columns_of,
    one_sentence,
    program,
    say,
    settings_options,
    several,
)
from pruning.errors import UsageError
from pruning.formatting import duration
from pruning.options import settings_of
from pruning.settings import Settings, default_seeds


@app.command()
@one_sentence
def demo(
    directory: Annotated[Path, typer.Option("--experiment", help="Experiment folder.")] = Path("experiments/demo"),
    train: Annotated[
        int | None, typer.Option(help="Training sentences of the sample. Default: 900 to 1800, as many as take at most 5 minutes here.")
    ] = None,
    evaluation: Annotated[int, typer.Option(help="Evaluation sentences of the sample.")] = 1000,
    runs: Annotated[int, typer.Option(help="Runs, one fine-tuning each.")] = 6,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per point of the frontier.")] = USUAL_SEEDS,
) -> None:
    """Run everything on real text: score the sample, measure the frontier, export a subset, verify it."""
    from pruning.jobs.demo import SIZES, affordable
    from pruning.jobs.demo import demo as run_demo

    say("Winnow's demo: movie-review sentences, the MiniLM model, all on this machine.")
    if train is None:
        train, seconds = affordable(directory, evaluation, runs, seeds)
        _say_size(train, SIZES[0], seconds, "sentences")
    done = run_demo(directory, train, evaluation, runs, seeds, live.listener)
    report.show(done.experiment)
    say("")
    say(f"Exported {done.subset.size} of {done.subset.total} sentences to {done.output} and verified it against {done.manifest.name}.")
    say(f"{done.suspected:,} labels look wrong; the dashboard's Inspect page shows them.")
    _say_verdict(directory, done.verdict)


def _say_size(taken: int, most: int, seconds: float | None, what: str) -> None:
    """Say that a demo takes less than elsewhere, if it does."""
    if seconds and taken < most:
        say(f"{most:,} {what} would take about {duration(seconds)} here, so it takes {taken:,} of them.")


def _say_verdict(directory: Path, verdict: tuple[str, str]) -> None:
    """Say how to open a demo's experiment, then what it found."""
    say(f"Open it with: {program()} app --experiments {shlex.quote(str(directory.parent))}")
    say("")
    for sentence in verdict:
        say(sentence)


@app.command(name="demo-llm")
@one_sentence
def demo_llm(
    directory: Annotated[Path, typer.Option("--experiment", help="Experiment folder.")] = Path("experiments/demo-llm"),
    train: Annotated[
        int | None, typer.Option(help="Training conversations of the sample. Default: 90 to 150, as many as take at most 10 minutes here.")
    ] = None,
    evaluation: Annotated[int, typer.Option(help="Evaluation conversations of the sample.")] = 120,
    runs: Annotated[int, typer.Option(help="Runs, one fine-tuning each.")] = 2,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per point of the frontier.")] = USUAL_SEEDS,
) -> None:
    """Run everything on prompts and answers with a small language model. Needs the package gguf once, to unpack the model."""
    from pruning.jobs.demo_llm import RANK, SIZES, affordable, people
    from pruning.jobs.demo_llm import demo as run_demo

    say(f"Winnow's demo of prompts and answers: film sentences, SmolLM2-135M-Instruct, LoRA of rank {RANK}, all on this machine.")
    if train is None:
        train, seconds = affordable(directory, evaluation, runs, seeds)
        _say_size(train, SIZES[0], seconds, "conversations")
    done = run_demo(directory, train, evaluation, runs, seeds, live.listener)
    report.show(done.experiment)
    report.show_never_right(done.experiment)
    say(people(done.experiment))
    say("")
    say(f"Exported {done.subset.size} of {done.subset.total} conversations to {done.output}, checked against {done.manifest.name}.")
    _say_verdict(directory, done.verdict)


@app.command()
@one_sentence
@settings_options()
def score(
    changes: dict[str, Any],
    data: Annotated[list[str] | None, typer.Argument(metavar="[DATA]...", help=settings_of(Settings)["data"].option.help)] = None,
    experiment: Annotated[Path | None, typer.Option("--experiment", help="Experiment folder; created if it does not exist.")] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"One of the paper's experiments: {', '.join(presets.PRESETS)}; other options change it.")
    ] = None,
    settings: Annotated[
        str | None, typer.Option(metavar="FILE", help="Settings file (JSON; '-' reads standard input); other options change it.")
    ] = None,
    runs: Annotated[int | None, typer.Option(help="Number of runs R, one fine-tuning each. Default: 6; 2 for prompts and answers.")] = None,
    learning_rate_from: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Experiment on the same data and model whose fitted learning rate is used.")
    ] = None,
    text: TextColumn = None,
    text_pair: TextPairColumn = None,
    label: LabelColumn = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Measure this machine for a few seconds, print how long scoring would take, and stop.")
    ] = False,
    on: On = None,
    workers: Workers = None,
    shared: Shared = None,
    as_json: Json = False,
) -> None:
    """Fine-tune R times and record, for every example, in which runs and epochs the model got it right."""
    from pruning.jobs import worker
    from pruning.jobs.cluster import cluster

    place = cluster(on, workers, shared)
    changes = columns_of(changes, text=text, text_pair=text_pair, label=label)
    if runs is not None and "seeds" not in changes:
        changes["seeds"] = default_seeds(runs)
    chosen = presets.starting(several(data), preset, settings, changes)
    given = runs is not None or "seeds" in changes or preset is not None or settings is not None
    if estimate:
        report.say_estimate(chosen, as_json, given)
        return
    if experiment is None:
        raise UsageError("Missing --experiment DIR: where to store the experiment.", "experiment")
    with live.listener("Scoring") as listen:
        scored = worker.score(chosen, experiment, listen, learning_rate_from, given, place)
    report.say_data(scored)
    report.show(scored)


@app.command(name="import")
@one_sentence
@settings_options("task", "columns", "evaluation", "model", "batch_size", "learning_rate")
def take_over(
    changes: dict[str, Any],
    recording: Annotated[
        list[Path],
        typer.Argument(
            metavar="RECORDING...",
            help="Folders of dynamics_epoch_0.jsonl ... (cartography), one per run; or rewards, or a folder of runs, of the H-score code.",
        ),
    ],
    data: Annotated[str, typer.Option(help="Data that was recorded.")],
    experiment: Annotated[Path, typer.Option("--experiment", help="Experiment folder; created if it does not exist.")],
    runs: Annotated[
        int | None, typer.Option(help="Number of runs expected. Default: one per cartography folder; 6 for the H-score code.")
    ] = None,
    probabilities: Annotated[Path | None, typer.Option(help="The H-score code's file of gold probabilities.")] = None,
    guid: Annotated[str | None, typer.Option(help="Column of the data with cartography's guids. Default: the ids.")] = None,
    text: TextColumn = None,
    text_pair: TextPairColumn = None,
    label: LabelColumn = None,
) -> None:
    """Import a recording made by another tool. Model, evaluation data and recipe are needed only to measure a frontier later."""
    from pruning.interop import importers

    changes = columns_of(changes, text=text, text_pair=text_pair, label=label)
    settings = Settings(data=data, model="").with_changes(**changes)
    imported = importers.take_over(recording, experiment, settings, runs=runs, probabilities=probabilities, guid=guid)
    report.say_data(imported)
    report.show(imported)
