"""Verbs about what was recorded: show, audit, save, forget, export, verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pruning.analysis.frontier import check_budget
from pruning.analysis.recommendation import MARGIN, margin_of
from pruning.cli import report
from pruning.cli.base import Budget, BurnIn, Directory, Json, Margin, SubsetName, SuccessRule, WithoutDecisions, app, one_sentence, say
from pruning.export.formats import ESCAPE_HELP, FORMATS_HELP, of_output
from pruning.formatting import counted
from pruning.store.saved_subsets import NAMING


@app.command()
@one_sentence
def show(
    directory: Directory,
    burn_in: BurnIn = None,
    success: SuccessRule = None,
    without_decisions: WithoutDecisions = False,
    budget: Budget = "epochs",
    margin: Margin = 100 * MARGIN,
    as_json: Json = False,
) -> None:
    """The histogram of H, the subsets, and the frontier and recommendation at one budget; as JSON, the frontier at every budget."""
    from pruning.experiment import Experiment

    check_budget(budget)
    experiment, allowed = Experiment(directory, burn_in, not without_decisions, success), margin_of(margin)
    if as_json:
        print(json.dumps(experiment.summary(budget, allowed), allow_nan=False))
    else:
        report.show(experiment, budget, allowed)


@app.command()
@one_sentence
def audit(
    directory: Directory,
    subset: SubsetName = "winning-ticket",
    burn_in: BurnIn = None,
    success: SuccessRule = None,
    without_decisions: WithoutDecisions = False,
    duplicates: Annotated[
        str | None,
        typer.Option(
            help="Resolve duplicates: keep-one of each group; keep-whole or drop-whole groups that the subset keeps in part; drop-leaks, "
            "examples that are in the evaluation data too. Undo it on the Inspect page."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a subset loses by class and by column, labels that look wrong, duplicates, and leakage."""
    from pruning.experiment import Experiment

    experiment = Experiment(directory, burn_in, not without_decisions, success)
    if duplicates is not None:
        decision = experiment.resolve_duplicates(subset, duplicates)
        say(f"{decision.value}: {counted(len(decision.ids), 'example')} decided by hand.", error=True)
    found = experiment.audit(subset)
    if as_json:
        print(json.dumps(found.to_dict(), allow_nan=False))
    else:
        for sentence in found.sentences():
            say(sentence)


@app.command()
@one_sentence
def compare(
    directory: Directory,
    other: Annotated[Path, typer.Argument(metavar="DIR", help="Experiment folder to compare it with.")],
    burn_in: BurnIn = None,
    success: SuccessRule = None,
    as_json: Json = False,
) -> None:
    """Compare two experiments on the examples that both have: H against H, rank agreement, tickets in common, who changed most."""
    from pruning.experiment import Experiment
    from pruning.reports import comparison

    first, second = Experiment(directory, burn_in, success=success), Experiment(other, burn_in, success=success)
    found = comparison.compare(first, second)
    if as_json:
        print(json.dumps(comparison.plain(first, found), allow_nan=False))
    else:
        report.compare(found, comparison.changed(first, found, report.MOST_CHANGED))


@app.command()
@one_sentence
def save(
    directory: Directory,
    subset: Annotated[str, typer.Argument(help="A subset's name. Decisions made by hand count.")],
    name: Annotated[str, typer.Argument(help=f"Name for its rows: {NAMING}.")],
    burn_in: BurnIn = None,
    success: SuccessRule = None,
    without_decisions: WithoutDecisions = False,
) -> None:
    """Save a subset's rows under a name that works wherever a subset is named, even if its rule keeps other rows later."""
    from pruning.experiment import Experiment

    experiment = Experiment(directory, burn_in, not without_decisions, success)
    chosen = experiment.subset(subset)
    path = experiment.save(name, chosen)
    say(f"Saved {chosen.size} of {chosen.total} examples ({chosen.rule}) as {name} in {path}.")


@app.command()
@one_sentence
def forget(directory: Directory, name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the saved subset.")]) -> None:
    """Remove a saved subset; its exports are kept."""
    from pruning.experiment import Experiment

    Experiment(directory).forget(name)
    say(f"Removed the saved subset {name}.")


@app.command()
@one_sentence
def export(
    directory: Directory,
    subset: SubsetName = "winning-ticket",
    output: Annotated[Path | None, typer.Option(help="File to write. Default: the experiment's exports folder.")] = None,
    format: Annotated[str | None, typer.Option(help=f"{FORMATS_HELP} Default: by the ending of --output, else jsonl.")] = None,
    escape_formulas: Annotated[bool, typer.Option("--escape-formulas", help=ESCAPE_HELP)] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing export.")] = False,
    burn_in: BurnIn = None,
    success: SuccessRule = None,
    without_decisions: WithoutDecisions = False,
) -> None:
    """Write the rows of a subset and its manifest."""
    from pruning.experiment import Experiment
    from pruning.export import writer as exports

    experiment = Experiment(directory, burn_in, not without_decisions, success)
    chosen = experiment.subset(subset)
    named = of_output(output, format)
    place = output or exports.default_output(experiment, chosen, named)
    manifest = exports.build(experiment, chosen, place, named, force, escape_formulas)
    for sentence in manifest["warnings"]:
        say(f"Warning: {sentence}", error=True)
    say(f"Wrote {chosen.size} of {chosen.total} examples ({chosen.rule}) to {place}; its manifest is {exports.manifest_path(place)}.")


@app.command()
@one_sentence
def verify(output: Annotated[Path, typer.Argument(metavar="FILE", help="An exported file or folder, or an experiment's folder.")]) -> None:
    """Check an export against its manifest, or every file of an experiment against its checksum."""
    from pruning.experiment import verified

    say(verified(output))
