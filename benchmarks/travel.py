"""How far does a ticket travel? Two models score the same sentences and measure each other's subsets; the first one's sensitivity too.

    python -m benchmarks.travel --other FOLDER [--train 800] [--evaluation 800] [--model sample] [--runs 4] [--seeds 5] [--variations ...]

FOLDER is any model, such as a small causal one saved with save_pretrained. Each model scores at a rate fitted to it, its winning ticket and
random sentences of the same number are measured by both models, and so is the other's ticket. It resumes where it was stopped.
"""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.machine import heading
from benchmarks.study import in_pp
from pruning.analysis.sensitivity import by_chance
from pruning.cli import live
from pruning.data.sample import sample_split
from pruning.experiment import Experiment
from pruning.formatting import scientific
from pruning.jobs import worker
from pruning.jobs.sensitivity import DEFAULT, sensitivity
from pruning.records import Difference, FrontierPoint
from pruning.reports.comparison import compare
from pruning.settings import Settings, TrainSettings, default_seeds
from pruning.subsets.rules import TICKET


def main(
    other: Annotated[str, typer.Option(help="The second model: a folder or a hub name.")],
    train: Annotated[int, typer.Option(help="Training sentences.")] = 800,
    evaluation: Annotated[int, typer.Option(help="Evaluation sentences.")] = 800,
    model: Annotated[str, typer.Option(help="The first model.")] = "sample",
    runs: Annotated[int, typer.Option(help="Scoring runs of each model.")] = 4,
    seeds: Annotated[int, typer.Option(help="Fine-tunings per point.")] = 5,
    variations: Annotated[str, typer.Option(help="Variations of the first model's scoring; empty for none.")] = ",".join(DEFAULT),
) -> None:
    """Run the study and print its Markdown."""
    options = f"--other {other} --train {train} --evaluation {evaluation} --model {model} --runs {runs} --seeds {seeds}"
    pair = [scored(name, train, evaluation, runs) for name in (model, other)]
    print(heading("How far a ticket travels", f"python -m benchmarks.travel {options} --variations {variations}"))
    print(f"{alike(*pair)}\n")
    print("| scored by | measured by | rate | subset | kept | accuracy | against full data, pp | against random, pp |\n" + "|---" * 8 + "|")
    for experiment, beside in (pair, pair[::-1]):
        print("\n".join(travelled(experiment, beside, seeds)), flush=True)
    if names := [name for name in variations.split(",") if name]:
        found = sensitivity(pair[0].folder.root, names, listener=live.listener)
        print(f"\n{found.sentence}\n")
        print(
            "| changed | rank agreement | 95% over examples | ticket overlap | by chance | ticket keeps | accuracy |\n" + "|---" * 7 + "|"
        )
        for row in found.rows:
            cells = [row.words, f"{row.rank_agreement:.2f}", f"{row.interval[0]:.2f} to {row.interval[1]:.2f}", f"{row.overlap:.0%}"]
            cells += [f"{row.by_chance:.0%}", f"{row.kept_fraction:.0%}", "" if isnan(row.accuracy) else f"{row.accuracy:.3f}"]
            print(f"| {' | '.join(cells if not row.problem else [row.words, row.problem, *[''] * 5])} |")


def scored(model: str, train: int, evaluation: int, runs: int) -> Experiment:
    """The sample scored by that model at a rate fitted to it."""
    source, held_out = sample_split(train, evaluation)
    settings = Settings(
        data=str(source),
        evaluation=str(held_out),
        model=model,
        seeds=default_seeds(runs),
        checkpoints=False,
        train=TrainSettings(),
    )
    with live.listener(f"Scoring with {Path(model).name}") as listen:
        return worker.score(settings, Path(f"experiments/travel-{train}-{Path(model).name.lower()}"), listen)


def alike(one: Experiment, other: Experiment) -> str:
    """How alike the two models' recordings are, in a sentence."""
    found = compare(one, other)
    expected = by_chance(*(float(side.ticket.mean()) for side in (found.first, found.second)))
    words = f"their tickets overlap by {found.overlap:.0%} (Jaccard), by chance {expected:.0%}"
    return f"The two models' H agree to {found.rank_agreement:.2f} (Spearman); {words}."


def travelled(experiment: Experiment, beside: Experiment, seeds: int) -> list[str]:
    """The lines of one model's ticket: measured by itself, then by the other beside that one's own ticket."""
    root, source = experiment.folder.root, beside.settings.model
    with live.listener(f"Measuring with {experiment.settings.model}") as listen:
        own = worker.frontier(root, [TICKET], ["random"], seeds, listen=listen)
    with live.listener(f"Measuring with {source}") as listen:
        measured = worker.frontier(root, [TICKET], ["random"], seeds, listen=listen, model=source, own=str(beside.folder.root))
    read = measured.with_model(beside.own_model)
    return [line(experiment, each, point) for each in (own, read) for point in each.frontier()]


def line(scorer: Experiment, measured: Experiment, point: FrontierPoint) -> str:
    """One point as a row of the table."""
    rate = measured.settings.measuring.learning_rate
    cells = [Path(scorer.settings.model).name, Path(measured.settings.model).name, "" if rate is None else scientific(rate), point.subset]
    cells += [f"{point.kept:,}", f"{point.metrics['accuracy']:.3f}", points(point.vs_full), points(point.vs_random)]
    return f"| {' | '.join(cells)} |"


def points(difference: Difference | None) -> str:
    """A difference in percentage points with its interval; empty where there is none."""
    return "" if difference is None or not difference.pairs else in_pp(difference)


if __name__ == "__main__":
    typer.run(main)
