"""Verbs for sampled answers: rollouts imports a log of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pruning.cli import report
from pruning.cli.base import app, one_sentence, say, settings_options
from pruning.interop.answers.importing import Options, import_answers
from pruning.interop.answers.log import Wanted
from pruning.interop.answers.tools import TOOLS

LOG = "What the log calls it (detected by name where not given)"
RATES = "Tables with a row for each prompt"

Chance = Annotated[
    float,
    typer.Option(help="Probability that a guess is right, such as 0.25 with four options; 'never right' then means not above chance."),
]


def _column(flag: str, help_text: str, panel: str = LOG) -> Any:
    return typer.Option(flag, metavar="COLUMN", help=help_text, rich_help_panel=panel)


@app.command()
@one_sentence
@settings_options("columns", "id_column", "drop_invalid")
def rollouts(
    changes: dict[str, Any],
    recording: Annotated[
        list[Path],
        typer.Argument(
            metavar="LOG...", help="Files or folders of a tool's sampled answers (.jsonl, .parquet), or a table of success rates."
        ),
    ],
    experiment: Annotated[Path, typer.Option("--experiment", help="Experiment folder; created if it does not exist.")],
    data: Annotated[str, typer.Option(help="The prompts' own data, whose rows are kept and exported. Default: the rows of the log.")] = "",
    tool: Annotated[str, typer.Option(help=f"Tool that wrote the log: {', '.join(TOOLS)}, or wide (a row for each prompt).")] = "auto",
    threshold: Annotated[
        float | None, typer.Option(help="Smallest reward that counts as right. Not needed for rewards of 0 and 1, or -1 and 1.")
    ] = None,
    windows: Annotated[
        int | None, typer.Option(help="Divide the training steps into so many windows, each an epoch. Default: one, or the few steps.")
    ] = None,
    chance: Chance = 0.0,
    reward: Annotated[str, _column("--reward", "Reward or metric that means success; of lm-eval METRIC,FILTER.")] = "",
    prompt: Annotated[str, _column("--prompt", "Prompt.")] = "",
    name: Annotated[str, _column("--prompt-id", "The log's own id of the prompt, joined with the data's --id.")] = "",
    key: Annotated[str, _column("--key", "Key (reference answer).")] = "",
    answer: Annotated[str, _column("--answer", "Sampled answer.")] = "",
    step: Annotated[str, _column("--step", "Training step.")] = "",
    rewards: Annotated[str, _column("--rewards", "List of rewards, one for each answer.", RATES)] = "",
    answers: Annotated[str, _column("--answers", "List of answers.", RATES)] = "",
    pass_rate: Annotated[str, _column("--pass-rate", "Share of right answers, or percent. Needs --attempts.", RATES)] = "",
    successes: Annotated[str, _column("--successes", "Number of right answers. Needs --attempts.", RATES)] = "",
    failures: Annotated[str, _column("--failures", "Number of wrong answers. Needs --attempts.", RATES)] = "",
    attempts: Annotated[
        str, typer.Option(metavar="N|COLUMN", help="Answers behind each rate or count: a number, or a column.", rich_help_panel=RATES)
    ] = "",
) -> None:
    """Import sampled answers: how often a model solved each prompt, from logs of RL and evaluation tools or from success rates."""
    wanted = Wanted(
        reward=reward,
        prompt=prompt,
        key=key,
        answer=answer,
        step=step,
        name=name,
        rewards=rewards,
        answers=answers,
        pass_rate=pass_rate,
        successes=successes,
        failures=failures,
        attempts=attempts,
    )
    options = Options(data=data, tool=tool, wanted=wanted, threshold=threshold, windows=windows, chance=chance, settings=changes)
    imported = import_answers(recording, experiment, options)
    say(f"Read as {imported.info['rollouts']['tool']}.")
    report.say_data(imported)
    report.show(imported)
