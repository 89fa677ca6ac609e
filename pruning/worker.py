"""One job of one experiment, done in this process: score, or measure the frontier.

A worker owns the experiment's lock while it works, writes each finished piece at once, and leaves a line in
events.jsonl every second or so. Whatever kills it, finished pieces stay and `resume` goes on from there.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pruning import data as datasource
from pruning import models
from pruning import subsets as rules
from pruning.errors import Cancelled, ExperimentError, SubsetError, UsageError, WinnowError
from pruning.experiment import Experiment, Folder, full_subset, own
from pruning.frontier import equal_steps_epochs, rows_sha256
from pruning.records import EpochRecord, JobState, Progress, RunPlan, RunResult, Settings, Subset, default_seeds
from pruning.tasks import TASKS

Listener = Callable[["JobProgress"], None]
"""Called with each sign of life, for a bar on a terminal."""

HEARTBEAT = 1.0
"""Seconds between two progress events at most."""


class JobProgress:
    """Counts a job's examples over all its runs; `runs` holds the latest progress of each run under way."""

    def __init__(self, verb: str, plans: Sequence[RunPlan], done: int = 0) -> None:
        self.verb = verb
        self.runs: dict[str, Progress] = {}
        self.found = done
        self.total = done + sum(len(plan.rows) * plan.epochs for plan in plans)
        self.started = time.time()
        self._recent: list[tuple[float, int]] = []
        self._ended = 0

    @property
    def done(self) -> int:
        """Examples trained so far, those found finished included."""
        return self.found + self._ended + sum(progress.examples for progress in self.runs.values())

    @property
    def rate(self) -> float:
        """Examples per second over the last half minute."""
        if len(self._recent) < 2:
            return 0.0
        (first, before), (last, after) = self._recent[0], self._recent[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def update(self, progress: Progress) -> None:
        """Take note of a run's sign of life."""
        self.runs[progress.key] = progress
        now = time.time()
        self._recent = [(at, done) for at, done in self._recent if now - at < 30] + [(now, self.done)]

    def end(self, plan: RunPlan) -> None:
        """A run has ended."""
        self.runs.pop(plan.key, None)
        self._ended += len(plan.rows) * plan.epochs

    def event(self) -> dict[str, Any]:
        """What a progress event says."""
        return {
            "state": JobState.RUNNING,
            "verb": self.verb,
            "pid": os.getpid(),
            "started": round(self.started, 3),
            "done": self.done,
            "total": self.total,
            "rate": round(self.rate, 2),
            "runs": {key: asdict(progress) for key, progress in self.runs.items()},
        }


def score(settings: Settings, directory: str | Path, listen: Listener = lambda progress: None) -> Experiment:
    """Fine-tune once per seed and record every epoch into the experiment's folder; finished runs are kept.

    Raises DataError, ModelError, ExperimentError (other settings), BusyError (owned), Cancelled, TrainingError.
    """
    train, evaluation = datasource.load_pair(settings)
    fingerprint = models.fingerprint(models.locate(settings.model))
    settings = settings.with_changes(max_length=settings.max_length or TASKS[train.task].max_length)
    with own(Folder(Path(directory))):
        experiment = Experiment.create(directory, settings, train, evaluation, fingerprint)
        _score(experiment, listen)
    return Experiment(directory)


def frontier(
    directory: str | Path,
    names: Sequence[str] = (),
    baselines: Sequence[str] = ("random", "ambiguous"),
    seeds: int = 3,
    budget: str = "epochs",
    burn_in: int | None = None,
    listen: Listener = lambda progress: None,
) -> Experiment:
    """Fine-tune full data, the named subsets (none = the ladder) and a baseline of equal size for each; finished points are kept.

    Raises SubsetError for a name that does not exist or rows that cannot be trained on, UsageError for a wrong baseline or
    budget, and what `score` raises.
    """
    if budget not in ("epochs", "steps"):
        raise UsageError(f"--budget is {budget!r}; use epochs (as many as full data) or steps (as many as full data).")
    if seeds < 1:
        raise UsageError(f"--seeds is {seeds}; at least 1 is needed, and 3 for an interval worth reading.")
    experiment = Experiment(directory)
    if not (experiment.settings.model and experiment.evaluation(["id"]).num_rows):
        raise ExperimentError(f"{experiment.folder.root} lacks a model or evaluation data to measure with; record it with both.")
    chosen = _chosen(experiment, names, baselines, burn_in)
    with own(experiment.folder):
        _frontier(experiment, chosen, seeds, budget, burn_in, listen)
    return Experiment(directory)


def resume(directory: str | Path, listen: Listener = lambda progress: None) -> Experiment:
    """Go on with the latest job: unfinished runs of the scoring first, then the frontier that was asked for last."""
    experiment = Experiment(directory)
    if not (experiment.folder.examples.exists() and experiment.folder.evaluation.exists()):
        return score(experiment.settings, directory, listen)
    if experiment.settings.recorded_by == "winnow" and len(experiment.finished_runs()) < experiment.settings.runs:
        with own(experiment.folder):
            _score(experiment, listen)
        return Experiment(directory)
    jobs = [event["job"] for event in experiment.events() if event["event"] == "started" and event.get("job")]
    if not jobs:
        return experiment
    return frontier(directory, listen=listen, **jobs[-1])


def _score(experiment: Experiment, listen: Listener) -> None:
    settings = experiment.settings
    finished = set(experiment.finished_runs()) & _evaluated_runs(experiment)
    rows = np.arange(len(experiment.ids))
    plans = [
        RunPlan(
            key=f"run {run}",
            seed=seed,
            rows=rows,
            epochs=settings.train.epochs,
            checkpoint=str(experiment.folder.checkpoint(f"run={run}")),
        )
        for run, seed in enumerate(settings.seeds)
        if run not in finished
    ]
    run_of = {plan.key: settings.seeds.index(plan.seed) for plan in plans}
    full = full_subset(experiment.ids)
    progress = JobProgress("score", plans, done=len(finished) * len(rows) * settings.train.epochs)
    _work(
        experiment,
        plans,
        progress,
        listen,
        job=None,
        on_epoch=lambda plan, record: experiment.write_epoch(run_of[plan.key], record),
        on_result=lambda plan, metrics, result: experiment.add_finished(_row(full, plan, "epochs", 0, metrics, result)),
    )


def _evaluated_runs(experiment: Experiment) -> set[int]:
    finished = experiment.finished()
    seeds = set(finished.loc[finished["subset"] == "full", "seed"])
    return {run for run, seed in enumerate(experiment.settings.seeds) if seed in seeds}


def _chosen(experiment: Experiment, names: Sequence[str], baselines: Sequence[str], burn_in: int | None) -> list[str]:
    """Every subset to measure, full data first; automatic ones that cannot be trained on are left out, named ones refused."""
    known = ("random", "ambiguous", "ccs")
    for baseline in baselines:
        if baseline not in known:
            raise UsageError(f"--baselines has {baseline!r}; use any of {', '.join(known)}.")
    wanted = list(names) if names else [subset.name for subset in experiment.subsets(burn_in)]
    chosen = ["full"]
    for name in wanted:
        subset = experiment.measured_subset(name, burn_in)
        try:
            if experiment.labels is not None:
                rules.check_trainable(subset, experiment.labels, experiment.ids)
            elif subset.size == 0:
                raise SubsetError(f"{name} keeps no example; there is nothing to train on.")
        except SubsetError:
            if names:
                raise
            continue
        chosen.append(name)
        if name != "full" and "@" not in name:
            chosen += [f"{baseline}@{name}" for baseline in baselines]
    return list(dict.fromkeys(chosen))


def _frontier(experiment: Experiment, chosen: Sequence[str], seeds: int, budget: str, burn_in: int | None, listen: Listener) -> None:
    settings = experiment.settings
    all_seeds = (*settings.seeds, *(seed for seed in default_seeds(seeds + settings.runs) if seed not in settings.seeds))[:seeds]
    rows_before = experiment.finished().to_dict("records")
    finished = {(row["subset"], row["rows_sha256"], row["seed"], row["budget"]) for row in rows_before}
    trained = {(row["rows_sha256"], row["seed"], row["epochs"]): row for row in rows_before}
    work: dict[str, tuple[Subset, RunPlan]] = {}
    for name in chosen:
        for seed in all_seeds:
            subset = experiment.measured_subset(name, burn_in, seed)
            own_budget, sha256 = "epochs" if name == "full" else budget, rows_sha256(subset.kept)
            if (name, sha256, seed, own_budget) in finished:
                continue
            epochs = settings.train.epochs
            if budget == "steps":
                epochs = equal_steps_epochs(len(experiment.ids), subset.size, epochs, settings.train.batch_size)
            if same := trained.get((sha256, seed, epochs)):  # under another name, or with a budget that comes to as many epochs
                experiment.add_finished({**same, **_what(subset, own_budget, experiment.burn_in(burn_in))})
                continue
            rows = np.flatnonzero(np.isin(experiment.ids, subset.kept))
            key = f"{name} seed {seed}"
            work[key] = subset, RunPlan(key=key, seed=seed, rows=rows, epochs=epochs, record=False)
    plans = [plan for _, plan in work.values()]

    def keep(plan: RunPlan, metrics: dict[str, float], result: RunResult) -> None:
        subset = work[plan.key][0]
        experiment.add_finished(
            _row(subset, plan, "epochs" if subset.name == "full" else budget, experiment.burn_in(burn_in), metrics, result)
        )

    job = {"names": [name for name in chosen if name != "full"], "baselines": [], "seeds": seeds, "budget": budget, "burn_in": burn_in}
    _work(experiment, plans, JobProgress("frontier", plans), listen, job, on_epoch=lambda plan, record: None, on_result=keep)


def _row(subset: Subset, plan: RunPlan, budget: str, burn_in: int, metrics: dict[str, float], result: RunResult) -> dict[str, Any]:
    return {
        **_what(subset, budget, burn_in),
        "seed": plan.seed,
        "epochs": plan.epochs,
        "seconds": result.seconds,
        "steps": result.steps,
        "finished": time.time(),
        **metrics,
    }


def _what(subset: Subset, budget: str, burn_in: int) -> dict[str, Any]:
    return {
        "subset": subset.name,
        "method": subset.method,
        "rule": subset.rule,
        "kept": subset.size,
        "kept_fraction": subset.kept_fraction,
        "rows_sha256": rows_sha256(subset.kept),
        "budget": budget,
        "burn_in": burn_in,
    }


def _work(
    experiment: Experiment,
    plans: Sequence[RunPlan],
    progress: JobProgress,
    listen: Listener,
    job: dict[str, Any] | None,
    on_epoch: Callable[[RunPlan, EpochRecord], None],
    on_result: Callable[[RunPlan, dict[str, float], RunResult], None],
) -> None:
    """Train the plans, hand each piece on as it comes, and leave a true last line whatever happens."""
    from pruning.training import train

    settings = experiment.settings
    experiment.log("started", **progress.event(), job=job)
    try:
        if plans:
            task = TASKS[settings.task]
            model = models.locate(settings.model)
            tokenizer = models.load_tokenizer(model)
            examples, held_out = experiment.examples(), experiment.evaluation()
            max_length = settings.max_length or task.max_length
            encoded = task.encode(examples, tokenizer, max_length)
            evaluation = task.encode(held_out, tokenizer, max_length)
            if encoded.truncated:
                experiment.log(
                    "note",
                    **progress.event(),
                    message=f"{encoded.truncated} examples are longer than {max_length} tokens and were cut.",
                )
            by_key = {plan.key: plan for plan in plans}
            with stop_on_signals() as stopped:
                logged = 0.0
                for item in train(plans, encoded, evaluation, str(model), settings.train, stop=stopped.is_set):
                    plan = by_key[item.key]
                    if isinstance(item, Progress):
                        progress.update(item)
                        listen(progress)
                    elif isinstance(item, EpochRecord):
                        on_epoch(plan, item)
                    elif isinstance(item, RunResult):
                        progress.end(plan)
                        assert item.outputs is not None
                        on_result(plan, task.metrics(held_out, item.outputs, evaluation), item)
                    if time.monotonic() - logged > HEARTBEAT:
                        experiment.log("progress", **progress.event())
                        logged = time.monotonic()
    except Cancelled:
        experiment.log("cancelled", **{**progress.event(), "state": JobState.CANCELLED, "message": "Cancelled; finished work is kept."})
        raise
    except Exception as error:
        message = str(error) if isinstance(error, WinnowError) else f"{type(error).__name__}: {error}"
        experiment.log("failed", **{**progress.event(), "state": JobState.FAILED, "message": message})
        raise
    experiment.log("finished", **{**progress.event(), "state": JobState.DONE, "runs": {}})


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM or a closed terminal sets; their old handlers come back afterwards.

    Outside the main thread (a notebook's worker thread) signals stay as they are.
    """
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.signal(getattr(signal, name), lambda *_: stopped.set()) for name in names}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
