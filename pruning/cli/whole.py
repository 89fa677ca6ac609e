"""Verb for the whole job: prune."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pruning import presets
from pruning.analysis.racing import BUDGET
from pruning.analysis.recommendation import MARGIN
from pruning.cli import live, report
from pruning.cli.base import (
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
    settings_options,
    words,
)
from pruning.errors import Cancelled
from pruning.options import settings_of
from pruning.settings import Settings, default_seeds

if TYPE_CHECKING:
    from pruning.jobs.prune import Pruned


@app.command()
@one_sentence
@settings_options()
def prune(
    changes: dict[str, Any],
    output: Annotated[Path, typer.Option(help="File to write, such as reviews.pruned.jsonl.")],
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help=settings_of(Settings)["data"].option.help)] = None,
    experiment: Annotated[
        Path | None, typer.Option("--experiment", help="Experiment folder. Default: experiments/NAME, named after the data.")
    ] = None,
    give_up: Annotated[float, typer.Option("--give-up", help="Accuracy that may be given up for a smaller set (pp).")] = 100 * MARGIN,
    budget_runs: Annotated[float, typer.Option("--budget-runs", help="Most that deciding may cost (fine-tunings of full data).")] = BUDGET,
    candidates: Annotated[
        str,
        typer.Option(
            help="Comma-separated subsets to choose from. Default: drop-suspects, choice, parts of both, the ladder's second, random@0.5."
        ),
    ] = "",
    settings: Annotated[
        str | None, typer.Option(metavar="FILE", help="Settings file (JSON; '-' reads standard input); other options change it.")
    ] = None,
    runs: Annotated[int | None, typer.Option(help="Number of scoring runs R, one fine-tuning each. Default: 6.")] = None,
    text: TextColumn = None,
    text_pair: TextPairColumn = None,
    label: LabelColumn = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing export.")] = False,
    on: On = None,
    workers: Workers = None,
    shared: Shared = None,
) -> None:
    """Do the whole job: fit the rate, score, choose the smallest set that holds accuracy, write and verify it.

    The same command continues a job that was stopped. Exits with 1, and writes nothing, if no smaller set holds accuracy.
    """
    from pruning.jobs import prune as job
    from pruning.jobs.cluster import cluster
    from pruning.store.library import title

    place = cluster(on, workers, shared)
    order = job.Order(output=output, give_up=give_up / 100, budget=budget_runs, candidates=tuple(words(candidates)), force=force)
    changes = columns_of(changes, text=text, text_pair=text_pair, label=label)
    if runs is not None and "seeds" not in changes:
        changes["seeds"] = default_seeds(runs)
    chosen = presets.starting(data, None, settings, changes)
    folder = experiment or Path("experiments") / (title(chosen.data) or "experiment")
    if not (folder / "experiment.json").exists():
        job.check_output(folder, chosen, order)
        report.say_whole_estimate(chosen, budget_runs)
    with _way_on(folder), live.listener("Pruning") as listen:
        done = job.prune(chosen, folder, order, listen, place)
    finish(done)


def finish(done: Pruned) -> None:
    """Print the verdict of the whole job, and exit with 1 where nothing was exported."""
    report.show_pruned(done)
    if done.subset is None:
        raise typer.Exit(1)


@contextmanager
def _way_on(folder: Path) -> Iterator[None]:
    """Add to a cancelled job's sentence how to continue it."""
    try:
        yield
    except Cancelled as stopped:
        raise Cancelled(f"{stopped} Continue with the same command, or: {program()} resume {folder}") from None
