"""What Winnow is measured against: fine-tuning with the Hugging Face Trainer as the paper did it, at its best, and as dPrune does it."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from pruning.records import Encoded

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a Trainer is set up."""

    words: str
    """For the table."""
    padded_to: int | None = None
    """Every batch as long as this; None = as its longest text."""
    arguments: Mapping[str, Any]
    """Arguments of the Trainer on the CPU."""
    cuda: Mapping[str, Any]
    """What differs on CUDA."""
    attention: str = "sdpa"
    predicts: bool = False
    """Predicts the whole training set after each epoch, as dPrune's ForgettingCallback does."""


RECIPES = {
    "paper": Recipe(
        words="the paper's recipe: padded to 128, fp32 (fp16 on CUDA), the attention of its time (eager), seeds one after another",
        padded_to=128,
        arguments={"optim": "adamw_torch"},
        cuda={"fp16": True},
        attention="eager",
    ),
    "tuned": Recipe(
        words="a tuned Trainer: grouped by length, bf16, fused AdamW, sdpa, the better of one thread and all",
        arguments={"optim": "adamw_torch_fused", "bf16": True, "train_sampling_strategy": "group_by_length"},
        cuda={},
    ),
    "dprune": Recipe(
        words="dPrune's Trainer and ForgettingCallback: padded to each batch's longest, predicts the set anew after each epoch",
        arguments={},
        cuda={},
        predicts=True,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Block:
    """One measured stretch of training."""

    examples: int
    tokens: int
    """Of text; padding is not counted."""
    seconds: float
    memory: int
    """Peak bytes of the process (CPU) or the device."""

    @property
    def rate(self) -> float:
        """Examples per second."""
        return self.examples / self.seconds


def as_rows(data: Encoded) -> Rows:
    """One dictionary per example, as a Trainer's dataset; `id` is its position."""
    rows: Rows = []
    for i in range(data.units):
        part = slice(data.offsets[i], data.offsets[i + 1])
        row = {"id": i, "input_ids": data.tokens[part].tolist(), "labels": int(data.labels[i])}
        if data.token_types is not None:
            row["token_type_ids"] = data.token_types[part].tolist()
        rows.append(row)
    return rows


def collator(padded_to: int | None, padding: int) -> Callable[[Rows], dict[str, torch.Tensor]]:
    """Pads a batch on the right."""

    def collate(rows: Rows) -> dict[str, torch.Tensor]:
        length = padded_to or max(len(row["input_ids"]) for row in rows)
        batch = {name: torch.tensor([row[name] for row in rows]) for name in ("id", "labels")}
        for name, filler in (("input_ids", padding), ("token_type_ids", 0)):
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] + [filler] * (length - len(row[name])) for row in rows])
        batch["attention_mask"] = torch.tensor([[1] * len(row["input_ids"]) + [0] * (length - len(row["input_ids"])) for row in rows])
        return batch

    return collate


def load(model: str, classes: int, attention: str, seed: int) -> PreTrainedModel:
    """The model with a fresh head drawn with `seed`."""
    torch.manual_seed(seed)
    return AutoModelForSequenceClassification.from_pretrained(model, num_labels=classes, attn_implementation=attention, dtype=torch.float32)


class RecordingTrainer(Trainer):
    """A Trainer that notes, online, whether each example was right: what a careful person's own script would do."""

    def __init__(self, *arguments: Any, examples: int, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.right = torch.zeros(examples, dtype=torch.bool)
        self.epochs: list[NDArray[np.bool_]] = []

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **named: Any) -> Any:
        """The usual loss; in training mode, also the note."""
        ids = inputs.pop("id")
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **named)
        if model.training:
            self.right[ids.cpu()] = (outputs.logits.argmax(-1) == inputs["labels"]).cpu()
        return (loss, outputs) if return_outputs else loss


class Clock(TrainerCallback):
    """Times from the first step to the end; start-up is not counted."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.clock = clock
        self.began = 0.0
        self.seconds = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Starts at the first step."""
        if state.global_step == 0:
            _synchronize()
            self.began = self.clock()

    def on_train_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Stops."""
        _synchronize()
        self.seconds = self.clock() - self.began


class KeepEpochs(TrainerCallback):
    """Keeps each epoch's notes of a RecordingTrainer."""

    trainer: RecordingTrainer

    def on_epoch_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Copies what was noted."""
        self.trainer.epochs.append(self.trainer.right.numpy().copy())


def train(
    recipe: Recipe, model: PreTrainedModel, data: Encoded, rows: Rows, *, seed: int, epochs: int, device: str, settings: Mapping[str, Any]
) -> tuple[RecordingTrainer, float]:
    """Trains on `rows` of `data`; the trainer, with what it noted in `epochs`, and the seconds."""
    clock, keep = Clock(), KeepEpochs()
    callbacks: list[Any] = [clock, keep]
    if recipe.predicts:
        from dprune.callbacks import ForgettingCallback

        callbacks.insert(1, ForgettingCallback())
    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            **{"output_dir": folder, "num_train_epochs": epochs, "per_device_train_batch_size": 32, "per_device_eval_batch_size": 32},
            **{"learning_rate": 2e-5, "lr_scheduler_type": "linear", "seed": seed, "save_strategy": "no", "logging_strategy": "no"},
            **{"report_to": [], "disable_tqdm": True, "use_cpu": device == "cpu", "remove_unused_columns": False},
            **recipe.arguments,
            **(recipe.cuda if device != "cpu" else {}),
            **settings,
        }
        trainer = RecordingTrainer(
            model=model,
            args=TrainingArguments(**arguments),
            train_dataset=rows,
            data_collator=collator(recipe.padded_to, model.config.pad_token_id),
            callbacks=callbacks,
            examples=data.units,
        )
        trainer.remove_callback(PrinterCallback)
        for callback in callbacks[1:]:
            callback.trainer = trainer
        trainer.train()
    return trainer, clock.seconds


def serve(connection: Any, name: str, model: str, data: Encoded, device: str, threads: int) -> None:
    """A process that measures one recipe whenever it is asked: takes a number of examples, answers with a `Block`; None ends it."""
    torch.set_num_threads(threads)
    recipe = RECIPES[name]
    network, rows = load(model, data.classes, recipe.attention, seed=0), as_rows(data)
    connection.send(None)
    while (examples := connection.recv()) is not None:
        part = rows[: int(examples)]
        _, seconds = train(recipe, network, data, part, seed=0, epochs=1, device=device, settings={})
        tokens = sum(len(row["input_ids"]) for row in part)
        connection.send(Block(examples=len(part), tokens=tokens, seconds=seconds, memory=peak_memory(device)))


def peak_memory(device: str) -> int:
    """Most bytes so far, of the device or of this process."""
    return torch.cuda.max_memory_allocated() if device != "cpu" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
