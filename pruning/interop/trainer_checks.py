"""Checks of a Trainer before training: its arguments, model and data must give a complete recording. No torch, no transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pruning.data.texts import text_fields
from pruning.errors import DataError, ModelError, TrainingError
from pruning.interop.logits import class_order, hard_labels
from pruning.interop.recorder import Recorder

PROBED = 200
"""Rows whose labels are compared in advance if the dataset is not a datasets.Dataset; all are compared at the end of each epoch."""

SEEN = 20
"""Characters, blanks left out, of a prompt's end and an answer's beginning that are looked for in the tokens of a row."""

LABELS = ("label", "labels", "label_ids")


def check_arguments(args: Any, recorder: Recorder) -> None:
    """Raise TrainingError for TrainingArguments that leave out or repeat examples or epochs."""
    size, epochs = len(recorder.labels), recorder.experiment.settings.scoring.epochs
    if args.world_size > 1 or args.n_gpu > 1:
        raise TrainingError(
            f"A recording needs one process on one device, but this training has {args.world_size} processes and {args.n_gpu} GPUs; "
            "set CUDA_VISIBLE_DEVICES to one GPU and start it without a launcher."
        )
    if args.auto_find_batch_size:
        raise TrainingError(
            "auto_find_batch_size restarts an epoch when memory runs out, on weights that are already updated; "
            "turn it off and set per_device_train_batch_size."
        )
    if args.max_steps > 0:
        raise TrainingError(
            f"max_steps = {args.max_steps} overrides the number of epochs, but a recording needs whole epochs; "
            f"leave it out and set num_train_epochs={epochs}."
        )
    if args.num_train_epochs != epochs:
        raise TrainingError(
            f"num_train_epochs is {args.num_train_epochs:g}, but the recorder expects {epochs}; "
            f"set num_train_epochs={epochs}, or create a Recorder(epochs=...) in a new folder."
        )
    left_out = size % args.train_batch_size
    if args.dataloader_drop_last and left_out:
        raise TrainingError(
            f"dataloader_drop_last leaves out {left_out} of {size:,} examples in each epoch, but a recording needs all; turn it off."
        )


def check_packing(args: Any) -> None:
    """Raise TrainingError for a training, such as TRL's, whose sequences hold several rows, or whose rows are shuffled beforehand."""
    for name in ("packing", "padding_free"):
        if getattr(args, name, False):
            raise TrainingError(
                f"{name}=True joins several conversations in one sequence, so their answers cannot be separated; "
                "set packing=False and padding_free=False to record."
            )
    if getattr(args, "shuffle_dataset", False):
        raise TrainingError("shuffle_dataset=True changes the order of the rows; leave it out (each epoch is shuffled anyway).")


def check_model(model: Any, recorder: Recorder) -> None:
    """Raise ModelError for a model that does not give one logit per class, or for generation predicts no tokens."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    name, classes = type(inner).__name__, len(recorder.experiment.label_names)
    if recorder.generates:
        if name.endswith(("ForSequenceClassification", "ForMultipleChoice", "ForTokenClassification")):
            raise ModelError(f"{name} predicts classes, but {recorder.experiment.settings.data} has answers; use AutoModelForCausalLM.")
        return
    if "ForCausalLM" in name or "ForConditionalGeneration" in name:
        raise ModelError(f"{name} predicts tokens, not one of {classes} classes; use AutoModelForSequenceClassification.")
    config = getattr(inner, "config", None)
    if config is not None and getattr(config, "problem_type", None) in ("regression", "multi_label_classification"):
        raise ModelError(f"The model's problem_type is {config.problem_type}; a recording needs single_label_classification.")
    outputs = getattr(config, "num_labels", classes)
    if classes and name.endswith("ForSequenceClassification") and outputs != classes:
        raise ModelError(f"The model has a head for {outputs} classes, but the data has {classes}; load it with num_labels={classes}.")


def check_positions(dataset: Any) -> None:
    """Raise DataError for a training set whose rows have no positions."""
    if any(base.__name__ == "IterableDataset" for base in type(dataset).__mro__):
        raise DataError(
            "train_dataset is an IterableDataset, whose rows have no positions; "
            "use a map-style dataset (datasets.load_dataset without streaming, or Dataset.from_generator)."
        )


def check_dataset(dataset: Any, recorder: Recorder) -> None:
    """Raise DataError for a training set that is not the recorder's data, row by row."""
    check_positions(dataset)
    size, data = len(recorder.labels), recorder.experiment.settings.data
    found = len(dataset) if hasattr(dataset, "__len__") else "no"
    if found != size:
        dropped = " (a trainer may drop rows whose answer is cut off: raise max_length)" if recorder.generates else ""
        raise DataError(
            f"The training set has {found} examples, but {data} has {size}{dropped}; they must be the same rows in the same order."
        )
    if not _same_texts(dataset, recorder):
        _check_indices(dataset, recorder)
    if not recorder.generates:
        _check_labels(dataset, recorder)


def check_answers(dataset: Any, tokenizer: Any, recorder: Recorder) -> None:
    """Raise DataError for tokenised conversations that are not the recorder's: most of some rows lack their own prompt and answer.

    Only the end of a prompt and the beginning of its answer are looked for, because templates and length limits change the rest.
    """
    names = getattr(dataset, "column_names", None) or []
    if "input_ids" not in names or not hasattr(tokenizer, "decode"):
        return
    rows = np.unique(np.linspace(0, len(dataset) - 1, PROBED).astype(np.int64))
    ours = recorder.experiment.examples(["prompt", "answer"]).take(pa.array(rows)).to_pylist()
    texts = [_plain(tokenizer.decode(dataset.with_format(None)[int(row)]["input_ids"])) for row in rows]
    lacking = [
        int(row)
        for row, own, text in zip(rows, ours, texts, strict=True)
        if _plain(own["prompt"])[-SEEN:] not in text or _plain(own["answer"])[:SEEN] not in text
    ]
    if len(lacking) > len(rows) / 2:
        raise DataError(
            _moved(f"{len(lacking):,} of {len(rows):,} rows lack their own prompt and answer, first row {lacking[0]}", recorder)
        )


def _plain(text: str | None) -> str:
    return "".join((text or "").split())


def _same_texts(dataset: Any, recorder: Recorder) -> bool:
    """Compare the text columns that the training set still has: return True if all texts are equal; raise DataError if rows have moved.

    Texts that do not occur in the data were edited, not moved, and are ignored.
    """
    experiment, equal = recorder.experiment, False
    names = getattr(dataset, "column_names", None) or []
    for field in text_fields(experiment.schema):
        name = experiment.settings.columns.get(field)
        if name not in names or not _is_text(experiment.schema, field):
            continue
        ours, theirs = experiment.examples([field])[field].to_pylist(), list(dataset.with_format(None)[name])
        known = set(ours)
        moved = [row for row, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other and other in known]
        if moved:
            raise DataError(_moved(f"column {name!r} differs in {len(moved):,} of {len(ours):,} rows, first in row {moved[0]}", recorder))
        equal = equal or ours == theirs
    return equal


def _is_text(schema: pa.Schema, field: str) -> bool:
    kind = schema.field(field).type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _check_indices(dataset: Any, recorder: Recorder) -> None:
    """Refuse a datasets.Dataset whose own indices show that its rows are in another order."""
    order = getattr(dataset, "_indices", None)
    if order is None:
        return
    rows = np.asarray(order.column(0))
    moved = np.flatnonzero(rows != np.arange(len(rows)))
    if len(moved):
        difference = f"it was shuffled, sorted, filtered or selected: row {moved[0]} was row {rows[moved[0]]}"
        raise DataError(_moved(difference, recorder))


def _check_labels(dataset: Any, recorder: Recorder) -> None:
    """Compare labels in advance: all of a datasets.Dataset, some of any other map-style dataset."""
    names = getattr(dataset, "column_names", None)
    if names is None:
        rows = np.unique(np.linspace(0, len(dataset) - 1, PROBED).astype(np.int64))
        examples = [dataset[int(row)] for row in rows]
        name = next((name for name in LABELS if examples and isinstance(examples[0], dict) and name in examples[0]), None)
        values = [example.get(name) for example in examples] if name else []
    else:
        rows = np.arange(len(dataset))
        name = next((name for name in LABELS if name in names), None)
        values = list(dataset.with_format(None)[name]) if name else []
    if name is None:
        return
    labels = hard_labels(np.asarray([np.asarray(value) for value in values]), f"Column {name!r} of the training set")
    if labels is None or len(labels) != len(rows):
        return
    wrong = _other_labels(labels, recorder.labels[rows], len(recorder.experiment.label_names))
    if len(wrong):
        raise DataError(
            _moved(f"column {name!r} has other labels in {len(wrong):,} of {len(rows):,} rows, first in row {rows[wrong[0]]}", recorder)
        )


def _other_labels(theirs: NDArray[np.int64], ours: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return the positions whose labels differ, allowing for another numbering of the classes."""
    if not classes:
        return np.flatnonzero(theirs != ours)
    if not len(theirs) or theirs.min() < 0 or theirs.max() >= classes:
        return np.flatnonzero((theirs < 0) | (theirs >= classes))
    return np.flatnonzero(class_order(theirs, ours, classes)[ours] != theirs)


def _moved(difference: str, recorder: Recorder) -> str:
    data = recorder.experiment.settings.data
    return f"The training set's rows are not those of {data} in its order: {difference}; pass them unshuffled (the Trainer shuffles)."


def check_loader(loader: Any, size: int) -> None:
    """Raise TrainingError for a data loader that repeats or leaves out rows."""
    batches = getattr(loader, "batch_sampler", None)
    sampler = getattr(batches, "sampler", None) or getattr(loader, "sampler", None)
    if getattr(sampler, "replacement", False):
        raise TrainingError(
            f"{type(sampler).__name__} draws with replacement, but each epoch must train every example once; use another sampler."
        )
    drawn = len(sampler) if sampler is not None and hasattr(sampler, "__len__") else size
    if drawn != size:
        raise TrainingError(f"{type(sampler).__name__} draws {drawn:,} examples per epoch instead of all {size:,}; use another sampler.")
    batch_size = getattr(batches, "batch_size", None)
    if getattr(batches, "drop_last", False) and batch_size and size % batch_size:
        raise TrainingError(f"The data loader's drop_last leaves out {size % batch_size} of {size:,} examples in each epoch; turn it off.")
