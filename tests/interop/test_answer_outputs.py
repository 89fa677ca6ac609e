"""Prompts and answers in somebody else's loop or Trainer: what is recorded is what the model says of each row alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments

import pruning
from pruning.errors import DataError, ModelError, TrainingError
from pruning.interop.answer_outputs import answer_outputs
from pruning.interop.recorder import Recorder
from tests.support.conversations import COUNT, assert_recorded, padded, tokenised, write
from tests.support.generative import tiny_causal
from tests.support.tiny import tiny_model

pytestmark = pytest.mark.process


class Recording(pruning.RecorderMixin, Trainer): ...


@pytest.fixture
def model(tmp_path: Path) -> str:
    return tiny_causal(tmp_path / "model")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path)


def test_a_plain_loop_is_recorded_from_the_model_s_outputs(data: Path, model: str, tmp_path: Path) -> None:
    rows, network = tokenised(data, model), AutoModelForCausalLM.from_pretrained(model)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0)
    recorder = Recorder(tmp_path / "mine", data, epochs=2, seeds=(5,))
    with recorder.answers(5) as run:
        for _ in range(2):
            order = torch.randperm(COUNT)
            for places in order.split(4):
                batch = padded([rows[place] for place in places])
                outputs = network(**batch)
                run.add_outputs(places, outputs, batch["labels"])
                outputs.loss.backward()
                optimizer.step()
                optimizer.zero_grad()
    assert_recorded(tmp_path / "mine", tokenised(data, model), model)


@pytest.fixture
def start(data: Path, model: str, tmp_path: Path) -> Callable[..., Any]:
    def make(dataset: Any = None, network: Any = None, **changes: Any) -> Any:
        tokenizer = AutoTokenizer.from_pretrained(model)
        usual: dict[str, Any] = {"num_train_epochs": 2, "learning_rate": 0.0, "per_device_train_batch_size": 4, "seed": 5, "report_to": []}
        quiet = {"output_dir": str(tmp_path / "out"), "save_strategy": "no", "use_cpu": True, "disable_tqdm": True}
        return Recording(
            recorder=Recorder(tmp_path / "mine", data, epochs=2, seeds=(5,)),
            model=network or AutoModelForCausalLM.from_pretrained(model),
            args=TrainingArguments(**{**usual, **quiet, **changes}),
            train_dataset=datasets.Dataset.from_list(tokenised(data, model)) if dataset is None else dataset,
            data_collator=DataCollatorForSeq2Seq(tokenizer),
            processing_class=tokenizer,
        )

    return make


@pytest.mark.parametrize("changes", [{}, {"gradient_accumulation_steps": 2, "train_sampling_strategy": "group_by_length"}])
def test_a_trainer_of_a_causal_model_is_recorded(
    start: Callable[..., Any], data: Path, model: str, tmp_path: Path, changes: dict[str, Any]
) -> None:
    start(**changes).train()
    assert_recorded(tmp_path / "mine", tokenised(data, model), model)


def test_rows_of_another_order_and_models_of_classes_are_refused(start: Callable[..., Any], data: Path, model: str, tmp_path: Path) -> None:
    rows = tokenised(data, model)
    with pytest.raises(DataError, match=r"lack their own prompt and answer, first row 0; pass them unshuffled"):
        start(dataset=datasets.Dataset.from_list(rows[1:] + rows[:1]))
    with pytest.raises(DataError, match=r"has 10 examples, but .* has 11 \(a trainer may drop rows whose answer is cut off"):
        start(dataset=datasets.Dataset.from_list(rows[1:]))
    from transformers import AutoModelForSequenceClassification

    classes = AutoModelForSequenceClassification.from_pretrained(tiny_model(tmp_path / "classes"))
    with pytest.raises(ModelError, match=r"predicts classes, but .* has answers; use AutoModelForCausalLM"):
        start(network=classes)


def test_outputs_that_cannot_be_read_are_refused() -> None:
    labels = torch.tensor([[-100, 1, 2], [-100, -100, 1]])
    with pytest.raises(TrainingError, match=r"4 rows came back as 2 sequences: packing or padding_free joins"):
        answer_outputs(SimpleNamespace(logits=torch.zeros(2, 3, 5)), labels, 4)
    with pytest.raises(TrainingError, match=r"Row 1 of a batch has no token to learn"):
        answer_outputs(SimpleNamespace(logits=torch.zeros(2, 3, 5)), torch.tensor([[-100, 1, 2], [3, -100, -100]]), 2)
    with pytest.raises(TrainingError, match="returned no logits"):
        answer_outputs(SimpleNamespace(logits=None), labels, 2)
