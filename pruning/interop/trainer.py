"""Record a Hugging Face Trainer, whatever its sampler, loss or collator.

    class RecordingTrainer(pruning.RecorderMixin, Trainer): ...

    for seed in recorder.unfinished:
        RecordingTrainer(recorder=recorder, args=TrainingArguments(seed=seed, ...), train_dataset=encoded, ...).train()

The row numbers are a column of the batches, and the logits are read from the model's output, so a subclass can
define its own compute_loss or training_step. Prompts and answers are recorded in the same way, with a causal language model and
transformers' Trainer or TRL's SFTTrainer, without packing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pruning.errors import TrainingError, UsageError
from pruning.interop.recorder import RecordedAnswers, RecordedRun, Recorder
from pruning.interop.trainer_checks import (
    check_answers,
    check_arguments,
    check_dataset,
    check_loader,
    check_model,
    check_packing,
    check_positions,
)

ROW = "winnow_row"
"""Column that carries each example's row through a Trainer's sampler and collator."""


class RecorderMixin:
    """Mixin that records a `transformers.Trainer`; list it before the Trainer among the bases of your class.

    Takes `recorder` in addition to the Trainer's arguments and records the run of `args.seed`. The training set must be the
    recorder's data, row by row. Arguments that would make the recording incomplete are refused before training, and `train()` raises
    TrainingError if an epoch or an example is missing at the end.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        before = cls.__mro__[: cls.__mro__.index(RecorderMixin)]
        trainer = next((base for base in before if "training_step" in vars(base) and not issubclass(base, RecorderMixin)), None)
        if trainer is not None:
            raise UsageError(f"{cls.__name__} lists {trainer.__name__} before RecorderMixin; list RecorderMixin first.")

    def __init__(self, *args: Any, recorder: Recorder, **kwargs: Any) -> None:
        check_positions(kwargs.get("train_dataset"))  # before the Trainer advises to set max_steps
        check_packing(kwargs.get("args"))  # before TRL packs the data
        super().__init__(*args, **kwargs)
        trainer: Any = self
        check_arguments(trainer.args, recorder)
        check_model(trainer.model, recorder)
        check_packing(trainer.args)
        check_dataset(trainer.train_dataset, recorder)
        if recorder.generates:
            check_answers(trainer.train_dataset, trainer.processing_class, recorder)
        trainer.train_dataset = _numbered(trainer.train_dataset, len(recorder.labels))
        trainer.data_collator = _Carrying(trainer.data_collator)
        seed = trainer.args.seed
        self.recording: RecordedRun = recorder.answers(seed) if recorder.generates else recorder.run(seed)
        # Set on the instance, these take precedence over methods of a subclass.
        trainer.train = self._train(trainer.train)
        trainer.training_step = self._training_step(trainer.training_step)
        trainer.prediction_step = _without_rows(trainer.prediction_step)
        trainer.get_train_dataloader = self._train_dataloader(trainer.get_train_dataloader)

    def _train(self, train: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap `train`: record a whole run from its first step, or raise an error that counts what is missing."""

        def recorded(resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
            if resume_from_checkpoint:
                raise TrainingError(
                    "resume_from_checkpoint cannot be recorded, because a recording needs every step; train from the start."
                )
            if self.recording.epoch or self.recording.seen:
                raise TrainingError("This Trainer has already recorded a training; create a new one for each call of train().")
            result = train(None, *args, **kwargs)
            self.recording.finish()
            return result

        return recorded

    def _train_dataloader(self, get: Callable[[], Any]) -> Callable[[], Any]:
        def checked() -> Any:
            loader = get()
            check_loader(loader, len(self.recording.labels))
            return loader

        return checked

    def _training_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap `training_step`: remove the row numbers from the batch and record the step's first outputs."""

        def recorded(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            rows, labels = inputs.pop(ROW, None), inputs.get("labels")
            if rows is None:
                raise TrainingError(f"The batches have no column {ROW}; the data collator, data loader or dataset format drops it.")
            found: list[Any] = []

            def record(module: Any, inputs: Any, outputs: Any) -> None:
                if not module.training or found:
                    return
                found.append(outputs)
                if isinstance(self.recording, RecordedAnswers):
                    self.recording.add_outputs(rows, outputs, labels)
                else:
                    self.recording.add(rows, logits_of(outputs, len(rows), self.recording.classes), labels)

            hook = model.register_forward_hook(record)
            try:
                loss = step(model, inputs, *args, **kwargs)
            finally:
                hook.remove()
            if not found:
                raise TrainingError(
                    "A training step ended without a call of the model, so there are no logits to record; "
                    "call model(...), not a part of it, in compute_loss or training_step."
                )
            return loss

        return recorded

    def _set_signature_columns_if_needed(self) -> None:
        """Add the row's number to the columns that the Trainer keeps for the model."""
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        columns: list[str] = self._signature_columns  # type: ignore[attr-defined]
        if ROW not in columns:
            columns.append(ROW)


def logits_of(outputs: Any, batch: int, classes: int) -> Any:
    """Return the logits [batch, classes] of a model's outputs: the entry `logits`, or the only element of this shape in a tuple.

    Raises TrainingError if none or several have this shape. 0 classes: any number of options.
    """
    if isinstance(outputs, Mapping):
        if "logits" in outputs:
            return outputs["logits"]
        outputs = tuple(outputs.values())
    several = outputs if isinstance(outputs, tuple | list) else (outputs,)
    shapes = [tuple(getattr(value, "shape", ())) for value in several]
    fitting = [
        value for value, shape in zip(several, shapes, strict=True) if len(shape) == 2 and shape[0] == batch and classes in (0, shape[1])
    ]
    if len(fitting) != 1:
        listed = ", ".join(str(list(shape)) for shape in shapes)
        raise TrainingError(
            f"The model returned {len(fitting)} outputs of shape [{batch}, {classes or 'options'}] (shapes: {listed}), so its logits are "
            "unclear; return them as `logits` in a dictionary or ModelOutput."
        )
    return fitting[0]


def _without_rows(step: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `prediction_step`, so that evaluation on the training set works."""

    def predicted(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        inputs.pop(ROW, None)
        return step(model, inputs, *args, **kwargs)

    return predicted


def _numbered(dataset: Any, size: int) -> Any:
    """Return the dataset with each row's number as a column."""
    return dataset.add_column(ROW, list(range(size))) if hasattr(dataset, "add_column") else _Numbered(dataset)


class _Numbered:
    """A map-style dataset of dictionaries, each with its row number."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.dataset[index], ROW: index}


class _Carrying:
    """A collator that adds the row numbers back after another collator, which may not accept them."""

    def __init__(self, collator: Callable[[list[Any]], Any]) -> None:
        self.collator = collator

    def __call__(self, features: list[Any]) -> Any:
        if not features or ROW not in features[0]:
            return self.collator(features)
        batch = self.collator([{name: value for name, value in feature.items() if name != ROW} for feature in features])
        batch[ROW] = np.array([int(feature[ROW]) for feature in features])
        return batch
