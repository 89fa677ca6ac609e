"""How well do 0 to 4 runs, with and without the look, know what other runs will get right? The rank agreement says it.

    python -m benchmarks.look [--cell movies-1000 --cell posts-1000] [--evaluation 1000] [--model sample] [--lora 0]

Each training set (`benchmarks.cells.CELLS`) is scored with 8 runs x 3 epochs. Of these, 4 are held out at random and give H; the others
give the estimate from 1, 2, 3 and 4 of them: their own H, the mean gold probability, and expected success with the look. The table has
the rank agreement (Spearman) with the held-out H, mean over the draws and the standard deviation between them. It resumes where it was
stopped, so that sets can be scored one after another.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.cells import CELLS, Cell, files
from benchmarks.machine import heading
from pruning.analysis.expected_success import expected_success
from pruning.analysis.scores import confidence, h_score
from pruning.cli import live
from pruning.experiment import Experiment
from pruning.jobs import worker
from pruning.records import QUANTITIES, Dynamics
from pruning.settings import Settings, TrainSettings, default_seeds

RUNS, HELD_OUT = 8, 4


def main(
    cell: Annotated[list[str], typer.Option(help="Training set; may be given more than once.")] = ["movies-1000"],  # noqa: B006
    evaluation: Annotated[int, typer.Option(help="Evaluation rows.")] = 1000,
    model: Annotated[str, typer.Option(help="A folder, a hub name, or 'sample'.")] = "sample",
    learning_rate: Annotated[float, typer.Option(help="Peak rate.")] = 2e-4,
    lora: Annotated[int, typer.Option(help="Rank of LoRA adapters; 0 trains every weight.")] = 0,
    draws: Annotated[int, typer.Option(help="Random choices of the held-out runs.")] = 10,
    folder: Annotated[Path, typer.Option(help="Where every run is kept.")] = Path("experiments/look"),
) -> None:
    """Run the study and print its Markdown."""
    sets = " ".join(f"--cell {name}" for name in cell)
    options = f"{sets} --evaluation {evaluation} --model {model} --learning-rate {learning_rate:g} --lora {lora} --draws {draws}"
    train = TrainSettings(learning_rate=learning_rate, lora_rank=lora)
    experiments = [scored(each, evaluation, model, train, folder) for each in CELLS if each.name in cell]
    print(heading("The look beside fine-tuning", f"python -m benchmarks.look {options}"))
    print(
        f"Rank agreement (Spearman) with the H of {HELD_OUT} held-out runs, mean over {draws} choices of them (standard deviation between "
        "choices).\n\n| set | runs | their H | their gold probability | expected success without the look | with it |"
    )
    print("|---" * 6 + "|")
    for experiment in experiments:
        print("\n".join(agreement(experiment, draws)))
    titles = ["set", "full data, accuracy", "probe, accuracy", "majority class", "C", "look, seconds", "one fine-tuning, seconds"]
    print(f"\n| {' | '.join(titles)} | precision before training |")
    print("|---" * 8 + "|")
    for experiment in experiments:
        print(cost(experiment))


def scored(cell: Cell, evaluation: int, model: str, train: TrainSettings, folder: Path) -> Experiment:
    """The experiment on a training set, with a look."""
    source, held_out = files(cell, evaluation, folder / "data")
    settings = Settings(data=str(source), evaluation=str(held_out), model=model, seeds=default_seeds(RUNS), checkpoints=False, train=train)
    with live.listener(f"Scoring {cell.name}") as listen:
        return worker.score(settings, folder / f"{cell.name}-{Path(model).name}-{train.learning_rate:g}", listen)


def agreement(experiment: Experiment, draws: int) -> list[str]:
    """A line for each number of runs."""
    dynamics = experiment.dynamics
    assert dynamics.probe is not None
    found: dict[int, list[list[float]]] = {runs: [] for runs in range(RUNS - HELD_OUT + 1)}
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(RUNS)
        truth = h_score(dynamics.correct[np.sort(order[:HELD_OUT])])
        for runs, cells in found.items():
            if not runs:
                cells.append([np.nan, np.nan, np.nan, rank(dynamics.probe, truth)])
                continue
            part = chosen(dynamics, np.sort(order[HELD_OUT : HELD_OUT + runs]))
            alone = replace(part, probe=None)
            without = rank(expected_success(alone).estimate, truth) if runs > 1 else np.nan
            estimates = [rank(h_score(part.correct), truth), rank(confidence(part.gold_prob), truth), without]
            cells.append([*estimates, rank(expected_success(part).estimate, truth)])
    return [f"| {_set(experiment)} | {runs} | {' | '.join(written(np.array(cells)))} |" for runs, cells in found.items()]


def written(cells: NDArray[np.float64]) -> list[str]:
    """Each column's mean and standard deviation."""
    return ["-" if np.isnan(column).any() else f"{column.mean():.2f} ({column.std(ddof=1):.2f})" for column in cells.T]


def rank(one: NDArray[np.floating | np.integer], other: NDArray[np.integer]) -> float:
    """Spearman's correlation."""
    return float(spearmanr(one, other).statistic)


def chosen(dynamics: Dynamics, runs: NDArray[np.int64]) -> Dynamics:
    """The recording of these runs alone."""
    arrays = {name: getattr(dynamics, name)[runs] for name in QUANTITIES}
    return Dynamics(ids=dynamics.ids, seeds=tuple(dynamics.seeds[run] for run in runs), probe=dynamics.probe, **arrays)


def cost(experiment: Experiment) -> str:
    """Result and seconds of the look, beside the seconds of a fine-tuning."""
    look, finished = experiment.look, experiment.finished()
    assert look is not None and look.probe is not None
    dynamics = experiment.dynamics
    outcomes = np.all(dynamics.correct, axis=1)
    chance = np.asarray(experiment.probe)
    common = np.mean([((outcomes[a] - chance) * (outcomes[b] - chance)).mean() for a in range(RUNS) for b in range(a)])
    precision = float((chance * (1 - chance)).mean() / common - 1)
    accuracy = experiment.frontier()[0].metrics["accuracy"]
    cells = [_set(experiment), f"{accuracy:.3f}", f"{look.probe.accuracy:.3f}", f"{look.probe.majority:.3f}", f"{look.probe.strength:g}"]
    cells += [f"{look.seconds:.0f}", f"{finished['seconds'].mean():.0f}", f"{precision:.1f}"]
    return f"| {' | '.join(cells)} |"


def _set(experiment: Experiment) -> str:
    return Path(experiment.settings.data).stem


if __name__ == "__main__":
    typer.run(main)
