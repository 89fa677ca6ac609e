"""A real Trainer is recorded row by row whatever it overrides, and what cannot be recorded is refused before it trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.modeling_outputs import SequenceClassifierOutput

import pruning
from pruning.errors import DataError, ModelError, TrainingError, UsageError, WinnowError
from pruning.interop.recorder import Recorder
from pruning.interop.trainer import ROW, logits_of
from pruning.records import QUANTITIES
from pruning.training.objective import choice

pytestmark = pytest.mark.process

ROWS = 23
"""Not a multiple of the batch size, nor of accumulated batches."""


class Recording(pruning.RecorderMixin, Trainer): ...


class Weighted(Recording):
    """Class weights: the most usual customisation, which calls no other compute_loss."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = torch.nn.functional.cross_entropy(outputs.logits, labels, weight=torch.tensor([1.0, 3.0]))
        return (loss, outputs) if return_outputs else loss


class FieldByField(Recording):
    """A loss that names the model's inputs one by one."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        loss = torch.nn.functional.cross_entropy(outputs.logits, inputs["labels"])
        return (loss, outputs) if return_outputs else loss


class OwnStep(Recording):
    """A training step of its own."""

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        model.train()
        loss = model(**self._prepare_inputs(inputs)).loss
        self.accelerator.backward(loss)
        return loss.detach()


class ByParts(Recording):
    """A loss that goes around the model's forward pass."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        hidden = model.bert(inputs["input_ids"], inputs["attention_mask"]).pooler_output
        return torch.nn.functional.cross_entropy(model.classifier(hidden), inputs["labels"])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sentences of growing length, so that grouping by length reorders them."""
    path = tmp_path / "data.jsonl"
    rows = [{"sentence": " ".join(["good" if i % 3 else "bad", *["film"] * (i % 7)]), "label": ("neg", "pos")[i % 2]} for i in range(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def start(data: Path, tiny: str, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that makes a trainer of these rows; keywords change its arguments, or replace its parts."""

    def make(kind: type = Recording, dataset: Any = None, model: Any = None, callbacks: Any = None, epochs: int = 2, **changes: Any) -> Any:
        tokenizer = AutoTokenizer.from_pretrained(tiny)
        torch.manual_seed(0)
        usual = {"num_train_epochs": 2, "learning_rate": 0.0, "per_device_train_batch_size": 4, "seed": 6, "report_to": []}
        quiet = {"output_dir": str(tmp_path / "out"), "save_strategy": "no", "use_cpu": True, "disable_tqdm": True}
        return kind(
            recorder=Recorder(data.parent / "mine", data, epochs=epochs, seeds=(5, 6)),
            model=model
            or AutoModelForSequenceClassification.from_pretrained(
                tiny, num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
            ),
            args=TrainingArguments(**{**usual, **quiet, **changes}),
            train_dataset=encoded(data, tiny) if dataset is None else dataset,
            eval_dataset=encoded(data, tiny).select(range(5)),
            data_collator=DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
            callbacks=callbacks,
        )

    return make


def encoded(data: Path, tiny: str) -> datasets.Dataset:
    """The rows with their tokens, integer labels, and the sentences they were made from."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    return datasets.Dataset.from_list(
        [{**tokenizer(r["sentence"]), "label": int(r["label"] == "pos"), "sentence": r["sentence"]} for r in rows]
    )


def recorded(data: Path, epoch: int = 0) -> pd.DataFrame:
    return pd.read_parquet(pruning.Experiment(data.parent / "mine").folder.epoch(1, epoch))


def assert_is_what_the_model_says(data: Path, tiny: str, model: Any) -> None:
    """With a rate of 0 and no dropout the model says the same of a text whenever it comes."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    rows = encoded(data, tiny)
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in rows["sentence"]])
    expected = choice(logits, torch.tensor(rows["label"]))
    for epoch in range(2):
        found = recorded(data, epoch)
        for name in QUANTITIES.keys() - {"position"}:
            assert np.allclose(found[name], getattr(expected, name).numpy(), atol=1e-4), name
        assert sorted(found["position"]) == list(range(ROWS))


class Lengths(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """A map-style dataset that is not of the datasets library."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


@pytest.mark.process
@pytest.mark.parametrize(
    ("kind", "workers", "sampling"),
    [("datasets", 0, "group_by_length"), ("torch", 0, "group_by_length"), ("datasets", 2, "group_by_length"), ("datasets", 0, "random")],
)
def test_a_trainer_is_recorded_row_by_row(data: Path, tiny: str, start: Callable[..., Any], kind: str, workers: int, sampling: str) -> None:
    texts = encoded(data, tiny)
    dataset = texts if kind == "datasets" else Lengths(texts.remove_columns("sentence").to_list())
    settings = {"gradient_accumulation_steps": 3, "train_sampling_strategy": sampling, "dataloader_num_workers": workers}
    trainer = start(dataset=dataset, eval_strategy="epoch", **settings)
    trainer.evaluate()
    trainer.train()
    assert_is_what_the_model_says(data, tiny, trainer.model)
    assert recorded(data, 0)["position"].tolist() != recorded(data, 1)["position"].tolist()
    assert ROW not in texts.column_names


@pytest.mark.parametrize("kind", [Weighted, FieldByField, OwnStep])
def test_a_trainer_with_its_own_loss_or_step_is_recorded(data: Path, tiny: str, start: Callable[..., Any], kind: type) -> None:
    """Class weights recorded nothing, without a message, when they came after the mixin."""
    trainer = start(kind)
    trainer.train()
    assert_is_what_the_model_says(data, tiny, trainer.model)


def test_a_loss_given_as_a_function_and_label_smoothing_are_recorded(data: Path, tiny: str, start: Callable[..., Any]) -> None:
    trainer = start(label_smoothing_factor=0.1)
    trainer.train()
    assert_is_what_the_model_says(data, tiny, trainer.model)


def test_evaluating_on_the_training_set_works_and_records_nothing(data: Path, start: Callable[..., Any]) -> None:
    trainer = start()
    assert trainer.evaluate(trainer.train_dataset)["eval_loss"] > 0
    assert trainer.recording.seen == 0


def test_a_loss_that_goes_around_the_model_is_refused_at_the_first_step(start: Callable[..., Any]) -> None:
    with pytest.raises(TrainingError, match="without a call of the model"):
        start(ByParts).train()


class Stop(TrainerCallback):
    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = True


def test_a_training_that_ends_early_counts_what_is_missing(start: Callable[..., Any]) -> None:
    with pytest.raises(TrainingError, match=r"recorded 1 of 2 epochs, so 23 predictions are missing"):
        start(callbacks=[Stop()]).train()


def test_early_stopping_that_does_not_stop_is_recorded(data: Path, tiny: str, start: Callable[..., Any], tmp_path: Path) -> None:
    steps = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    trainer = start(callbacks=[EarlyStoppingCallback(5)], metric_for_best_model="loss", **steps)
    trainer.train()
    assert_is_what_the_model_says(data, tiny, trainer.model)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_train_epochs": 1}, "num_train_epochs is 1, but the recorder expects 2"),
        ({"num_train_epochs": 3}, "num_train_epochs is 3, but the recorder expects 2"),
        ({"num_train_epochs": 1.5}, "num_train_epochs is 1.5, but"),
        ({"max_steps": 4}, "max_steps = 4 overrides the number of epochs"),
        ({"dataloader_drop_last": True}, "dataloader_drop_last leaves out 3 of 23 examples"),
        ({"auto_find_batch_size": True}, "auto_find_batch_size restarts an epoch"),
    ],
)
def test_arguments_that_leave_a_recording_incomplete_are_refused_at_construction(
    start: Callable[..., Any], changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TrainingError, match=sentence):
        start(**changes)


def test_drop_last_that_drops_nothing_is_recorded(data: Path, tiny: str, start: Callable[..., Any]) -> None:
    trainer = start(dataloader_drop_last=True, per_device_train_batch_size=23)
    trainer.train()
    assert_is_what_the_model_says(data, tiny, trainer.model)


def test_a_checkpoint_and_a_second_training_are_refused(start: Callable[..., Any]) -> None:
    trainer = start()
    with pytest.raises(TrainingError, match="resume_from_checkpoint"):
        trainer.train(resume_from_checkpoint=True)
    trainer.train()
    with pytest.raises(TrainingError, match="create a new one"):
        trainer.train()


DATASETS: dict[str, tuple[Callable[[datasets.Dataset], Any], str]] = {
    "shuffled": (lambda rows: rows.shuffle(seed=0), "column 'sentence' differs in"),
    "shuffled and written out": (lambda rows: rows.shuffle(seed=0).remove_columns("sentence").flatten_indices(), "other labels in"),
    "sorted within a class, tokens only": (
        lambda rows: rows.select([0, 3, 2, 1, *range(4, ROWS)]).remove_columns("sentence"),
        "row 1 was row 3",
    ),
    "filtered": (lambda rows: rows.filter(lambda row: row["label"] == 1), "has 11 examples, but"),
    "one row more": (lambda rows: datasets.concatenate_datasets([rows, rows.select([0])]), "has 24 examples, but"),
    "streamed": (lambda rows: rows.to_iterable_dataset(), "IterableDataset"),
    "soft": (lambda rows: rows.remove_columns("label").add_column("labels", [[0.2, 0.8]] * ROWS), r"soft labels \(shape \[23, 2\]\)"),
    "soft, binary": (lambda rows: rows.remove_columns("label").add_column("label", [0.2] * ROWS), r"soft labels \(values such as 0.2"),
    "soft, not of the datasets library": (
        lambda rows: Lengths([{**row, "label": [0.2, 0.8]} for row in rows]),
        "soft labels",
    ),
    "other labels": (
        lambda rows: Lengths([{**row, "label": row["label"] ^ (place == 4)} for place, row in enumerate(rows)]),
        "first in row 4",
    ),
}


@pytest.mark.parametrize("name", DATASETS)
def test_rows_that_are_not_the_experiments_are_refused_at_construction(data: Path, tiny: str, start: Callable[..., Any], name: str) -> None:
    change, sentence = DATASETS[name]
    with pytest.raises(DataError, match=sentence):
        start(dataset=change(encoded(data, tiny)))


def test_rows_with_edited_texts_are_still_recognised(data: Path, tiny: str, start: Callable[..., Any]) -> None:
    rows = encoded(data, tiny).map(lambda row: {"sentence": row["sentence"].upper()})
    start(dataset=rows).train()
    assert sorted(recorded(data)["position"]) == list(range(ROWS))


def test_classes_in_another_order_and_an_identical_selection_are_recorded(data: Path, tiny: str, start: Callable[..., Any]) -> None:
    rows = encoded(data, tiny).select(range(ROWS)).map(lambda row: {"label": 1 - row["label"]})
    start(dataset=rows).train()
    assert set(recorded(data)["correct"]) <= {True, False}


class Repeating(Recording):
    def _get_train_sampler(self, *args: Any) -> Any:
        return torch.utils.data.WeightedRandomSampler([1.0] * ROWS, ROWS)


class Partial(Recording):
    def _get_train_sampler(self, *args: Any) -> Any:
        return torch.utils.data.SubsetRandomSampler(range(20))


class OwnLoader(Recording):
    def get_train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.train_dataset, batch_size=4, drop_last=True, collate_fn=self.data_collator)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [(Repeating, "draws with replacement"), (Partial, "draws 20 examples per epoch instead of all 23"), (OwnLoader, "leaves out 3 of 23")],
)
def test_a_sampler_that_repeats_or_leaves_out_rows_is_refused_before_training(start: Callable[..., Any], kind: type, sentence: str) -> None:
    class Started(TrainerCallback):
        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            raise AssertionError("training began")

    with pytest.raises(TrainingError, match=sentence):
        start(kind, callbacks=[Started()]).train()


class Backwards(torch.nn.Module):
    """A model that returns (hidden states, logits, loss)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.embedding, self.head, self.hidden = torch.nn.Embedding(200, hidden), torch.nn.Linear(hidden, 2), hidden

    def forward(self, input_ids: Any, attention_mask: Any = None, labels: Any = None, **kwargs: Any) -> Any:
        pooled = self.embedding(input_ids).mean(dim=1)
        logits = self.head(pooled)
        return torch.nn.functional.cross_entropy(logits, labels), pooled, logits


def test_logits_are_found_wherever_they_stand_in_a_tuple(data: Path, start: Callable[..., Any]) -> None:
    trainer = start(model=Backwards(8))
    trainer.train()
    assert recorded(data)["gold_prob"].between(0, 1).all() and np.isfinite(recorded(data)["gold_margin"]).all()


def test_logits_that_cannot_be_told_from_another_output_are_refused(start: Callable[..., Any]) -> None:
    with pytest.raises(TrainingError, match=r"returned 2 outputs of shape \[4, 2\] .*return them as `logits`"):
        start(model=Backwards(2)).train()


def test_logits_are_read_by_name_or_by_shape() -> None:
    logits, hidden, loss = np.zeros((4, 3)), np.zeros((4, 8)), np.zeros(())
    assert logits_of(SequenceClassifierOutput(loss=torch.zeros(()), logits=torch.zeros(4, 3)), 4, 3).shape == (4, 3)
    for outputs in ((loss, logits), (logits, loss), (hidden, loss, logits), logits, {"scores": logits, "loss": loss}):
        assert logits_of(outputs, 4, 3) is logits
    with pytest.raises(TrainingError, match="returned 0 outputs"):
        logits_of((hidden, loss), 4, 3)


def test_a_head_of_another_size_or_kind_is_refused_at_construction(tiny: str, start: Callable[..., Any]) -> None:
    with pytest.raises(ModelError, match="a head for 3 classes, but the data has 2"):
        start(model=AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=3))
    several = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=2, problem_type="multi_label_classification")
    with pytest.raises(ModelError, match="multi_label_classification"):
        start(model=several)


def test_a_language_model_is_refused_at_construction(tmp_path: Path, start: Callable[..., Any]) -> None:
    from transformers import AutoModelForCausalLM

    from tests.support.tiny import tiny_model

    with pytest.raises(ModelError, match="LlamaForCausalLM predicts tokens"):
        start(model=AutoModelForCausalLM.from_pretrained(tiny_model(tmp_path / "llama", "llama")))


def test_the_mixin_must_be_listed_before_the_trainer() -> None:
    with pytest.raises(UsageError, match="lists Trainer before RecorderMixin"):
        type("Wrong", (Trainer, pruning.RecorderMixin), {})


def test_every_refusal_is_one_sentence(start: Callable[..., Any]) -> None:
    with pytest.raises(WinnowError) as error:
        start(max_steps=4)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")
