"""Verbs for sampled answers: rollouts imports a log of them, sample makes one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pruning.cli import report
from pruning.cli.base import app, one_sentence, say, settings_options, words
from pruning.errors import UsageError
from pruning.interop.answers.importing import Options, import_answers
from pruning.interop.answers.log import Log, Wanted
from pruning.interop.answers.tools import TOOLS
from pruning.sampling import judging

LOG = "What the log calls it (detected by name where not given)"
RATES = "Tables with a row for each prompt"

Chance = Annotated[
    float,
    typer.Option(help="Probability that a guess is right, such as 0.25 with four options; 'never right' then means not above chance."),
]

AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="Let the verifiers python and tests run code: it has your rights, without a sandbox.")
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
    verify: Annotated[str, typer.Option(help="Judge the logged answers again, as sample --verify does, by the keys of the log.")] = "",
    allow_code: AllowCode = False,
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

    def judge(log: Log) -> None:
        if verify:
            judging.judge(log, verify, allow_code)

    imported = import_answers(recording, experiment, options, judge)
    say(f"Read as {imported.info['rollouts']['tool']}.")
    report.say_data(imported)
    report.show(imported)


@app.command()
@one_sentence
@settings_options("columns", "id_column", "drop_invalid")
def sample(
    changes: dict[str, Any],
    data: Annotated[str, typer.Argument(help="Prompts with their keys (reference answers).")],
    model: Annotated[str, typer.Option(help="A folder or hub name; with --endpoint the server's name of the model.")],
    experiment: Annotated[Path, typer.Option("--experiment", help="Experiment folder; the answers are in a file beside it.")],
    verify: Annotated[
        str,
        typer.Option(help="How answers are judged: exact, choice, number, math, regex:PATTERN, sql:DATABASE, python:FILE:FUNCTION, tests."),
    ],
    samples: Annotated[
        str,
        typer.Option(help="Answers to each prompt. 4,12,48: 4 each, then 12 and 48 more where all or none were right."),
    ] = "8",
    endpoint: Annotated[str, typer.Option(help="Server with OpenAI's chat completions, such as http://127.0.0.1:8000/v1.")] = "",
    temperature: Annotated[float, typer.Option(help="Sampling temperature.")] = 1.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Nucleus of the probabilities that is sampled.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="Most tokens of an answer.")] = 1024,
    system: Annotated[str, typer.Option(help="System prompt.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    chance: Chance = 0.0,
    allow_code: AllowCode = False,
    verify_again: Annotated[bool, typer.Option("--verify-again", help="Judge the answers there are again; sample none.")] = False,
) -> None:
    """Sample answers from a model and verify them; the same command continues what was stopped."""
    from pruning.sampling.asking import Asked
    from pruning.sampling.job import Request
    from pruning.sampling.job import sample as sample_answers

    if not all(word.isdigit() for word in words(samples)):
        raise UsageError(f"samples must be whole numbers such as 8 or 4,12,48, got {samples!r}.", "samples")
    asked = Asked(model=model, temperature=temperature, top_p=top_p, max_tokens=max_tokens, system=system, seed=seed)
    request = Request(
        data=data,
        asked=asked,
        verify=verify,
        stages=tuple(int(word) for word in words(samples)),
        endpoint=endpoint,
        chance=chance,
        allow_code=allow_code,
        verify_again=verify_again,
        settings=changes,
    )
    sampled = sample_answers(request, experiment, say)
    report.say_data(sampled)
    report.show(sampled)
