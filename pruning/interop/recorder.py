"""Recording somebody's own training: a plain PyTorch loop, or a Hugging Face Trainer.

A plain loop says after each forward pass which rows of the data the batch held and what the logits were:

    recorder = pruning.Recorder("experiments/mine", "reviews.jsonl", evaluation="held-out.jsonl", model="roberta-base", epochs=3)
    for seed in recorder.unfinished:
        run = recorder.run(seed)
        for epoch in range(3):
            for rows, batch in loader:          # rows: positions in reviews.jsonl, from 0
                logits = model(**batch).logits
                run.add(rows, logits)           # before the weights are updated by it
                ...

A Trainer does so by itself, whatever its sampler, once `RecorderMixin` comes before it:

    class RecordingTrainer(pruning.RecorderMixin, Trainer): ...

    for seed in recorder.unfinished:
        RecordingTrainer(recorder=recorder, args=TrainingArguments(seed=seed, ...), train_dataset=encoded, ...).train()

The folder is an experiment like any other: scores, subsets, frontier, dashboard and export read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.data.examples import Examples, load, load_pair
from pruning.data.models import fingerprint, locate
from pruning.data.tasks import TASKS
from pruning.errors import DataError, TrainingError, UsageError
from pruning.experiment import Experiment
from pruning.interop.logits import aligned, as_array, from_logits
from pruning.records import JobState
from pruning.settings import Settings, TrainSettings, default_seeds

ROW = "winnow_row"
"""Column that carries each example's row through a Trainer's sampler and collator."""


class Recorder:
    """An experiment's folder that somebody's own training fills, one run per seed."""

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
        """Make the folder, or open it to go on.

        `data` is what is trained on, in the order of its rows. `evaluation` and `model` are needed only to measure a frontier later,
        which then fine-tunes by the recipe in `train`. Raises DataError, ModelError, UsageError and ExperimentError (other settings).
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
        self.labels = np.asarray(self.experiment.examples(["label"])["label"], dtype=np.int64)

    @property
    def seeds(self) -> tuple[int, ...]:
        """One per run."""
        return self.experiment.settings.seeds

    @property
    def unfinished(self) -> list[int]:
        """Seeds whose run is not wholly recorded, or damaged."""
        done = {*self.experiment.finished_runs()} - self.experiment.damaged_runs()
        return [seed for run, seed in enumerate(self.seeds) if run not in done]

    def run(self, seed: int) -> Run:
        """Record the run of that seed, from its first epoch; what was there of it goes when the new first epoch is whole.

        Raises UsageError for a seed that the experiment does not have, or whose run is wholly recorded.
        """
        if seed not in self.seeds:
            raise UsageError(f"Seed {seed} is none of this recording's, which are {', '.join(map(str, self.seeds))}.")
        if seed not in self.unfinished:
            raise UsageError(f"The run of seed {seed} is recorded already; Recorder.unfinished lists the seeds that are left.")
        return Run(self, self.seeds.index(seed))


class Run:
    """One run under way. An epoch ends when every example has come once, and is then on disk."""

    def __init__(self, recorder: Recorder, index: int) -> None:
        self.experiment, self.labels, self.index = recorder.experiment, recorder.labels, index
        self.classes = len(self.experiment.label_names)
        self.epochs = self.experiment.settings.scoring.epochs
        self.epoch = 0
        self.seen = 0
        self.logits = np.empty((len(self.labels), self.classes), dtype=np.float32)
        self.gold = np.full(len(self.labels), -1, dtype=np.int64)
        self.position = np.full(len(self.labels), -1, dtype=np.int32)

    def add(self, rows: Any, logits: Any, labels: Any = None) -> None:
        """Take one batch: `rows` [b] positions in the data, `logits` [b, classes] of this very step, tensors or arrays.

        `labels` [b], where given, are compared with the data's: whatever numbers the training gives the classes, they come out in
        the data's, and an order of rows that is not the data's is refused. Raises TrainingError for a row that comes twice in an
        epoch or does not exist, an epoch too many, or logits that are no finite [b, classes]; DataError for other labels.
        """
        places, values = as_array(rows).astype(np.int64).ravel(), as_array(logits)
        self._check(places, values)
        if self.logits.shape[1] != values.shape[1]:
            self.logits = np.empty((len(self.labels), values.shape[1]), dtype=np.float32)
        self.logits[places] = values
        self.gold[places] = self.labels[places] if labels is None else as_array(labels).astype(np.int64).ravel()
        self.position[places] = self.seen + np.arange(len(places))
        self.seen += len(places)
        if self.seen == len(self.labels):
            self._finish()

    def _finish(self) -> None:
        key = f"run {self.index}"
        logits = aligned(self.logits, self.gold, self.labels, self.classes, f"Epoch {self.epoch} of {key}")
        if self.epoch == 0:  # an older training's later epochs would make this run look whole
            for epoch in reversed(range(self.epochs)):
                self.experiment.folder.epoch(self.index, epoch).unlink(missing_ok=True)
        self.experiment.write_epoch(self.index, from_logits(key, self.epoch, logits, self.labels, self.position.copy()))
        self.epoch, self.seen = self.epoch + 1, 0
        self.position.fill(-1)
        if self.epoch == self.epochs:
            self.experiment.log("finished", state=JobState.DONE, verb="record", message=f"{key} is recorded.")

    def _check(self, rows: NDArray[np.int64], logits: NDArray[Any]) -> None:
        size, run = len(self.labels), f"run {self.index}"
        if self.epoch >= self.epochs:
            raise TrainingError(f"Epoch {self.epoch} of {run} is one too many: this recording has {self.epochs} epochs.")
        if logits.ndim != 2 or len(logits) != len(rows) or (self.classes and logits.shape[1] != self.classes):
            wanted = f"[{len(rows)}, {self.classes or 'options'}]"
            raise TrainingError(f"The logits of {len(rows)} rows have the shape {list(logits.shape)} instead of {wanted}.")
        if not np.isfinite(logits).all():
            raise TrainingError(f"The logits of {run} in epoch {self.epoch} are not all finite; a lower learning rate helps.")
        outside = rows[(rows < 0) | (rows >= size)]
        if len(outside):
            raise TrainingError(f"There is no row {outside[0]}; the data has {size:,}, counted from 0.")
        values, counts = np.unique(rows, return_counts=True)
        again = [*values[counts > 1], *rows[self.position[rows] >= 0]]
        if again:
            raise TrainingError(
                f"Row {again[0]} came twice in epoch {self.epoch} of {run}, before {size - self.seen:,} others came at all; "
                "each epoch must train every row once (no drop_last, no sampling with replacement, one process)."
            )


class RecorderMixin:
    """Put before a `transformers.Trainer` among the bases of a class: its training is recorded, row by row.

    Takes `recorder` besides the Trainer's own arguments; the run is that of `args.seed`. The training set is the recorder's data,
    row for row. Each row's number travels with it as a column, so samplers, grouping by length, accumulation and partial batches
    are as they are.
    """

    def __init__(self, *args: Any, recorder: Recorder, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        trainer: Any = self
        if trainer.args.world_size > 1:
            raise TrainingError(f"A recording needs one process; this training has {trainer.args.world_size}.")
        size = len(recorder.labels)
        found = len(trainer.train_dataset) if hasattr(trainer.train_dataset, "__len__") else "no"
        if found != size:
            raise DataError(
                f"The training set has {found} examples, {recorder.experiment.settings.data} has {size}; they must be the same rows."
            )
        trainer.train_dataset = _numbered(trainer.train_dataset, size)
        trainer.data_collator = _Carrying(trainer.data_collator)
        self.recording = recorder.run(trainer.args.seed)

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any) -> Any:
        """The Trainer's own, and the recording of what the model said in training."""
        rows, labels = inputs.pop(ROW, None), inputs.get("labels")
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)  # type: ignore[misc]
        if model.training:
            self._record(rows, outputs["logits"] if isinstance(outputs, dict) else outputs[1], labels)
        return (loss, outputs) if return_outputs else loss

    def _record(self, rows: Any, logits: Any, labels: Any) -> None:
        if rows is None:
            raise TrainingError(f"The batches carry no column {ROW}; the data collator or the dataset's format drops it.")
        state: Any = getattr(self, "state")  # noqa: B009 the Trainer's
        if self.recording.epoch == 0 and self.recording.seen == 0 and state.global_step > 0:
            raise TrainingError(f"Training goes on from step {state.global_step}; a recording needs the whole run, without a checkpoint.")
        self.recording.add(rows, logits, labels)

    def _set_signature_columns_if_needed(self) -> None:
        """Of the columns that the Trainer keeps for the model, the row's number is one."""
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        columns: list[str] = self._signature_columns  # type: ignore[attr-defined]
        if ROW not in columns:
            columns.append(ROW)


def make(directory: str | Path, settings: Settings) -> Experiment:
    """The folder of an experiment whose recording comes from elsewhere (`settings.recorded_by`).

    Without evaluation data nothing is split off, because every row was trained on, and the frontier cannot be measured. Raises
    DataError, ModelError, ExperimentError, and UsageError for a task that is not one class or option of several.
    """
    train, evaluation = _examples(settings)
    if TASKS[train.task].kind == "span":
        raise UsageError(f"Recordings of the task {train.task} cannot be taken over: right and wrong are not one of several classes.")
    print_of = fingerprint(locate(settings.model)) if settings.model else ""
    settings = settings.with_changes(max_length=settings.max_length or TASKS[train.task].max_length)
    return Experiment.create(directory, settings, train, evaluation, print_of)


def _examples(settings: Settings) -> tuple[Examples, Examples]:
    if settings.evaluation is not None:
        return load_pair(settings)
    train = load(settings.data, task=settings.task, columns=settings.columns, drop_invalid=settings.drop_invalid)
    return train, replace(train.select(np.zeros(len(train), dtype=np.bool_)), notes=())


def _numbered(dataset: Any, size: int) -> Any:
    """The dataset with each row's number as a column."""
    return dataset.add_column(ROW, list(range(size))) if hasattr(dataset, "add_column") else _Numbered(dataset)


class _Numbered:
    """A map-style dataset of dictionaries, each with its number."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.dataset[index], ROW: index}


class _Carrying:
    """A collator that takes the row numbers past another one, which may not know what to do with them."""

    def __init__(self, collator: Callable[[list[Any]], Any]) -> None:
        self.collator = collator

    def __call__(self, features: list[Any]) -> Any:
        if not features or ROW not in features[0]:
            return self.collator(features)
        batch = self.collator([{name: value for name, value in feature.items() if name != ROW} for feature in features])
        batch[ROW] = np.array([int(feature[ROW]) for feature in features])
        return batch
