"""The paper's experiments, tried offline on small sets with the features that the hub's have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, List, Value

from pruning.data.examples import load_pair
from pruning.data.tasks import TASKS
from pruning.errors import UsageError
from pruning.presets import MODELS, PRESETS, find_preset
from tests.support.tiny import tiny_tokenizer

NLI = ClassLabel(names=["entailment", "neutral", "contradiction"])
ANSWERS = {"text": List(Value("string")), "answer_start": List(Value("int32"))}

HUB: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "sst2": (
        {"idx": Value("int32"), "sentence": Value("string"), "label": ClassLabel(names=["negative", "positive"])},
        [{"idx": 7 - i, "sentence": f"a film {i}", "label": i % 2} for i in range(4)],
    ),
    "mnli": (
        {"premise": Value("string"), "hypothesis": Value("string"), "label": NLI, "idx": Value("int32")},
        [{"premise": "a", "hypothesis": "b", "label": i % 3, "idx": i} for i in range(4)],
    ),
    "snli": (
        {"premise": Value("string"), "hypothesis": Value("string"), "label": NLI},
        [{"premise": "a", "hypothesis": "b", "label": label} for label in (0, 1, -1, 2, 0)],
    ),
    "race": (
        {name: Value("string") for name in ("example_id", "article", "answer", "question")} | {"options": List(Value("string"))},
        [
            {"example_id": "high1.txt", "article": "a film", "answer": letter, "question": "it was _", "options": ["a", "b", "c", "d"]}
            for letter in "ABCD"
        ],
    ),
    "squad_v2": (
        {**{name: Value("string") for name in ("id", "title", "context", "question")}, "answers": ANSWERS},
        [
            {"id": f"5{i}", "title": "T", "context": "the cat sat", "question": "who?", "answers": answers}
            for i, answers in enumerate([{"text": ["cat"], "answer_start": [4]}] * 3 + [{"text": [], "answer_start": []}])
        ],
    ),
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_reads_the_hubs_features_and_evaluates_on_validation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    features, rows = HUB[name]
    part = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    names = ("train", "validation_matched", "validation_mismatched", "test_matched") if name == "mnli" else ("train", "validation", "test")
    asked = []

    def load_dataset(*arguments: Any, **named: Any) -> datasets.DatasetDict:
        asked.append(arguments)
        return datasets.DatasetDict(dict.fromkeys(names, part))

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *arguments, **named: None)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    preset = PRESETS[name]
    train, evaluation = load_pair(preset.settings())
    assert len(train) == len(evaluation) == 4 and train.task == preset.task and train.columns == preset.columns
    assert "validation" in evaluation.source and "test" not in evaluation.source
    assert asked[0][0] == preset.data.split("#")[0].split(":")[0]
    assert TASKS[preset.task].encode(train.table, tiny_tokenizer(), 32).units == 4
    assert train.dropped == (1 if name == "snli" else 0)
    guessed, _ = load_pair(preset.settings(task="auto", columns={}))
    assert (guessed.task, guessed.columns) == (preset.task, preset.columns), "what is guessed is what the preset says"


def test_the_papers_hyperparameters() -> None:
    """METHOD: batch 32, lr 2e-5, length 128, 3 epochs; SQuAD 12, 3e-5, 384, 2 epochs; RACE 2 x 8, 1e-5, 3 epochs; six seeds."""
    recipes = {
        name: (s.train.batch_size, s.train.learning_rate, s.max_length, s.train.epochs)
        for name, s in ((name, preset.settings()) for name, preset in PRESETS.items())
    }
    assert {recipes[name] for name in ("sst2", "mnli", "snli")} == {(32, 2e-5, 128, 3)}
    assert recipes["squad_v2"] == (12, 3e-5, 384, 2) and recipes["race"][:2] == (16, 1e-5) and recipes["race"][3] == 3
    for preset in PRESETS.values():
        assert preset.settings("opt-350m").model == "facebook/opt-350m" and preset.settings().seeds == (342, 4827, 1215, 98, 8128, 828)
        assert preset.settings("roberta-large").measuring.learning_rate == 1e-5
        assert preset.frontier("roberta-large").learning_rate == 1e-5 and preset.frontier("opt-350m").learning_rate == 2e-5
        assert {"data", "evaluation", "epochs", "batch_size", "learning_rate", "max_length", "seeds"} <= preset.sources.keys()
    assert MODELS.keys() == {"roberta-large", "opt-350m"}


def test_another_model_and_other_seeds_can_be_asked_for(tmp_path: Path) -> None:
    settings = find_preset("race").settings(str(tmp_path), seeds=(1,))
    assert settings.model == str(tmp_path) and settings.runs == 1


def test_a_preset_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(UsageError, match="preset must be one of sst2, mnli, snli, race, squad_v2, got 'cola'"):
        find_preset("cola")
