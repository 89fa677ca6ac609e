"""Which rule beats chance, and where? Every rule at one size, on real training sets and on the same sets changed on purpose.

    python -m benchmarks.study [--cell movies-2000 --cell ...] [--seeds 3] [--runs 4] [--share 0.5] [--folder DIR] [--measured]
    python -m benchmarks.study --measured --chart assets/study.svg

For each cell (`benchmarks.cells.CELLS`) the learning rate is fitted, the set is scored, and each rule keeps the same number of rows:
`--share` of the set, or fewer where a subset to draw from has fewer. Every rule is fine-tuned for as many epochs as full data. The table
gives each rule's accuracy minus that of random rows of the same number, and minus full data's, paired by seed. It resumes where it was
stopped; --measured trains nothing and prints what is there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from benchmarks.cells import CELLS, Cell, files
from benchmarks.forest import forest
from benchmarks.machine import heading
from pruning.analysis.frontier import paired, paired_values
from pruning.cli import report
from pruning.errors import TrainingError
from pruning.experiment import Experiment
from pruning.formatting import scientific
from pruning.jobs import worker
from pruning.records import Difference, FrontierPoint
from pruning.settings import Settings, default_seeds
from pruning.subsets.findings import CHOICE, DISTINCT, MANY_COPIES, SUSPECTS
from pruning.subsets.ladder import TICKET
from pruning.subsets.trainable import trainable

BOTH = f"({TICKET} and {SUSPECTS})"

DRAWN = (TICKET, SUSPECTS, BOTH)
"""Subsets from which rows are drawn at random."""

ALIKE = 0.01
"""Difference of two sizes, as a share, up to which they count as equal."""

RULES = (*DRAWN, "stratified", "ambiguous", "ccs")


def main(
    cell: Annotated[list[str], typer.Option(help="Cell to measure; may be given more than once. Default: all.")] = [],  # noqa: B006
    evaluation: Annotated[int, typer.Option(help="Evaluation rows.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per rule.")] = 3,
    runs: Annotated[int, typer.Option(help="Fine-tunings that score.")] = 4,
    share: Annotated[float, typer.Option(help="Share of the rows that every rule keeps.")] = 0.5,
    folder: Annotated[Path, typer.Option(help="Where every run is kept.")] = Path("experiments/study"),
    measured: Annotated[bool, typer.Option("--measured", help="Train nothing.")] = False,
    chart: Annotated[Path | None, typer.Option(help="Also draw a rule against random rows in every cell, as SVG.")] = None,
) -> None:
    """Run the study and print its Markdown."""
    cells = [each for each in CELLS if not cell or each.name in cell]
    for each in () if measured else cells:
        start = time.perf_counter()
        try:
            measure(each, evaluation, seeds, runs, share, folder)
        except TrainingError as error:
            print(f"{each.name}: {error}", file=sys.stderr, flush=True)
            continue
        print(f"{each.name}: {(time.perf_counter() - start) / 60:.1f} minutes", file=sys.stderr, flush=True)
    done = {each: points for each in cells if (points := measured_points(each, seeds, share, folder))}
    print(heading("Which rule beats chance", f"python -m benchmarks.study {' '.join(sys.argv[1:])}".strip()))
    for each, points in done.items():
        print("\n".join(table(each, points, Experiment(folder / each.name))))
    print("\n".join(overview(done, folder)))
    if chart is not None:
        draw(done, folder, chart)


def measure(cell: Cell, evaluation: int, seeds: int, runs: int, share: float, folder: Path) -> None:
    """Score the cell and fine-tune what is missing."""
    train, held_out = files(cell, evaluation, folder / "data")
    settings = Settings(data=str(train), evaluation=str(held_out), seeds=default_seeds(runs), checkpoints=False)
    with report.listener(f"Scoring {cell.name}") as listen:
        experiment = worker.score(settings, folder / cell.name, listen)
    with report.listener(f"Rules on {cell.name}") as listen:
        worker.frontier(folder / cell.name, [*names(experiment, share).values(), *whole(experiment)], [], seeds, listen=listen)


def drawn(experiment: Experiment) -> tuple[str, ...]:
    """Return the subsets from which rows are drawn; one of each meaning is among them where there are copies."""
    copied = experiment.rule(DISTINCT).kept_fraction < 1 - MANY_COPIES
    return (*DRAWN, DISTINCT) if copied else DRAWN


def names(experiment: Experiment, share: float) -> dict[str, str]:
    """Rule -> the subset's name at the size of the cell, random first; rules that cannot be trained on are left out."""
    reading = experiment.reading(decisions=False)
    sizes = [reading.rule(name.strip("()")).size for name in drawn(reading)]
    size = min(round(share * len(experiment.ids)), *(size for size in sizes if size))
    found = {"random": f"random@{size}", **{rule: f"{rule}@{size}" for rule in (*drawn(reading), *RULES)}}
    return {rule: name for rule, name in found.items() if trainable(reading.rule(name), experiment.labels, experiment.ids)}


def whole(experiment: Experiment) -> list[str]:
    """Return the subsets that are measured whole too; where there are copies, Winnow's choice is none of those that are drawn from."""
    names = [name for name in drawn(experiment) if " " not in name]
    return [*names, CHOICE] if DISTINCT in names else names


def measured_points(cell: Cell, seeds: int, share: float, folder: Path) -> dict[str, FrontierPoint]:
    """Rule -> its point of at least that many seeds; empty where the cell is not complete."""
    if not (folder / cell.name / "frontier.parquet").exists():
        return {}
    experiment = Experiment(folder / cell.name)
    if not experiment.finished_runs():
        return {}
    points = {point.subset: point for point in experiment.frontier() if point.seeds >= seeds}
    wanted = names(experiment, share) | {"full": "full", **{f"all of {name}": name for name in whole(experiment)}}
    found = {rule: points[name] for rule, name in wanted.items() if name in points}
    if not {"random", "full", *drawn(experiment)} <= set(found):
        return {}
    return {**found, CHOICE: found.get(f"all of {CHOICE}", found[BOTH])}


def table(cell: Cell, points: dict[str, FrontierPoint], experiment: Experiment) -> list[str]:
    """Return the lines about one cell."""
    full, random, finished = points["full"], points["random"], experiment.finished()
    rate = experiment.settings.scoring.learning_rate or float("nan")
    lines = [f"## {cell.name} ({cell.kind})", "", f"{len(experiment.ids):,} rows, fitted learning rate {scientific(rate)}.", ""]
    lines[2] += f" {experiment.learned.sentence}"
    lines += ["| rule | kept | accuracy | against random of its size, pp | against full data, pp |", "|---|---|---|---|---|"]
    for rule, point in points.items():
        same_size = abs(point.kept - random.kept) <= ALIKE * random.kept and point is not random
        cells = [
            in_pp(against(random, point, finished)) if same_size else "",
            "" if point is full else in_pp(against(full, point, finished)),
        ]
        lines.append(f"| {rule} | {point.kept:,} | {point.metrics['accuracy']:.3f} | {' | '.join(cells)} |")
    assert full.kept == len(experiment.ids)
    return [*lines, ""]


def against(other: FrontierPoint, point: FrontierPoint, finished: pd.DataFrame) -> Difference:
    """Accuracy of the point minus the other's, paired by seed."""
    ours, theirs = (finished[finished["subset"] == each.subset].set_index("seed")["accuracy"] for each in (point, other))
    return paired(ours, theirs)


def in_pp(found: Difference) -> str:
    """The same in percentage points, with its 95% interval where there is one."""
    if np.isnan(found.low):
        return f"{100 * found.mean:+.1f}"
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def overview(done: dict[Cell, dict[str, FrontierPoint]], folder: Path) -> list[str]:
    """Return how often each rule was shown to be better or worse than random rows of its size, and than full data."""
    lines = [
        f"## All {len(done)} cells",
        "",
        "| rule | cells | mean over cells against random, pp | better than random | worse | better than full data | worse |",
        "|---" * 7 + "|",
    ]
    finished = {cell: Experiment(folder / cell.name).finished() for cell in done}
    for rule in (*RULES, DISTINCT, CHOICE):
        cells = [cell for cell, points in done.items() if rule in points]
        if not cells:
            continue
        row = [rule, str(len(cells))]
        for other in ("random", "full"):
            found = [against(done[cell][other], done[cell][rule], finished[cell]) for cell in cells]
            row += [in_pp(over_cells(found))] if other == "random" else []
            row += [str(sum(each.low > 0 for each in found)), str(sum(each.high < 0 for each in found))]
        lines.append(f"| {' | '.join(row)} |")
    return [
        *lines,
        "",
        "Better, worse: the 95% interval of the paired difference lies above, below 0. The mean over cells counts each cell once, with",
        "Student's t over cells; several share a source.",
    ]


def draw(done: dict[Cell, dict[str, FrontierPoint]], folder: Path, chart: Path) -> None:
    """Write a chart of Winnow's choice against random rows of its size, in every cell and on average."""
    found = {
        f"{cell.name} ({cell.kind})": against(points["random"], points[CHOICE], Experiment(folder / cell.name).finished())
        for cell, points in done.items()
    }
    lines = [*found.items(), (f"mean of {len(found)} sets", over_cells([*found.values()]))]
    title = "Winnow's choice against random rows of its size"
    chart.write_text(forest(title, "percentage points of accuracy, with 95% intervals", lines))


def over_cells(found: Sequence[Difference]) -> Difference:
    """Mean difference over cells, each counted once, with its 95% interval."""
    return paired_values(np.array([each.mean for each in found]))


if __name__ == "__main__":
    typer.run(main)
