"""Record your own training: a plain PyTorch loop with `Recorder`, a Hugging Face Trainer with `pruning.interop.trainer`.

In a plain loop, pass each batch's row numbers and logits after its forward pass:

    recorder = pruning.Recorder("experiments/mine", "reviews.jsonl", evaluation="held-out.jsonl", model="roberta-base", epochs=3)
    for seed in recorder.unfinished:
        with recorder.run(seed) as run:             # raises TrainingError if the run ends before its last epoch
            for epoch in range(3):
                for rows, batch in loader:          # rows: positions in reviews.jsonl, from 0
                    logits = model(**batch).logits
                    run.add(rows, logits)           # before these logits update the weights
                    ...

The folder is an ordinary experiment: scores, subsets, frontier, dashboard and export work with it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pruning.data.examples import Examples, load_pair, load_training
from pruning.data.models import identity, locate
from pruning.data.tasks import TASKS
from pruning.errors import TrainingError, UsageError
from pruning.experiment import Experiment
from pruning.formatting import counted
from pruning.interop.answer_outputs import answer_outputs
from pruning.interop.logits import aligned, as_array, check_size, from_logits, hard_labels
from pruning.records import WRONG, EpochRecord, JobState
from pruning.settings import Settings, TrainSettings, default_seeds
from pruning.store.base import LENGTH, read_base, write_base

logger = logging.getLogger(__name__)


class Recorder:
    """An experiment folder that your own training fills, one run per seed."""

    def __init__(
        self,
        directory: str | Path,
        data: str | Path,
        *,
        evaluation: str | Path | None = None,
        model: str = "",
        epochs: int = 3,
        runs: int = 6,
        seeds: Sequence[int] | None = None,
        task: str = "auto",
        columns: Mapping[str, str] | None = None,
        train: TrainSettings | None = None,
    ) -> None:
        """Create the folder, or open it to record its unfinished runs.

        `data` is the training set, in the order of its rows; `epochs` is the number of epochs per run. `evaluation` and `model` are only
        needed to measure a frontier later, which fine-tunes with the recipe in `train`. Raises DataError, ModelError, UsageError and
        ExperimentError (other settings).
        """
        settings = Settings(
            data=str(data),
            recorded_by="recorder",
            evaluation=None if evaluation is None else str(evaluation),
            task=task,
            columns=columns or {},
            model=model,
            seeds=tuple(seeds) if seeds is not None else default_seeds(runs),
            train=replace(train or TrainSettings(), epochs=epochs),
        )
        self.experiment = make(directory, settings)
        self.generates = TASKS[self.experiment.settings.task].kind == "generation"
        size = len(self.experiment.ids)
        self.labels = np.zeros(size, np.int64) if self.generates else np.asarray(self.experiment.examples(["label"])["label"], np.int64)
        self._latest: RecordedRun | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds, one per run."""
        return self.experiment.settings.seeds

    @property
    def unfinished(self) -> list[int]:
        """Seeds whose run is incomplete or damaged."""
        done = {*self.experiment.finished_runs()} - self.experiment.damaged_runs()
        return [seed for run, seed in enumerate(self.seeds) if run not in done]

    def run(self, seed: int) -> RecordedRun:
        """Start the run of that seed at its first epoch; an earlier, incomplete recording is replaced once that epoch is complete.

        Generated answers are recorded by `answers` instead. Warns if the previous run, of another seed, is incomplete. Raises UsageError
        for a seed that the experiment does not have, or whose run is complete.
        """
        if self.generates:
            raise UsageError(
                "Generated answers are recorded by their losses, without packing: use Recorder.answers(seed), and its add or add_outputs."
            )
        self._latest = RecordedRun(self, self._started(seed))
        return self._latest

    def _started(self, seed: int) -> int:
        """Return the number of the run of that seed, which may start now."""
        if seed not in self.seeds:
            raise UsageError(f"Seed {seed} is not one of this recording's seeds, {', '.join(map(str, self.seeds))}.")
        if seed not in self.unfinished:
            raise UsageError(f"The run of seed {seed} is recorded already; Recorder.unfinished lists the remaining seeds.")
        index = self.seeds.index(seed)
        if self._latest is not None and self._latest.index != index and (missing := self._latest.missing):
            warnings.warn(missing, RuntimeWarning, stacklevel=2)
        return index

    def answers(self, seed: int) -> RecordedAnswers:
        """Start the run of that seed for generated answers, which are recorded by their losses; raises what `run` raises.

        Also UsageError for another task than generation.
        """
        if not self.generates:
            raise UsageError(f"The task {self.experiment.settings.task} is recorded by its logits: use Recorder.run.")
        answers = RecordedAnswers(self, self._started(seed))
        self._latest = answers
        return answers


class RecordedRun:
    """One run in progress. An epoch is written to disk once every example was added.

    As a context manager it calls `finish` at its end.
    """

    def __init__(self, recorder: Recorder, index: int) -> None:
        self.experiment, self.labels, self.index = recorder.experiment, recorder.labels, index
        self.classes = len(self.experiment.label_names)
        check_size(len(self.labels), self.classes)
        self.epochs = self.experiment.settings.scoring.epochs
        self.epoch = 0
        self.seen = 0
        self.logits = np.empty((len(self.labels), self.classes), dtype=np.float32)
        self.gold = np.full(len(self.labels), -1, dtype=np.int64)
        self.position = np.full(len(self.labels), -1, dtype=np.int32)

    def add(self, rows: Any, logits: Any, labels: Any = None) -> None:
        """Record one batch, before its update of the weights.

        Parameters
        ----------
        rows
            [b] positions in the data, from 0, as a tensor or array.
        logits
            [b, classes] of this step, as a tensor or array.
        labels
            [b] class indices, compared with the data's if given. The training may number the classes in another order; the recording
            uses the data's. Another order of rows is refused.

        Raises
        ------
        TrainingError
            For a row that was already added in this epoch or does not exist, an epoch too many, or logits that are not finite [b, classes].
        DataError
            For soft labels, or labels other than the data's.
        """
        places, values = as_array(rows), as_array(logits)
        self._check_rows(places)
        self._check_logits(values, len(places))
        classes = None if labels is None else hard_labels(as_array(labels), "The batch")
        if classes is not None and len(classes) != len(places):
            raise TrainingError(f"The batch has {len(classes)} labels for {len(places)} rows; pass one label per row.")
        if self.logits.shape[1] != values.shape[1]:
            self.logits = np.empty((len(self.labels), values.shape[1]), dtype=np.float32)
        self.logits[places] = values
        self.gold[places] = self.labels[places] if classes is None else classes
        self.position[places] = self.seen + np.arange(len(places))
        self.seen += len(places)
        if self.seen == len(self.labels):
            self._end_epoch()

    @property
    def missing(self) -> str:
        """Sentence that counts the epochs and examples not recorded yet; empty if the run is complete."""
        if self.epoch == self.epochs:
            return ""
        size = len(self.labels)
        partly = f" and {self.seen:,} of {size:,} examples of the next" if self.seen else ""
        return (
            f"Run {self.index} of {self.experiment.folder.root} recorded {self.epoch} of {counted(self.epochs, 'epoch')}{partly}, so "
            f"{(self.epochs - self.epoch) * size - self.seen:,} predictions are missing; train every epoch on every example "
            "(no early stopping, max_steps or drop_last), or create a Recorder with fewer epochs in a new folder."
        )

    def finish(self) -> None:
        """Raise TrainingError, with what is missing, unless every epoch is recorded."""
        if missing := self.missing:
            raise TrainingError(missing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.finish()

    def _end_epoch(self) -> None:
        key = f"run {self.index}"
        record = self._record(key)
        if self.epoch == 0:  # later epochs of an earlier training must not make this run look complete
            for epoch in reversed(range(self.epochs)):
                self.experiment.folder.epoch(self.index, epoch).unlink(missing_ok=True)
        self.experiment.write_epoch(self.index, record)
        logger.info("%s epoch %d recorded", key, self.epoch + 1)
        self.epoch, self.seen = self.epoch + 1, 0
        self.position.fill(-1)
        if self.epoch == self.epochs:
            self.experiment.log("finished", state=JobState.DONE, verb="record", message=f"{key} is recorded.")

    def _record(self, key: str) -> EpochRecord:
        logits = aligned(self.logits, self.gold, self.labels, self.classes, f"Epoch {self.epoch + 1} of {key}")
        return from_logits(key, self.epoch, logits, self.labels, self.position.copy())

    def _check_rows(self, rows: NDArray[Any]) -> None:
        size, run = len(self.labels), f"run {self.index}"
        if self.epoch >= self.epochs:
            raise TrainingError(
                f"{run.capitalize()} has all of its {counted(self.epochs, 'epoch')}, but training continues with another; "
                "create the Recorder with the number of epochs you train: Recorder(epochs=...)."
            )
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise TrainingError(
                f"rows are {rows.dtype} of shape {list(rows.shape)}; pass one whole number per example, its position in the data."
            )
        outside = rows[(rows < 0) | (rows >= size)]
        if len(outside):
            raise TrainingError(f"There is no row {outside[0]}; the data has {size:,}, counted from 0.")
        values, counts = np.unique(rows, return_counts=True)
        again = [*values[counts > 1], *rows[self.position[rows] >= 0]]
        if again:
            raise TrainingError(
                f"Row {again[0]} came twice in epoch {self.epoch + 1} of {run}, while {size - self.seen:,} rows are missing; each epoch "
                "must train every row once (no drop_last, no sampling with replacement, one process; after a crash, start the run again)."
            )

    def _check_logits(self, logits: NDArray[Any], batch: int) -> None:
        if logits.ndim != 2 or len(logits) != batch or (self.classes and logits.shape[1] != self.classes):
            wanted = f"[{batch}, {self.classes or 'options'}]"
            raise TrainingError(f"The logits of {batch} rows have the shape {list(logits.shape)} instead of {wanted}.")
        if not np.isfinite(logits).all():
            raise TrainingError(
                f"The logits of run {self.index} in epoch {self.epoch + 1} are not all finite; lower the learning rate and train again."
            )


class RecordedAnswers(RecordedRun):
    """One run on generated answers in progress: losses and wrong tokens in the place of logits.

    The training must see every conversation as one sequence: with packing, the rows of a step cannot be separated.
    """

    def __init__(self, recorder: Recorder, index: int) -> None:
        super().__init__(recorder, index)
        size = len(self.labels)
        self.loss, self.wrong, self.length = np.zeros(size, np.float32), np.zeros(size, np.int64), np.zeros(size, np.int64)
        self.first_wrong = np.full(size, -1, np.int64)

    def add_outputs(self, rows: Any, outputs: Any, labels: Any = None) -> None:
        """Record one batch from the outputs of a causal language model, before its update of the weights.

        `rows` [b] are positions in the data; `outputs` have `logits`, or are those of TRL's fused head; `labels` [b, L] are -100 where
        nothing is learned. See `answer_outputs.answer_outputs`. Raises what `add` raises.
        """
        places = as_array(rows)
        found = answer_outputs(outputs, labels, len(places))
        self.add(places, found.loss, found.wrong, found.length, found.first_wrong)

    def add(self, rows: Any, loss: Any, wrong: Any = None, length: Any = None, first_wrong: Any = None) -> None:
        """Record one batch, before its update of the weights.

        Parameters
        ----------
        rows
            [b] positions in the data, from 0.
        loss
            [b] mean cross-entropy of each answer's tokens, in nats.
        wrong
            [b] tokens of each answer that were not the most likely ones, the end-of-text token included.
        length
            [b] tokens of each answer.
        first_wrong
            [b] place of the first wrong token within each answer, from 0, `length` where none is wrong; None if unknown. Inspect
            colours answers by it.

        Raises
        ------
        TrainingError
            What `RecordedRun.add` raises, and for numbers that are not [b], not finite, or more wrong tokens than there are.
        """
        places = as_array(rows)
        self._check_rows(places)
        values = {"loss": as_array(loss), "wrong": as_array(wrong), "length": as_array(length)}
        if first_wrong is not None:
            values["first_wrong"] = as_array(first_wrong)
        for name, found in values.items():
            if found.shape != places.shape or not np.isfinite(found.astype(np.float64)).all():
                raise TrainingError(f"{name} must be {len(places)} finite numbers, one for each row; it has the shape {list(found.shape)}.")
        if (values["length"] < 1).any() or (values["wrong"] < 0).any() or (values["wrong"] > values["length"]).any():
            raise TrainingError("Each answer needs at least one token, and no more wrong tokens than it has; check wrong and length.")
        self.loss[places], self.wrong[places], self.length[places] = values["loss"], values["wrong"], values["length"]
        self.first_wrong[places] = values.get("first_wrong", -1)
        self.position[places] = self.seen + np.arange(len(places))
        self.seen += len(places)
        if self.seen == len(self.labels):
            self._end_epoch()

    def _record(self, key: str) -> EpochRecord:
        known = self.experiment.folder.base.exists()
        if not known:
            write_base(self.experiment.folder, self.experiment.ids, {LENGTH: self.length})
        elif not np.array_equal(read_base(self.experiment.folder, self.experiment.ids)[LENGTH], self.length):
            raise TrainingError(f"Epoch {self.epoch + 1} of {key} has answers of other lengths than before; the same rows must be trained.")
        nan = np.full(len(self.labels), np.nan, dtype=np.float32)
        return EpochRecord(
            key=key,
            epoch=self.epoch,
            correct=self.wrong == 0,
            gold_prob=np.exp(-self.loss),
            gold_margin=nan,
            error_norm=nan,
            loss=self.loss.copy(),
            predicted=self.first_wrong.copy(),
            position=self.position.copy(),
            wrong=self.wrong.astype(WRONG),
        )


def make(directory: str | Path, settings: Settings) -> Experiment:
    """Create or open the folder of an experiment that another tool records (`settings.recorded_by`).

    Without evaluation data none is split off, because every row is trained on, and no frontier can be measured. Raises
    DataError, ModelError, ExperimentError, and UsageError for a task whose answers are not one of several classes or options.
    """
    train, evaluation = _examples(settings)
    if TASKS[train.task].kind == "span":
        raise UsageError(f"The task {train.task} cannot be recorded by other tools: its answers are not one of several classes.")
    model = identity(locate(settings.model)) if settings.model else ""
    settings = settings.with_changes(max_length=settings.max_length or TASKS[train.task].max_length)
    return Experiment.create(directory, settings, train, evaluation, model)


def _examples(settings: Settings) -> tuple[Examples, Examples]:
    if settings.evaluation is not None:
        return load_pair(settings)
    train = load_training(settings)
    return train, replace(train.select(np.zeros(len(train), dtype=np.bool_)), notes=())
