"""Settings of an experiment and the recipe of its runs. Each field states its help, flag and range; values are checked on creation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf
from typing import Annotated, Any, Literal

import numpy as np

from pruning import success
from pruning.approximations import APPROXIMATIONS, FORMER, OWN_AGREEMENT, WAYS
from pruning.errors import UsageError
from pruning.formatting import counted
from pruning.options import Option, check, settings_of
from pruning.records import DISTINCT, FULL

SAMPLE = "sample"
"""Name of the data and of the model that come with Winnow."""

PAPER_SEEDS = (342, 4827, 1215, 98, 8128, 828)
"""Seeds of Tayaranian et al. (CoLLAs 2024), in their order; further runs draw theirs from `default_seeds`."""

LATER: Mapping[str, Any] = {"load_in_4bit": False}
"""Settings of the recipe with what they are where a recording does not name them, as those from before they existed do not."""

AUTO = "auto"
"""Word for a learning rate that is fitted to the data and the model before scoring."""

FULL_RECIPE = "recipe"
"""Key of the full recipe's fitted learning rate; an approximation's rate is kept under the approximation's own name."""


def default_seeds(runs: int) -> tuple[int, ...]:
    """Return `runs` seeds: the paper's six, then reproducible others. Raises UsageError for fewer than one.

    >>> default_seeds(3)
    (342, 4827, 1215)
    """
    if runs < 1:
        raise UsageError(f"runs must be at least 1, got {runs}; the paper uses 6.", "runs")
    more = np.random.default_rng(PAPER_SEEDS).integers(1, 2**31 - 1, size=max(0, runs - len(PAPER_SEEDS)))
    return (PAPER_SEEDS + tuple(int(seed) for seed in more))[:runs]


GROUPS = DATA, MODEL, RECIPE, RUNS, MACHINE = "Data", "Model", "Recipe", "Runs and scores", "Machine"
"""Headings in `--help`, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How one run trains. The defaults are the paper's recipe for sentence classification."""

    epochs: Annotated[int, Option("Epochs per run.", group=RECIPE, at_least=1)] = 3
    batch_size: Annotated[int, Option("Examples (whole questions) per optimizer step.", group=RECIPE, at_least=1)] = 32
    learning_rate: Annotated[
        float | None,
        Option(
            "Peak learning rate; it decays linearly to 0 over the run. auto fits it to the data and the model before scoring.",
            group=RECIPE,
            above=0,
            below=inf,
            metavar="RATE",
            none=AUTO,
            default="auto; with --preset the paper's",
        ),
    ] = None
    weight_decay: Annotated[float, Option("AdamW's weight decay; biases and LayerNorm weights are excluded.", group=RECIPE, at_least=0)] = (
        0.0
    )
    warmup_ratio: Annotated[
        float, Option("Share of the steps in which the learning rate rises linearly from 0.", group=RECIPE, at_least=0, below=1)
    ] = 0.0
    max_grad_norm: Annotated[float, Option("Gradient norm above which gradients are scaled down.", group=RECIPE, above=0)] = 1.0
    fixed_order: Annotated[
        bool, Option("Use one order of the examples in every epoch of a run, like the paper's code, instead of reshuffling.", group=RECIPE)
    ] = False
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Option("auto, fp32, bf16 or fp16; auto is bf16 where the device is fast at it, else fp32.", group=MACHINE),
    ] = "auto"
    device: Annotated[str, Option("auto, cpu, cuda (every GPU), cuda:N, cuda:N,N or mps.", group=MACHINE)] = "auto"
    deterministic: Annotated[
        bool, Option("Make numbers repeat bit by bit on a GPU too; slower, one run at a time. On the CPU they always do.", group=MACHINE)
    ] = False
    lora_rank: Annotated[
        int | None,
        Option(
            "0 = train every weight; else adapters of this rank (Hu et al. 2022), for generation on every linear layer.",
            flag="--lora",
            label="LoRA rank",
            metavar="RANK",
            none=AUTO,
            default="auto: 16 for generation with more than 300M parameters or in 4 bits, else 0",
            group=RECIPE,
            at_least=0,
        ),
    ] = None
    load_in_4bit: Annotated[
        bool,
        Option(
            "Keep the model's frozen linear layers in four bits (QLoRA); for generation with LoRA adapters, needs bitsandbytes.",
            label="Load in 4 bits (QLoRA)",
            group=RECIPE,
        ),
    ] = False

    def __post_init__(self) -> None:
        check(self)
        if self.load_in_4bit and self.lora_rank == 0:
            raise UsageError(
                "load_in_4bit needs adapters, because weights in four bits are not trained; use --lora 16, or leave it out.", "load_in_4bit"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; a setting in `LATER` is there only if it is set."""
        return {name: value for name, value in asdict(self).items() if name not in LATER or value != LATER[name]}

    @property
    def peak(self) -> float:
        """The peak rate. Raises UsageError where it still has to be fitted."""
        if self.learning_rate is None:
            raise UsageError(
                "learning_rate is auto and was not fitted yet; fit it first (python -m pruning fit), or give a number.", "learning_rate"
            )
        return self.learning_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that decides an experiment's recording. Written to experiment.json before any work."""

    data: Annotated[
        str,
        Option(
            "Files (.jsonl, .ndjson, .json, .csv, .tsv, .parquet, .arrow; texts also as .gz), a folder or glob of them, a folder saved by "
            "datasets, a hub name, - for standard input, or 'sample'.",
            flag=None,
        ),
    ]
    task: Annotated[str, Option("Name of the task.", group=DATA, default="auto-detected")] = "auto"
    columns: Annotated[
        Mapping[str, str], Option("Column of any other field of the task.", flag="--column", metavar="FIELD=COLUMN", group=DATA)
    ] = field(default_factory=dict)
    recorded_by: Annotated[
        str,
        Option("Tool whose training was recorded: winnow, or the tool it was imported from (recorder, cartography, h-score).", flag=None),
    ] = "winnow"
    evaluation: Annotated[
        str | None,
        Option(
            "Evaluation data.", flag="--eval", metavar="DATA", label="Evaluation data", group=DATA, default="split off, stratified by label"
        ),
    ] = None
    evaluation_fraction: Annotated[
        float,
        Option(
            "Share of the data split off if there is no evaluation data.",
            flag="--eval-fraction",
            label="Evaluation share",
            group=DATA,
            above=0,
            below=1,
        ),
    ] = 0.2
    evaluation_seed: Annotated[int, Option("Seed of that split.", flag="--eval-seed", label="Seed of the split", group=DATA)] = 0
    limit: Annotated[
        int | None,
        Option(
            "Use only this many training examples, drawn at random within each class.",
            label="Training examples",
            group=DATA,
            at_least=2,
            default="all",
        ),
    ] = None
    drop_invalid: Annotated[
        bool,
        Option("Skip and count rows without text or label instead of refusing them.", label="Skip invalid rows", group=DATA),
    ] = False
    id_column: Annotated[
        str | None,
        Option(
            "Column of whole numbers that are the ids.",
            flag="--id",
            label="ID column",
            metavar="COLUMN",
            group=DATA,
            default="auto-detected, else row numbers",
        ),
    ] = None
    missing_label: Annotated[
        str | None,
        Option(
            "Value of the label column that means 'no label', such as -1; such rows are skipped.",
            label="Value that means no label",
            group=DATA,
            default="none",
        ),
    ] = None
    header: Annotated[
        bool | None,
        Option(
            "The first line of CSV and TSV files has column names.",
            flag="--header/--no-header",
            label="First line has column names",
            group=DATA,
            default="checked",
        ),
    ] = None
    model: Annotated[str, Option("A folder, a hub name, or 'sample' for the model that comes with Winnow.", group=MODEL)] = SAMPLE
    template: Annotated[
        str,
        Option(
            "How conversations become text: auto (the model's chat template, else plain), plain, chatml, or a file with a Jinja template.",
            label="Chat template",
            metavar="TEMPLATE",
            group=MODEL,
        ),
    ] = "auto"
    max_length: Annotated[
        int | None,
        Option(
            "Tokens per sequence; longer texts are truncated and counted.",
            label="Tokens per text",
            group=MODEL,
            at_least=1,
            default="the task's own",
        ),
    ] = None
    seeds: Annotated[
        tuple[int, ...],
        Option("Comma-separated seeds, one per run.", flag="--seed-list", metavar="SEED,...", group=RUNS, default="the paper's"),
    ] = PAPER_SEEDS
    burn_in: Annotated[int, Option("First epochs left out of every score; 0 is the paper.", label="Burn-in", group=RUNS)] = 0
    success: Annotated[
        str,
        Option(
            "When a generated answer is right: exact (no wrong token), tokens>=0.9 (that share of its tokens is right), loss<=0.5 (nats a "
            "token), or auto; may change after scoring.",
            label="Success rule",
            metavar="RULE",
            group=RUNS,
        ),
    ] = "auto"
    stop_when_stable: Annotated[
        float | None,
        Option(
            "Stop early once rank agreement (Spearman) reaches this value with 95% confidence.",
            group=RUNS,
            above=0,
            below=1,
            default="never",
        ),
    ] = None
    look: Annotated[
        bool,
        Option(
            "Look at the data first: one forward pass of the pretrained model and a linear probe; sharpens scores and suspected labels.",
            label="Look at the data first",
            group=RUNS,
        ),
    ] = True
    one_of_each: Annotated[
        bool,
        Option("Score one of each group of near-duplicates in the look; the others get its scores.", label="Copies count once", group=RUNS),
    ] = False
    approximate: Annotated[
        str, Option(f"Score at lower cost than the full recipe: {WAYS}.", choices=("", *APPROXIMATIONS), group=RUNS, default="off")
    ] = ""
    frontier_learning_rate: Annotated[
        float | None, Option("Peak learning rate of the frontier's fine-tunings.", group=RECIPE, above=0, default="the same")
    ] = None
    scoring_learning_rate: Annotated[
        float | None,
        Option("Fitted peak learning rate of an approximation's runs; else it follows from learning_rate.", flag=None, above=0),
    ] = None
    checkpoints: Annotated[
        bool,
        Option(
            "Save each run's state after every epoch, and every 10 minutes, so that it can resume; uses disk space, changes no result.",
            group=MACHINE,
        ),
    ] = True
    train: TrainSettings = field(default_factory=TrainSettings)
    """The recipe: how each run trains."""

    def __post_init__(self) -> None:
        check(self)
        if self.success != success.AUTO:
            success.parse(self.success)
        if len(self.seeds) < 1:
            raise UsageError("seeds must not be empty; each run needs a seed (the paper uses 6).", "seeds")
        if len(set(self.seeds)) != len(self.seeds):
            raise UsageError(f"seeds must differ, got {', '.join(map(str, self.seeds))}.", "seeds")
        epochs = self.scoring.epochs
        if not 0 <= self.burn_in < epochs:
            raise UsageError(f"burn_in must be 0 to {epochs - 1} with {counted(epochs, 'epoch')}, got {self.burn_in}.", "burn_in")

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
        """Recipe of the scoring runs: the full recipe, or its approximation.

        >>> Settings(data="x.jsonl", approximate="epochs").scoring.epochs
        2
        """
        rate = self.train.learning_rate if self.scoring_learning_rate is None else self.scoring_learning_rate
        return replace(self.recipe(self.approximate or FULL_RECIPE), learning_rate=rate)

    def recipe(self, name: str) -> TrainSettings:
        """Return the full recipe (`FULL_RECIPE`) or what an approximation makes of it, at the full recipe's learning rate."""
        if name == "epochs":
            return replace(self.train, epochs=max(1, round(self.train.epochs * 2 / 3)))
        return self.train

    def with_fitted(self, rates: Mapping[str, float]) -> Settings:
        """Return the settings with fitted rates in the place of auto. `rates`: `FULL_RECIPE` or an approximation's name -> peak rate.

        >>> Settings(data="x.jsonl").with_fitted({FULL_RECIPE: 2e-4}).scoring.learning_rate
        0.0002
        """
        if self.train.learning_rate is not None:
            return self
        train = replace(self.train, learning_rate=rates.get(FULL_RECIPE))
        return replace(self, train=train, scoring_learning_rate=rates.get(self.approximate) if self.approximate else None)

    @property
    def measuring(self) -> TrainSettings:
        """Recipe of the frontier's fine-tunings. If scoring uses the same, its runs are the points of full data.

        >>> settings = Settings(data="x.jsonl", frontier_learning_rate=1e-5, train=TrainSettings(learning_rate=2e-5))
        >>> settings.measuring.learning_rate, settings.scoring.learning_rate
        (1e-05, 2e-05)
        """
        return self.train if self.frontier_learning_rate is None else replace(self.train, learning_rate=self.frontier_learning_rate)

    @property
    def scored_subset(self) -> str:
        """Name of the subset that the scoring runs measure too, "full" or "distinct"; empty where their recipe is another.

        >>> Settings(data="x.jsonl").scored_subset, Settings(data="x.jsonl", approximate="epochs").scored_subset
        ('full', '')
        """
        if self.scoring != self.measuring:
            return ""
        return DISTINCT if self.one_of_each else FULL

    @property
    def caveat(self) -> str:
        """A warning about scores that do not come from the full recipe on all examples, in a sentence; empty where they do."""
        said = ["Scoring trained on one of each near-duplicate; the others have its scores."] if self.one_of_each else []
        if self.approximate:
            way = APPROXIMATIONS[self.approximate]
            measured = f"rank agreement (Spearman) {way.agreement:.2f} with it, {OWN_AGREEMENT:.2f} between its own seeds"
            said.append(f"Scores are approximate ({way.words}); ranks differ from the full recipe's: {measured}.")
        return " ".join(said)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `from_dict` is the inverse."""
        return {**asdict(self), "columns": dict(self.columns), "seeds": list(self.seeds), "train": self.train.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Return settings from the values of `to_dict`; unknown names are ignored, so that older versions can read newer files."""
        known = {f.name for f in fields(cls)}
        train_known = {f.name for f in fields(TrainSettings)}
        kept = {name: value for name, value in values.items() if name in known}
        kept["train"] = TrainSettings(**{k: v for k, v in values["train"].items() if k in train_known})
        kept["seeds"] = tuple(values["seeds"])
        if kept.get("approximate") in FORMER:
            kept |= {"approximate": "", "recorded_by": f"winnow --approximate {kept['approximate']}"}
        return cls(**kept)

    def with_changes(self, **changes: Any) -> Settings:
        """Return a copy with some fields replaced, the recipe's own ones included.

        >>> Settings(data="x.jsonl").with_changes(burn_in=1, epochs=5).train.epochs
        5
        """
        recipe = {name: changes.pop(name) for name in list(changes) if name in settings_of(TrainSettings)}
        train = replace(changes.pop("train", self.train), **recipe)
        return replace(self, train=train, **changes)
