"""Where does which rule beat random? Every rule at one size, over sizes of the training set, burn-in and budget.

    python -m benchmarks.regimes --train 1000 --train 2000 [--evaluation 1000] [--runs 6] [--seeds 3] [--at SIZE] [--without RULE]
        [--budget epochs|steps] [--plan | --measured]

For each size of the training set the sample is scored (6 runs x 3 epochs) in experiments/regimes-N. Then every rule is cut to the
size of the winning ticket, or to what --at says, and fine-tuned with as many epochs and with as many steps as full data, for H
counted from epoch 0 and from epoch 1. The tables give each rule's accuracy minus that of a random subset of the same size, paired by
seed. It resumes where it was stopped; --plan trains nothing and prints how many examples are left to train, --measured trains nothing
and prints the tables of what is there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.machine import heading
from pruning import report
from pruning.analysis.frontier import equal_steps_epochs, interval, rows_sha256
from pruning.analysis.stability import burn_in_advice
from pruning.data.sample import sample_split
from pruning.experiment import Experiment
from pruning.jobs import worker
from pruning.records import Difference, FrontierPoint
from pruning.settings import Settings, TrainSettings, default_seeds
from pruning.subsets.rules import TICKET, trainable

RULES = ("drop-easy", "drop-hard", "ambiguous", "ccs", "aum-high", "stratified", "mixed", "anchored")
"""Compared with random, besides the winning ticket itself. aum-high drops the lowest AUM, as its paper does; stratified keeps the share
of every class and H; mixed is half ambiguous, anchored half the surest of each class, the other half stratified."""

BURN_INS = (0, 1)
BUDGETS = ("epochs", "steps")
ACCURACY = "accuracy"

SHARE = {0: 0.72, 1: 0.30}
"""Burn-in -> share that the ticket kept of 2,000 sentences (sample-2000.md): what --plan assumes before there is a recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One regime: everything in it has the same size."""

    train: int
    burn_in: int
    budget: str
    at: str
    """What the size is that of."""
    rules: tuple[str, ...] = RULES
    """Those of RULES that are measured."""

    @property
    def names(self) -> list[str]:
        """Subset to measure for each rule, random first."""
        ticket = TICKET if self.at == TICKET else f"{TICKET}@{self.at}"
        return [f"random@{self.at}", ticket, *(f"{rule}@{self.at}" for rule in self.rules)]


def main(
    train: Annotated[list[int], typer.Option(help="Training sentences; may be given more than once.")] = [1000, 2000],  # noqa: B006
    evaluation: Annotated[int, typer.Option(help="Evaluation sentences.")] = 1000,
    runs: Annotated[int, typer.Option(help="Fine-tunings that score.")] = 6,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per rule and cell.")] = 3,
    at: Annotated[list[str], typer.Option(help="Size of every subset: a subset's, a share or a number; more than once.")] = [TICKET],  # noqa: B006
    without: Annotated[list[str], typer.Option(help="A rule to leave out; more than once.")] = [],  # noqa: B006
    budget: Annotated[list[str], typer.Option(help="epochs or steps, equal to full data's; both unless said.")] = list(BUDGETS),  # noqa: B006
    plan: Annotated[bool, typer.Option("--plan", help="Print what is left to train, and train nothing.")] = False,
    measured: Annotated[bool, typer.Option("--measured", help="Print the tables of what is measured, and train nothing.")] = False,
) -> None:
    """Run the study and print its Markdown."""
    rules = tuple(rule for rule in RULES if rule not in without)
    cells = [Cell(train=n, burn_in=b, budget=c, at=a, rules=rules) for n, a, b, c in product(train, at, BURN_INS, budget)]
    if plan:
        for size in train:
            print(planned(size, [cell for cell in cells if cell.train == size], evaluation, runs, seeds))
        return
    found: dict[Cell, list[FrontierPoint]] = {}
    for cell in cells:
        if not measured:
            measure(cell, evaluation, runs, seeds)
        points = measured_points(cell, seeds)
        if any(point.subset == cell.names[0] for point in points):
            found[cell] = points
    command = f"python -m benchmarks.regimes {' '.join(sys.argv[1:])}"
    print(heading("Where a rule beats random", command))
    for size, chosen in product(train, at):
        print(table({cell: points for cell, points in found.items() if (cell.train, cell.at) == (size, chosen)}))
        print(f"What Winnow says of this recording: {burn_in_advice(Experiment(_folder(size)).dynamics).sentence}\n")
    print(summary(found))


def measure(cell: Cell, evaluation: int, runs: int, seeds: int) -> None:
    """Score where that is not done, and fine-tune what the cell lacks."""
    with report.listener(f"Scoring {cell.train:,} sentences") as listen:
        experiment = worker.score(_settings(cell.train, evaluation, runs), _folder(cell.train), listen)
    names = [name for name in cell.names if _trainable(experiment.reading(cell.burn_in), name)]
    with report.listener(f"{cell.train:,} sentences, burn-in {cell.burn_in}, equal {cell.budget}") as listen:
        worker.frontier(_folder(cell.train), names, [], seeds, cell.budget, cell.burn_in, listen)


def measured_points(cell: Cell, seeds: int) -> list[FrontierPoint]:
    """What is measured of the cell with all its seeds; where its seeds went on to more, those count too."""
    experiment = Experiment(_folder(cell.train), cell.burn_in)
    return [point for point in experiment.frontier(cell.budget) if point.subset in ("full", *cell.names) and point.seeds >= seeds]


def planned(train: int, cells: list[Cell], evaluation: int, runs: int, seeds: int) -> str:
    """How many examples are left to train at that size, in words."""
    settings = _settings(train, evaluation, runs)
    epochs = settings.train.epochs
    experiment = Experiment(_folder(train)) if _folder(train).joinpath("experiment.json").exists() else None
    complete = len(experiment.finished_runs()) if experiment else 0
    scoring = max(0, runs - complete) * epochs * train
    known = experiment if complete >= runs else None
    left = [examples for cell in cells for examples in (_left(known, cell, seeds) if known else _assumed(cell, seeds))]
    points = sum(left)
    note = "" if known else " (before its recording is there, the ticket is assumed to keep 72% without and 30% with a burn-in)"
    return (
        f"{train:,}: {scoring:,} examples to score, {points:,} in {len(left)} fine-tunings of subsets, {scoring + points:,} in all{note}."
    )


def table(measured: dict[Cell, list[FrontierPoint]]) -> str:
    """One size of the training set: rules down, regimes across, differences to random in points."""
    cells = list(measured)
    points = {cell: {point.subset: point for point in found} for cell, found in measured.items()}
    heads = [f"burn-in {cell.burn_in}, equal {cell.budget}" for cell in cells]
    lines = [f"## {cells[0].train:,} sentences, size of {cells[0].at}", "", f"| | {' | '.join(heads)} |", "|---" * (len(cells) + 1) + "|"]
    random = [points[cell][cell.names[0]] for cell in cells]
    lines.append(f"| kept | {' | '.join(f'{point.kept:,}' for point in random)} |")
    for name, row in (("full data", [points[cell]["full"] for cell in cells]), ("random", random)):
        lines.append(f"| {name}, accuracy | {' | '.join(f'{point.metrics[ACCURACY]:.3f}' for point in row)} |")
    for rule, differences in by_rule(measured).items():
        if not differences:
            continue
        shown = [_points(differences[cell]) if cell in differences else "-" for cell in cells]
        lines.append(f"| {rule} | {' | '.join(shown)} |")
    note = "Rules: accuracy minus that of random at equal size, in points, with its 95% interval over seeds."
    gaps = " -: not measured, or of one class only." if any(line.find("| - ") > 0 for line in lines) else ""
    return "\n".join([*lines, "", note + gaps, ""])


def by_rule(measured: dict[Cell, list[FrontierPoint]]) -> dict[str, dict[Cell, Difference]]:
    """Rule -> cell -> its difference to random; cells where it was not measured are missing."""
    found: dict[str, dict[Cell, Difference]] = {rule: {} for rule in (TICKET, *RULES)}
    for cell, points in measured.items():
        by_name = {point.subset: point for point in points}
        for rule, name in zip((TICKET, *cell.rules), cell.names[1:], strict=True):
            against = by_name[name].vs_random if name in by_name else None
            if against is not None:
                found[rule][cell] = against
    return found


def summary(measured: dict[Cell, list[FrontierPoint]]) -> str:
    """How often each rule beats random, and which were never shown to be worse."""
    lines = [
        f"## All {len(measured)} regimes",
        "",
        "| rule | regimes | beats random | worse than random | mean | worst |",
        "|---" * 6 + "|",
    ]
    safe: list[tuple[float, str]] = []
    for rule, differences in by_rule(measured).items():
        found = list(differences.values())
        if not found:
            continue
        better, worse = sum(each.low > 0 for each in found), sum(each.high < 0 for each in found)
        means = [each.mean * 100 for each in found]
        low, high = interval(np.array(means))
        lines.append(
            f"| {rule} | {len(found)} | {better} | {worse} | {np.mean(means):+.1f} [{low:+.1f}, {high:+.1f}] | {min(means):+.1f} |"
        )
        if not worse:
            safe.append((min(means), rule))
    order = ", ".join(rule for _, rule in sorted(safe, reverse=True)) or "none"
    lines += [
        "",
        "Beats, worse: the 95% interval of the difference lies above, below 0. Mean: of the means by regime, in points, with its 95%",
        "interval over regimes, taken for independent though those of one size share their recording. Worst: the lowest of these means.",
        "",
        f"Never shown to be worse than random, the least below it first: {order}.",
    ]
    return "\n".join(lines)


def _folder(train: int) -> Path:
    return Path(f"experiments/regimes-{train}")


def _settings(train: int, evaluation: int, runs: int) -> Settings:
    train_file, evaluation_file = sample_split(train, evaluation)
    return Settings(data=str(train_file), evaluation=str(evaluation_file), seeds=default_seeds(runs))


def _trainable(experiment: Experiment, name: str) -> bool:
    return trainable(experiment.named(name), experiment.labels, experiment.ids)


def _left(experiment: Experiment, cell: Cell, seeds: int) -> Iterator[int]:
    """Examples that each fine-tuning trains which is not there yet."""
    done = {(row.subset, row.rows_sha256, row.seed, row.budget) for row in experiment.finished().itertuples()}
    reading = experiment.reading(cell.burn_in)
    for name, seed in product(cell.names, experiment.settings.seeds[:seeds]):
        if not _trainable(reading, name):
            continue
        subset = reading.named(name, seed=seed)
        if (name, rows_sha256(subset.kept), seed, cell.budget) not in done:
            yield subset.size * _epochs(cell, subset.size)


def _assumed(cell: Cell, seeds: int) -> Iterator[int]:
    size = round(cell.train * SHARE[cell.burn_in])
    for _ in range(seeds * len(cell.names)):
        yield size * _epochs(cell, size)


def _epochs(cell: Cell, size: int) -> int:
    recipe = TrainSettings()
    return recipe.epochs if cell.budget == "epochs" else equal_steps_epochs(cell.train, size, recipe.epochs, recipe.batch_size)


def _points(difference: Difference) -> str:
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    return f"{mean:+.1f}" if difference.pairs < 2 else f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    typer.run(main)
