"""Verbs that make a recording: demo, score, import."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pruning import presets, report
from pruning.analysis.frontier import USUAL_SEEDS
from pruning.cli.base import Json, app, one_sentence, words
from pruning.errors import UsageError
from pruning.settings import APPROXIMATIONS, Settings, TrainSettings, default_seeds

WAYS = ", ".join(f"{name} ({way.words}; ranks agree to {way.agreement:.2f} of 1)" for name, way in APPROXIMATIONS.items())


@app.command()
@one_sentence
def demo(
    directory: Annotated[Path, typer.Option("--experiment", help="Where the experiment goes.")] = Path("experiments/demo"),
    train: Annotated[int, typer.Option(help="Training sentences of the sample.")] = 800,
    evaluation: Annotated[int, typer.Option(help="Evaluation sentences of the sample.")] = 1000,
    runs: Annotated[int, typer.Option(help="Fine-tunings that score.")] = 6,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per point of the frontier.")] = USUAL_SEEDS,
) -> None:
    """The whole path on real text: score the sample, measure the frontier, export the winning ticket, verify it."""
    from pruning.jobs.demo import demo as run_demo

    print("Winnow's demo: movie-review sentences, the MiniLM model, all on this machine.", flush=True)
    done = run_demo(directory, train, evaluation, runs, seeds, report.listener)
    report.show(done.experiment)
    print(f"\nExported {done.subset.size} of {done.subset.total} sentences to {done.output} and verified it against {done.manifest.name}.")
    print("Open the dashboard on it with:  make app")


@app.command()
@one_sentence
def score(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]", help="A .jsonl, .json, .csv, .tsv or .parquet file, a folder saved by datasets, a hub name, or 'sample'."
        ),
    ] = None,
    experiment: Annotated[Path | None, typer.Option("--experiment", help="The experiment's folder; made when it is not there.")] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"One of the paper's experiments: {', '.join(presets.PRESETS)}; other options change it.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Column with the text. Default: guessed and said.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="Column with the second text of a pair.")] = None,
    label: Annotated[str | None, typer.Option(help="Column with the label. Default: guessed and said.")] = None,
    column: Annotated[list[str] | None, typer.Option("--column", metavar="FIELD=COLUMN", help="Any other field of the task.")] = None,
    task: Annotated[str | None, typer.Option(help="A task's name. Default: guessed and said.")] = None,
    evaluation: Annotated[
        str | None, typer.Option("--eval", metavar="DATA", help="Evaluation data. Default: split off, stratified by label.")
    ] = None,
    evaluation_fraction: Annotated[
        float | None, typer.Option("--eval-fraction", help="Share split off when no evaluation data is given. Default: 0.2.")
    ] = None,
    evaluation_seed: Annotated[int | None, typer.Option("--eval-seed", help="Seed of that split. Default: 0.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use only so many training examples, drawn at random. Default: all.")] = None,
    drop_invalid: Annotated[bool | None, typer.Option("--drop-invalid", help="Drop and count rows without text or label.")] = None,
    model: Annotated[str | None, typer.Option(help=f"A folder, a hub name, {', '.join(presets.MODELS)}, or 'sample', the default.")] = None,
    runs: Annotated[int | None, typer.Option(help="R, fine-tunings that score. Default: 6.")] = None,
    epochs: Annotated[int | None, typer.Option(help="E, epochs of each. Default: 3.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples per step. Default: 32.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate; decays linearly to 0. Default: 2e-5.")] = None,
    frontier_learning_rate: Annotated[
        float | None, typer.Option(help="Peak rate of the frontier's fine-tunings. Default: the same.")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="AdamW's decay. Default: 0.")] = None,
    warmup_ratio: Annotated[float | None, typer.Option(help="Share of steps of rising rate. Default: 0.")] = None,
    max_grad_norm: Annotated[float | None, typer.Option(help="Gradients above this norm are scaled down. Default: 1.")] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens per text; longer ones are cut and counted. Default: the task's own.")
    ] = None,
    seed_list: Annotated[str | None, typer.Option(help="Comma-separated seeds, one per run. Default: the paper's.")] = None,
    burn_in: Annotated[int | None, typer.Option(help="First epochs left out of every score. Default: 0, the paper.")] = None,
    stop_when_stable: Annotated[
        float | None,
        typer.Option(help="End before all runs once as many others would rank the examples alike to this, 0..1, with 95% confidence."),
    ] = None,
    fixed_order: Annotated[
        bool | None, typer.Option("--fixed-order", help="One order for all epochs of a run, as the paper's code.")
    ] = None,
    deterministic: Annotated[
        bool | None, typer.Option("--deterministic", help="Numbers that repeat bit by bit on a GPU too; slower. On the CPU they always do.")
    ] = None,
    approximate: Annotated[str | None, typer.Option(help=f"Score with less work than the recipe: {WAYS}.")] = None,
    checkpoints: Annotated[
        bool | None,
        typer.Option("--checkpoints/--no-checkpoints", help="Keep each run's state after its last whole epoch, to go on from there."),
    ] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16. Default: auto.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps. Default: auto.")] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Measure this machine for some seconds, say how long it would take, and stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fine-tune R times and record, for every example, in which runs and epochs the model got it right."""
    from pruning.jobs import worker

    if (data is None) == (preset is None):
        raise UsageError("Give the data to score or a --preset, one of the two.")
    settings = Settings(data=data or "") if preset is None else presets.find(preset).settings(model or "roberta-large")
    train = _given(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup_ratio=warmup_ratio,
        max_grad_norm=max_grad_norm,
        fixed_order=fixed_order,
        deterministic=deterministic,
        precision=precision,
        device=device,
    )
    changes = _given(
        task=task,
        evaluation=evaluation,
        evaluation_fraction=evaluation_fraction,
        evaluation_seed=evaluation_seed,
        limit=limit,
        drop_invalid=drop_invalid,
        model=presets.MODELS.get(model, model) if model else None,
        max_length=max_length,
        burn_in=burn_in,
        stop_when_stable=stop_when_stable,
        approximate=approximate,
        checkpoints=checkpoints,
        frontier_learning_rate=frontier_learning_rate,
        seeds=_seeds(seed_list) if seed_list is not None else None if runs is None else default_seeds(runs),
        columns=_columns(column or [], text=text, text_pair=text_pair, label=label) or None,
    )
    settings = settings.with_changes(train=replace(settings.train, **train), **changes)
    if estimate:
        report.say_estimate(settings, as_json)
        return
    if experiment is None:
        raise UsageError("Say with --experiment where the experiment's folder goes.")
    with report.listener("Scoring") as listen:
        scored = worker.score(settings, experiment, listen)
    report.say_data(scored)
    report.show(scored)


@app.command(name="import")
@one_sentence
def take_over(
    recording: Annotated[
        list[Path],
        typer.Argument(
            metavar="RECORDING...",
            help="Folders of dynamics_epoch_0.jsonl ... (cartography), one per run; or rewards, or a folder of runs, of the H-score code.",
        ),
    ],
    data: Annotated[str, typer.Option(help="The data it is a recording of.")],
    experiment: Annotated[Path, typer.Option("--experiment", help="The experiment's folder; made when it is not there.")],
    runs: Annotated[
        int | None, typer.Option(help="How many runs there must be. Default: cartography's folders; 6 for the H-score's.")
    ] = None,
    probabilities: Annotated[Path | None, typer.Option(help="The H-score code's file of gold probabilities.")] = None,
    guid: Annotated[str | None, typer.Option(help="Column of the data with cartography's guids. Default: the ids.")] = None,
    text: Annotated[str | None, typer.Option(help="Column with the text. Default: guessed and said.")] = None,
    text_pair: Annotated[str | None, typer.Option(help="Column with the second text of a pair.")] = None,
    label: Annotated[str | None, typer.Option(help="Column with the label. Default: guessed and said.")] = None,
    column: Annotated[list[str] | None, typer.Option("--column", metavar="FIELD=COLUMN", help="Any other field of the task.")] = None,
    task: Annotated[str, typer.Option(help="A task's name, or auto.")] = "auto",
    evaluation: Annotated[str | None, typer.Option("--eval", metavar="DATA", help="Evaluation data, for a frontier.")] = None,
    model: Annotated[str, typer.Option(help="The model that was trained, for a frontier.")] = "",
    batch_size: Annotated[int, typer.Option(help="Examples per step, for a frontier.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Peak rate, for a frontier.")] = 2e-5,
) -> None:
    """Take over a recording that another tool made."""
    from pruning.interop import importers

    settings = Settings(
        data=data,
        task=task,
        columns=_columns(column or [], text=text, text_pair=text_pair, label=label),
        evaluation=evaluation,
        model=model,
        train=TrainSettings(batch_size=batch_size, learning_rate=learning_rate),
    )
    taken = importers.take_over(recording, experiment, settings, runs=runs, probabilities=probabilities, guid=guid)
    report.say_data(taken)
    report.show(taken)


def _given(**options: Any) -> dict[str, Any]:
    """Options that were typed; the others keep what they are."""
    return {name: value for name, value in options.items() if value is not None}


def _columns(pairs: list[str], **named: str | None) -> dict[str, str]:
    columns = {field: column for field, column in named.items() if column}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not equals:
            raise UsageError(f"--column is {pair!r}; write it as FIELD=COLUMN.")
        columns[field] = column
    return columns


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words(text))
    except ValueError:
        raise UsageError(f"--seed-list is {text!r}; write whole numbers separated by commas.") from None
