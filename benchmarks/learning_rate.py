"""Measure the fitted learning rate against the best one of a full grid.

    python -m benchmarks.learning_rate [--cell movies-2000 --cell posts-1000 ...] [--rate 2e-5 ...] [--lora 16] [--evaluation 2000]
        [--seeds 3] [--draws 1] [--measured]

On each training set of the study (`benchmarks.cells.CELLS`), the rate is fitted as `--learning-rate auto` does, and full data is fine-tuned
at it and at every candidate, or those of --rate (3 epochs, the paper's seeds); with --lora only adapters are trained. The table has each
rate's evaluation accuracy and the verdict on it, and what the search chose at which cost; with --draws the search is repeated on other
draws of the rows, to see how far its choice is luck. Every run is kept in DIR (default:
experiments/learning-rate), so that it resumes where it was stopped; --measured trains nothing and prints the table of what is there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cells import CELLS, files
from benchmarks.machine import heading
from pruning.analysis.learning_rate import candidates
from pruning.cli import live
from pruning.experiment import Experiment
from pruning.formatting import scientific
from pruning.jobs import rate_search, worker
from pruning.settings import FULL_RECIPE, Settings, TrainSettings, default_seeds

USUAL_DRAW = rate_search.DRAWS


def main(
    cell: Annotated[list[str], typer.Option(help="Training set of the study; may be given more than once.")] = ["movies-1000"],  # noqa: B006
    rate: Annotated[list[float] | None, typer.Option(help="Rate beside the fitted one; may be given more than once. Default: all.")] = None,
    lora: Annotated[int, typer.Option(help="Rank of the adapters; 0 trains every weight.")] = 0,
    evaluation: Annotated[int, typer.Option(help="Evaluation rows.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per rate.")] = 3,
    draws: Annotated[int, typer.Option(help="Draws of the rows that the search is repeated on.")] = 1,
    folder: Annotated[Path, typer.Option(help="Where every run is kept.")] = Path("experiments/learning-rate"),
    measured: Annotated[bool, typer.Option("--measured", help="Train nothing.")] = False,
) -> None:
    """Measure what is missing, and print the tables."""
    cells = [each for each in CELLS if each.name in cell]
    ways = {each.name: f"{each.name}-lora-{lora}" if lora else each.name for each in cells}
    for each in () if measured else cells:
        train, held_out = map(str, files(each, evaluation, folder / "data"))
        recipe = TrainSettings(lora_rank=lora)
        settings = Settings(data=train, evaluation=held_out, seeds=default_seeds(seeds), checkpoints=False, look=False, train=recipe)
        for draw, place in enumerate(_searches(folder, ways[each.name], draws)):
            rate_search.DRAWS = draw or USUAL_DRAW
            with live.listener(f"Fitting the learning rate to {ways[each.name]}, draw {draw + 1}") as listen:
                worker.fit(settings, place, listen)
        fitted = Experiment(folder / f"{ways[each.name]}-auto").learning_rates[FULL_RECIPE].rate
        for one in sorted({*(rate or candidates(lora)), fitted}):
            with live.listener(f"{ways[each.name]} at {scientific(one)}") as listen:
                place = folder / f"{ways[each.name]}-{scientific(one)}"
                worker.score(settings.with_changes(train=replace(recipe, learning_rate=one)), place, listen)
    options = [*(f"--cell {each.name}" for each in cells), *(f"--rate {scientific(one)}" for one in rate or ())]
    options += [*([f"--lora {lora}"] if lora else []), f"--evaluation {evaluation} --seeds {seeds}"]
    options += [f"--draws {draws}"] if draws > 1 else []
    command = " ".join(["python -m benchmarks.learning_rate", *options])
    print(heading("The fitted learning rate against others", command))
    for way in ways.values():
        print("\n".join([*table(folder, way), *(_draws(folder, way, draws) if draws > 1 else [])]))


def _searches(folder: Path, way: str, draws: int) -> list[Path]:
    return [folder / (f"{way}-auto-draw-{draw + 1}" if draw else f"{way}-auto") for draw in range(draws)]


def _draws(folder: Path, way: str, draws: int) -> list[str]:
    """Return the lines about the search on several draws of the rows."""
    lines = ["| draw | fitted rate | best candidate of the last round | cost in runs |", "|---|---|---|---|"]
    for draw, place in enumerate(_searches(folder, way, draws), 1):
        fit = Experiment(place).learning_rates[FULL_RECIPE]
        found = ["-" if one is None else scientific(one) for one in (fit.rate, fit.best)]
        lines.append(f"| {draw} | {' | '.join(found)} | {fit.runs:.1f} |")
    return [*lines, ""]


def table(folder: Path, name: str) -> list[str]:
    """Return the lines about one training set."""
    lines = [f"## {name}", "", "| rate | accuracy, mean | of each run | 5-95% range of gold probabilities | verdict |"]
    lines.append("|---|---|---|---|---|")
    means: dict[float, float] = {}
    for place in folder.glob(f"{name}-[0-9]*e-[0-9]*"):
        experiment = Experiment(place)
        rate, accuracy = experiment.settings.train.learning_rate, experiment.finished()["accuracy"]
        if rate is not None and len(accuracy) == experiment.settings.runs:
            means[rate] = float(accuracy.mean())
    for rate in sorted(means):
        experiment = Experiment(folder / f"{name}-{scientific(rate)}")
        each = " ".join(f"{value:.3f}" for value in experiment.finished()["accuracy"])
        spread = " ".join(f"{value:.2f}" for value in experiment.evidence.spread)
        lines.append(f"| {scientific(rate)} | {means[rate]:.3f} | {each} | {spread} | {experiment.learned.verdict} |")
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
