"""The demo: the whole path on the sample, from scoring to a verified export."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from pruning.analysis.frontier import USUAL_SEEDS
from pruning.data import sample
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.jobs import worker
from pruning.jobs.progress import JobProgress, Listener
from pruning.records import Subset
from pruning.settings import Settings, default_seeds

SUBSET = "winning-ticket"
"""The subset that the demo measures and exports."""

Listening = Callable[[str], AbstractContextManager[Listener]]
"""Given the title of a job, open the listener that follows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """Results of the demo."""

    experiment: Experiment
    subset: Subset
    """The exported subset."""
    output: Path
    """The exported file."""
    manifest: Path
    """The manifest that the file was verified against."""


def _silence(progress: JobProgress) -> None:
    pass


def demo(
    directory: str | Path,
    train: int = 800,
    evaluation: int = 1000,
    runs: int = 6,
    seeds: int = USUAL_SEEDS,
    listening: Listening = lambda title: nullcontext(_silence),
) -> Demo:
    """Score the sample, measure full data, the winning ticket and random, then export the winning ticket and verify it.

    Parameters
    ----------
    directory
        Folder of the experiment.
    train, evaluation
        Sentences drawn from the sample.
    runs
        Fine-tunings that score.
    seeds
        Fine-tunings per point of the frontier.
    listening
        Opens the listener of a job, given the job's title.
    """
    train_file, evaluation_file = sample.sample_split(train, evaluation)
    settings = Settings(data=str(train_file), evaluation=str(evaluation_file), seeds=default_seeds(runs))
    with listening(f"Scoring {train} sentences, {runs} runs") as listen:
        worker.score(settings, directory, listen)
    with listening("Measuring full data, the winning ticket and random") as listen:
        experiment = worker.frontier(directory, [SUBSET], ["random"], seeds, listen=listen)
    subset = experiment.subset(SUBSET)
    output = writer.default_output(experiment, subset, "jsonl")
    experiment.export(SUBSET, output, force=True)
    writer.verify(output)
    return Demo(experiment=experiment, subset=subset, output=output, manifest=writer.manifest_path(output))
