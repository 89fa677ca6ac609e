"""A finished fine-tuning of a subset: the columns of frontier.parquet. Needs no other package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

CLASS_ACCURACY = "class_accuracy."
"""Before a class's name: the column of frontier.parquet with the accuracy on that class."""


RIGHT = "right"
"""The column of frontier.parquet that is read only where it is needed: it has a value for each evaluation example."""

MODEL = "model"
"""The column of frontier.parquet with the fingerprint of the model that was fine-tuned; null or "" = the experiment's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuning:
    """One finished fine-tuning of a subset. The fields are the columns of frontier.parquet in order, with one column per metric."""

    subset: str
    """As `Subset.name`."""
    method: str
    """As `Subset.method`."""
    rule: str
    """As `Subset.rule`."""
    kept: int
    """Examples trained on."""
    kept_fraction: float
    """Their share of all examples, 0..1."""
    rows_sha256: str
    """Hash of the ids trained on, and of labels changed by hand; see `frontier.rows_sha256`."""
    budget: str
    """As `FrontierPoint.budget`."""
    burn_in: int
    """First epochs of the recording that the subset's scores left out."""
    seed: int
    epochs: int
    """Passes over those examples."""
    seconds: float
    """Wall clock of training, evaluation not counted."""
    steps: int
    """Optimizer steps."""
    finished: float
    """End time in seconds since 1970."""
    metrics: Mapping[str, float]
    """Metrics on the evaluation data, e.g. {"accuracy": 0.81, "macro_f1": 0.80}, the main one first."""
    micro_batch: int = 0
    """As `EpochRecord.micro_batch`, of the whole run."""
    tokens: int = 0
    """Tokens trained on, over all epochs, padding not counted; 0 where they were not recorded."""
    stuck: bool = False
    """True if nearly every evaluation example gets the same prediction, so that nothing was learned."""
    class_accuracy: Mapping[str, float] = field(default_factory=dict)
    """Class name -> share of its evaluation examples that were predicted right; empty where the task has no classes."""
    compute_seconds: float = 0.0
    """As `RunResult.compute_seconds`; 0 where it was not recorded."""
    evaluation_seconds: float = 0.0
    """As `RunResult.evaluation_seconds`; 0 where it was not recorded."""
    model: str = ""
    """sha256 of the model's files (`data.models.fingerprint`); empty = the experiment's own."""
    right: Sequence[bool] | None = None
    """True for each evaluation example that was predicted right, in the order of evaluation.parquet; None where it was not recorded."""

    @property
    def row(self) -> dict[str, Any]:
        """Its row of frontier.parquet: a value for each field, in the place of `metrics` one for each metric, and one for each class.

        Without `right` where that is None.
        """
        values: dict[str, Any] = {}
        for column in fields(self):
            value = getattr(self, column.name)
            values |= {
                "metrics": value,
                "class_accuracy": {f"{CLASS_ACCURACY}{name}": share for name, share in self.class_accuracy.items()},
                RIGHT: {} if value is None else {RIGHT: value},
            }.get(column.name, {column.name: value})
        return values
