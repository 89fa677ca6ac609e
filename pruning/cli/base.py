"""The application object, errors on the terminal, and the options that several verbs share."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer.models import OptionInfo

from pruning import __version__, logs
from pruning.errors import Cancelled, UsageError, WinnowError
from pruning.formatting import one_line, printable
from pruning.options import Setting, parse, settings_of
from pruning.settings import DATA, GROUPS, Settings, TrainSettings
from pruning.success import HELP as SUCCESS

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Find the part of a fine-tuning set that matters.", pretty_exceptions_enable=False
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"winnow {__version__}")
        raise typer.Exit


@app.callback()
def winnow(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")] = False,
) -> None:
    """Find the part of a fine-tuning set that matters."""


Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Experiment folder.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Print the log to stderr.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
BurnIn = Annotated[
    int | None, typer.Option("--burn-in", help="First epochs left out of every score; 0 is the paper. Default: the experiment's own.")
]
SuccessRule = Annotated[
    str | None,
    typer.Option("--success", metavar="RULE", help=f"When a generated answer is right: {SUCCESS}. Default: the experiment's own."),
]
SubsetName = Annotated[str, typer.Option("--subset", help="A subset's name. Decisions made by hand count.")]
WithoutDecisions = Annotated[bool, typer.Option("--without-decisions", help="Leave out the decisions made by hand.")]
Budget = Annotated[
    str,
    typer.Option(
        "--budget",
        help="epochs = as many as full data (the paper); steps = as many optimizer steps as full data; "
        "enough = as many steps as full data needed to stop improving.",
    ),
]
Margin = Annotated[
    float,
    typer.Option("--margin", help="Accuracy the recommended subset may lose to full data (pp), with 95% confidence."),
]

CLUSTER = "Cluster"
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="here|ray|HOST:PORT",
        envvar="WINNOW_ON",
        show_envvar=False,
        help="Train on a Ray cluster: ray = the one this machine is in. Default: here.",
        rich_help_panel=CLUSTER,
    ),
]
Workers = Annotated[
    str | None,
    typer.Option("--workers", metavar="auto|N", help="Most GPUs or cores of the cluster at once. Default: auto.", rich_help_panel=CLUSTER),
]
Shared = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder that every machine sees, for checkpoints: a lost run resumes where it was last saved.",
        rich_help_panel=CLUSTER,
    ),
]

TextColumn = Annotated[str | None, typer.Option("--text", help="Text column. Default: auto-detected.", rich_help_panel=DATA)]
TextPairColumn = Annotated[str | None, typer.Option("--text-pair", help="Column of a pair's second text.", rich_help_panel=DATA)]
LabelColumn = Annotated[str | None, typer.Option("--label", help="Label column. Default: auto-detected.", rich_help_panel=DATA)]


class Unbroken:
    """A text stream whose reader may leave (`winnow score ... | head`): what is written afterwards is dropped, and the work continues."""

    def __init__(self, stream: TextIO, cleaned: bool = True) -> None:
        self._stream, self._cleaned = stream, cleaned

    @property
    def rich_proxied_file(self) -> Unbroken:
        """The stream for what rich prints, which has colours of its own; `report.console` cleans the texts in it."""
        return Unbroken(self._stream, cleaned=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text without what steers a terminal, or drop it."""
        try:
            return self._stream.write(printable(text) if self._cleaned else text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Send what was written, or drop it."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        """Send everything to the null device, what is still in the stream's buffer included."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)


def say(sentence: object, error: bool = False) -> None:
    """Print a sentence as one line, to stderr if `error`. Everything but JSON and tables is printed here."""
    print(one_line(sentence), file=sys.stderr if error else sys.stdout, flush=True)


def one_sentence(verb: Callable[..., None]) -> Callable[..., None]:
    """Wrap a verb: an error the user can fix becomes one sentence on stderr and an exit code (2 wrong usage, 130 cancelled, else 1)."""

    @wraps(verb)
    def run(*args: Any, verbose: bool = False, **kwargs: Any) -> None:
        try:
            with logs.to_stderr() if verbose else nullcontext():
                verb(*args, **kwargs)
        except Cancelled as stopped:
            say(stopped, error=True)
            raise typer.Exit(130) from None
        except WinnowError as error:
            say(f"Error: {with_flag(error, verb)}", error=True)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None

    own = [*signature(verb, eval_str=True).parameters.values()]
    also = Parameter("verbose", Parameter.KEYWORD_ONLY, default=False, annotation=Verbose)
    return _with_parameters(run, [*own, also])


def _with_parameters(verb: Callable[..., None], parameters: list[Parameter]) -> Callable[..., None]:
    """Give a function the parameters that typer reads."""
    vars(verb)["__signature__"] = Signature(parameters)
    verb.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return verb


def refuse_settings(context: typer.Context, directory: str, *allowed: str) -> None:
    """Raise UsageError for an option given beside the folder of an experiment, whose own settings hold."""
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if source is not None and source.name == "COMMANDLINE" and option.name not in ("data", "verbose", *allowed):
            raise UsageError(
                f"{directory} is an experiment, whose own settings hold; leave out {option.opts[0]}, or name data instead of the folder."
            )


def with_flag(error: WinnowError, verb: Callable[..., None]) -> str:
    """Return an error's sentence, with the flag of the setting it names where the verb has one."""
    sentence, flags, field = str(error), _flags(verb), getattr(error, "field", "")
    if field == "columns" and {"text", "label"} <= flags.keys():
        return f"{sentence} For example: --text COLUMN --label COLUMN."
    flag = flags.get(field, "")
    return f"{sentence.rstrip('.')} ({flag})." if flag and flag not in sentence else sentence


def _flags(verb: Callable[..., None]) -> dict[str, str]:
    """Return the flag of each option of a verb, by the name of its parameter."""
    found = {}
    for name, parameter in signature(verb, eval_str=True).parameters.items():
        for extra in getattr(parameter.annotation, "__metadata__", ()):
            if isinstance(extra, OptionInfo):
                declared = [*([extra.default] if isinstance(extra.default, str) else []), *(extra.param_decls or ())]
                found[name] = declared[0].partition("/")[0] if declared else f"--{name.replace('_', '-')}"
    return found


def several(data: list[str] | None) -> str | None:
    """Return data given as several arguments (a glob that the shell expanded) as one name; None for none.

    Raises UsageError where a comma in a name would be read as a separator.
    """
    if not data:
        return None
    if len(data) > 1 and (comma := next((name for name in data if "," in name), None)):
        raise UsageError(f"{comma} has a comma in its name, which separates files; give the folder, or the glob in quotes.")
    return ",".join(data)


def columns_of(changes: dict[str, Any], **named: str | None) -> dict[str, Any]:
    """Return the changes with the columns that have a flag of their own (field -> column) added to those of --column."""
    columns = {**{field: column for field, column in named.items() if column}, **changes.get("columns", {})}
    return {**changes, "columns": columns} if columns else changes


def settings_options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb an option for each setting named (all that have a flag where none is); those typed arrive in its `changes`."""
    every = {name: setting for kind in (TrainSettings, Settings) for name, setting in settings_of(kind).items() if setting.flag}
    chosen = {name: every[name] for name in names or sorted(every, key=lambda name: GROUPS.index(every[name].option.group))}

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        own = [parameter for parameter in signature(verb, eval_str=True).parameters.values() if parameter.name != "changes"]
        options = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=_option(chosen[name])) for name in chosen]

        @wraps(verb)
        def run(**given: Any) -> None:
            typed = {name: value for name in chosen if (value := given.pop(name)) is not None and value != []}
            verb(**given, changes={name: parse(chosen[name], value) for name, value in typed.items()})

        both = [*(parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own), *options]
        return _with_parameters(run, both)

    return decorate


def _option(setting: Setting) -> Any:
    """Return the annotation of a setting's parameter as typer reads it."""
    option, simple = setting.option, setting.type in (int, float, bool) and not setting.option.none
    kind = setting.type if simple else list[str] if isinstance(setting.default, dict) else str
    on_by_default = f"{setting.flag}/--no-{setting.flag[2:]}" if setting.default is True else setting.flag
    default = option.default or (f"{setting.default:g}" if type(setting.default) in (int, float) else "")
    default = default or (setting.default if isinstance(setting.default, str) else "")
    help_text = f"{option.help} Default: {default}." if default else option.help
    return Annotated[kind | None, typer.Option(on_by_default, metavar=option.metavar, help=help_text, rich_help_panel=option.group or None)]


def program() -> str:
    """Return the command that this process was started as: winnow, or python -m pruning."""
    return "winnow" if Path(sys.argv[0]).name == "winnow" else "python -m pruning"


def score_command(data: str, settings: Settings, folder: Path) -> str:
    """Return the command that scores data with the model, the columns and the rows of these settings, into a folder."""
    from pruning.data.tasks import TASKS

    if settings.max_length == TASKS[settings.task].max_length:
        settings = replace(settings, max_length=None)
    found = [*program().split(), "score", data, "--model", settings.model]
    for field, column in settings.columns.items():
        found += ["--column", f"{field}={column}"]
    for name in ("evaluation", "limit", "max_length", "id_column", "missing_label"):
        if (value := getattr(settings, name)) is not None:
            found += [settings_of(Settings)[name].flag, str(value)]
    switches = {"--drop-invalid": settings.drop_invalid, "--no-header": settings.header is False}
    return shlex.join([*found, *(flag for flag, on in switches.items() if on), "--experiment", str(folder)])


def words(text: str) -> list[str]:
    """Return the words that commas separate, empty ones left out."""
    return [word.strip() for word in text.split(",") if word.strip()]
