"""Verb that fits a learning rate without scoring: fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pruning.cli import live, report
from pruning.cli.base import Json, On, Shared, Workers, app, one_sentence, refuse_settings, several
from pruning.settings import Settings, TrainSettings


@app.command()
@one_sentence
def fit(
    context: typer.Context,
    data: Annotated[list[str], typer.Argument(metavar="DATA...|DIR", help="The data, or the folder of an experiment.")],
    experiment: Annotated[
        Path | None, typer.Option("--experiment", help="Folder for the result. Default: experiments/NAME, named after the data.")
    ] = None,
    model: Annotated[str, typer.Option(help="A folder, a hub name, or 'sample'.")] = "sample",
    text: Annotated[str | None, typer.Option(help="Text column. Default: auto-detected.")] = None,
    label: Annotated[str | None, typer.Option(help="Label column. Default: auto-detected.")] = None,
    task: Annotated[str, typer.Option(help="Name of the task, or auto.")] = "auto",
    evaluation: Annotated[
        str | None, typer.Option("--eval", metavar="DATA", help="Evaluation data; the search never looks at it. Default: split off.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of the training that the rate is for.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Examples per optimizer step.")] = 32,
    lora: Annotated[
        int | None,
        typer.Option(
            help="Rank of LoRA adapters; 0 trains every weight. Default: 16 for generation from 300M parameters or in 4 bits, else 0."
        ),
    ] = None,
    load_in_4bit: Annotated[
        bool, typer.Option("--load-in-4bit", help="Keep the model's frozen linear layers in four bits (QLoRA).")
    ] = False,
    max_length: Annotated[int | None, typer.Option(help="Tokens per text. Default: the task's own.")] = None,
    on: On = None,
    workers: Workers = None,
    shared: Shared = None,
    as_json: Json = False,
) -> None:
    """Fit a learning rate to the data and the model, print it, and keep it for scoring and for the frontier."""
    from pruning.experiment import Experiment
    from pruning.jobs import worker
    from pruning.jobs.cluster import cluster
    from pruning.store.library import title

    place = cluster(on, workers, shared)
    with live.listener("Fitting the learning rate") as listen:
        named = several(data) or ""
        if (Path(named) / "experiment.json").exists():
            refuse_settings(context, named, "on", "workers", "shared", "as_json")
            fitted: Experiment = worker.fit_again(named, listen, place)
        else:
            settings = Settings(
                data=named,
                task=task,
                columns={field: column for field, column in (("text", text), ("label", label)) if column},
                evaluation=evaluation,
                model=model,
                max_length=max_length,
                train=TrainSettings(epochs=epochs, batch_size=batch_size, lora_rank=lora, load_in_4bit=load_in_4bit),
            )
            fitted = worker.fit(settings, experiment or Path("experiments") / (title(named) or "experiment"), listen, on=place)
    if as_json:
        print(json.dumps({name: found.to_dict() for name, found in fitted.learning_rates.items()}))
    else:
        report.show_learning_rates(fitted)
