"""The interface of an experiment that an export uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pruning.analysis.duplicates import Duplicates
from pruning.analysis.groups import Groups
from pruning.analysis.learned import Learned
from pruning.records import Dynamics, Subset
from pruning.settings import Settings
from pruning.store.layout import Folder
from pruning.subsets.decisions import Decided
from pruning.success import Success


class Exportable(Protocol):
    """An experiment as an export uses it: its rows, its recording and its metadata. `pruning.experiment` implements it."""

    folder: Folder
    info: dict[str, Any]
    burn_in: int
    with_decisions: bool

    @property
    def success(self) -> Success | None:
        """The rule by which generated answers are right; None for other kinds."""

    @property
    def name(self) -> str:
        """The experiment's name."""

    @property
    def settings(self) -> Settings:
        """Settings of the recording."""

    @property
    def stopped(self) -> str:
        """Why scoring ended early; empty when all runs are complete."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """[N] ids of all examples, in source order."""

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """[N] class indices, or None where the task has no classes."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, by index."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the examples' columns."""

    @property
    def dynamics(self) -> Dynamics:
        """The recording of all complete runs."""

    @property
    def applied(self) -> Decided:
        """The decisions made by hand that count: all that are in force, or none."""

    @property
    def learned(self) -> Learned:
        """Verdict on whether the model learned."""

    @property
    def duplicates(self) -> Duplicates:
        """Groups of near-duplicates over the training and then the evaluation examples."""

    def examples(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the examples in source order, or some of their columns."""

    def finished(self) -> pd.DataFrame:
        """Return one row per finished fine-tuning."""

    def groups(self, subset: Subset) -> Groups:
        """Return the accuracy of every class and slice under a subset, compared with full data."""

    def warnings(self) -> list[str]:
        """Return sentences about runs that diverged."""
