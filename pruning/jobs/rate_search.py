"""Search for the learning rate: the rounds of `pruning.analysis.learning_rate` as runs of the engine, resumable piece by piece."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.analysis import learning_rate as search
from pruning.analysis.learning_rate import Baseline, RateFit, Round, Trial
from pruning.analysis.predictions import guesses, outcomes, scaled_loss
from pruning.data.models import changed_parts
from pruning.data.tasks import TASKS
from pruning.errors import DataError, ExperimentError, TrainingError
from pruning.experiment import Experiment
from pruning.files import atomic_write
from pruning.formatting import counted, scientific
from pruning.jobs.progress import JobProgress, Listener, Stop
from pruning.jobs.runs import Done, train_runs
from pruning.records import RunDiverged, RunPlan
from pruning.settings import FULL_RECIPE, TrainSettings
from pruning.store.layout import read_notes, read_table
from pruning.subsets.selection import stratified

DRAWS = 20_231
"""Seed of what is held out and of the rounds' draws."""


def ensure(
    experiment: Experiment,
    name: str,
    progress: JobProgress,
    listen: Listener,
    stop: Stop,
    later: int = 0,
    asked: bool = False,
) -> Experiment:
    """Return the experiment with the learning rate of the recipe `name` fitted; nothing to do where it is given or was fitted before.

    `name` is `settings.FULL_RECIPE` or an approximation's. `later` counts the examples that the same job trains afterwards.
    `asked` fits a rate even where the settings give one; it is kept beside it.
    Raises TrainingError where no candidate learned anything, DataError where the rows cannot be judged by, and what training raises.
    """
    fit = experiment.learning_rates.get(name)
    if fit is None:
        if experiment.asked.train.learning_rate is not None and not asked:
            return experiment
        fit = _search(experiment, name, progress, listen, stop, later)
        experiment.keep_fit(name, fit)
        shutil.rmtree(experiment.folder.searches, ignore_errors=True)
        if fit.rate is not None:
            progress.say("note", message=fit.sentence)
    if fit.rate is None:
        raise TrainingError(fit.sentence)
    return experiment.reopened()


def take_over(experiment: Experiment, other: Experiment) -> Experiment:
    """Return the experiment with the fitted rates of another one on the same data and model; its own are kept.

    Raises ExperimentError where data, model or recipe differ, or the other has no fitted rate.
    """
    check_recipe(experiment, other, "--learning-rate-from")
    if changed := changed_parts(experiment.info["model"], other.info["model"]):
        raise ExperimentError(
            f"--learning-rate-from {other.folder.root} has another model (its {' and '.join(changed)} differs); "
            "take the rate of an experiment on the same data and model, or leave it out to fit one."
        )
    found = {name: fit for name, fit in other.learning_rates.items() if fit.rate is not None}
    if not found:
        raise ExperimentError(f"--learning-rate-from {other.folder.root} has no fitted learning rate; fit one there, or leave it out.")
    for name, fit in found.items():
        if name not in experiment.learning_rates:
            experiment.keep_fit(name, replace(fit, taken_from=fit.taken_from or other.name))
    return experiment.reopened()


def check_recipe(experiment: Experiment, other: Experiment, flag: str) -> None:
    """Raise ExperimentError, naming the flag, where a rate fitted in `other` is for other data or another recipe."""
    ours, theirs = experiment.asked, other.asked
    for what, one, two in (
        ("data", experiment.info["data"]["fingerprint"], other.info["data"]["fingerprint"]),
        ("max_length", ours.max_length, theirs.max_length),
        *((key, *both) for key, both in _recipes(ours.train, theirs.train)),
    ):
        if one != two:
            raise ExperimentError(
                f"{flag} {other.folder.root} has other {what} ({str(two)[:12]}, here {str(one)[:12]}); "
                "take the rate of an experiment on the same data and model, or leave it out to fit one."
            )


def _recipes(ours: TrainSettings, theirs: TrainSettings) -> list[tuple[str, tuple[object, object]]]:
    names = ("epochs", "batch_size", "weight_decay", "warmup_ratio", "max_grad_norm", "lora_rank", "load_in_4bit")
    return [(name, (getattr(ours, name), getattr(theirs, name))) for name in names]


def planned(rows: int, recipe: TrainSettings) -> list[list[RunPlan]]:
    """Return the runs that each round starts with as an estimate needs them: their sizes, not their rows."""
    return [
        [
            RunPlan(key=f"{rate} {seed}", seed=seed, rows=np.arange(each.rows), epochs=recipe.epochs, record=False)
            for rate in search.start(search.candidates(recipe.lora_rank))[: each.candidates]
            for seed in each.seeds
        ]
        for each in search.rounds(rows)
    ]


def ahead(experiment: Experiment) -> int:
    """Return how many examples the search before scoring trains; 0 where the rate is given or fitted."""
    name = experiment.asked.approximate or FULL_RECIPE
    if name in experiment.learning_rates or experiment.asked.train.learning_rate is not None:
        return 0
    plans = planned(len(experiment.ids), experiment.asked.recipe(name))
    return sum(len(plan.rows) * plan.epochs for each in plans for plan in each)


def _search(experiment: Experiment, name: str, progress: JobProgress, listen: Listener, stop: Stop, later: int) -> RateFit:
    recipe, total = experiment.asked.recipe(name), len(experiment.ids)
    draws = _Draws(experiment, name, recipe)
    offered = search.candidates(recipe.lora_rank)
    rounds = search.rounds(total)
    left = [recipe.epochs * each.candidates * len(each.seeds) * each.rows for each in rounds]
    told, everything, trials, before = [], list[Trial](), list[Trial](), None
    for number, each in enumerate(rounds):
        trials, rates = [], search.start(offered, before)
        while rates:
            found = draws.train(number, each, rates, progress, listen, stop, sum(left[number + 1 :]) + later)
            trials += found if each is rounds[-1] else map(search.by_plain_loss, found)
            another = search.further(trials, search.below(offered, before))
            rates = () if another is None else (another,)
        told.append(search.round_dict(trials, each.rows, search.steps(each.rows, recipe.epochs, recipe.batch_size)))
        everything += trials
        before = search.handed_on(trials)
    tried = sorted({trial.rate for trial in everything})
    best, optimum, baseline = search.lowest(trials), search.optimum(trials), draws.baseline
    diverged = sorted({trial.rate for trial in everything if trial.diverged})
    held_out, runs = len(draws.held_out), search.cost_in_runs(told, total)
    few = held_out < search.FEWEST_HELD_OUT
    rate: float | None = None
    if optimum is None or baseline is None:
        sentence = search.nothing_learned(tried, held_out, None, 0.0)
    elif not search.beats_majority(trials, best, baseline):
        sentence = _nothing(experiment, trials, best, baseline, tried)
    else:
        searched, full = (search.steps(size, recipe.epochs, recipe.batch_size) for size in (rounds[-1].rows, total))
        rate = search.corrected(optimum, searched, full)
        sentence = search.praise(rate, len(tried), held_out, runs, diverged, few)
    return RateFit(
        rate=rate,
        sentence=sentence,
        rounds=tuple(told),
        rows=total,
        held_out=held_out,
        majority=0.0 if baseline is None else float(baseline.correct.mean()),
        few_rows=few,
        runs=round(runs, 3),
        seconds=round(sum(trial.seconds for trial in everything), 3),
        best=None if optimum is None else best,
        diverged=tuple(diverged),
    )


def _nothing(experiment: Experiment, trials: Sequence[Trial], best: float, baseline: Baseline, tried: Sequence[float]) -> str:
    """Return the sentence where even the best candidate learned nothing, in the words of its kind of task."""
    held_out = len(baseline.correct)
    if TASKS[experiment.settings.task].kind == "generation":
        return search.nothing_generated(tried, held_out, search.mean_loss(trials, best), float(baseline.loss.mean()))
    accuracy = float(np.mean([trial.correct.mean() for trial in trials if trial.rate == best]))
    return search.nothing_learned(tried, held_out, accuracy, float(baseline.correct.mean()))


class _Draws:
    """Held-out and training rows of one search; each finished run is on disk at once."""

    def __init__(self, experiment: Experiment, name: str, recipe: TrainSettings) -> None:
        other = "" if experiment.model == experiment.own_model else f"-{experiment.model[:12]}"
        self.experiment, self.name, self.recipe = experiment, f"{name}{other}", recipe
        self.strata = np.zeros(len(experiment.ids), dtype=np.int64) if experiment.labels is None else experiment.labels
        size = search.held_out_size(len(experiment.ids))
        self.held_out = stratified(self.strata, size, np.random.default_rng(DRAWS))
        self.pool = np.setdiff1d(np.arange(len(self.strata)), self.held_out)
        self.baseline: Baseline | None = None
        for what, rows in (("held-out part", self.held_out), ("part left to train on", self.pool)):
            found = np.unique(self.strata[rows])
            if len(rows) < 2 or (experiment.labels is not None and len(found) < 2):
                only = f"only the class {experiment.label_names[found[0]]!r}" if len(rows) > 1 else counted(len(rows), "row")
                raise DataError(
                    f"The learning rate cannot be fitted to {counted(len(experiment.ids), 'training example')}: the {what} has {only}; "
                    "give a number with --learning-rate, such as 2e-5, or more examples."
                )

    def train(
        self, number: int, each: Round, rates: Sequence[float], progress: JobProgress, listen: Listener, stop: Stop, later: int
    ) -> list[Trial]:
        """Return the trials of a round, training those that are not on disk yet."""
        wanted = [(rate, seed) for rate in rates for seed in each.seeds]
        paths = {pair: self.experiment.folder.trial(self.name, _file(number, *pair)) for pair in wanted}
        plans = {_key(number, *pair): (pair, self._plan(number, each, *pair)) for pair in wanted if not paths[pair].exists()}
        found = (len(wanted) - len(plans)) * each.rows * self.recipe.epochs
        runs = [plan for _, plan in plans.values()]
        progress.plan(runs, found=progress.found + found, later=later)

        def keep(done: Done) -> None:
            assert done.result.outputs is not None
            loss, correct = outcomes(done.result.outputs, done.evaluation)
            base_loss, base_correct = guesses(done.evaluation)
            columns = {"loss": loss, "scaled_loss": scaled_loss(done.result.outputs, done.evaluation), "correct": correct}
            columns |= {"base_loss": base_loss, "base_correct": base_correct}
            _write(paths[plans[done.plan.key][0]], columns, done.result.seconds)

        def keep_diverged(plan: RunPlan, error: RunDiverged) -> None:
            _write(paths[plans[plan.key][0]], {"loss": np.full(len(self.held_out), np.nan)}, 0.0)

        train_runs(
            self.experiment,
            self.recipe,
            runs,
            progress,
            listen,
            stop,
            on_epoch=lambda plan, record: None,
            on_result=keep,
            held_out=self.experiment.examples().take(pa.array(self.held_out)),
            on_diverged=keep_diverged,
        )
        return [self._read(paths[pair], *pair) for pair in wanted]

    def _plan(self, number: int, each: Round, rate: float, seed: int) -> RunPlan:
        drawn = stratified(self.strata[self.pool], each.rows, np.random.default_rng([DRAWS, number, seed]))
        state = self.experiment.folder.checkpoint(f"learning-rate={self.name}-{_file(number, rate, seed)}")
        return RunPlan(
            key=_key(number, rate, seed),
            seed=seed,
            rows=self.pool[drawn],
            epochs=self.recipe.epochs,
            record=False,
            checkpoint=str(state) if self.experiment.settings.checkpoints else None,
            learning_rate=rate,
        )

    def _read(self, path: Path, rate: float, seed: int) -> Trial:
        table, seconds = read_table(path, None), float(read_notes(path)["seconds"])
        columns = {name: np.asarray(table[name]) for name in table.column_names}
        if "correct" not in columns:
            nothing = np.zeros(len(self.held_out), dtype=np.bool_)
            return Trial(rate=rate, seed=seed, loss=columns["loss"], compared=columns["loss"], correct=nothing)
        self.baseline = Baseline(correct=columns["base_correct"], loss=columns["base_loss"])
        loss, scaled = columns["loss"], columns.get("scaled_loss", columns["loss"])  # an older version's search has no scaled loss
        return Trial(rate=rate, seed=seed, loss=loss, compared=scaled, correct=columns["correct"], seconds=seconds)


def _key(number: int, rate: float, seed: int) -> str:
    return f"rate {scientific(rate)} round {number + 1} seed {seed}"


def _file(number: int, rate: float, seed: int) -> str:
    return f"round={number}-rate={scientific(rate)}-seed={seed}"


def _write(path: Path, columns: Mapping[str, NDArray[Any]], seconds: float) -> None:
    with atomic_write(path) as temporary:
        pq.write_table(pa.table(dict(columns)).replace_schema_metadata({"seconds": repr(seconds)}), temporary)
