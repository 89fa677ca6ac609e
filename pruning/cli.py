"""The command line: each verb parses, makes one call into the library, and prints.

Exit code 0 = done, 1 = failed with one clear sentence, 2 = wrong usage, 130 = cancelled.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

from pruning import presets, report
from pruning.analysis.frontier import USUAL_SEEDS, check_budget
from pruning.analysis.recommendation import MARGIN, margin_of
from pruning.errors import Cancelled, UsageError, WinnowError
from pruning.export.formats import FORMATS_HELP
from pruning.formatting import counted
from pruning.settings import APPROXIMATIONS, Settings, TrainSettings, default_seeds
from pruning.store.saved_subsets import NAMING
from pruning.subsets.rules import BASELINES, DECISIONS, USUAL_BASELINES

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Find the part of a fine-tuning set that matters.", pretty_exceptions_enable=False
)

P = ParamSpec("P")

WAYS = ", ".join(f"{name} ({way.words}; ranks agree to {way.agreement:.2f} of 1)" for name, way in APPROXIMATIONS.items())

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


def main() -> None:
    """Run the command line; every error a person can mend is one sentence on stderr."""
    app(prog_name="python -m pruning")


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


@app.command()
@one_sentence
def show(
    directory: Directory, burn_in: BurnIn = None, budget: Budget = "epochs", margin: Margin = 100 * MARGIN, as_json: Json = False
) -> None:
    """The histogram of H, the subsets, and the frontier and recommendation at one budget; as JSON, the frontier at both."""
    from pruning.experiment import Experiment

    check_budget(budget)
    experiment, allowed = Experiment(directory), margin_of(margin)
    if as_json:
        print(json.dumps(report.as_dict(experiment, burn_in, budget, allowed), allow_nan=False))
    else:
        report.show(experiment, burn_in, budget, allowed)


@app.command()
@one_sentence
def frontier(
    directory: Directory,
    subsets: Annotated[str, typer.Option(help="auto = the whole ladder, or names separated by commas.")] = "auto",
    baselines: Annotated[str, typer.Option(help=f"Measured at each subset's size: {', '.join(BASELINES)}; empty for none.")] = ",".join(
        USUAL_BASELINES
    ),
    seeds: Annotated[int, typer.Option(help="Fine-tunings per point; 3 is the least for an interval worth reading.")] = USUAL_SEEDS,
    budget: Budget = "epochs",
    burn_in: BurnIn = None,
    margin: Margin = 100 * MARGIN,
) -> None:
    """Fine-tune on each subset and measure it on the evaluation data; finished points are kept."""
    from pruning.jobs import worker

    names, allowed = [] if subsets == "auto" else _words(subsets), margin_of(margin)
    with report.listener("Measuring the frontier") as listen:
        experiment = worker.frontier(directory, names, _words(baselines), seeds, budget, burn_in, listen)
    report.show(experiment, burn_in, budget, allowed)


@app.command()
@one_sentence
def audit(
    directory: Directory,
    subset: Annotated[str, typer.Option(help="A subset's name; with '+decisions' after it, as decided by hand.")] = "winning-ticket",
    burn_in: BurnIn = None,
    duplicates: Annotated[
        str | None,
        typer.Option(
            help="Decide of duplicates by hand, as Inspect does: keep-one of each group; keep-whole or drop-whole groups that the subset "
            "keeps in part; drop-leaks, what is in the evaluation data too. Inspect undoes it."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """What a subset would lose, by class and by every column; labels that look wrong; duplicates and leakage."""
    from pruning.audit_report import findings, settlement
    from pruning.experiment import Experiment

    experiment = Experiment(directory)
    if duplicates is not None:
        decision = settlement(experiment, experiment.subset(subset, burn_in), duplicates)
        subset = subset.removesuffix(DECISIONS) + DECISIONS
        if decision.ids:
            experiment.decide(decision)
        print(f"{decision.value}: {counted(len(decision.ids), 'example')} decided by hand.", file=sys.stderr)
    found = findings(experiment, experiment.subset(subset, burn_in), burn_in)
    if as_json:
        print(json.dumps(found.to_dict(), allow_nan=False))
    else:
        print("\n".join(found.sentences()))


@app.command()
@one_sentence
def save(
    directory: Directory,
    subset: Annotated[str, typer.Argument(help="A subset's name; with '+decisions' after it, as decided by hand.")],
    name: Annotated[str, typer.Argument(help=f"What to call its rows: {NAMING}.")],
    burn_in: BurnIn = None,
) -> None:
    """Keep a subset's rows under a name of your own, usable wherever a subset is named, whatever its rule keeps later."""
    from pruning.experiment import Experiment
    from pruning.store.saved_subsets import save_subset

    experiment = Experiment(directory)
    chosen = experiment.subset(subset, burn_in)
    path = save_subset(experiment, name, chosen, burn_in)
    print(f"Saved {chosen.size} of {chosen.total} examples ({chosen.rule}) as {name} in {path}.")


@app.command()
@one_sentence
def forget(directory: Directory, name: Annotated[str, typer.Argument(metavar="NAME", help="What it was saved under.")]) -> None:
    """Remove a saved subset; exports made of it stay."""
    from pruning.experiment import Experiment
    from pruning.store.saved_subsets import forget_subset

    forget_subset(Experiment(directory), name)
    print(f"{name} is forgotten.")


@app.command()
@one_sentence
def export(
    directory: Directory,
    subset: Annotated[str, typer.Option(help="A subset's name; with '+decisions' after it, as decided by hand.")] = "winning-ticket",
    output: Annotated[Path | None, typer.Option(help="File to write. Default: the experiment's exports folder.")] = None,
    format: Annotated[str, typer.Option(help=FORMATS_HELP)] = "jsonl",
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    burn_in: BurnIn = None,
) -> None:
    """Write the rows of a subset and its manifest."""
    from pruning.experiment import Experiment
    from pruning.export import writer as exports

    experiment = Experiment(directory)
    chosen = experiment.subset(subset, burn_in)
    place = output or exports.default_output(experiment, chosen, format)
    manifest = exports.build(experiment, chosen, place, format, force, burn_in)
    for sentence in manifest["warnings"]:
        print(f"Warning: {sentence}", file=sys.stderr)
    print(f"Wrote {chosen.size} of {chosen.total} examples ({chosen.rule}) to {place}; its manifest is {exports.manifest_path(place)}.")


@app.command()
@one_sentence
def verify(output: Annotated[Path, typer.Argument(metavar="FILE", help="An exported file or folder, or an experiment's folder.")]) -> None:
    """Check an export against its manifest, or every file of an experiment against its checksum."""
    from pruning.experiment import Experiment
    from pruning.export import writer as exports

    if (output / "experiment.json").exists():
        print(f"{output} is whole: {Experiment(output).verify()} files are what was recorded.")
        return
    manifest = exports.verify(output)
    written = manifest["output"]
    print(f"{output} is what its manifest says: {manifest['subset']['name']}, {written['rows']} rows, sha256 {written['sha256'][:12]}.")


@app.command()
@one_sentence
def status(directory: Directory, as_json: Json = False) -> None:
    """Where the experiment's latest job stands."""
    from pruning.experiment import Experiment
    from pruning.jobs import divergence

    experiment = Experiment(directory)
    found, notes = experiment.status(), [*experiment.notes(), *divergence.warnings(experiment)]
    if as_json:
        print(json.dumps({**report.status_dict(found), "notes": notes}))
    else:
        print("\n".join((found.sentence, *notes)))


@app.command()
@one_sentence
def cancel(directory: Directory) -> None:
    """Stop the experiment's worker at its next step; finished work is kept."""
    from pruning.jobs import background

    stopped = background.cancel(directory)
    print("Cancelled; finished work is kept." if stopped else "Asked to stop; the worker is still finishing a step.")


@app.command()
@one_sentence
def resume(
    directory: Directory,
    redo: Annotated[bool, typer.Option("--redo-diverged", help="Train diverged runs again, each with the next seed.")] = False,
) -> None:
    """Go on with what was cancelled or interrupted."""
    from pruning.jobs import worker

    with report.listener("Going on") as listen:
        experiment = (worker.redo if redo else worker.resume)(directory, listen)
    report.show(experiment)


@app.command(name="app")
@one_sentence
def dashboard(
    experiments: Annotated[Path, typer.Option(help="Folder that holds the experiments.")] = Path("experiments"),
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 8501,
    address: Annotated[str, typer.Option(help="Address to listen on; beyond this machine only with WINNOW_PASSWORD set.")] = "127.0.0.1",
    host: Annotated[list[str] | None, typer.Option("--host", help="A further name under which browsers reach it.")] = None,
) -> None:
    """Open the dashboard, on this machine only unless told otherwise."""
    from pruning.ui.server.launch import main as launch

    launch(experiments, port, address, host or ())


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
        return tuple(int(word) for word in _words(text))
    except ValueError:
        raise UsageError(f"--seed-list is {text!r}; write whole numbers separated by commas.") from None


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
