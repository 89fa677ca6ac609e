"""Fine-tuning data from a file to an export, with a tiny Llama made in code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pruning.experiment import Experiment
from pruning.jobs import worker
from pruning.settings import Settings, TrainSettings
from tests.support.generative import tiny_causal

pytestmark = pytest.mark.process

NUMBERS = ("zero", "one", "two", "three", "four", "five")


def rows(count: int) -> list[str]:
    """Lines of chat data: short answers that can be learned, and some longer ones."""
    made = []
    for number in range(count):
        word = NUMBERS[number % 6]
        turns = [{"role": "user", "content": f"{number} mod 6?"}, {"role": "assistant", "content": word * (1 + number % 3)}]
        made.append(json.dumps({"messages": turns, "source": number}) + "\n")
    return made


def settings_of(folder: Path, **changes: object) -> Settings:
    lines = rows(24)
    for name, part in (("train", lines[:16]), ("eval", lines[16:])):
        (folder / f"{name}.jsonl").write_text("".join(part))
    settings = Settings(
        data=str(folder / "train.jsonl"),
        evaluation=str(folder / "eval.jsonl"),
        model=tiny_causal(folder / "model"),
        seeds=(1, 2),
        max_length=128,
        train=TrainSettings(epochs=3, batch_size=8, learning_rate=1e-2, device="cpu"),
    )
    return settings.with_changes(**changes)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    folder = tmp_path_factory.mktemp("generation")
    return worker.score(settings_of(folder), folder / "experiment")


def test_scoring_records_wrong_tokens_and_says_what_is_learned(scored: Experiment) -> None:
    assert scored.settings.task == "generation" and scored.dynamics.correct.shape == (2, 3, 16)
    table = pq.read_table(scored.folder.epoch(0, 2))
    assert table["wrong"].type == "int32" and (np.asarray(table["correct"]) == (np.asarray(table["wrong"]) == 0)).all()
    notes = " ".join(scored.notes())
    assert "The chat template has no generation tags" in notes and "tokens are learned." in notes
    losses = scored.dynamics.loss.mean(axis=(0, 2))
    assert losses[2] < losses[0], "it learns"


def test_a_subset_is_measured_and_exported_byte_for_byte(scored: Experiment, tmp_path: Path) -> None:
    experiment = worker.frontier(scored.folder.root, ["random@0.5"], seeds=1)
    points = {point.subset: point.metrics for point in experiment.frontier()}
    assert list(points["full"]) == ["token_accuracy", "exact_match", "loss", "perplexity"]
    assert 0 < points["random@0.5"]["token_accuracy"] < 1
    manifest = experiment.export("random@0.5", tmp_path / "out.jsonl")
    lines = rows(16)
    assert (tmp_path / "out.jsonl").read_text() == "".join(lines[index] for index in manifest["ids"]), "their own format"
