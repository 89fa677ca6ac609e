"""The paper's experiments as settings: its five datasets, its two models, its hyperparameters, each with its source.

Tayaranian et al., "Automatic Pruning of Fine-tuning Datasets for Transformer-based
Language Models" (CoLLAs 2024, arXiv:2407.08887) and the code published with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pruning.errors import UsageError
from pruning.settings import PAPER_SEEDS, Settings, TrainSettings
from pruning.settings_file import read_settings

MODELS = {"roberta-large": "FacebookAI/roberta-large", "opt-350m": "facebook/opt-350m"}
"""The paper's models -> their hub names."""

FRONTIER_LEARNING_RATES = {"roberta-large": 1e-5, "opt-350m": 2e-5}
"""The paper's second phase: one rate per model, whatever the dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One dataset of the paper: where it lies and how the paper trained on it."""

    name: str
    """As typed after --preset."""
    data: str
    """Hub name of the training split."""
    evaluation: str
    """Hub name of the validation split; never a test split."""
    task: str
    """A name in `pruning.data.tasks.TASKS`."""
    columns: Mapping[str, str]
    """Field -> column."""
    max_length: int
    """Tokens per sequence."""
    scoring: TrainSettings
    """How the scoring runs train (the paper's first phase)."""
    sources: Mapping[str, str]
    """Setting -> where its value comes from."""

    def settings(self, model: str = "roberta-large", **changes: Any) -> Settings:
        """The scoring's settings for one of the paper's models (or any other model), with some replaced.

        >>> PRESETS["sst2"].settings(seeds=(1, 2)).runs
        2
        """
        settings = Settings(
            data=self.data,
            task=self.task,
            columns=self.columns,
            evaluation=self.evaluation,
            model=MODELS.get(model, model),
            max_length=self.max_length,
            seeds=PAPER_SEEDS,
            frontier_learning_rate=self.frontier(model).learning_rate,
            train=self.scoring,
        )
        return settings.with_changes(**changes)

    def frontier(self, model: str = "roberta-large") -> TrainSettings:
        """How the frontier's fine-tunings train (the paper's second phase): the scoring's recipe at the model's own rate."""
        return replace(self.scoring, learning_rate=FRONTIER_LEARNING_RATES.get(model, self.scoring.learning_rate))


def find_preset(name: str) -> Preset:
    """Return the preset of that name. Raises UsageError naming those that exist."""
    if name not in PRESETS:
        raise UsageError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}.", "preset")
    return PRESETS[name]


def starting(data: str | None, preset: str | None, file: str | None, changes: Mapping[str, Any]) -> Settings:
    """Return the settings of data, a preset or a settings file (exactly one of them) with changes; a model may have the paper's name."""
    if sum(source is not None for source in (data, preset, file)) != 1:
        raise UsageError("Give the data to score, a --preset or a --settings file, exactly one of them.")
    model = changes.get("model")
    if preset is not None:
        settings = find_preset(preset).settings(model or "roberta-large")
    else:
        settings = Settings(data=data) if data is not None else read_settings(file or "")
    return settings.with_changes(**{**changes, **({"model": MODELS.get(model, model)} if model else {})})


_PAPER = "the paper, section 4"
_SOURCES = {
    "data": "the paper, table 1; names as on the hub",
    "evaluation": "the validation split, as the paper's tables (its code evaluates SNLI on the test split; this does not)",
    **dict.fromkeys(("epochs", "batch_size", "learning_rate", "max_length", "seeds"), _PAPER),
    "precision": "auto; the paper trained in fp16",
    "fixed_order": "off; the paper's code keeps one order in every epoch of a run, which --fixed-order repeats",
    "weight_decay": "the Trainer's default",
}
_PAIR = {"text": "premise", "text_pair": "hypothesis", "label": "label"}
_CLASSIFICATION: dict[str, Any] = {
    "task": "classification",
    "max_length": 128,
    "scoring": TrainSettings(epochs=3, batch_size=32, learning_rate=2e-5),
    "sources": _SOURCES,
}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="sst2",
            data="stanfordnlp/sst2#train",
            evaluation="stanfordnlp/sst2#validation",
            columns={"text": "sentence", "label": "label"},
            **_CLASSIFICATION,
        ),
        Preset(
            name="mnli", data="nyu-mll/glue:mnli#train", evaluation="nyu-mll/glue:mnli#validation_matched", columns=_PAIR, **_CLASSIFICATION
        ),
        Preset(name="snli", data="stanfordnlp/snli#train", evaluation="stanfordnlp/snli#validation", columns=_PAIR, **_CLASSIFICATION),
        Preset(
            name="race",
            data="ehovy/race:all#train",
            evaluation="ehovy/race:all#validation",
            task="multiple-choice",
            columns={"context": "article", "question": "question", "options": "options", "label": "answer"},
            max_length=512,
            scoring=TrainSettings(epochs=3, batch_size=16, learning_rate=1e-5),
            sources={
                **_SOURCES,
                "batch_size": "the published code: 2 questions, gradients gathered over 8 steps",
                "max_length": "not published; 512 as RoBERTa was fine-tuned on RACE (Liu et al. 2019)",
            },
        ),
        Preset(
            name="squad_v2",
            data="rajpurkar/squad_v2#train",
            evaluation="rajpurkar/squad_v2#validation",
            task="question-answering",
            columns={"question": "question", "context": "context", "answers": "answers"},
            max_length=384,
            scoring=TrainSettings(epochs=2, batch_size=12, learning_rate=3e-5),
            sources={**_SOURCES, "max_length": "the published code: windows of 384 tokens, stride 128"},
        ),
    )
}
"""Name -> preset."""
