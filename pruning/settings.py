"""What decides an experiment: its settings and the recipe of its runs, checked as they are made. Imports numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np

from pruning.errors import UsageError

PAPER_SEEDS = (342, 4827, 1215, 98, 8128, 828)
"""Seeds of Tayaranian et al. (CoLLAs 2024), in their order; further runs draw theirs from `default_seeds`."""


@dataclass(frozen=True, slots=True)
class Approximation:
    """A cheaper way to score."""

    words: str
    agreement: float
    """Spearman's correlation of its H with that of the full recipe's other seeds, as measured (benchmarks/results/equivalence.md)."""


APPROXIMATIONS = {
    "epochs": Approximation("two thirds of the epochs", 0.69),
    "layers": Approximation("the lower half of the model's layers", -0.19),
    "lora": Approximation("LoRA adapters of rank 8 in place of all weights", 0.57),
}

OWN_AGREEMENT = 0.76
"""The same of the full recipe itself: the most that an approximation can reach."""


def default_seeds(runs: int) -> tuple[int, ...]:
    """The paper's six seeds, then as many reproducible others as `runs` asks for; UsageError when that is none.

    >>> default_seeds(3)
    (342, 4827, 1215)
    """
    if runs < 1:
        raise UsageError(f"--runs is {runs}; at least one run is needed (the paper uses 6).")
    more = np.random.default_rng(PAPER_SEEDS).integers(1, 2**31 - 1, size=max(0, runs - len(PAPER_SEEDS)))
    return (PAPER_SEEDS + tuple(int(seed) for seed in more))[:runs]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How one run trains. The defaults are the paper's recipe for sentence classification."""

    epochs: int = 3
    """Passes over the training rows, at least 1."""
    batch_size: int = 32
    """Examples per optimizer step (whole questions where a question has several sequences)."""
    learning_rate: float = 2e-5
    """Peak rate; it falls linearly to 0 over the steps of this very run."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay; biases and LayerNorm weights are left out, as in the Trainer."""
    warmup_ratio: float = 0.0
    """Share of the steps in which the rate rises linearly from 0."""
    max_grad_norm: float = 1.0
    """Gradient norm above which gradients are scaled down, per run."""
    fixed_order: bool = False
    """True repeats one order in every epoch of a run, as the paper's code does; False reshuffles."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto = bf16 autocast where the device does it well, else fp32."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    deterministic: bool = False
    """True makes numbers repeat bit by bit on a GPU too, resumed or not, one run at a time and slower. On the CPU they always do."""
    depth: float = 1.0
    """Share of the model's layers that is kept, the lower ones; at least one layer stays."""
    lora_rank: int = 0
    """0 = every weight is trained; else only adapters of this rank (Hu et al. 2022) in the attention, and the head."""

    def __post_init__(self) -> None:
        _positive("--epochs", self.epochs)
        _positive("--batch-size", self.batch_size)
        _positive("--learning-rate", self.learning_rate)
        _positive("--max-grad-norm", self.max_grad_norm)
        if self.weight_decay < 0:
            raise UsageError(f"--weight-decay is {self.weight_decay}; it must be 0 or more.")
        if not 0 <= self.warmup_ratio < 1:
            raise UsageError(f"--warmup-ratio is {self.warmup_ratio}; it must be at least 0 and below 1.")
        if not 0 < self.depth <= 1 or self.lora_rank < 0:
            raise UsageError(f"depth is {self.depth} and lora_rank {self.lora_rank}; use a depth above 0 and up to 1, a rank of 0 or more.")
        if self.precision not in ("auto", "fp32", "bf16", "fp16"):
            raise UsageError(f"--precision is {self.precision!r}; use auto, fp32, bf16 or fp16.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that decides an experiment's recording. Written to experiment.json before any work."""

    data: str
    """A file, a folder saved by `datasets`, or a hub name."""
    task: str = "auto"
    """A name in `pruning.data.tasks.TASKS`, or auto before the data was read."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Field of the task -> column of the data, e.g. {"text": "sentence", "label": "label"}."""
    recorded_by: str = "winnow"
    """Whose training was recorded: winnow's own, or what it was taken over from (recorder, cartography, h-score)."""
    evaluation: str | None = None
    """Evaluation data, or None to split off `evaluation_fraction` of `data`."""
    evaluation_fraction: float = 0.2
    """Share split off, stratified by label, when no evaluation data is given."""
    evaluation_seed: int = 0
    """Seed of that split."""
    limit: int | None = None
    """Use only so many of the training examples, drawn at random with each class's own share; None = all."""
    drop_invalid: bool = False
    """Drop (and count) rows without text or label instead of refusing them."""
    model: str = "sample"
    """A folder, a hub name, or "sample" for the model that comes with Winnow."""
    max_length: int | None = None
    """Tokens per sequence; longer ones are cut and counted. None = the task's own, as in the paper, filled in before any work."""
    seeds: tuple[int, ...] = PAPER_SEEDS
    """One seed per run; R = len(seeds)."""
    burn_in: int = 0
    """Epochs left out of every score by default (0 = the paper). A reading of the recording: no retraining."""
    checkpoints: bool = True
    """Keep each run's state after its last whole epoch while it trains, so that it can go on from there; costs disk, changes no result."""
    approximate: str = ""
    """A name in `APPROXIMATIONS`: score with less work than the recipe; "" = do not. The frontier always trains by the full recipe."""
    frontier_learning_rate: float | None = None
    """The frontier's peak rate, where it is not the recipe's own (the paper's second phase has one per model)."""
    stop_when_stable: float | None = None
    """Rank agreement, 0..1, at which scoring ends before all its runs; None = never."""
    train: TrainSettings = field(default_factory=TrainSettings)
    """The recipe: how each run trains."""

    def __post_init__(self) -> None:
        if len(self.seeds) < 1:
            raise UsageError("There is no seed; each run needs its own (the paper uses 6).")
        if len(set(self.seeds)) != len(self.seeds):
            raise UsageError(f"--seed-list repeats a seed ({', '.join(map(str, self.seeds))}); each run needs its own.")
        if self.limit is not None and self.limit < 2:
            raise UsageError(f"--limit is {self.limit}; at least 2 examples are needed.")
        _positive("--max-length", 1 if self.max_length is None else self.max_length)
        if not 0 < self.evaluation_fraction < 1:
            raise UsageError(f"--eval-fraction is {self.evaluation_fraction}; it must lie between 0 and 1.")
        if self.stop_when_stable is not None and not 0 < self.stop_when_stable < 1:
            raise UsageError(f"--stop-when-stable is {self.stop_when_stable}; a rank agreement lies between 0 and 1, such as 0.9.")
        if self.approximate not in ("", *APPROXIMATIONS):
            raise UsageError(f"--approximate is {self.approximate!r}; use {', '.join(APPROXIMATIONS)}, or leave it out.")
        epochs = self.scoring.epochs
        if not 0 <= self.burn_in < epochs:
            raise UsageError(f"--burn-in is {self.burn_in}; with {epochs} epochs it must be 0 to {epochs - 1}.")

    @property
    def runs(self) -> int:
        """R, the number of runs."""
        return len(self.seeds)

    @property
    def label_column(self) -> str:
        """The data's own column of labels.

        >>> Settings(data="x.jsonl", columns={"label": "topic"}).label_column
        'topic'
        """
        return self.columns.get("label", "label")

    @property
    def scoring(self) -> TrainSettings:
        """How the scoring runs train: the recipe, or what the approximation makes of it.

        >>> Settings(data="x.jsonl", approximate="epochs").scoring.epochs
        2
        """
        if self.approximate == "epochs":
            return replace(self.train, epochs=max(1, round(self.train.epochs * 2 / 3)))
        if self.approximate == "layers":
            return replace(self.train, depth=0.5)
        if self.approximate == "lora":
            return replace(self.train, lora_rank=8, learning_rate=10 * self.train.learning_rate)
        return self.train

    @property
    def measuring(self) -> TrainSettings:
        """How the frontier's fine-tunings train. Where that is how scoring trains, the scoring runs are full data's points.

        >>> settings = Settings(data="x.jsonl", frontier_learning_rate=1e-5)
        >>> settings.measuring.learning_rate, settings.scoring.learning_rate
        (1e-05, 2e-05)
        """
        return self.train if self.frontier_learning_rate is None else replace(self.train, learning_rate=self.frontier_learning_rate)

    @property
    def caveat(self) -> str:
        """What a person must know of these scores, in a sentence; empty when they are the full recipe's."""
        if not self.approximate:
            return ""
        way = APPROXIMATIONS[self.approximate]
        measured = f"measured, they agree to {way.agreement:.2f} of 1 with it, and it to {OWN_AGREEMENT:.2f} with itself"
        return f"Scored by an approximation, {way.words}: ranks differ from the full recipe's ({measured})."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` is the inverse."""
        return {**asdict(self), "columns": dict(self.columns), "seeds": list(self.seeds)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from `to_dict`'s values; unknown names are ignored so that newer notes do not break older readers."""
        known = {f.name for f in fields(cls)}
        train_known = {f.name for f in fields(TrainSettings)}
        kept = {name: value for name, value in values.items() if name in known}
        kept["train"] = TrainSettings(**{k: v for k, v in values["train"].items() if k in train_known})
        kept["seeds"] = tuple(values["seeds"])
        return cls(**kept)

    def with_changes(self, **changes: Any) -> Settings:
        """A copy with some fields replaced."""
        return replace(self, **changes)


def _positive(flag: str, value: float) -> None:
    if not value > 0:
        raise UsageError(f"{flag} is {value}; it must be more than 0.")
