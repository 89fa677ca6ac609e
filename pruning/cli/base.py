"""The application object, the shape of an error on the terminal, and the options that several verbs share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from pruning.errors import Cancelled, UsageError, WinnowError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Find the part of a fine-tuning set that matters.", pretty_exceptions_enable=False
)

P = ParamSpec("P")

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The experiment's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
BurnIn = Annotated[
    int | None, typer.Option("--burn-in", help="First epochs left out of every score; 0 = the paper. Default: the experiment's own.")
]
Budget = Annotated[
    str, typer.Option("--budget", help="epochs = as many as full data (the paper); steps = as many optimizer steps as full data.")
]
Margin = Annotated[
    float,
    typer.Option("--margin", help="Points that the recommended subset may be worse than full data, with 95% confidence."),
]


def one_sentence(verb: Callable[P, None]) -> Callable[P, None]:
    """The verb with every error a person can mend as one sentence and an exit code: 2 for wrong usage, 130 for a stop, else 1."""

    @wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            verb(*args, **kwargs)
        except Cancelled as stopped:
            print(stopped, file=sys.stderr)
            raise typer.Exit(130) from None
        except WinnowError as error:
            print(f"Error: {error}", file=sys.stderr)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None

    return run


def words(text: str) -> list[str]:
    """Words separated by commas, those that are empty left out."""
    return [word.strip() for word in text.split(",") if word.strip()]
