"""One job of one experiment, done in this process: score, or measure the frontier.

A worker owns the experiment's lock while it works, writes each finished piece at once, and leaves a line in
events.jsonl every second or so. If it is killed, finished pieces are kept and `resume` continues from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from pruning.analysis.frontier import USUAL_SEEDS, check_budget, equal_steps_epochs, of_subset, rows_sha256
from pruning.data import examples as datasource
from pruning.data import models
from pruning.data.tasks import TASKS
from pruning.errors import ExperimentError, SubsetError, UsageError
from pruning.experiment import Experiment, full_subset
from pruning.interop import recorder
from pruning.jobs import divergence, rate_search
from pruning.jobs.progress import JobProgress, Listener, Stop, job, stop_on_signals
from pruning.jobs.runs import Done, train_runs
from pruning.records import DECISIONS, FineTuning, RunPlan, Subset
from pruning.settings import FULL_RECIPE, Settings, default_seeds
from pruning.store.layout import Folder
from pruning.store.lock import own
from pruning.subsets import rules

ROUND = 2
"""Runs between two checks of the rank agreement."""

FEWEST_RUNS = 4
"""Runs before the first check: two halves of one run each say little."""


def score(
    settings: Settings,
    directory: str | Path,
    listen: Listener = lambda progress: None,
    rate_from: str | Path | None = None,
) -> Experiment:
    """Fit the learning rate where it is auto, then fine-tune once per seed and record every epoch; finished runs are kept.

    `rate_from` is another experiment on the same data and model whose fitted rate is taken over.
    Raises DataError, ModelError, ExperimentError (other settings), BusyError (owned), Cancelled, TrainingError.
    """
    return _made(settings, directory, "score", listen, rate_from, _score)


def fit(
    settings: Settings,
    directory: str | Path,
    listen: Listener = lambda progress: None,
    rate_from: str | Path | None = None,
) -> Experiment:
    """Fit the learning rate alone and keep it in the experiment's folder, for `score` and `frontier`. Raises what `score` does."""
    return _made(settings, directory, "fit", listen, rate_from, _fit)


def fit_again(directory: str | Path, listen: Listener = lambda progress: None) -> Experiment:
    """Fit the learning rate of an experiment that is there, or finish its search; a rate that was fitted already is kept."""
    experiment = Experiment(directory)
    with stop_on_signals() as stop, job(experiment.folder, "fit") as progress:
        _fit(experiment, progress, listen, stop)
    return Experiment(directory)


def _fit(experiment: Experiment, progress: JobProgress, listen: Listener, stop: Stop) -> None:
    name = experiment.asked.approximate or FULL_RECIPE if experiment.settings.recorded_by == "winnow" else FULL_RECIPE
    rate_search.ensure(experiment, name, progress, listen, stop, asked=True)
    _tidy(experiment)


def _made(
    settings: Settings,
    directory: str | Path,
    verb: str,
    listen: Listener,
    rate_from: str | Path | None,
    work: Callable[[Experiment, JobProgress, Listener, Stop], None],
) -> Experiment:
    """Make the experiment or open it, and do that work on it as one job."""
    with stop_on_signals() as stop:
        train, evaluation = datasource.load_pair(settings)
        model = models.identity(models.locate(settings.model))
        settings = settings.with_changes(max_length=settings.max_length or TASKS[train.task].max_length)
        with job(Folder(Path(directory)), verb) as progress:
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
) -> Experiment:
    """Fine-tune full data, the named subsets (none = the ladder) and a baseline of equal size for each; finished points are kept.

    Each subset has the rows its rule chooses; `with_decisions` measures all of them with the decisions made by hand, like the suffix
    "+decisions" on each name. The name of a point says which of the two it is.

    Raises SubsetError for a name that does not exist or rows that cannot be trained on, UsageError for a wrong baseline or
    budget, and what `score` raises.
    """
    check_budget(budget)
    if seeds < 1:
        raise UsageError(f"seeds must be at least 1, got {seeds}; use at least 3 for a useful interval.", "seeds")
    experiment = Experiment(directory, burn_in)
    if not (experiment.settings.model and experiment.evaluation(["id"]).num_rows):
        raise ExperimentError(f"{experiment.folder.root} lacks a model or evaluation data to measure with; record it with both.")
    wanted = list(names) if names else experiment.ladder()
    if with_decisions:
        wanted = [experiment.subset(name).name for name in wanted]
    chosen, left_out = _chosen(experiment, wanted, baselines, refuse=bool(names))
    asked = {"names": chosen, "baselines": [], "seeds": seeds, "budget": budget, "burn_in": burn_in}
    with stop_on_signals() as stop, job(experiment.folder, "frontier", asked) as progress:
        if left_out:
            progress.say("note", message=f"Not measured, because they keep only one class or nothing: {', '.join(left_out)}.")
        if experiment.settings.measuring.learning_rate is None:
            fitted = rate_search.ensure(experiment, FULL_RECIPE, progress, listen, stop)
            experiment = fitted.reading(experiment.burn_in, experiment.with_decisions)
        _frontier(experiment, progress, chosen, seeds, budget, listen, stop)
    return Experiment(directory)


def resume(directory: str | Path, listen: Listener = lambda progress: None) -> Experiment:
    """Resume the latest job: first restore data and finish scoring (unfinished, damaged or missing files), then the latest frontier."""
    if Experiment(directory).status().verb == "fit":
        return fit_again(directory, listen)
    experiment = _restored(Experiment(directory), listen)
    if _unfinished_runs(experiment):
        with stop_on_signals() as stop, job(experiment.folder, "score") as progress:
            _score(experiment, progress, listen, stop)
        return Experiment(directory)
    jobs = [
        event["job"] for event in experiment.events(but="progress") if event["event"] == "started" and isinstance(event.get("job"), dict)
    ]
    if not jobs:
        return experiment
    return frontier(directory, listen=listen, **jobs[-1])


def _restored(experiment: Experiment, listen: Listener) -> Experiment:
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
        return score(experiment.asked, folder.root, listen)
    with own(folder):
        return recorder.make(folder.root, experiment.asked)


def redo(directory: str | Path, listen: Listener = lambda progress: None) -> Experiment:
    """Train diverged runs again, each with the next seed that was not used yet; what they recorded moves to diverged/.

    Raises ExperimentError when none has diverged, and what `score` raises.
    """
    experiment = Experiment(directory)
    if not experiment.diverged():
        raise ExperimentError(f"No run of {experiment.folder.root} has diverged; there is nothing to train again.")
    with stop_on_signals() as stop, job(experiment.folder, "score") as progress:
        for diverged in experiment.diverged():
            divergence.set_aside(experiment, diverged)
        _score(Experiment(directory), progress, listen, stop)
    return Experiment(directory)


def _score(experiment: Experiment, progress: JobProgress, listen: Listener, stop: Stop) -> None:
    later = experiment.settings.runs * len(experiment.ids) * experiment.settings.scoring.epochs
    experiment = rate_search.ensure(experiment, experiment.asked.approximate or FULL_RECIPE, progress, listen, stop, later)
    settings = experiment.settings
    unfinished = _unfinished_runs(experiment)
    rows = np.arange(len(experiment.ids))
    plans = [
        RunPlan(
            key=f"run {run}",
            seed=settings.seeds[run],
            rows=rows,
            epochs=settings.scoring.epochs,
            checkpoint=_checkpoint(experiment, f"run={run}"),
        )
        for run in unfinished
    ]
    run_of = {plan.key: run for plan, run in zip(plans, unfinished, strict=True)}
    full = full_subset(experiment.ids)

    def keep(done: Done) -> None:
        if settings.scoring == settings.measuring:  # trained in any other way, they do not say what full data is worth
            experiment.add_finished(_fine_tuning(full, "epochs", 0, done).row)

    progress.plan(plans, found=(settings.runs - len(unfinished)) * len(rows) * settings.scoring.epochs)
    at_once = len(plans) if settings.stop_when_stable is None else ROUND
    for start in range(0, len(plans), max(1, at_once)):
        if _stopped_early(experiment):
            progress.total = progress.done
            break
        train_runs(
            experiment,
            settings.scoring,
            plans[start : start + at_once],
            progress,
            listen,
            stop,
            on_epoch=lambda plan, record: experiment.write_epoch(run_of[plan.key], record),
            on_result=keep,
        )
    _tidy(experiment)


def _stopped_early(experiment: Experiment) -> bool:
    """Stop scoring early if the rank agreement of the complete runs has reached the value set."""
    threshold, complete = experiment.settings.stop_when_stable, experiment.finished_runs()
    if threshold is None or len(complete) < FEWEST_RUNS or complete != list(range(len(complete))):
        return False
    found = Experiment(experiment.folder.root).stability()
    if not found.ranks_settled(threshold):
        return False
    sentence = (
        f"Scoring stopped after {len(complete)} of {experiment.settings.runs} runs: rank agreement (Spearman) is "
        f"{found.rank_agreement:.2f}, with 95% confidence above {threshold:g}."
    )
    experiment.stop_scoring(len(complete), sentence)
    return True


def _unfinished_runs(experiment: Experiment) -> list[int]:
    """Return runs that lack an epoch or its evaluation, or have a damaged file; none where another tool did the training."""
    if experiment.settings.recorded_by != "winnow":
        return []
    finished = experiment.finished()
    evaluated = set(finished.loc[finished["subset"] == "full", "seed"])
    complete = set(experiment.finished_runs()) - experiment.damaged_runs()
    if experiment.settings.scoring != experiment.settings.measuring:
        return [run for run in range(experiment.settings.runs) if run not in complete]
    return [run for run, seed in enumerate(experiment.settings.seeds) if run not in complete or seed not in evaluated]


def _tidy(experiment: Experiment) -> None:
    """Remove checkpoints of finished work: a killed worker may have left one."""
    finished = experiment.finished_runs()
    wanted = {experiment.folder.checkpoint(f"run={run}") for run in range(experiment.settings.runs) if run not in finished}
    for path in set(experiment.folder.checkpoints.glob("*.pt")) - wanted:
        path.unlink()
    with suppress(OSError):  # there is none, or an unfinished run's is in it
        experiment.folder.checkpoints.rmdir()


def _checkpoint(experiment: Experiment, name: str) -> str | None:
    return str(experiment.folder.checkpoint(name)) if experiment.settings.checkpoints else None


def _chosen(experiment: Experiment, wanted: Sequence[str], baselines: Sequence[str], refuse: bool) -> tuple[list[str], list[str]]:
    """Return the subsets to measure with their baselines, full data first, and those that cannot be trained on.

    With `refuse`, a subset of `wanted` that cannot be trained on raises SubsetError.
    """
    for baseline in baselines:
        if baseline not in rules.BASELINES:
            raise UsageError(f"baselines must be any of {', '.join(rules.BASELINES)}, got {baseline!r}.", "baselines")
    chosen, left_out = ["full"], []
    for name in wanted:
        subset = experiment.named(name)
        if refuse:
            rules.check_trainable(subset, experiment.labels, experiment.ids)
        elif not rules.trainable(subset, experiment.labels, experiment.ids):
            left_out.append(name)
            continue
        chosen.append(name)
        if name != "full" and subset.method != "random":
            size = _size_in_words(experiment, subset)
            for beside in (f"{baseline}@{size}" for baseline in baselines):
                fits = rules.trainable(experiment.named(beside), experiment.labels, experiment.ids)
                (chosen if fits else left_out).append(beside)
    return list(dict.fromkeys(chosen)), list(dict.fromkeys(left_out))


def _size_in_words(experiment: Experiment, subset: Subset) -> str:
    """Return what follows the @ in the name of a baseline of equal size: the subset's source if that has the same size, else the number."""
    name = subset.name.partition("@")[2] or subset.name
    if DECISIONS not in name:
        with suppress(SubsetError):  # the name is more than one rule and what it is cut to
            if experiment.named(f"random@{name}").size == subset.size:
                return name
    return str(subset.size)


def _frontier(
    experiment: Experiment,
    progress: JobProgress,
    chosen: Sequence[str],
    seeds: int,
    budget: str,
    listen: Listener,
    stop: Stop,
) -> None:
    settings = experiment.settings
    all_seeds = (*settings.seeds, *(seed for seed in default_seeds(seeds + settings.runs) if seed not in settings.seeds))[:seeds]
    rows_before = experiment.finished().to_dict("records")
    finished = {(row["subset"], row["rows_sha256"], row["seed"], row["budget"]) for row in rows_before}
    trained = {(row["rows_sha256"], row["seed"], row["epochs"]): row for row in rows_before}
    work: dict[str, tuple[list[Subset], RunPlan]] = {}
    planned: dict[tuple[str, int, int], str] = {}
    for name in chosen:
        for seed in all_seeds:
            subset = experiment.named(name, seed=seed)
            own_budget, sha256 = "epochs" if subset.name == "full" else budget, rows_sha256(subset.kept)
            if (subset.name, sha256, seed, own_budget) in finished:
                continue
            if not rules.trainable(subset, experiment.labels, experiment.ids):
                progress.say("note", message=f"{name} with seed {seed} was not trained: only one class of it was drawn.")
                continue
            epochs = settings.measuring.epochs
            if budget == "steps":
                epochs = equal_steps_epochs(len(experiment.ids), subset.size, epochs, settings.measuring.batch_size)
            if same := trained.get((sha256, seed, epochs)):  # under another name, or with a budget that comes to as many epochs
                experiment.add_finished({**same, **of_subset(subset, own_budget, experiment.burn_in)})
                continue
            if (sha256, seed, epochs) in planned:
                work[planned[sha256, seed, epochs]][0].append(subset)
                continue
            rows = np.flatnonzero(subset.mask(experiment.ids))
            key = f"{name} seed {seed}"
            state = _checkpoint(experiment, f"rows={sha256[:16]}-seed={seed}-epochs={epochs}")
            planned[sha256, seed, epochs] = key
            work[key] = [subset], RunPlan(key=key, seed=seed, rows=rows, epochs=epochs, record=False, checkpoint=state)
    plans = [plan for _, plan in work.values()]

    def keep(done: Done) -> None:
        for subset in work[done.plan.key][0]:
            own_budget = "epochs" if subset.name == "full" else budget
            experiment.add_finished(_fine_tuning(subset, own_budget, experiment.burn_in, done).row)

    progress.plan(plans)
    train_runs(experiment, settings.measuring, plans, progress, listen, stop, on_epoch=lambda plan, record: None, on_result=keep)
    _tidy(experiment)


def _fine_tuning(subset: Subset, budget: str, burn_in: int, done: Done) -> FineTuning:
    return FineTuning(
        **of_subset(subset, budget, burn_in),
        seed=done.plan.seed,
        epochs=done.plan.epochs,
        seconds=done.result.seconds,
        steps=done.result.steps,
        finished=time.time(),
        metrics=done.metrics,
        micro_batch=done.result.micro_batch,
        stuck=done.stuck,
        class_accuracy=done.class_accuracy,
    )
