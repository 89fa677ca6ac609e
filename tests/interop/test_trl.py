"""TRL's own SFTTrainer is recorded row by row, and refused where it packs. Runs where TRL is installed (pip install trl==1.16.0)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import pruning
from pruning.errors import TrainingError
from pruning.interop.recorder import Recorder
from tests.support.conversations import assert_recorded, write
from tests.support.generative import TAGGED, tiny_causal

trl = pytest.importorskip("trl", reason="TRL is not installed, so its SFTTrainer is not recorded here: pip install trl==1.16.0")


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Any]:
    model = tiny_causal(tmp_path / "model", template=TAGGED)
    data = write(tmp_path)

    class Recording(pruning.RecorderMixin, trl.SFTTrainer):  # type: ignore[misc, name-defined]
        ...

    def make(**changes: Any) -> Any:
        usual: dict[str, Any] = {"num_train_epochs": 2, "learning_rate": 0.0, "per_device_train_batch_size": 4, "seed": 5, "report_to": []}
        quiet = {"output_dir": str(tmp_path / "out"), "save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "bf16": False}
        return Recording(
            recorder=Recorder(tmp_path / "mine", data, epochs=2, seeds=(5,)),
            model=AutoModelForCausalLM.from_pretrained(model),
            args=trl.SFTConfig(**{**usual, **quiet, "assistant_only_loss": True, "max_length": 128, **changes}),
            train_dataset=datasets.load_dataset("json", data_files=str(data), split="train").select_columns(["messages"]),
            processing_class=AutoTokenizer.from_pretrained(model),
        )

    return make


@pytest.mark.parametrize("changes", [{}, {"gradient_accumulation_steps": 2, "loss_type": "dft"}])
def test_what_its_trainer_says_is_recorded(start: Callable[..., Any], tmp_path: Path, changes: dict[str, Any]) -> None:
    trainer = start(**changes)
    rows = [{name: row[name] for name in ("input_ids", "labels")} for row in trainer.train_dataset]
    trainer.train()
    assert_recorded(tmp_path / "mine", rows, str(tmp_path / "model"))


@pytest.mark.parametrize("changes", [{"packing": True}, {"padding_free": True}])
def test_packing_is_refused_in_a_sentence(start: Callable[..., Any], changes: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=r"joins several conversations in one sequence, .* set packing=False and padding_free=False"):
        start(**changes)


def test_rows_shuffled_beforehand_are_refused(start: Callable[..., Any]) -> None:
    with pytest.raises(TrainingError, match="shuffle_dataset=True changes the order of the rows"):
        start(shuffle_dataset=True)
