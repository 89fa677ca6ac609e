"""View of one experiment: filters, search, columns and scores, vectorised and cached."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.analysis import audit, ranges, scores, slices
from pruning.analysis.audit import LabelErrors
from pruning.analysis.comparison import Comparison
from pruning.analysis.confusion import confusion
from pruning.analysis.duplicates import Duplicates
from pruning.analysis.frontier import subset_sha256
from pruning.analysis.groups import Groups
from pruning.analysis.stability import Stability
from pruning.data.examples import SOURCE_PREFIX
from pruning.reading import Reading
from pruning.records import FrontierPoint, Subset
from pruning.reports.answers import Rates, rates
from pruning.reports.comparison import compare
from pruning.reports.conditions import ALWAYS, DOUBTED, DUPLICATES, HARD, LABEL, LABELS_DOUBTED, MEANING, NEVER, Area, Filter
from pruning.subsets import decisions as by_hand
from pruning.subsets.decisions import DECIDED_BY_HAND, Decided, Decision

AT_ONCE = 20_000
"""Most examples for which duplicates and label errors are computed on demand; above, in a separate process."""


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Decisions = tuple[int, list[Decision], Decided, Decision | None]
"""File size of the list, decisions in force, their sum, and the undo that can be undone."""

Matches = tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_] | None]
"""Matching positions and the masks of the call, which are kept alive so that their ids remain unique."""


class View:
    """An experiment read with one burn-in. Results are cached as long as the object lives; threads may share it."""

    def __init__(self, experiment: Reading, burn_in: int, success: str | None = None) -> None:
        self.experiment = experiment.reading(burn_in, success=success)
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
        self._groups: dict[tuple[str, str, str, int, int], Groups] = {}
        self._others: dict[tuple[str, int], View] = {}
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
        return self.experiment.stability()

    @cached_property
    def score_names(self) -> list[str]:
        """Names of the scores available from this recording."""
        return scores.possible(self.experiment.dynamics, self.burn_in)

    def score(self, name: str) -> NDArray[np.float32]:
        """Return [N] that score."""
        if name not in self._scores:
            self._scores[name] = scores.compute(name, self.experiment.dynamics, self.burn_in).astype(np.float32)
            self.release()
        return self._scores[name]

    def axis(self, name: str) -> NDArray[np.float32]:
        """Return [N] a score, or one of the two dimensions of the map by meaning."""
        if name not in MEANING:
            return self.score(name)
        found = self.experiment.map
        return np.full(len(self.h), np.nan, dtype=np.float32) if found is None else found.places[:, MEANING.index(name)]

    @property
    def axes(self) -> list[str]:
        """Names of the axes that a map of this experiment can have."""
        return [*self.score_names, *(MEANING if self.experiment.map is not None else ())]

    def inside(self, area: Area) -> NDArray[np.bool_]:
        """Return [N] True for the examples in an area of a map."""
        return ranges.inside(self.axis(area.x), self.axis(area.y), area.corners)

    def release(self) -> None:
        """Release memory that only scores need; correctness, probabilities and predictions remain loaded."""
        release = getattr(self.experiment.dynamics, "release", None)
        if release is not None:
            release("gold_margin", "error_norm", "loss", "position")

    @cached_property
    def said(self) -> NDArray[np.int16]:
        """[N] majority prediction of the last epoch; the first class on a tie, -1 if predictions were not recorded."""
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
        """The label, if there are classes, and the source's columns."""
        return [*[LABEL] * bool(self.experiment.label_names), *source_columns(self.experiment)]

    def slices(self, column: str) -> tuple[str, pd.Series]:
        """Return the title of a column's slices and a categorical [N] (see `slices.slices`)."""
        labels = self.labels
        if column == LABEL and labels is not None:
            return LABEL, pd.Series(pd.Categorical.from_codes(labels, list(self.experiment.label_names)))
        if column not in self._slices:
            name = SOURCE_PREFIX + column
            self._slices[column] = slices.slices(column, self.experiment.examples([name])[name].to_pandas())
        return self._slices[column]

    def rows(self, positions: NDArray[np.int64]) -> pd.DataFrame:
        """Return the text fields of these examples."""
        table = self.experiment.texts.take(pa.array(positions))
        return pd.DataFrame({name: table[name].to_pylist() for name in table.column_names})

    def row(self, position: int) -> dict[str, object]:
        """Return all fields of one example; reads only its row group of the file."""
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
        """Sum of the decisions in force, read again only if the file has grown."""
        return self._read_decisions()[2]

    @property
    def standing(self) -> list[Decision]:
        """Decisions in force, oldest first."""
        return self._read_decisions()[1]

    @property
    def redoable(self) -> Decision | None:
        """The latest decision if it is an undo that can be undone, else None."""
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
        return _remembered(self._labels, size, 1, lambda: by_hand.relabelled(labels, ids, names, state.labels))

    # -- subsets ---------------------------------------------------------------------------------------------

    def rule(self, name: str) -> Subset:
        """Return the rows as the rule chooses them, without decisions. Raises what `rules.resolve` raises."""
        return _remembered(self._subsets, name, 16, lambda: self.experiment.rule(name))

    def subset(self, name: str) -> Subset:
        """Return the subset of that name with decisions applied, like `Reading.subset` but cached."""
        name, _ = by_hand.without_suffix(name)
        size, _, state, _ = self._read_decisions()
        read = self.experiment
        return _remembered(
            self._decided_subsets,
            (name, size),
            4,
            lambda: by_hand.apply(self.rule(name), state, read.ids, read.labels, read.label_names),
        )

    def kept(self, subset: Subset) -> NDArray[np.bool_]:
        """Return [N] True for examples the subset keeps."""
        return _remembered(self._masks, id(subset), 4, lambda: (subset, subset.mask(self.experiment.ids)))[1]

    def frontier(self, budget: str, metric: str | None = None) -> list[FrontierPoint]:
        """Return every measured subset with differences in `metric`; computed again only if files have changed."""
        folder = self.experiment.folder
        measured, decided = (path.stat().st_mtime_ns if path.exists() else 0 for path in (folder.frontier, folder.decisions))
        asked = (budget, metric, measured, decided)
        return _remembered(self._frontier, asked, 3, lambda: self.experiment.frontier(budget, metric))

    def measured_with(self, fingerprint: str) -> View:
        """Return a view of the same subsets as another model measured them; "" is this view."""
        if not fingerprint:
            return self
        stamp = self.experiment.folder.manifest.stat().st_mtime_ns
        return _remembered(
            self._others,
            (fingerprint, stamp),
            2,
            lambda: View(self.experiment.with_model(fingerprint), self.burn_in, self.experiment.asked_success),
        )

    def groups(self, subset: Subset, budget: str) -> Groups:
        """Return the accuracy of every class and slice under a subset; computed again only if files have changed."""
        folder = self.experiment.folder
        measured, decided = (path.stat().st_mtime_ns if path.exists() else 0 for path in (folder.frontier, folder.decisions))
        asked = (subset.name, subset_sha256(subset), budget, measured, decided)
        return _remembered(self._groups, asked, 4, lambda: self.experiment.groups(subset, budget))

    def compared(self, name: str) -> Comparison:
        """Compare with the experiment of that name in the same folder. Raises what `reports.comparison.compare` raises."""
        other = Reading(self.experiment.folder.root.parent / name)
        key = (name, other.folder.manifest.stat().st_mtime_ns, len(other.finished_runs()))
        return _remembered(self._compared, key, 2, lambda: compare(self.experiment, other))

    # -- what matches ----------------------------------------------------------------------------------------

    @property
    def audited(self) -> bool:
        """True if label errors and duplicates are available without a long computation."""
        self._audited = self._audited or at_hand(self.experiment)
        return self._audited

    @property
    def duplicates(self) -> Duplicates:
        """Groups of identical or nearly identical texts."""
        return self.experiment.duplicates

    @property
    def label_errors(self) -> LabelErrors | None:
        """Labels that look wrong; None if the recording lacks what it takes."""
        return self.experiment.label_errors

    @cached_property
    def hard(self) -> NDArray[np.object_]:
        """[N] the `Hard` kind of each example with H = 0, else None; all None if the recording lacks what it takes."""
        if self.label_errors is None:
            return np.full(len(self.h), None, dtype=object)
        return audit.hard_kinds(self.experiment.dynamics, self.label_errors, self.experiment.rarity, self.burn_in)

    @cached_property
    def rates(self) -> Rates:
        """Right answers of all answers, with the distribution fitted to them."""
        return rates(self.experiment)

    def matching(self, wanted: Filter, kept: NDArray[np.bool_], other: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Return the positions of matching examples, sorted. `kept` and `other` [N] are the masks of this and the other subset.

        The latest results are cached by the identity of the masks that `kept` returned.
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
        if wanted.area is not None:
            found &= self.inside(wanted.area)
        return self._sorted(np.flatnonzero(found), wanted)

    def _only(self, what: str) -> NDArray[np.bool_]:
        """Return [N] True for the examples of one choice of ONLY."""
        if what == DECIDED_BY_HAND:
            return np.isin(self.experiment.ids, np.fromiter(self.decided.touched, dtype=np.int64))
        if what == DUPLICATES:
            return self.duplicates.group[: len(self.h)] >= 0
        if what in (NEVER, ALWAYS, DOUBTED):
            return {NEVER: self.rates.never, ALWAYS: self.rates.always, DOUBTED: self.rates.doubted}[what]
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
        """Return [N] True for rows with every word in their texts; the latest results are cached."""

        def search() -> NDArray[np.bool_]:
            found = np.ones(len(self.h), dtype=bool)
            for phrase, word in re.findall(r'"([^"]+)"|(\S+)', text):
                found &= contains(self.experiment.texts, phrase or word)
            return found

        return _remembered(self._found, text, 16, search)


def _remembered(kept: dict[K, V], key: K, most: int, work_out: Callable[[], V]) -> V:
    """Return the cached value of `key`, or compute and cache it; the oldest beyond `most` are removed. Safe with threads."""
    found = kept.get(key)
    if found is None:
        found = work_out()
        for oldest in list(kept)[: max(0, len(kept) - most + 1)]:
            kept.pop(oldest, None)
        kept[key] = found
    return found


def at_hand(experiment: Reading) -> bool:
    """Return True where label errors, duplicates and groups of one meaning take no long computation: few examples, or cached results."""
    return len(experiment.ids) <= AT_ONCE or experiment.audited


def source_columns(experiment: Reading) -> list[str]:
    """Return the names of the source's columns, without the prefix."""
    return [name.removeprefix(SOURCE_PREFIX) for name in experiment.schema.names if name.startswith(SOURCE_PREFIX)]


def contains(table: pa.Table, text: str) -> NDArray[np.bool_]:
    """Return [N] True for rows in which any column contains the text, ignoring case."""
    found = np.zeros(table.num_rows, dtype=bool)
    for column in table.columns:
        found |= np.asarray(pc.fill_null(pc.match_substring(column, text, ignore_case=True), False).combine_chunks())
    return found
