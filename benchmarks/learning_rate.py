"""Measure the fitted learning rate against the best one of a full grid.

    python -m benchmarks.learning_rate [--train 1000 --train 2000 --train 4000] [--evaluation 2000] [--seeds 3] [--folder DIR] [--measured]

For each number of training sentences of the sample, full data is fine-tuned at every candidate rate (3 epochs, the paper's seeds), and
the rate is fitted as `--learning-rate auto` does. The table has each rate's evaluation accuracy and the verdict on it, and what the
search chose at which cost. Every run is kept in DIR (default: experiments/learning-rate), so that it resumes where it was stopped;
--measured trains nothing and prints the table of what is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.machine import heading
from pruning.analysis.learning_rate import CANDIDATES
from pruning.cli import report
from pruning.data.sample import sample_split
from pruning.experiment import Experiment
from pruning.formatting import scientific
from pruning.jobs import worker
from pruning.settings import FULL_RECIPE, Settings, TrainSettings, default_seeds


def main(
    train: Annotated[list[int] | None, typer.Option(help="Training sentences.")] = None,
    evaluation: Annotated[int, typer.Option(help="Evaluation sentences.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per rate.")] = 3,
    folder: Annotated[Path, typer.Option(help="Where every run is kept.")] = Path("experiments/learning-rate"),
    measured: Annotated[bool, typer.Option("--measured", help="Train nothing.")] = False,
) -> None:
    """Measure what is missing, and print the tables."""
    sizes = train or [1000, 2000, 4000]
    for size in () if measured else sizes:
        files = tuple(map(str, sample_split(size, evaluation)))
        for rate in CANDIDATES:
            recipe = TrainSettings(learning_rate=rate)
            settings = Settings(data=files[0], evaluation=files[1], seeds=default_seeds(seeds), checkpoints=False, train=recipe)
            with report.listener(f"{size} sentences at {scientific(rate)}") as listen:
                worker.score(settings, folder / f"{size}-{scientific(rate)}", listen)
        with report.listener(f"Fitting the learning rate to {size} sentences") as listen:
            settings = Settings(data=files[0], evaluation=files[1], seeds=default_seeds(seeds), checkpoints=False)
            worker.fit(settings, folder / f"{size}-auto", listen)
    command = " ".join(["python -m benchmarks.learning_rate", *(f"--train {size}" for size in train or ())])
    print(heading("The fitted learning rate against a grid", command))
    for size in sizes:
        print("\n".join(table(folder, size)))


def table(folder: Path, size: int) -> list[str]:
    """Return the lines about one number of training sentences."""
    lines = [f"## {size:,} sentences", "", "| rate | accuracy, mean | of each run | 5-95% range of gold probabilities | verdict |"]
    lines.append("|---|---|---|---|---|")
    means: dict[float, float] = {}
    for rate in CANDIDATES:
        place = folder / f"{size}-{scientific(rate)}"
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
    lines += ["", *_search(folder / f"{size}-auto", means), ""]
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
