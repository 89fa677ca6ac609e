"""Frozen records of the project's vocabulary: run, epoch, example, dynamics, subset, frontier, job. Needs numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

DECISIONS = "+decisions"
"""Suffix of a subset's name: the subset with the decisions made by hand."""

Kind = Literal["classification", "multiple_choice", "span", "generation", "rollouts"]

FULL, DISTINCT = "full", "distinct"
"""Names of the subsets that scoring may train on: all examples, or one of each near-duplicate."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Encoded:
    """Encoded examples for the engine: flat token ids without padding or strings.

    A *unit* (one example: a sentence, a pair, a question with its options, a question with its windows)
    owns the sequences unit_offsets[i]:unit_offsets[i+1]; sequence s owns tokens[offsets[s]:offsets[s+1]].
    """

    kind: Kind
    """Output of the head: a class per unit, one of a unit's sequences, a start and end token per sequence, or the next token."""
    tokens: NDArray[np.int32]
    """[T] token ids, special tokens included."""
    offsets: NDArray[np.int64]
    """[S+1] start of each sequence; the last entry is T."""
    unit_offsets: NDArray[np.int64]
    """[N+1] start of each unit's sequences; the last entry is S. `arange(N+1)` for classification."""
    labels: NDArray[np.int64]
    """[N] class index, or index of the correct option; [S, 2] start and end token within the sequence for spans; 0 for generation."""
    token_types: NDArray[np.int8] | None = None
    """[T] segment ids, if the model uses them."""
    characters: NDArray[np.int32] | None = None
    """[T, 2] for spans: each token's character range in its unit's context, (-1, -1) for every token outside it."""
    answer: NDArray[np.bool_] | None = None
    """[T] for generation: True for each token that is learned, never the first of a sequence."""
    classes: int = 0
    """Number of classes; 0 for other kinds."""
    truncated: int = 0
    """Number of units with text beyond `max_length` tokens."""
    cut: NDArray[np.bool_] | None = None
    """[N] for generation: True where the answer lost its end."""
    notes: tuple[str, ...] = ()
    """Facts about the encoding that a user should know, in sentences."""

    @property
    def units(self) -> int:
        """N, the number of examples."""
        return len(self.unit_offsets) - 1

    @property
    def answer_lengths(self) -> NDArray[np.int64] | None:
        """[N] learned tokens of each unit; None for other kinds than generation."""
        return None if self.answer is None else np.add.reduceat(self.answer.astype(np.int64), self.offsets[:-1])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RunPlan:
    """Plan of one run for the engine: rows, seed and number of epochs."""

    key: str
    """Name of the run in progress, records and results, e.g. "run 0" or "winning-ticket seed 98"."""
    seed: int
    """Determines the run's head initialisation, order and dropout."""
    rows: NDArray[np.int64]
    """Positions in the `Encoded` training data, ascending."""
    epochs: int
    """Passes over `rows` (more than in the settings if a subset gets as many steps as full data)."""
    record: bool = True
    """Yield an `EpochRecord` after each epoch."""
    checkpoint: str | None = None
    """File with the run's state and records after its last complete epoch; the run resumes from it if it exists."""
    learning_rate: float | None = None
    """Peak learning rate of this run; None = that of the settings."""
    labels: NDArray[np.int64] | None = None
    """[len(rows)] class indices in place of the data's; None = the data's."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Quantities:
    """Arrays of the quantities recorded for each example; the fields are the columns of an epoch's file, in order.

    For generation, `loss` is the mean over the answer's tokens, `gold_prob` exp(-loss), `gold_margin` that of the worst token,
    `error_norm` the root mean square over tokens, `predicted` the number of right tokens before the first wrong one, and `correct`
    is True where no token is wrong.
    """

    correct: NDArray[np.bool_]
    gold_prob: NDArray[np.float32]
    """Probability of the correct answer, 0..1."""
    gold_margin: NDArray[np.float32]
    """Logit of the correct answer minus the best other logit; positive if the prediction is right."""
    error_norm: NDArray[np.float32]
    """Euclidean norm of (probabilities - one-hot of the correct answer), 0..sqrt(2)."""
    loss: NDArray[np.float32]
    """Cross-entropy in nats."""
    predicted: NDArray[np.int64]
    """Predicted class or option index."""
    position: NDArray[np.int32]
    """Place within the epoch, 0..n-1: example position // batch_size = step."""
    wrong: NDArray[np.int32] | None = None
    """Wrong tokens of the answer, for generation; None for other kinds, whose files lack the column."""


QUANTITIES: Mapping[str, Any] = {
    name: get_args(get_args(hint)[1])[0] for name, hint in get_type_hints(Quantities).items() if name != "wrong"
}
"""NumPy type of each quantity that every task records, by name."""

WRONG = np.int32
"""NumPy type of `Quantities.wrong`."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EpochRecord(Quantities):
    """Online recording of one epoch of one run: in train mode, at each example's own step, before its update.

    Arrays are [n] in the order of the plan's `rows`, not in the order of training.
    """

    key: str
    epoch: int
    micro_batch: int = 0
    """Examples per forward pass if memory did not suffice for whole batches; 0 if it did."""

    def take(self, places: NDArray[np.int64]) -> EpochRecord:
        """Return the recording of the examples at these places, each as often as it is named."""
        arrays = {name: getattr(self, name)[places] for name in QUANTITIES}
        return replace(self, **arrays, wrong=None if self.wrong is None else self.wrong[places])


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of one run, reported at most a few times per second."""

    key: str
    epoch: int
    """Current epoch, from 0."""
    examples: int
    """Examples trained in this run so far, over all its epochs."""
    total: int
    """Examples this run trains in total."""
    accuracy: float
    """Online accuracy of the current epoch, 0..1."""
    memory: int = 0
    """Peak memory of the run's process (CPU) or device in bytes."""
    where: str = ""
    """Device, process or machine that it trains on."""
    rate: float = 0.0
    silent: float = 0.0
    """Its examples per second over the last half minute, and the seconds since it last reported anything."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RunResult:
    """Result of one run: its predictions on the evaluation data and its cost."""

    key: str
    seconds: float
    """Wall clock of training, evaluation not counted."""
    steps: int
    """Optimizer steps."""
    outputs: NDArray[np.float32] | None
    """Evaluation logits: [N, classes]; [S] one per option; or [S, L, 2] start and end (-inf where padded); for generation [N, 3] loss,
    wrong tokens and tokens of each answer. None without evaluation data."""
    micro_batch: int = 0
    """As `EpochRecord.micro_batch`, of the whole run."""
    tokens: int = 0
    """Tokens trained on, over all epochs, padding not counted."""
    compute_seconds: float = 0.0
    """Time of training that other jobs on the machine do not change: CPU time on the CPU, wall clock on other devices."""
    evaluation_seconds: float = 0.0
    """The same of predicting the evaluation data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDiverged:
    """End of a run whose loss became NaN; other runs continue."""

    key: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run that was given to a device, process or machine."""

    key: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLost:
    """A run whose process or machine is gone; it trains again elsewhere, from where it was last saved if it was."""

    key: str
    where: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A fact about the places where runs train, in a sentence; empty = no news, but the training is alive."""

    sentence: str
    lasting: bool = False
    """True for a fact to be kept, False for a state that passes."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dynamics(Quantities):
    """Recording of a whole experiment; every array is [runs, epochs, examples] in the order of `ids`."""

    ids: NDArray[np.int64]
    seeds: tuple[int, ...]
    probe: NDArray[np.float32] | None = None
    """[N] the probe's out-of-sample probability of each label, 0..1; None where there was no look."""
    successes: NDArray[np.int64] | None = None
    """[E, N] right answers sampled at each epoch (a checkpoint); None where every example has one answer a run and epoch (`correct`)."""
    attempts: NDArray[np.int64] | None = None
    """[E, N] answers sampled at each epoch; 0 = not sampled, which is not a failure. None as `successes`."""
    extras: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Further numbers of each example, [N] each, by name: what a log of answers or a pass of the base model adds."""

    def first(self, name: str) -> NDArray[Any]:
        """Return [1, 1, 1] the first value of that quantity, which shows whether it was recorded."""
        return np.asarray(getattr(self, name)[:1, :1, :1])

    @property
    def runs(self) -> int:
        """R, the number of complete runs."""
        return int(self.correct.shape[0])

    @property
    def epochs(self) -> int:
        """E, the number of epochs of each run."""
        return int(self.correct.shape[1])

    @property
    def examples(self) -> int:
        """N, the number of examples."""
        return int(self.correct.shape[2])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Subset:
    """A proposed training set: a rule and the rows it keeps."""

    name: str
    """Name as typed on the command line, e.g. "winning-ticket", "remove-0-1-6", "random@winning-ticket"."""
    method: str
    """"full", "h-score", "random", "ambiguous", "saved", or the score or rule that chose the rows."""
    rule: str
    """Description of the rule, e.g. "remove H = 0 and 6"."""
    kept: NDArray[np.int64]
    """Ids of the kept examples, in source order."""
    total: int
    """Examples before pruning."""
    removes: tuple[int, ...] | None = None
    """H-values removed; None for subsets of other rules."""
    labels: Mapping[int, str] = field(default_factory=dict)
    """New labels, by id, of the kept examples whose label was changed by hand."""

    @property
    def size(self) -> int:
        """Number of kept examples."""
        return len(self.kept)

    @property
    def kept_fraction(self) -> float:
        """Share of examples kept, 0..1."""
        return len(self.kept) / self.total if self.total else 0.0

    def mask(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return [len(ids)] True for each id that is kept; a new array each time."""
        return np.isin(ids, self.kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierPoint:
    """Measured metrics of one subset: means over its seeds, with intervals."""

    subset: str
    method: str
    kept: int
    kept_fraction: float
    seeds: int
    """Number of fine-tunings behind the mean."""
    budget: str
    """"epochs" = as many epochs as full data (the paper); "steps" = as many optimizer steps as full data; "enough" = as many steps as full
    data took to learn nearly all that it would, and at least its epochs."""
    metrics: Mapping[str, float]
    """Mean of each metric over seeds, e.g. {"accuracy": 0.81, "macro_f1": 0.80}."""
    ci95: Mapping[str, tuple[float, float]]
    """Student-t 95% interval of each mean, cut at the metric's range; (nan, nan) with one seed."""
    vs_full: Difference | None
    """Metric minus full data's, paired by seed; `frontier.points` chooses the metric."""
    vs_random: Difference | None
    """The same metric minus that of the random subset of equal size (within 2%), paired by seed."""
    seconds: float
    """Mean training time of one fine-tuning."""
    seconds_saved: float
    """`steps_saved` times the average seconds per step over all fine-tunings, so that a busy machine does not change comparisons."""
    steps: int
    steps_saved: int
    tokens_saved: int | None = None
    """Tokens that a fine-tuning trains on less than one of full data; None where they were not recorded."""
    looks: int = 1
    """Number of times its difference to full data was evaluated: once per job that added seeds."""
    class_accuracy: Mapping[str, float] = field(default_factory=dict)
    """Class name -> accuracy on the evaluation examples of that class, mean over the seeds that recorded it."""
    class_accuracy_vs_full: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Class name -> the same with full data and with this subset, over the seeds that both have."""

    def plus_minus(self, metric: str) -> float:
        """Return the distance from the metric's mean to the farther end of its interval; nan with one seed."""
        return max(abs(end - self.metrics[metric]) for end in self.ci95[metric])


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A paired difference of a metric, in its units (0.01 = 1 pp of accuracy)."""

    mean: float
    low: float
    """Lower end of the 95% interval; nan with fewer than two pairs."""
    high: float
    pairs: int
    """Number of seeds that both sides have."""


class DecisionKind(StrEnum):
    """Kinds of decision about an example."""

    KEEP = "keep"
    DROP = "drop"
    RELABEL = "relabel"
    NOTE = "note"
    TAG = "tag"
    UNDO = "undo"


class JobState(StrEnum):
    """State of a job, derived from the folder's lock and events and never stored."""

    NEW = "new"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def under_way(self) -> bool:
        """True while a job runs or is queued."""
        return self in (JobState.RUNNING, JobState.QUEUED)
