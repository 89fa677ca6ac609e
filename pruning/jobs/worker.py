"""One job of one experiment, done in this process: score, or measure the frontier.

A worker owns the experiment's lock while it works, writes each finished piece at once, and leaves a line in
events.jsonl every second or so. If it is killed, finished pieces are kept and `resume` continues from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.analysis import neighbours
from pruning.analysis.frontier import USUAL_SEEDS, check_budget, check_seeds
from pruning.data import examples as datasource
from pruning.data import models
from pruning.errors import ExperimentError
from pruning.experiment import Experiment, full_subset
from pruning.interop import recorder
from pruning.jobs import base_losses, cluster, divergence, mapping, rate_search, transfer
from pruning.jobs import look as looking
from pruning.jobs.cluster import Cluster
from pruning.jobs.measuring import all_seeds, check_measurable, checkpoint, choose, fine_tune, fine_tuning, tidy
from pruning.jobs.progress import JobProgress, Listener, Stop, job, stop_on_signals
from pruning.jobs.runs import Done, train_runs
from pruning.jobs.usual import decided
from pruning.records import DISTINCT, RunPlan
from pruning.settings import FULL_RECIPE, Settings
from pruning.store.layout import Folder
from pruning.store.lock import own
from pruning.subsets import rules

FEWEST_RUNS = 4
"""Runs before the first check: two halves of one run each say little."""


def score(
    settings: Settings,
    directory: str | Path,
    listen: Listener = lambda progress: None,
    rate_from: str | Path | None = None,
    runs_given: bool = True,
    on: Cluster | None = None,
) -> Experiment:
    """Fit the learning rate where it is auto, then fine-tune once per seed and record every epoch; finished runs are kept.

    `rate_from` is another experiment on the same data and model whose fitted rate is taken over; without `runs_given`, generation has
    its usual number of runs. `on` is a cluster to train on instead of this machine.
    Raises DataError, ModelError, ExperimentError (other settings), BusyError (owned), Cancelled, TrainingError.
    """
    return within_job(settings, directory, "score", listen, rate_from, score_within, runs_given=runs_given, on=on)


def fit(
    settings: Settings,
    directory: str | Path,
    listen: Listener = lambda progress: None,
    rate_from: str | Path | None = None,
    on: Cluster | None = None,
) -> Experiment:
    """Fit the learning rate alone and keep it in the experiment's folder, for `score` and `frontier`. Raises what `score` does."""
    return within_job(settings, directory, "fit", listen, rate_from, _fit, runs_given=False, on=on)


def fit_again(directory: str | Path, listen: Listener = lambda progress: None, on: Cluster | None = None) -> Experiment:
    """Fit the learning rate of an experiment that is there, or finish its search; a rate that was fitted already is kept."""
    experiment = Experiment(directory)
    with _opened(experiment, "fit", on=on) as (stop, progress):
        _fit(experiment, progress, listen, stop)
    return Experiment(directory)


def _fit(experiment: Experiment, progress: JobProgress, listen: Listener, stop: Stop) -> None:
    name = experiment.asked.approximate or FULL_RECIPE if experiment.settings.recorded_by == "winnow" else FULL_RECIPE
    rate_search.ensure(experiment, name, progress, listen, stop, asked=True)
    tidy(experiment)


def look(settings: Settings, directory: str | Path, listen: Listener = lambda progress: None) -> Experiment:
    """Embed the texts and fit the probe, in a new experiment or one that is there. Raises what `score` and `look.ensure` raise."""
    return within_job(settings, directory, "look", listen, None, _look)


def look_again(directory: str | Path, listen: Listener = lambda progress: None, model: str | None = None) -> Experiment:
    """Look at an experiment that is there, or finish its look; `model` names one where the experiment has none of its own."""
    experiment = Experiment(directory)
    with _opened(experiment, "look") as (stop, progress):
        mapping.step(looking.ensure(experiment, progress, listen, stop, model), progress, listen)
    return Experiment(directory)


def _look(experiment: Experiment, progress: JobProgress, listen: Listener, stop: Stop) -> None:
    mapping.step(looking.ensure(experiment, progress, listen, stop), progress, listen)


def within_job(
    settings: Settings,
    directory: str | Path,
    verb: str,
    listen: Listener,
    rate_from: str | Path | None,
    work: Callable[[Experiment, JobProgress, Listener, Stop], None],
    asked: dict[str, Any] | None = None,
    runs_given: bool = True,
    on: Cluster | None = None,
) -> Experiment:
    """Create the experiment or open it, and do that work on it as one job. `asked` holds what `resume` repeats the job with."""
    with stop_on_signals() as stop, cluster.connected(on, settings.train.device) as connection:
        train, evaluation = datasource.load_pair(settings)
        path = models.locate(settings.model)
        model, settings = models.identity(path), decided(settings, train.task, path, runs_given)
        with job(Folder(Path(directory)), verb, asked, connection) as progress:
            experiment = Experiment.create(directory, settings, train, evaluation, model)
            if rate_from is not None:
                experiment = rate_search.take_over(experiment, Experiment(rate_from))
            work(experiment, progress, listen, stop)
    return Experiment(directory)


def frontier(
    directory: str | Path,
    names: Sequence[str] = (),
    baselines: Sequence[str] = rules.USUAL_BASELINES,
    seeds: int = USUAL_SEEDS,
    budget: str = "epochs",
    burn_in: int | None = None,
    listen: Listener = lambda progress: None,
    with_decisions: bool = False,
    success: str | None = None,
    model: str | None = None,
    learning_rate: float | None = None,
    own: str | None = None,
    on: Cluster | None = None,
) -> Experiment:
    """Fine-tune full data, the named subsets (none = the ladder) and a baseline of equal size for each; finished points are kept.

    Each subset has the rows its rule chooses; `with_decisions` measures all of them with the decisions made by hand, like the suffix
    "+decisions" on each name. The name of a point says which of the two it is.

    `model` measures with another model than the one that scored the data, at `learning_rate` (None: fitted to it); `own` is an experiment
    of that model on the same data, whose winning ticket is measured beside the others.

    Raises SubsetError for a name that does not exist or rows that cannot be trained on, UsageError for a wrong baseline or
    budget, and what `score` raises.
    """
    check_budget(budget)
    check_seeds(seeds)
    experiment = Experiment(directory, burn_in, success=success)
    check_measurable(experiment)
    other = transfer.other_model(experiment, model, learning_rate, own)
    wanted = [*(names or experiment.ladder()), *([transfer.save_own_ticket(experiment, other)] if other and other.own else [])]
    if with_decisions:
        wanted = [experiment.subset(name).name for name in wanted]
    chosen, left_out = choose(experiment, wanted, baselines, refuse=bool(names))
    asked = {"names": chosen, "baselines": [], "seeds": seeds, "budget": budget, "burn_in": burn_in, "success": success}
    if other is not None:
        asked |= {"model": model, "learning_rate": learning_rate, "own": own}
    with _opened(experiment, "frontier", asked, on) as (stop, progress):
        if left_out:
            progress.say("note", message=f"Not measured, because they keep only one class or nothing: {', '.join(left_out)}.")
        if other is not None:
            experiment = transfer.entered(experiment, other)
            progress.say("note", message=transfer.sentence(experiment, other))
        if experiment.settings.measuring.learning_rate is None:
            fitted = rate_search.ensure(experiment, FULL_RECIPE, progress, listen, stop)
            experiment = fitted.reading(experiment.burn_in, experiment.with_decisions, success)
        pieces = [(name, seed) for name in chosen for seed in all_seeds(experiment.settings, seeds)]
        fine_tune(experiment, progress, pieces, budget, listen, stop)
    return Experiment(directory)


@contextmanager
def _opened(
    experiment: Experiment, verb: str, asked: dict[str, Any] | None = None, on: Cluster | None = None
) -> Iterator[tuple[Stop, JobProgress]]:
    """Open a job on an experiment that is there, connected to the cluster if it trains on one."""
    with (
        stop_on_signals() as stop,
        cluster.connected(on, experiment.asked.train.device) as connection,
        job(experiment.folder, verb, asked, connection) as progress,
    ):
        yield stop, progress


def resume(directory: str | Path, listen: Listener = lambda progress: None, on: Cluster | None = None) -> Experiment:
    """Resume the latest job: first restore data and finish scoring (unfinished, damaged or missing files), then the latest frontier."""
    begun = Experiment(directory).started()
    verb = begun[-1].get("verb") if begun else ""
    if verb in ("fit", "look"):
        return fit_again(directory, listen, on) if verb == "fit" else look_again(directory, listen)
    experiment = _restored(Experiment(directory), listen, on)
    if _unfinished_runs(experiment) or base_losses.lacks(experiment):
        with _opened(experiment, "score", on=on) as (stop, progress):
            score_within(experiment, progress, listen, stop)
        experiment = Experiment(directory)
        if verb != "frontier":
            return experiment
    jobs = [event["job"] for event in experiment.started("frontier") if isinstance(event.get("job"), dict)]
    if not jobs:
        return experiment
    return frontier(directory, listen=listen, on=on, **jobs[-1])


def _restored(experiment: Experiment, listen: Listener, on: Cluster | None) -> Experiment:
    """Return the experiment with damaged or missing files recreated from its data; a damaged frontier is moved, to be measured again."""
    folder, settings = experiment.folder, experiment.settings
    if experiment.damaged([folder.frontier]):
        with own(folder):
            if folder.frontier.exists() and experiment.damaged([folder.frontier]):
                folder.frontier.replace(folder.damaged_frontier)
    if experiment.complaints():
        with own(folder):
            experiment.repair()
    if folder.examples.exists() and folder.evaluation.exists() and not experiment.damaged(folder.of_data):
        return experiment
    if settings.recorded_by == "winnow":
        return score(experiment.asked, folder.root, listen, on=on)
    with own(folder):
        return recorder.make(folder.root, experiment.asked)


def redo(directory: str | Path, listen: Listener = lambda progress: None, on: Cluster | None = None) -> Experiment:
    """Train diverged runs again, each with the next seed that was not used yet; what they recorded moves to diverged/.

    Raises ExperimentError when none has diverged, and what `score` raises.
    """
    experiment = Experiment(directory)
    if not experiment.diverged():
        raise ExperimentError(f"No run of {experiment.folder.root} has diverged; there is nothing to train again.")
    with _opened(experiment, "score", on=on) as (stop, progress):
        for diverged in experiment.diverged():
            divergence.set_aside(experiment, diverged)
        score_within(Experiment(directory), progress, listen, stop)
    return Experiment(directory)


def score_within(experiment: Experiment, progress: JobProgress, listen: Listener, stop: Stop, after: int = 0) -> None:
    """Score within a job that is under way; `after` counts the examples that the same job trains afterwards."""
    later = after + experiment.settings.runs * len(experiment.ids) * experiment.settings.scoring.epochs
    experiment = looking.step(experiment, progress, listen, stop, later + rate_search.ahead(experiment))
    experiment = rate_search.ensure(experiment, experiment.asked.approximate or FULL_RECIPE, progress, listen, stop, later)
    experiment = base_losses.ensure(experiment, progress, listen, stop)
    settings = experiment.settings
    unfinished = _unfinished_runs(experiment)
    stand_ins = _stand_ins(experiment)
    rows, places = np.unique(stand_ins, return_inverse=True)
    copied = len(rows) < len(stand_ins)
    if copied:
        progress.say("note", message=f"Scoring trains on {len(rows):,} of {len(stand_ins):,} examples, one of each near-duplicate.")
    plans = [
        RunPlan(
            key=f"run {run}",
            seed=settings.seeds[run],
            rows=rows,
            epochs=settings.scoring.epochs,
            checkpoint=checkpoint(experiment, f"run={run}"),
        )
        for run in unfinished
    ]
    run_of = {plan.key: run for plan, run in zip(plans, unfinished, strict=True)}
    scored = experiment.subset(DISTINCT) if settings.scored_subset == DISTINCT else full_subset(experiment.ids)
    trained: set[str] = set()

    def keep(done: Done) -> None:
        trained.add(done.plan.key)
        if settings.scored_subset:  # trained in any other way, they do not say what the subset is worth
            experiment.add_finished(fine_tuning(scored, "epochs", 0, done).row)

    progress.plan(plans, found=(settings.runs - len(unfinished)) * len(rows) * settings.scoring.epochs, later=after)
    while plans and not _stopped_early(experiment):
        train_runs(
            experiment,
            settings.scoring,
            plans,
            progress,
            listen,
            stop,
            on_epoch=lambda plan, record: experiment.write_epoch(run_of[plan.key], record.take(places) if copied else record),
            on_result=keep,
            enough=lambda: bool(_settled(experiment)),
        )
        plans = [plan for plan in plans if plan.key not in trained]
    if plans:
        progress.total = progress.done + after
    tidy(experiment)


def _stand_ins(experiment: Experiment) -> NDArray[np.int64]:
    """Return [N] which example scoring trains on for each: itself, or the near-duplicate that stands for it.

    Raises ExperimentError where near-duplicates are not known.
    """
    if not experiment.settings.one_of_each:
        return np.arange(len(experiment.ids))
    if experiment.same_meaning is None:
        raise ExperimentError(
            "Near-duplicates are not known: there is no look at this data (leave out --no-look), or its model's embeddings do not tell "
            "texts apart; score without --one-of-each, or into a new folder with another --model."
        )
    return neighbours.stand_ins(experiment.same_meaning, experiment.labels)


def _stopped_early(experiment: Experiment) -> bool:
    """Stop scoring early if the rank agreement of the complete runs has reached the value set."""
    sentence = _settled(experiment)
    if sentence:
        experiment.stop_scoring(len(experiment.finished_runs()), sentence)
    return bool(sentence)


def _settled(experiment: Experiment) -> str:
    """Return a sentence if the rank agreement of the complete runs has reached the value set, else an empty string."""
    threshold = experiment.settings.stop_when_stable
    if threshold is None:
        return ""
    complete = experiment.finished_runs()
    if len(complete) < FEWEST_RUNS or complete != list(range(len(complete))):
        return ""
    found = Experiment(experiment.folder.root).stability()
    if not found.ranks_settled(threshold):
        return ""
    return (
        f"Scoring stopped after {len(complete)} of {experiment.settings.runs} runs: rank agreement (Spearman) is "
        f"{found.rank_agreement:.2f}, with 95% confidence above {threshold:g}."
    )


def _unfinished_runs(experiment: Experiment) -> list[int]:
    """Return runs that lack an epoch or its evaluation, or have a damaged file; none where another tool did the training."""
    if experiment.settings.recorded_by != "winnow":
        return []
    finished = experiment.finished()
    evaluated = set(finished.loc[finished["subset"] == experiment.settings.scored_subset, "seed"])
    complete = set(experiment.finished_runs()) - experiment.damaged_runs()
    if not experiment.settings.scored_subset:
        return [run for run in range(experiment.settings.runs) if run not in complete]
    return [run for run, seed in enumerate(experiment.settings.seeds) if run not in complete or seed not in evaluated]
