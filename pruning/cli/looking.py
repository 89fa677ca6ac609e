"""Verb that looks at data before anything is trained: look."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pruning.cli import live, report
from pruning.cli.base import (
    Json,
    LabelColumn,
    TextColumn,
    TextPairColumn,
    app,
    columns_of,
    one_sentence,
    program,
    refuse_settings,
    say,
    score_command,
    settings_options,
)
from pruning.settings import SAMPLE, Settings


@app.command()
@one_sentence
@settings_options("columns", "drop_invalid", "id_column", "missing_label", "header")
def look(
    changes: dict[str, Any],
    context: typer.Context,
    data: Annotated[str, typer.Argument(metavar="DATA|DIR", help="The data, or the folder of an experiment.")],
    experiment: Annotated[
        Path | None, typer.Option("--experiment", help="Folder for the result. Default: experiments/NAME, named after the data.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A folder, a hub name, or 'sample'. Default: sample, or the experiment's own.")] = None,
    text: TextColumn = None,
    text_pair: TextPairColumn = None,
    label: LabelColumn = None,
    task: Annotated[str, typer.Option(help="Name of the task, or auto.")] = "auto",
    evaluation: Annotated[str | None, typer.Option("--eval", metavar="DATA", help="Evaluation data. Default: split off.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use only this many training examples. Default: all.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens per text. Default: the task's own.")] = None,
    as_json: Json = False,
) -> None:
    """Show how hard the data is before training: one pass of the pretrained model, a linear probe, suspected labels, duplicates."""
    from pruning.jobs import worker
    from pruning.records import DISTINCT
    from pruning.reports import first_look
    from pruning.store.library import title

    with live.listener("Looking") as listen:
        if (Path(data) / "experiment.json").exists():
            refuse_settings(context, data, "model", "as_json")
            looked = worker.look_again(data, listen, model)
        else:
            settings = Settings(
                data=data,
                task=task,
                **columns_of(changes, text=text, text_pair=text_pair, label=label),
                evaluation=evaluation,
                limit=limit,
                model=model or SAMPLE,
                max_length=max_length,
            )
            looked = worker.look(settings, experiment or Path("experiments") / (title(data) or "experiment"), listen)
    found = first_look.first_look(looked)
    if as_json:
        print(json.dumps(found.to_dict()))
        return
    report.say_data(looked)
    for sentence in found.sentences():
        say(sentence)
    root = looked.folder.root
    say(f"The look is in {root}.")
    if found.copies:
        output = f"{looked.name}.{DISTINCT}.jsonl"
        every = replace(looked.settings, limit=None, drop_invalid=False, header=None)
        say(f"One of each: {program()} export {shlex.quote(str(root))} --subset {DISTINCT} --output {shlex.quote(output)}")
        say(f"Fine-tune on these: {score_command(output, every, root.with_name(f'{root.name}-{DISTINCT}'))}")
    elif not looked.finished_runs():
        say(f"Fine-tune to sharpen this: {score_command(looked.settings.data, looked.settings, root)}")
