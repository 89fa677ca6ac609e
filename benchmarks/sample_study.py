"""Does H find difficulty, and is the winning ticket worth taking? The method on the sample, against people's ratings.

    python -m benchmarks.sample_study [--train 2000] [--evaluation 1000] [--seeds 3] [--experiment DIR]

Scores the sample's sentences (6 runs x 3 epochs), measures the whole ladder with random and ambiguous subsets of
equal size, and prints Markdown: mean absolute human rating and count for each H, Spearman's correlation of H with that
rating (which no training saw), and the frontier with intervals. It resumes where it was stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy import stats

from benchmarks.machine import heading
from pruning import report, worker
from pruning.experiment import Experiment
from pruning.records import FrontierPoint, Settings
from pruning.sample import sample_split


def main(
    train: Annotated[int, typer.Option(help="Training sentences.")] = 2000,
    evaluation: Annotated[int, typer.Option(help="Evaluation sentences.")] = 1000,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per point.")] = 3,
    directory: Annotated[Path | None, typer.Option("--experiment", help="The experiment's folder.")] = None,
) -> None:
    """Run the study and print its Markdown."""
    directory = directory or Path(f"experiments/sample-{train}")
    train_file, evaluation_file = sample_split(train, evaluation)
    with report.listener("Scoring") as listen:
        experiment = worker.score(Settings(data=str(train_file), evaluation=str(evaluation_file)), directory, listen)
    with report.listener("Frontier") as listen:
        experiment = worker.frontier(directory, seeds=seeds, listen=listen)
    print(
        heading("The method on the sample", f"python -m benchmarks.sample_study --train {train} --evaluation {evaluation} --seeds {seeds}")
    )
    print(difficulty(experiment))
    print(table(experiment.frontier()))


def difficulty(experiment: Experiment) -> str:
    """H against the mean absolute human rating, for both ways to count epochs."""
    rating = np.abs(np.asarray(experiment.examples(["source.rating_mean"])["source.rating_mean"], dtype=float))
    runs = experiment.dynamics.runs
    accuracy = " ".join(f"{value:.2f}" for value in experiment.epoch_accuracy().mean(axis=0))
    lines = [f"{len(rating):,} sentences, {runs} runs, online accuracy by epoch {accuracy}.", ""]
    lines += ["| epochs counted | " + " | ".join(f"H = {h}" for h in range(runs + 1)) + " | Spearman |", "|---" * (runs + 3) + "|"]
    for burn_in in range(min(2, experiment.dynamics.epochs)):
        h = experiment.h_score(burn_in)
        cells = [f"{(h == value).sum()}: {rating[h == value].mean():.2f}" if (h == value).any() else "0" for value in range(runs + 1)]
        lines.append(f"| from {burn_in} | {' | '.join(cells)} | {stats.spearmanr(h, rating).statistic:.3f} |")
    return "\n".join([*lines, "", "Each cell: number of sentences, then their mean absolute human rating (0 to 4).", ""])


def table(points: list[FrontierPoint]) -> str:
    """The frontier as Markdown."""
    lines = ["| subset | kept | accuracy | 95% interval | minus full | minus random | seeds |", "|---|---|---|---|---|---|---|"]
    for point in points:
        differences = [
            f"{d.mean:+.3f} {report.interval(d.low, d.high, sign='+')}" if d is not None and d.pairs else ""
            for d in (point.vs_full, point.vs_random)
        ]
        accuracy, interval = point.metrics["accuracy"], report.interval(*point.ci95["accuracy"])
        lines.append(f"| {point.subset} | {point.kept} | {accuracy:.3f} | {interval} | {' | '.join(differences)} | {point.seeds} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
