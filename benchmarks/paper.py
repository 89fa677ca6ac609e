"""The paper's experiment as one command: score, measure the ladder with its baselines, and set the paper's numbers beside it.

    python -m benchmarks.paper --preset sst2 --model roberta-large         where a GPU and the hub are
    python -m benchmarks.paper --preset sample --limit 4000                on any machine: the sample's sentences, MiniLM

6 runs score, then the subsets, random and ambiguous ones of equal size and full data are fine-tuned with several seeds. It resumes
where it was stopped. For the sample it also says how H goes with the ratings that people gave, which no training saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy import stats

from benchmarks.machine import heading
from pruning import presets
from pruning.analysis.frontier import headline_of
from pruning.analysis.recommendation import recommend
from pruning.cli import live, one_sentence
from pruning.data.sample import sample_split
from pruning.experiment import Experiment
from pruning.formatting import bracketed, possible
from pruning.jobs import worker
from pruning.records import FrontierPoint
from pruning.settings import Settings, default_seeds
from pruning.subsets.rules import TICKET

PAPERS_MODEL = "roberta-large"
"""What the paper's presets train by default."""

EVALUATION = 1000
"""Sentences of the sample that evaluate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A row of the paper: RoBERTa-large, one fine-tuning of each."""

    kept: str
    full: str
    ticket: str
    note: str = ""


PUBLISHED = {
    "mnli": Published(
        kept="27%",
        full="90.04 / 89.99",
        ticket="90.57 / 90.22",
        note="The paper's two numbers are MNLI's matched and mismatched parts; only validation_matched evaluates here: compare the first.",
    ),
    "snli": Published(kept="21%", full="92.25", ticket="92.50"),
    "sst2": Published(kept="24%", full="95.79", ticket="95.80"),
    "race": Published(kept="62%", full="84.67", ticket="82.95"),
    "squad_v2": Published(kept="47%", full="86.92 (F1)", ticket="87.70 (F1)"),
}


@one_sentence
def main(
    preset: Annotated[str, typer.Option(help=f"{', '.join(presets.PRESETS)}, or sample.")] = "sample",
    model: Annotated[str | None, typer.Option(help="roberta-large, opt-350m, a folder or a hub name. Default: the preset's.")] = None,
    data: Annotated[str | None, typer.Option(help="The preset's training data, where it lies elsewhere.")] = None,
    evaluation: Annotated[str | None, typer.Option("--eval", help="Its evaluation data, where it lies elsewhere.")] = None,
    limit: Annotated[int | None, typer.Option(help="Training examples. Default: all; 4,000 of the sample.")] = None,
    runs: Annotated[int, typer.Option(help="Fine-tunings that score.")] = 6,
    subsets: Annotated[str, typer.Option(help="Comma-separated names. Default: the whole ladder.")] = "",
    seeds: Annotated[int, typer.Option(help="Fine-tunings per point.")] = 3,
    directory: Annotated[Path | None, typer.Option("--experiment", help="The experiment's folder.")] = None,
) -> None:
    """Run the experiment and print Markdown."""
    settings = chosen(preset, model, data, evaluation, limit).with_changes(seeds=default_seeds(runs))
    directory = directory or folder(preset, model, limit)
    names = [name.strip() for name in subsets.split(",") if name.strip()]
    with live.listener("Scoring") as listen:
        experiment = worker.score(settings, directory, listen)
    with live.listener("Frontier") as listen:
        experiment = worker.frontier(directory, names, seeds=seeds, listen=listen)
    asked = {
        "--model": model,
        "--data": data,
        "--eval": evaluation,
        "--limit": limit,
        "--subsets": subsets,
        "--runs": runs,
        "--seeds": seeds,
    }
    words = " ".join(f"{flag} {value}" for flag, value in asked.items() if value)
    print(heading(f"The paper's experiment: {preset}", f"python -m benchmarks.paper --preset {preset} {words}"))
    print(summary(experiment))
    if preset == "sample":
        print(difficulty(experiment))
    points = experiment.frontier()
    print(beside(preset, points))
    print(table(points))
    print(f"\n{verdict(points)}")


def folder(preset: str, model: str | None, limit: int | None) -> Path:
    """Where an experiment lies by default: one folder for each preset, limit, and model that is not the preset's own.

    >>> str(folder("sst2", "facebook/opt-350m", None)), str(folder("sst2", "roberta-large", 100))
    ('experiments/sst2-opt-350m', 'experiments/sst2-100')
    """
    short = Path(model).name if model else ""
    usual = "sample" if preset == "sample" else PAPERS_MODEL
    return Path("experiments") / "-".join(filter(None, [preset, "" if short == usual else short, str(limit or "")]))


def chosen(preset: str, model: str | None, data: str | None, evaluation: str | None, limit: int | None) -> Settings:
    """The settings of a preset or of the sample. Raises UsageError for a preset that does not exist."""
    if preset == "sample":
        train, held_out = sample_split(limit or 4000, EVALUATION)
        return Settings(data=str(train), evaluation=str(held_out), model=model or "sample")
    settings = presets.find_preset(preset).settings(model or PAPERS_MODEL, limit=limit)
    return settings.with_changes(data=data or settings.data, evaluation=evaluation or settings.evaluation)


def summary(experiment: Experiment) -> str:
    """What was trained."""
    accuracy = " ".join(f"{value:.3f}" for value in experiment.epoch_accuracy().mean(axis=0))
    dynamics = experiment.dynamics
    return f"{dynamics.examples:,} examples, {dynamics.runs} runs x {dynamics.epochs} epochs; online accuracy by epoch {accuracy}.\n"


def difficulty(experiment: Experiment) -> str:
    """H against the mean absolute human rating, for both ways to count epochs."""
    rating = np.abs(np.asarray(experiment.examples(["source.rating_mean"])["source.rating_mean"], dtype=float))
    runs = experiment.dynamics.runs
    lines = ["| epochs counted | " + " | ".join(f"H = {h}" for h in range(runs + 1)) + " | Spearman |", "|---" * (runs + 3) + "|"]
    for burn_in in range(min(2, experiment.dynamics.epochs)):
        h = experiment.reading(burn_in).h_score()
        cells = [f"{(h == value).sum()}: {rating[h == value].mean():.2f}" if (h == value).any() else "0" for value in range(runs + 1)]
        lines.append(f"| from {burn_in} | {' | '.join(cells)} | {stats.spearmanr(h, rating).statistic:.3f} |")
    return "\n".join([*lines, "", "Each cell: number of sentences, then their mean absolute human rating (0 to 4).", ""])


def beside(preset: str, points: list[FrontierPoint]) -> str:
    """The winning ticket here and in the paper, in points."""
    here = {point.subset: point for point in points}
    ticket, full = here.get(TICKET), here["full"]
    if ticket is None:
        return "The winning ticket could not be trained on, or was not asked for.\n"
    metrics = [name for name in full.metrics if name in ticket.metrics]
    lines = ["| winning ticket | metric | kept | full data | winning ticket |", "|---|---|---|---|---|"]
    for name in metrics:
        cells = [f"{100 * point.metrics[name]:.2f} {interval(point, name)}" for point in (full, ticket)]
        lines.append(f"| here, mean of {ticket.seeds} or more | {name} | {ticket.kept_fraction:.0%} | {' | '.join(cells)} |")
    if preset in PUBLISHED:
        row = PUBLISHED[preset]
        lines.append(f"| the paper, RoBERTa-large, one each | | {row.kept} | {row.full} | {row.ticket} |")
        lines += ["", row.note] if row.note else []
    return "\n".join([*lines, ""])


def interval(point: FrontierPoint, metric: str) -> str:
    """A metric's 95% interval in points."""
    low, high = point.ci95[metric]
    return f"[{100 * low:.2f}, {100 * high:.2f}]"


def table(points: list[FrontierPoint]) -> str:
    """The frontier as Markdown."""
    lines = ["| subset | kept | accuracy | 95% interval | minus full | minus random | seeds |", "|---|---|---|---|---|---|---|"]
    for point in points:
        differences = [
            f"{d.mean:+.3f} {bracketed(*possible(d.low, d.high), sign='+')}" if d is not None and d.pairs else ""
            for d in (point.vs_full, point.vs_random)
        ]
        headline = headline_of(point.metrics)
        value, around = point.metrics[headline], bracketed(*point.ci95[headline])
        lines.append(f"| {point.subset} | {point.kept} | {value:.3f} | {around} | {' | '.join(differences)} | {point.seeds} |")
    return "\n".join(lines)


def verdict(points: list[FrontierPoint]) -> str:
    """What held and what did not, by the intervals alone."""
    compared = [point for point in points if point.vs_random is not None and point.vs_random.pairs > 1]
    better = [point.subset for point in compared if point.vs_random is not None and point.vs_random.low > 0]
    worse = [point.subset for point in compared if point.vs_random is not None and point.vs_random.high < 0]
    words = [f"Of {len(compared)} subsets, {len(better)} beat a random one of equal size for certain ({', '.join(better) or 'none'}),"]
    words.append(f"{len(worse)} did worse ({', '.join(worse) or 'none'}); for the others the intervals of the difference hold 0.")
    return " ".join([*words, recommend(points).sentence])


if __name__ == "__main__":
    typer.run(main)
