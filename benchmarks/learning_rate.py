"""Measure the fitted learning rate against the best one of a full grid.

    python -m benchmarks.learning_rate [--cell movies-2000 --cell posts-1000 ...] [--evaluation 2000] [--seeds 3] [--measured]

On each training set of the study (`benchmarks.cells.CELLS`), full data is fine-tuned at every candidate rate (3 epochs, the paper's
seeds), and the rate is fitted as `--learning-rate auto` does. The table has each rate's evaluation accuracy and the verdict on it, and
what the search chose at which cost. Every run is kept in DIR (default: experiments/learning-rate), so that it resumes where it was
stopped; --measured trains nothing and prints the table of what is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cells import CELLS, files
from benchmarks.machine import heading
from pruning.analysis.learning_rate import CANDIDATES
from pruning.cli import report
from pruning.experiment import Experiment
from pruning.formatting import scientific
from pruning.jobs import worker
from pruning.settings import FULL_RECIPE, Settings, TrainSettings, default_seeds


def main(
    cell: Annotated[list[str], typer.Option(help="Training set of the study; may be given more than once.")] = ["movies-1000"],  # noqa: B006
    evaluation: Annotated[int, typer.Option(help="Evaluation rows.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per rate.")] = 3,
    folder: Annotated[Path, typer.Option(help="Where every run is kept.")] = Path("experiments/learning-rate"),
    measured: Annotated[bool, typer.Option("--measured", help="Train nothing.")] = False,
) -> None:
    """Measure what is missing, and print the tables."""
    cells = [each for each in CELLS if each.name in cell]
    for each in () if measured else cells:
        train, held_out = map(str, files(each, evaluation, folder / "data"))
        for rate in CANDIDATES:
            recipe = TrainSettings(learning_rate=rate)
            settings = Settings(data=train, evaluation=held_out, seeds=default_seeds(seeds), checkpoints=False, look=False, train=recipe)
            with report.listener(f"{each.name} at {scientific(rate)}") as listen:
                worker.score(settings, folder / f"{each.name}-{scientific(rate)}", listen)
        with report.listener(f"Fitting the learning rate to {each.name}") as listen:
            settings = Settings(data=train, evaluation=held_out, seeds=default_seeds(seeds), checkpoints=False)
            worker.fit(settings, folder / f"{each.name}-auto", listen)
    options = [*(f"--cell {each.name}" for each in cells), f"--evaluation {evaluation}"]
    command = " ".join(["python -m benchmarks.learning_rate", *options])
    print(heading("The fitted learning rate against a grid", command))
    for each in cells:
        print("\n".join(table(folder, each.name)))


def table(folder: Path, name: str) -> list[str]:
    """Return the lines about one training set."""
    lines = [f"## {name}", "", "| rate | accuracy, mean | of each run | 5-95% range of gold probabilities | verdict |"]
    lines.append("|---|---|---|---|---|")
    means: dict[float, float] = {}
    for rate in CANDIDATES:
        place = folder / f"{name}-{scientific(rate)}"
        if not (place / "frontier.parquet").exists():
            continue
        experiment = Experiment(place)
        accuracy = experiment.finished()["accuracy"]
        if len(accuracy) < experiment.settings.runs:
            continue
        means[rate] = float(accuracy.mean())
        each = " ".join(f"{value:.3f}" for value in accuracy)
        learned = experiment.learned
        spread = " ".join(f"{value:.2f}" for value in experiment.evidence.spread)
        lines.append(f"| {scientific(rate)} | {means[rate]:.3f} | {each} | {spread} | {learned.verdict} |")
    if not means:
        lines[2:] = ["No rate was measured on full data yet."]
    lines += ["", *_search(folder / f"{name}-auto", means), ""]
    return lines


def _search(place: Path, means: dict[float, float]) -> list[str]:
    if not (place / "experiment.json").exists() or FULL_RECIPE not in Experiment(place).learning_rates:
        return ["The rate was not fitted yet."]
    fit = Experiment(place).learning_rates[FULL_RECIPE]
    lines = [f"{fit.sentence} Training time: {fit.seconds:.0f} s on one core.", ""]
    for number, each in enumerate(fit.rounds, 1):
        losses = ", ".join(f"{scientific(one['rate'])} {one['loss']:.3f}" for one in each["candidates"] if one["loss"] is not None)
        lines.append(f"- round {number}, {each['rows']:,} rows, {each['steps']:,} steps; held-out loss: {losses}")
    if fit.rate in means:
        best = max(means, key=lambda rate: means[rate])
        behind = 100 * (means[best] - means[fit.rate])
        lines += ["", f"Best of the {len(means)} rates measured: {scientific(best)}; the fitted one is {behind:.1f} pp behind it."]
    return lines


if __name__ == "__main__":
    typer.run(main)
