"""Are subsets of fewer scoring runs as good? Each is fine-tuned at the size of the smallest, as many random rows beside them.

    python -m benchmarks.fewer_runs [--cell movies-2000 --cell ...] [--seeds 10] [--runs 6] [--folder DIR]

Each training set of the study (`benchmarks.cells.CELLS`) is scored with `--runs` runs and a look. From the first 2, 3, 4 of them, and
from all, two subsets are made, both without suspected labels: the winning ticket, and the *likely* ticket: the examples that six runs
would more likely than not get right in some runs and not in others, by expected success (Beta-binomial). It resumes where it was stopped.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.stats import betabinom

from benchmarks.cells import CELLS, Cell, files
from benchmarks.look import chosen
from benchmarks.machine import heading
from benchmarks.study import against, difference, in_pp
from pruning.analysis.audit import label_errors
from pruning.analysis.expected_success import expected_success
from pruning.analysis.scores import h_score
from pruning.cli import live
from pruning.experiment import Experiment
from pruning.jobs import worker
from pruning.records import Dynamics, Subset
from pruning.settings import PAPER_SEEDS, Settings, default_seeds

FEWER = (2, 3, 4)


def main(
    cell: Annotated[list[str], typer.Option(help="Cell to measure; may be given more than once.")] = ["movies-2000"],  # noqa: B006
    evaluation: Annotated[int, typer.Option(help="Evaluation rows.")] = 2000,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per subset.")] = 10,
    runs: Annotated[int, typer.Option(help="Scoring runs.")] = len(PAPER_SEEDS),
    folder: Annotated[Path, typer.Option(help="Where every run is kept.")] = Path("experiments/fewer-runs"),
) -> None:
    """Run the study and print its Markdown."""
    cells = [each for each in CELLS if each.name in cell]
    found = [table(each, evaluation, seeds, runs, folder) for each in cells]
    options = " ".join(f"--cell {each.name}" for each in cells)
    print(heading("Subsets of fewer scoring runs", f"python -m benchmarks.fewer_runs {options} --seeds {seeds} --runs {runs}"))
    print("\n".join(line for lines in found for line in lines))


def table(cell: Cell, evaluation: int, seeds: int, runs: int, folder: Path) -> list[str]:
    """Score, save and measure the subsets of one cell, and return the lines about it."""
    train, held_out = files(cell, evaluation, folder / "data")
    settings = Settings(data=str(train), evaluation=str(held_out), seeds=default_seeds(runs), checkpoints=False)
    with live.listener(f"Scoring {cell.name}") as listen:
        experiment = worker.score(settings, folder / cell.name, listen)
    kept = {name: subset for count in (*FEWER, runs) for name, subset in subsets(experiment, count)}
    for name, subset in kept.items():
        if name not in experiment.saved:
            experiment.save(name, subset)
    size = min(subset.size for subset in kept.values())
    names = {name: f"{name}@{size}" for name in kept}
    with live.listener(f"Subsets of {cell.name}") as listen:
        experiment = worker.frontier(folder / cell.name, [f"random@{size}", *names.values()], [], seeds, listen=listen)
    points, finished = {point.subset: point for point in experiment.frontier()}, experiment.finished()
    lines = [f"## {cell.name} ({cell.kind})", "", f"{size:,} of {len(experiment.ids):,} rows each. {experiment.learned.sentence}", ""]
    lines += [f"| subset | whole size | accuracy | against random, pp | against the ticket of {runs} runs, pp |", "|---" * 5 + "|"]
    random, reference = points[f"random@{size}"], points[names[f"ticket-{runs}"]]
    for name, long in names.items():
        other = [in_pp(difference(against(each, points[long], finished))) if each.subset != long else "" for each in (random, reference)]
        lines.append(f"| {name} | {kept[name].size:,} | {points[long].metrics['accuracy']:.3f} | {' | '.join(other)} |")
    return [*lines, f"| random | | {random.metrics['accuracy']:.3f} | | |", ""]


def subsets(experiment: Experiment, runs: int) -> list[tuple[str, Subset]]:
    """The two subsets of the first `runs` runs."""
    part = chosen(experiment.dynamics, np.arange(runs))
    assert experiment.labels is not None and experiment.look is not None
    errors = label_errors(part, experiment.labels, len(experiment.label_names), probe=experiment.look.probabilities)
    h = h_score(part.correct)
    masks = {f"ticket-{runs}": (h > 0) & (h < runs), f"likely-{runs}": likely(part)}
    made = []
    for name, mask in masks.items():
        ids = experiment.ids[mask & ~errors.suspect]
        made.append((name, replace(experiment.rule("full"), name=name, method=name, rule=name, kept=ids)))
    return made


def likely(part: Dynamics) -> NDArray[np.bool_]:
    """[N] True where six runs would more likely than not disagree on the example."""
    found = expected_success(part)
    a, b = found.estimate * found.precision, (1 - found.estimate) * found.precision
    six = len(PAPER_SEEDS)
    return np.asarray(betabinom.pmf(0, six, a, b) + betabinom.pmf(six, six, a, b) < 0.5)


if __name__ == "__main__":
    typer.run(main)
