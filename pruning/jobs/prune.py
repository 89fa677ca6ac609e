"""One job for the whole way: fit the learning rate, score, choose a subset by racing, export it, verify the file.

Everything that is finished is kept in the experiment's folder, so the same job continues wherever it was stopped: the race is judged again
from the fine-tunings that are there (`pruning.analysis.racing`).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from pruning.analysis.frontier import FEWEST_SEEDS, headline_of, subset_sha256
from pruning.analysis.racing import BUDGET, Candidate, Rules, Step, advance, explain
from pruning.analysis.recommendation import MARGIN
from pruning.errors import ExperimentError, ScoreError, SubsetError, TrainingError, UsageError
from pruning.experiment import Experiment
from pruning.export import target, writer
from pruning.export.formats import find_format, of_output
from pruning.formatting import counted, possible
from pruning.jobs import rate_search, worker
from pruning.jobs.cluster import Cluster
from pruning.jobs.measuring import all_seeds, fine_tune
from pruning.jobs.progress import JobProgress, Listener, Stop
from pruning.records import FULL, FrontierPoint, Subset
from pruning.settings import FULL_RECIPE, Settings
from pruning.store.layout import Folder
from pruning.subsets.findings import CHOICE, SUSPECTS
from pruning.subsets.titles import short
from pruning.subsets.trainable import check_trainable

MOST_SEEDS = 6
"""Seeds of the test that accepts a subset, where there are as many scoring runs."""

CLOSE_TO_ALL = 0.95
"""A default candidate that keeps more than this share is left out: it saves nothing worth measuring."""

SHARES = 0.5, 0.3
"""Shares of the examples at which parts of a larger subset are offered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Output file, and the terms on which a subset is good enough."""

    output: Path
    give_up: float = MARGIN
    """Accuracy that may be given up, as a share."""
    budget: float = BUDGET
    """Most that deciding may cost, in fine-tunings of full data."""
    candidates: tuple[str, ...] = ()
    """Names of the subsets to choose from; none = `offered`."""
    force: bool = False
    """True to replace an earlier export."""

    def __post_init__(self) -> None:
        if not 0 <= self.give_up < 1:
            raise UsageError(f"give_up must be at least 0 and below 100 (pp), got {100 * self.give_up:g}.", "give_up")
        if not 0 < self.budget < float("inf"):
            raise UsageError(f"budget_runs must be greater than 0, got {self.budget:g}.", "budget_runs")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `from_dict` is the inverse."""
        return {
            "output": str(self.output),
            "give_up": self.give_up,
            "budget": self.budget,
            "candidates": list(self.candidates),
            "force": self.force,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Order:
        """Return the order that `to_dict` gave these values."""
        return cls(**{**values, "output": Path(values["output"]), "candidates": tuple(values["candidates"])})


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pruned:
    """Result of the job."""

    experiment: Experiment
    step: Step
    """The end of the race."""
    cost: float
    """Cost of deciding, in fine-tunings of full data, by optimizer steps."""
    subset: Subset | None
    """The exported subset; None where no subset passed."""
    output: Path | None
    """The verified file; None where nothing was exported."""
    sentences: tuple[str, ...]
    """The verdict."""


def prune(
    settings: Settings, directory: str | Path, order: Order, listen: Listener = lambda progress: None, on: Cluster | None = None
) -> Pruned:
    """Do the whole job, or continue it where it was stopped; see the module.

    Raises UsageError, ExportError (the output cannot be written) before any work, TrainingError where the model does not learn, and what
    `worker.score` raises.
    """
    found = list[Pruned]()
    order = Order.from_dict({**order.to_dict(), "output": str(order.output.absolute())})
    check_output(directory, settings, order)

    def work(experiment: Experiment, progress: JobProgress, listen: Listener, stop: Stop) -> None:
        found.append(_whole(experiment, order, progress, listen, stop))

    worker.within_job(settings, directory, "prune", listen, None, work, order.to_dict(), on=on)
    return found[0]


def resume(directory: str | Path, listen: Listener = lambda progress: None, on: Cluster | None = None) -> Pruned | Experiment:
    """Resume the latest job of an experiment, whichever it is; Raises what that job raises."""
    experiment = Experiment(directory)
    started = experiment.started()
    if not started or started[-1].get("verb") != "prune" or not isinstance(started[-1].get("job"), dict):
        return worker.resume(directory, listen, on)
    return prune(experiment.asked, directory, Order.from_dict(started[-1]["job"]), listen, on)


def check_output(directory: str | Path, settings: Settings, order: Order) -> None:
    """Refuse an output that could not be written in the end, unless it may be an earlier result of this very job."""
    folder, format = Folder(Path(directory)), find_format(of_output(order.output, None))
    if folder.manifest.exists() and writer.manifest_path(order.output).exists():
        return
    target.check([settings.data, settings.evaluation], order.output, order.force, format.folder)


def _whole(experiment: Experiment, order: Order, progress: JobProgress, listen: Listener, stop: Stop) -> Pruned:
    measuring = experiment.asked.measuring
    after = round(order.budget * len(experiment.ids) * measuring.epochs)
    worker.score_within(experiment, progress, listen, stop, after)
    experiment = Experiment(experiment.folder.root)
    if refusal := experiment.learned.refusal:
        raise TrainingError(refusal)
    if experiment.settings.measuring.learning_rate is None:
        experiment = rate_search.ensure(experiment, FULL_RECIPE, progress, listen, stop, after)
    race = _Race(experiment, order, partial(_train, experiment, progress, listen, stop, after))
    step = race.run()
    progress.total = progress.done
    if step.chosen is None:
        return Pruned(experiment=experiment, step=step, cost=race.cost(step), subset=None, output=None, sentences=race.verdict(step))
    progress.say("note", message=f"{step.chosen} was chosen; writing {order.output}.")
    subset = experiment.subset(step.chosen)
    if not _is_there(experiment, subset, order.output):
        writer.build(experiment, subset, order.output, force=order.force)
    writer.verify(order.output)
    verdict = race.verdict(step)
    return Pruned(experiment=experiment, step=step, cost=race.cost(step), subset=subset, output=order.output, sentences=verdict)


def _is_there(experiment: Experiment, subset: Subset, output: Path) -> bool:
    """Return True where the output is the file that would be written now."""
    if not output.exists() or not writer.manifest_path(output).exists():
        return False
    return writer.is_current(writer.verify(output), experiment, subset)


def _train(
    experiment: Experiment, progress: JobProgress, listen: Listener, stop: Stop, after: int, pieces: Sequence[tuple[str, int]], spent: float
) -> dict[str, str]:
    """Fine-tune these subsets; return the names of candidates whose loss became NaN, with a sentence each."""
    diverged: dict[str, str] = {}
    racing = all(name != "full" for name, _ in pieces)
    full = len(experiment.ids) * experiment.settings.measuring.epochs
    sizes = [experiment.named(name, seed=seed).size * experiment.settings.measuring.epochs for name, seed in pieces]
    later = max(0, after - round(spent * full) - sum(sizes))
    fine_tune(experiment, progress, pieces, "epochs", listen, stop, later, diverged.__setitem__ if racing else None)
    for name, sentence in diverged.items():
        progress.say("note", message=f"{name} leaves the race: {sentence}")
    return diverged


def offered(experiment: Experiment) -> list[str]:
    """Return the default candidates: Winnow's choice, without suspected labels, a further rung of the ladder, parts, random examples."""
    tops = [SUSPECTS, CHOICE]
    parts = [f"{top}@{share:g}" for top, share in zip(tops, SHARES, strict=True)]
    return [*tops, *experiment.ladder()[1:2], *parts, f"random@{SHARES[0]:g}"]


class _Race:
    """The race on an experiment: its candidates, its seeds, and what the folder's fine-tunings say."""

    def __init__(self, experiment: Experiment, order: Order, train: Any) -> None:
        self.experiment, self.train, self.headline = experiment, train, ""
        settings = experiment.settings
        self.seeds = all_seeds(settings, max(FEWEST_SEEDS, min(MOST_SEEDS, settings.runs)))
        self.full_steps = self._steps(len(experiment.ids))
        self.candidates = self._candidates(order.candidates)
        own = settings.seeds if settings.scored_subset == FULL else ()
        self.beside = float(len(set(self.seeds) - set(own)))
        budget, evaluated = order.budget - self.beside, experiment.evaluated
        self.rules = Rules(seeds=len(self.seeds), margin=order.give_up, budget=budget, evaluated=evaluated)

    def run(self) -> Step:
        """Train what the race asks for until it ends."""
        self.train([("full", seed) for seed in self.seeds], 0.0)
        self.headline = headline_of(next(point for point in self.experiment.frontier() if point.subset == "full").metrics)
        full = self._metric("full")
        while True:
            step = advance(self.candidates, full, {each.name: self._metric(each.name) for each in self.candidates}, self.rules)
            if not step.pieces:
                return step
            diverged = self.train([(name, self.seeds[place]) for name, place in step.pieces], step.spent)
            self.candidates = [each for each in self.candidates if each.name not in diverged]
            if not self.candidates:
                raise TrainingError(f"No candidate is left in the race. {next(iter(diverged.values()))}")

    def cost(self, step: Step) -> float:
        """Return the cost of deciding, full data's further seeds included."""
        return step.spent + self.beside

    def verdict(self, step: Step) -> tuple[str, ...]:
        """Say what was chosen, or why nothing, and what that cost."""
        runs = f"Deciding cost {self.cost(step):.1f} fine-tunings of full data, beside {self.experiment.settings.runs} for scoring."
        if step.chosen is None:
            best = max((found for found in step.standings if found.seeds), key=lambda found: found.mean, default=None)
            name = step.standings[-1].candidate.name if best is None else best.candidate.name
            root, seeds = str(self.experiment.folder.root), str(2 * len(self.seeds))
            measure = shlex.join(["winnow", "frontier", root, "--subsets", name, "--seeds", seeds])
            return (f"{explain(step, self.rules, self.beside)} Nothing was exported.", f"Or measure it with more seeds: {measure}", runs)
        point = self._point(step.chosen)
        difference, metric = point.vs_full, headline_of(point.metrics)
        assert difference is not None
        low, high = possible(difference.low, difference.high)
        words = (
            f"{short(point.subset)} keeps {point.kept:,} of {len(self.experiment.ids):,} examples ({point.kept_fraction:.0%}): {metric} "
            f"{point.metrics[metric]:.3f}, {difference.mean * 100:+.1f} pp from full data "
            f"({low * 100:+.1f} to {high * 100:+.1f}, {counted(difference.pairs, 'seed')})."
        )
        return (words, f"Each further fine-tuning takes {point.steps:,} steps instead of {self.full_steps:,}.", runs)

    def _point(self, name: str) -> FrontierPoint:
        return next(point for point in self.experiment.frontier() if point.subset == name)

    def _steps(self, examples: int) -> int:
        recipe = self.experiment.settings.measuring
        return recipe.epochs * ceil(examples / recipe.batch_size)

    def _candidates(self, names: Sequence[str]) -> list[Candidate]:
        found: dict[str, Candidate] = {}
        for name in names or offered(self.experiment):
            try:
                drawn = [self.experiment.named(name, seed=seed) for seed in self.seeds]
                for subset in drawn:
                    check_trainable(subset, self.experiment.labels_of(subset), self.experiment.ids)
            except (SubsetError, ScoreError):
                if names:
                    raise
                continue
            if (not names and drawn[0].kept_fraction > CLOSE_TO_ALL) or drawn[0].size == len(self.experiment.ids):
                continue
            rows = subset_sha256(drawn[0])
            found.setdefault(rows, Candidate(name=drawn[0].name, kept=drawn[0].size, cost=self._steps(drawn[0].size) / self.full_steps))
        if not found:
            raise ExperimentError(f"{self.experiment.folder.root} has no subset to choose from; name some with --candidates.")
        return list(found.values())

    def _metric(self, name: str) -> list[float]:
        """Return the metric of the first seeds that are finished, in the order of the seeds."""
        finished = self.experiment.finished()
        finished = finished[(finished["subset"] == name) & (finished["budget"] == "epochs")]
        values: list[float] = []
        for seed in self.seeds:
            rows = subset_sha256(self.experiment.named(name, seed=seed))
            same = finished[(finished["seed"] == seed) & (finished["rows_sha256"] == rows)]
            if same.empty:
                break
            values.append(float(same.iloc[-1][self.headline]))
        return values
