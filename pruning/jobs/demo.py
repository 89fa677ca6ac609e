"""The demo: the whole path on the sample, from scoring to a verified export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from pruning.analysis.frontier import USUAL_SEEDS, check_seeds
from pruning.analysis.learning_rate import corrected
from pruning.analysis.recommendation import recommend
from pruning.data import sample
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.jobs import worker
from pruning.jobs.estimate import seconds_by_size
from pruning.jobs.progress import JobProgress, Listener
from pruning.records import FULL, Subset
from pruning.settings import Settings, TrainSettings, default_seeds
from pruning.store.layout import Folder
from pruning.subsets.findings import CHOICE
from pruning.subsets.trainable import trainable

LEARNING_RATE, FITTED_TO = 1.5e-4, 1000
"""Rate of the demo, so that it need not search, and the number of its sentences that `python -m benchmarks.learning_rate` fits it to; more
sentences are more steps, which want a smaller rate."""

SIZES = (1800, 1500, 1200, 1000, 900)
"""Training sentences of the demo: the most that end in time, else the fewest."""

MINUTES = 5.0
"""Time that the demo may take."""

BESIDE = 20.0
"""Seconds that a demo takes beside training: measuring the machine, starting, reporting."""

KEPT = 0.8
"""Share of the sentences that the demo's subsets keep, about; known only after scoring."""

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
    verdict: tuple[str, str]
    """Two sentences: did the model learn, and which subset to take."""

    @property
    def suspected(self) -> int:
        """Labels that look wrong."""
        errors = self.experiment.label_errors
        return 0 if errors is None else int(errors.suspect.sum())


def concluded(experiment: Experiment, otherwise: str) -> Demo:
    """Export the recommended subset, or `otherwise` where none is recommended, and verify the file."""
    found = recommend(experiment.frontier(), refusal=experiment.learned.refusal)
    subset = experiment.subset(found.subset or otherwise)
    output = writer.default_output(experiment, subset, "jsonl")
    experiment.export(subset.name, output, force=True)
    writer.verify(output)
    return Demo(
        experiment=experiment,
        subset=subset,
        output=output,
        manifest=writer.manifest_path(output),
        verdict=(experiment.learned.sentence, found.sentence),
    )


def affordable(directory: str | Path, evaluation: int, runs: int, seeds: int) -> tuple[int, float | None]:
    """Return how many training sentences the demo takes here; see `fitting`. Raises what `worker.score` raises."""
    return fitting(directory, SIZES, MINUTES, lambda train: _settings(train, evaluation, runs), [KEPT] * 2 * seeds)


def fitting(
    directory: str | Path, sizes: Sequence[int], minutes: float, settings_of: Callable[[int], Settings], fractions: Sequence[float]
) -> tuple[int, float | None]:
    """Return the largest size that this machine, as it is now, can do in so many minutes, else the smallest; and the largest's seconds.

    It fine-tunes for some seconds to measure the machine; `fractions` are the shares of the examples that are fine-tuned on after scoring.
    An experiment that is there keeps its examples; its seconds are None. Raises what `worker.score` raises.
    """
    if Folder(Path(directory)).manifest.exists():
        return len(Experiment(directory).ids), None
    seconds = {size: BESIDE + taken for size, taken in seconds_by_size(settings_of(sizes[0]), sizes, fractions).items()}
    return next((size for size in sizes if seconds[size] <= 60 * minutes), sizes[-1]), seconds[sizes[0]]


def silence(progress: JobProgress) -> None:
    """Listen to a job and print nothing."""


def demo(
    directory: str | Path,
    train: int = SIZES[0],
    evaluation: int = 1000,
    runs: int = 6,
    seeds: int = USUAL_SEEDS,
    listening: Listening = lambda title: nullcontext(silence),
) -> Demo:
    """Score the sample, measure full data, Winnow's choice and random of its size, then export a subset and verify it.

    The choice is the winning ticket without suspected labels (they differ by four sentences of 800), so that the time of a third subset
    is spent on more sentences. H counts every epoch, as in the paper: at 2e-4 the later epochs alone called 78% of the sentences always
    right, and a ticket of the rest ended at chance. The exported subset is the recommended one, or the choice where none is recommended.

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
    check_seeds(seeds)
    with listening(f"Scoring {train} sentences, {runs} runs") as listen:
        scored = worker.score(_settings(train, evaluation, runs), directory, listen)
    names = [name for name in (CHOICE, f"random@{CHOICE}") if trainable(scored.subset(name), scored.labels, scored.ids)] or [FULL]
    with listening("Measuring full data" if names == [FULL] else f"Measuring full data, {CHOICE} and random of equal size") as listen:
        experiment = worker.frontier(directory, names, [], seeds, listen=listen)
    return concluded(experiment, CHOICE if CHOICE in names else FULL)


def _settings(train: int, evaluation: int, runs: int) -> Settings:
    """Return the settings of the demo's scoring; its runs are too short to save their state."""
    train_file, evaluation_file = sample.sample_split(train, evaluation)
    recipe = TrainSettings(learning_rate=corrected(LEARNING_RATE, FITTED_TO, train))
    return Settings(data=str(train_file), evaluation=str(evaluation_file), seeds=default_seeds(runs), train=recipe, checkpoints=False)
