"""One experiment as a page looks at it: filters, search, columns and scores, vectorised and kept. Torch-free, face-free."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.analysis import audit, scores
from pruning.analysis.audit import Hard, LabelErrors
from pruning.analysis.comparison import Comparison
from pruning.analysis.confusion import confusion
from pruning.analysis.duplicates import Duplicates
from pruning.analysis.stability import Stability, stability
from pruning.data.examples import SOURCE_PREFIX
from pruning.reading import Reading
from pruning.records import FrontierPoint, Subset
from pruning.reports.comparison import compare
from pruning.subsets import decisions as by_hand
from pruning.subsets.decisions import DECIDED_BY_HAND, Decided, Decision

SUSPECTS, DUPLICATES = "suspected label errors", "duplicates"
HARD = {f"H = 0: {kind}": kind for kind in Hard}
"""What a filter calls the kinds of examples that no run got right throughout."""

ONLY = (SUSPECTS, *HARD, DUPLICATES, DECIDED_BY_HAND)
"""What a filter can be narrowed to."""

LABELS_DOUBTED = (SUSPECTS, *(name for name, kind in HARD.items() if kind is Hard.MISLABELLED))
"""Of these, the ones whose examples all have a label that looks wrong; in source order they come worst first."""

SOURCE_ORDER = "source order"
LABEL = "label"
"""The task's own label, whatever its column is called."""

AT_ONCE = 20_000
"""Up to so many examples duplicates and label errors are worked out when asked for; beyond, in a process of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a person wants to see. Everything left at its default lets all examples through."""

    show: str = "all"
    """kept, pruned, all, or a comparison with the other subset: "only here", "only there"."""
    text: str = ""
    """Words that must all occur, letter case ignored; "a phrase" in quotes occurs as it is."""
    levels: tuple[int, ...] = ()
    """H-values wanted."""
    labels: tuple[str, ...] = ()
    predicted: tuple[str, ...] = ()
    """What the model said most often in its last epoch."""
    answered: tuple[str, ...] = ()
    """Predictions of which at least one run ended with one."""
    column: str = ""
    values: tuple[str, ...] = ()
    """Slices of `column` (see `audit.slices`)."""
    only: str | None = None
    """One of ONLY."""
    beside: str = ""
    beside_levels: tuple[int, ...] = ()
    """H-values wanted in the experiment of the name `beside`, in the same folder."""
    score: str = ""
    between: tuple[float, float] | None = None
    """Range of `score`, ends included."""
    sort: str = SOURCE_ORDER
    """A score's name."""
    descending: bool = False


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Decisions = tuple[int, list[Decision], Decided, Decision | None]
"""The size of the list, what stands of it, what that adds up to, and the undo that can be undone: of one reading."""

Matches = tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_] | None]
"""What matched, and the masks it was asked with, held so that theirs stay their identities."""


class View:
    """An experiment read with one burn-in. What was worked out once is kept for as long as the object lives; threads may share it."""

    def __init__(self, experiment: Reading, burn_in: int) -> None:
        self.experiment = experiment.reading(burn_in)
        self.burn_in = burn_in
        self._scores: dict[str, NDArray[np.float32]] = {}
        self._slices: dict[str, tuple[str, pd.Series]] = {}
        self._subsets: dict[str, Subset] = {}
        self._decided_subsets: dict[tuple[str, int], Subset] = {}
        self._found: dict[str, NDArray[np.bool_]] = {}
        self._masks: dict[int, tuple[Subset, NDArray[np.bool_]]] = {}
        self._labels: dict[int, NDArray[np.int64]] = {}
        self._confusions: dict[int, pd.DataFrame | None] = {}
        self._compared: dict[tuple[str, int, int], Comparison] = {}
        self._matches: dict[tuple[Filter, int, int, int], Matches] = {}
        self._frontier: dict[tuple[str, str | None, int, int], list[FrontierPoint]] = {}
        self._audited = False
        self._decisions: Decisions = (-1, [], Decided(), None)

    # -- by example ------------------------------------------------------------------------------------------

    @cached_property
    def h(self) -> NDArray[np.int64]:
        """[N] H-scores."""
        return self.experiment.h_score()

    @cached_property
    def stability(self) -> Stability:
        """How far H rests on these very runs."""
        return stability(self.experiment.dynamics.correct, self.burn_in)

    @cached_property
    def score_names(self) -> list[str]:
        """Scores that this recording can give."""
        dynamics, lacking = self.experiment.dynamics, scores.missing(self.experiment.dynamics)
        counted = dynamics.epochs - self.burn_in
        return [name for name, score in scores.SCORES.items() if counted >= score.epochs and score.needs not in lacking]

    def score(self, name: str) -> NDArray[np.float32]:
        """[N] that score."""
        if name not in self._scores:
            self._scores[name] = scores.compute(name, self.experiment.dynamics, self.burn_in).astype(np.float32)
            self.release()
        return self._scores[name]

    def release(self) -> None:
        """Give back what is only needed to work out scores; correctness, probabilities and predictions stay at hand."""
        release = getattr(self.experiment.dynamics, "release", None)
        if release is not None:
            release("gold_margin", "error_norm", "loss", "position")

    @cached_property
    def said(self) -> NDArray[np.int16]:
        """[N] the class each example got most often in the last epoch; the first of equals. -1 where it was not recorded."""
        last = self.experiment.dynamics.predicted[:, -1]
        classes = len(self.experiment.label_names)
        votes = np.stack([(last == label).sum(axis=0, dtype=np.int16) for label in range(classes)])
        return np.where(votes.max(axis=0) > 0, votes.argmax(axis=0), -1).astype(np.int16)

    @property
    def confusion(self) -> pd.DataFrame | None:
        """Examples of each label (row) by prediction in the last epoch (column), mean over runs; None without classes or predictions."""
        size = self._read_decisions()[0]
        if size not in self._confusions:
            self._confusions = {size: self._confused()}
        return self._confusions[size]

    def _confused(self) -> pd.DataFrame | None:
        labels, names = self.labels, list(self.experiment.label_names)
        if labels is None:
            return None
        last = self.experiment.dynamics.predicted[:, -1]
        if not (last >= 0).any():
            return None
        return pd.DataFrame(confusion(last, labels, len(names)), index=pd.Index(names, name="label"), columns=names)

    @cached_property
    def columns(self) -> list[str]:
        """The label, where there are classes, and the source's own columns."""
        return [*[LABEL] * bool(self.experiment.label_names), *source_columns(self.experiment)]

    def slices(self, column: str) -> tuple[str, pd.Series]:
        """What a column's comparable slices are called, and a categorical [N] (see `audit.slices`)."""
        labels = self.labels
        if column == LABEL and labels is not None:
            return LABEL, pd.Series(pd.Categorical.from_codes(labels, list(self.experiment.label_names)))
        if column not in self._slices:
            name = SOURCE_PREFIX + column
            self._slices[column] = audit.slices(column, self.experiment.examples([name])[name].to_pandas())
        return self._slices[column]

    def rows(self, positions: NDArray[np.int64]) -> pd.DataFrame:
        """The text fields of these examples."""
        table = self.experiment.texts.take(pa.array(positions))
        return pd.DataFrame({name: table[name].to_pylist() for name in table.column_names})

    def row(self, position: int) -> dict[str, object]:
        """Everything there is of one example, read from its part of the file alone."""
        with pq.ParquetFile(self.experiment.folder.examples) as file:
            start = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if position < start + rows:
                    names = [name for name in file.schema_arrow.names if not name.startswith(SOURCE_PREFIX)]
                    return dict(file.read_row_group(group, columns=names).slice(position - start, 1).to_pylist()[0])
                start += rows
        raise IndexError(position)

    # -- by hand ---------------------------------------------------------------------------------------------

    @property
    def decided(self) -> Decided:
        """What the standing decisions add up to, read anew only when there are more."""
        return self._read_decisions()[2]

    @property
    def standing(self) -> list[Decision]:
        """The decisions that were not undone, oldest first."""
        return self._read_decisions()[1]

    @property
    def redoable(self) -> Decision | None:
        """The undo that can be undone, where the latest act is one."""
        return self._read_decisions()[3]

    def _read_decisions(self) -> Decisions:
        path = self.experiment.folder.decisions
        size = path.stat().st_size if path.exists() else 0
        read = self._decisions
        if size != read[0]:
            every = self.experiment.decisions()
            read = self._decisions = size, by_hand.standing(every), by_hand.decided(every), by_hand.redoable(every)
        return read

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """[N] class indices with the labels changed by hand, or None where the task has no classes."""
        labels, (size, _, state, _) = self.experiment.labels, self._read_decisions()
        if labels is None:
            return None
        ids, names = self.experiment.ids, self.experiment.label_names
        return _remembered(self._labels, size, 1, lambda: by_hand.relabelled(labels, ids, names, state))

    # -- subsets ---------------------------------------------------------------------------------------------

    def rule(self, name: str) -> Subset:
        """The rows as the rule of that name chooses them, no decision applied. Raises what `rules.resolve` raises."""
        return _remembered(self._subsets, name, 16, lambda: self.experiment.rule(name))

    def subset(self, name: str) -> Subset:
        """The subset of that name, the decisions made by hand applied; as `Reading.subset`, from what is at hand."""
        name, _ = by_hand.without_suffix(name)
        size, _, state, _ = self._read_decisions()
        ids = self.experiment.ids
        return _remembered(self._decided_subsets, (name, size), 4, lambda: by_hand.apply(self.rule(name), state, ids))

    def kept(self, subset: Subset) -> NDArray[np.bool_]:
        """[N] whether each example stays."""
        return _remembered(self._masks, id(subset), 4, lambda: (subset, subset.mask(self.experiment.ids)))[1]

    def frontier(self, budget: str, metric: str | None = None) -> list[FrontierPoint]:
        """Every measured subset, its differences in `metric`; worked out anew only when there is more to read."""
        folder = self.experiment.folder
        measured, decided = (path.stat().st_mtime_ns if path.exists() else 0 for path in (folder.frontier, folder.decisions))
        asked = (budget, metric, measured, decided)
        return _remembered(self._frontier, asked, 3, lambda: self.experiment.frontier(budget, metric))

    def compared(self, name: str) -> Comparison:
        """Compare with the experiment of that name in the same folder. Raises what `reports.comparison.compare` raises."""
        other = Reading(self.experiment.folder.root.parent / name)
        key = (name, other.folder.manifest.stat().st_mtime_ns, len(other.finished_runs()))
        return _remembered(self._compared, key, 2, lambda: compare(self.experiment, other))

    # -- what matches ----------------------------------------------------------------------------------------

    @property
    def audited(self) -> bool:
        """Whether label errors and duplicates can be asked for without a wait."""
        self._audited = self._audited or len(self.h) <= AT_ONCE or self.experiment.audited
        return self._audited

    @property
    def duplicates(self) -> Duplicates:
        """Groups of the same or nearly the same text."""
        return self.experiment.duplicates

    @property
    def label_errors(self) -> LabelErrors | None:
        """Labels that look wrong; None where the recording cannot tell."""
        return self.experiment.label_errors

    @cached_property
    def hard(self) -> NDArray[np.object_]:
        """[N] the `Hard` kind of each example with H = 0, else None; None throughout where the recording cannot tell."""
        if self.label_errors is None:
            return np.full(len(self.h), None, dtype=object)
        return audit.hard_kinds(self.experiment.dynamics, self.label_errors, self.experiment.rarity, self.burn_in)

    def matching(self, wanted: Filter, kept: NDArray[np.bool_], other: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Positions of the examples that match, sorted as wanted. `kept` and `other` [N]: what this and the other subset keep.

        The latest answers are kept, for masks that `kept` gave.
        """
        key = (wanted, id(kept), id(other), self._read_decisions()[0])
        return _remembered(self._matches, key, 4, lambda: (self._matching(wanted, kept, other), kept, other))[0]

    def _matching(self, wanted: Filter, kept: NDArray[np.bool_], other: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        there = kept if other is None else other
        sides = {"kept": kept, "pruned": ~kept, "only here": kept & ~there, "only there": there & ~kept}
        found = sides.get(wanted.show, np.ones(len(kept), dtype=bool)).copy()
        if wanted.levels:
            found &= np.isin(self.h, wanted.levels)
        if wanted.text.strip():
            found &= self._containing(wanted.text)
        labels = list(self.experiment.label_names)
        if wanted.labels and self.labels is not None:
            found &= np.isin(self.labels, [labels.index(name) for name in wanted.labels if name in labels])
        if wanted.predicted and labels:
            found &= np.isin(self.said, [labels.index(name) for name in wanted.predicted if name in labels])
        if wanted.answered and labels:
            last = self.experiment.dynamics.predicted[:, -1]
            found &= np.isin(last, [labels.index(name) for name in wanted.answered if name in labels]).any(axis=0)
        if wanted.column and wanted.values:
            found &= self.slices(wanted.column)[1].isin(list(wanted.values)).to_numpy()
        if wanted.only:
            found &= self._only(wanted.only)
        if wanted.beside and wanted.beside_levels:
            found &= np.isin(self.compared(wanted.beside).h_in_second, wanted.beside_levels)
        if wanted.score and wanted.between is not None:
            values = self.score(wanted.score)
            found &= (values >= np.float32(wanted.between[0])) & (values <= np.float32(wanted.between[1]))
        return self._sorted(np.flatnonzero(found), wanted)

    def _only(self, what: str) -> NDArray[np.bool_]:
        """[N] examples that look wrong, repeat or were decided by hand."""
        if what == DECIDED_BY_HAND:
            return np.isin(self.experiment.ids, np.fromiter(self.decided.touched, dtype=np.int64))
        if what == DUPLICATES:
            return self.duplicates.group[: len(self.h)] >= 0
        if what in HARD:
            return np.asarray(self.hard == HARD[what], dtype=bool)
        return np.zeros(len(self.h), dtype=bool) if self.label_errors is None else self.label_errors.suspect

    def _sorted(self, found: NDArray[np.int64], wanted: Filter) -> NDArray[np.int64]:
        if wanted.sort not in scores.SCORES:
            if wanted.only in LABELS_DOUBTED and self.label_errors is not None:
                found = found[np.argsort(self.label_errors.quality[found], kind="stable")]
            return found[::-1] if wanted.descending else found
        values = self.score(wanted.sort)[found]
        return found[np.argsort(-values if wanted.descending else values, kind="stable")]

    def _containing(self, text: str) -> NDArray[np.bool_]:
        """[N] rows in whose texts every word occurs; the latest answers are kept."""

        def search() -> NDArray[np.bool_]:
            found = np.ones(len(self.h), dtype=bool)
            for phrase, word in re.findall(r'"([^"]+)"|(\S+)', text):
                found &= contains(self.experiment.texts, phrase or word)
            return found

        return _remembered(self._found, text, 16, search)


def _remembered(kept: dict[K, V], key: K, most: int, work_out: Callable[[], V]) -> V:
    """What is kept under `key`, else worked out and kept in place of the oldest beyond `most`. Other threads may do the same."""
    found = kept.get(key)
    if found is None:
        found = work_out()
        for oldest in list(kept)[: max(0, len(kept) - most + 1)]:
            kept.pop(oldest, None)
        kept[key] = found
    return found


def source_columns(experiment: Reading) -> list[str]:
    """Names of the source's own columns, without the prefix."""
    return [name.removeprefix(SOURCE_PREFIX) for name in experiment.schema.names if name.startswith(SOURCE_PREFIX)]


def contains(table: pa.Table, text: str) -> NDArray[np.bool_]:
    """[N] rows in which any column contains the text, letter case ignored."""
    found = np.zeros(table.num_rows, dtype=bool)
    for column in table.columns:
        found |= np.asarray(pc.fill_null(pc.match_substring(column, text, ignore_case=True), False).combine_chunks())
    return found


def inside(x: NDArray[np.float32], y: NDArray[np.float32], box: tuple[float, float, float, float]) -> NDArray[np.int64]:
    """Positions of the points in a box (x from, x to, y from, y to), ends included.

    >>> inside(np.array([0.1, 0.4]), np.array([0.5, 0.5]), (0.0, 0.2, 0.0, 1.0))
    array([0])
    """
    x0, x1, y0, y1 = (np.float32(end) for end in box)
    return np.flatnonzero((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))
