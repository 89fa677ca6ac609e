"""Examples: the form in which every source is used after it is read."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pruning.data import readers
from pruning.data.readers import Origin, Source
from pruning.data.tasks import Fields, detect
from pruning.errors import DataError, UsageError
from pruning.formatting import counted
from pruning.settings import SAMPLE, Settings
from pruning.subsets.selection import stratified

logger = logging.getLogger(__name__)
SOURCE_PREFIX = "source."
"""Prefix of source columns in `Examples.table`."""

ID_NAMES = ("id", "guid", "idx")
"""Names of integer columns that are used as ids."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Examples:
    """Labelled examples of one task, in source order."""

    table: pa.Table
    """id int64, row int64 (0-based row in the source), label, the task's fields, every source column as "source.<name>"."""
    task: str
    """A name in `pruning.data.tasks.TASKS`."""
    columns: Mapping[str, str]
    """Field -> source column."""
    label_names: tuple[str, ...]
    """Names of the classes, by index; empty where the task has none."""
    source: str
    """As given."""
    reading: str = ""
    """How the labels are written, as the task detected it; empty where there is one way only."""
    origin: Origin | None = None
    """The files it was read from; where `origin.lines`, its rows can be written as JSON lines, and `row` counts those."""
    dropped: int = 0
    """Number of source rows left out; `notes` gives the reasons."""
    notes: tuple[str, ...] = ()
    """Columns detected, rows dropped or split off, in sentences."""

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """[N] ids."""
        return np.asarray(self.table["id"].combine_chunks(), dtype=np.int64)

    @cached_property
    def labels(self) -> NDArray[Any]:
        """[N] class (or option) indices; for a task without them, its answers as Python objects."""
        label = self.table["label"]
        return np.asarray(label.combine_chunks() if len(self) else label, dtype=np.int64 if pa.types.is_integer(label.type) else object)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of ids, fields and label names, independent of the file's format."""
        digest = hashlib.sha256()
        names = [name for name in self.table.column_names if name != "row" and not name.startswith(SOURCE_PREFIX)]
        for batch in self.table.select(names).to_batches(max_chunksize=4096):
            columns = {name: batch[name].to_pylist() for name in names}
            if self.label_names:
                columns["label"] = [self.label_names[index] for index in columns["label"]]
            for row in zip(*columns.values(), strict=True):
                digest.update(json.dumps(row).encode() + b"\n")
        return digest.hexdigest()

    def select(self, positions: NDArray[np.integer] | NDArray[np.bool_]) -> Examples:
        """Return the examples at these positions, in that order, or where a mask is True."""
        chosen = np.asarray(positions)
        indices = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        return replace(self, table=self.table.take(pa.array(indices, pa.int64())))

    def label_counts(self) -> dict[str, int]:
        """Return class name -> number of examples, in the order of the classes."""
        if not self.label_names:
            return {}
        counts = np.bincount(self.labels, minlength=len(self.label_names))
        return {name: int(count) for name, count in zip(self.label_names, counts, strict=True)}


def load(
    data: str | Path,
    *,
    task: str = "auto",
    columns: Mapping[str, str] | None = None,
    drop_invalid: bool = False,
    label_names: Sequence[str] | None = None,
    reading: str = "",
    split: str | None = None,
    id_column: str | None = None,
    missing_label: str | None = None,
    header: bool | None = None,
) -> Examples:
    """Read labelled examples.

    `data` is what `readers.read` takes (a file, several, a folder, a hub name), or "sample". `task` and `columns` (field -> column)
    are detected where they are not given. `label_names` fixes the classes and their order, `reading` how labels are written (the
    `Examples.reading` of the training data), `missing_label` is the value that means "no label". Ids come from `id_column`, else from
    an integer column named id, guid or idx with one number per row, else they are row numbers from 0.

    Raises DataError, in one sentence with the line or row, for data that cannot be read; rows without text or label are refused
    unless `drop_invalid`. Rows marked as having no label are always dropped and counted.
    """
    source = read_source(data, split, header)
    chosen, guess = detect(source, task, columns)
    fields = chosen.read(source, guess.columns, label_names, reading, missing_label)
    keep, dropped_notes = rows_kept(source, fields, drop_invalid)
    ids, id_note = ids_of(source, id_column, keep)
    examples = Examples(
        table=_table(source, fields, ids).filter(pa.array(keep)),
        task=chosen.name,
        columns=dict(guess.columns),
        label_names=fields.label_names,
        source=str(data),
        reading=fields.reading,
        origin=source.origin,
        dropped=int((~keep).sum()),
        notes=(f"Task {chosen.name}: {guess.reason}.", id_note, *source.notes, *dropped_notes),
    )
    if not len(examples):
        raise DataError(f"{source.name} has no row with both text and label.")
    logger.info("read %d examples of task %s from %s", len(examples), examples.task, source.name)
    return examples


def load_training(settings: Settings) -> Examples:
    """Return the training data of these settings, before evaluation data is split off. Raises what `load` raises."""
    return load(
        settings.data,
        task=settings.task,
        columns=settings.columns,
        drop_invalid=settings.drop_invalid,
        id_column=settings.id_column,
        missing_label=settings.missing_label,
        header=settings.header,
    )


def load_pair(settings: Settings) -> tuple[Examples, Examples]:
    """Return training and evaluation examples.

    Without evaluation data, the validation split of the same source is used, else a part is split off.

    Raises DataError when training has fewer than two classes, or evaluation has a label that training lacks.
    """
    train = load_training(settings)
    _check_classes(train)
    used = limited(train, settings.limit)
    evaluation_data = settings.evaluation or _validation_of(settings.data)
    if evaluation_data is None:
        rest, held_out = split_off(train, settings.evaluation_fraction, settings.evaluation_seed)
        used = limited(rest, settings.limit)
        _check_seen(used, held_out)
        return used, held_out
    evaluation = load(
        evaluation_data,
        task=train.task,
        columns=train.columns,
        drop_invalid=settings.drop_invalid,
        label_names=train.label_names or None,
        reading=train.reading,
        missing_label=settings.missing_label,
        header=settings.header,
    )
    _check_seen(used, evaluation)
    if settings.evaluation is None:
        evaluation = replace(evaluation, notes=(*evaluation.notes, f"Evaluated on {evaluation_data}, which comes with the training data."))
    return used, evaluation


def limited(examples: Examples, limit: int | None) -> Examples:
    """Return `limit` examples (None = all), drawn at random with a fixed seed: one of each class, then in proportion to the classes.

    Raises DataError when there are more classes than `limit`.
    """
    if limit is None or limit >= len(examples):
        return examples
    strata = examples.labels if examples.label_names else np.zeros(len(examples), dtype=np.int64)
    random = np.random.default_rng(0)
    mixed = random.permutation(len(examples))
    one_each = mixed[np.unique(strata[mixed], return_index=True)[1]]
    if limit < len(one_each):
        raise DataError(f"{examples.source} has {len(one_each)} classes, more than --limit {limit} can hold; use {len(one_each)} or more.")
    others = np.setdiff1d(mixed, one_each)
    drawn = others[stratified(strata[others], limit - len(one_each), random)]
    chosen = examples.select(np.sort(np.concatenate([one_each, drawn])))
    return replace(chosen, notes=(*chosen.notes, f"{len(chosen):,} of {len(examples):,} examples are used, drawn at random (--limit)."))


def split_off(examples: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Return training and evaluation examples: a random `fraction` (0..1) of each class is split off, all but one at most.

    The same seed gives the same split. Raises DataError when a side would be empty.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"The fraction to split off is {fraction}; it must lie between 0 and 1.")
    strata = examples.labels if examples.label_names else np.zeros(len(examples), dtype=np.int64)
    held_out = _part_of_each(strata, fraction, seed)
    if not held_out.any():
        raise DataError(f"{examples.source} has {len(examples)} examples, too few to split {fraction:.0%} off; give evaluation data.")
    by_label = ", stratified by label" if examples.label_names else ""
    note = f"{int(held_out.sum()):,} of {len(examples):,} examples were split off for evaluation at random{by_label} (seed {seed})."
    noted = replace(examples, notes=(*examples.notes, note))
    return noted.select(~held_out), noted.select(held_out)


def _part_of_each(strata: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return a mask [N] of a random `fraction` of each stratum, rounded to the nearest whole number, never all of one.

    >>> int(_part_of_each(np.array([0] * 10 + [1] * 20), 0.2, seed=0).sum())
    6
    """
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(strata), dtype=np.bool_)
    for stratum in np.unique(strata):
        members = random.permutation(np.flatnonzero(strata == stratum))
        chosen[members[: min(round(len(members) * fraction), len(members) - 1)]] = True
    return chosen


def read_source(data: str | Path, split: str | None, header: bool | None) -> Source:
    """Read a source by name, the sample included. Raises DataError."""
    if str(data) == SAMPLE:
        from pruning.data.sample import sample_data

        return readers.read(sample_data(), split)
    return readers.read(data, split, header)


def rows_kept(source: Source, fields: Fields, drop_invalid: bool) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Return a mask [rows] of the rows that become examples, and why the others do not, in sentences.

    Raises DataError for invalid rows unless `drop_invalid`.
    """
    keep = np.ones(source.table.num_rows, dtype=np.bool_)
    notes = list(fields.notes)
    if fields.unlabelled is not None and fields.unlabelled.any():
        keep &= ~fields.unlabelled
        notes.append(f"{counted(int(fields.unlabelled.sum()), 'row')} dropped as having no label ({fields.mark}).")
    invalid = np.zeros_like(keep)
    for problem in fields.problems:
        rows = problem.rows & keep & ~invalid
        if not rows.any():
            continue
        first, count = int(np.flatnonzero(rows)[0]), int(rows.sum())
        if not drop_invalid:
            more = f" ({count:,} rows like it)" if count > 1 else ""
            words = problem.found.get(first, problem.what)
            raise DataError(f"{source.place(first)} {words}{more}; fix the row, or skip invalid rows (--drop-invalid).")
        words = problem.found.get(first, problem.what)
        notes.append(f"{counted(count, 'row')} dropped: {source.place(first)} {words}{', others likewise' if count > 1 else ''}.")
        invalid |= rows
    return keep & ~invalid, tuple(notes)


def ids_of(source: Source, id_column: str | None, keep: NDArray[np.bool_]) -> tuple[NDArray[np.int64], str]:
    """Return ids [rows] and their origin in a sentence. Raises DataError where `id_column` does not give each kept row its own."""
    numbers = np.arange(source.table.num_rows, dtype=np.int64)
    column = id_column or _id_column(source)
    if column is None:
        return numbers, "Ids are row numbers from 0."
    problem, ids = _numbered(source, column, keep)
    if ids is not None:
        return ids, f"Ids come from column {column!r}."
    if id_column is not None:
        raise DataError(problem)
    return numbers, f"Ids are row numbers from 0: {problem.rstrip('.')} (--id COLUMN names another)."


def _numbered(source: Source, column: str, keep: NDArray[np.bool_]) -> tuple[str, NDArray[np.int64] | None]:
    """Return why the column cannot be the ids and None, or an empty text and the ids [rows]."""
    if column not in source.table.column_names:
        return f"{source.name} has no column {column!r} for ids; its columns are {', '.join(source.table.column_names[:20])}.", None
    values = source.table[column]
    if not pa.types.is_integer(values.type) or values.null_count:
        found = "nulls" if values.null_count else values.type
        return f"Column {column!r} of {source.name} holds {found}; ids must be whole numbers below 2^63, one a row.", None
    if pc.max(values).as_py() > np.iinfo(np.int64).max:
        return f"Column {column!r} of {source.name} holds ids beyond 2^63 - 1; choose another column of ids.", None
    ids = np.asarray(values.combine_chunks().cast(pa.int64()), dtype=np.int64)
    rows = np.flatnonzero(keep)
    order = rows[np.argsort(ids[rows], kind="stable")]
    again = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if len(again):
        first, second = sorted((int(order[again[0]]), int(order[again[0] + 1])))
        return f"Column {column!r} gives the id {ids[first]} twice ({source.place(first)} and {source.place(second)}).", None
    return "", ids


def _id_column(source: Source) -> str | None:
    for column in source.table.column_names:
        values = source.table[column]
        huge = column in source.mixed and pc.all(pc.match_substring_regex(values, r"^-?[0-9]+$")).as_py()
        if column.lower() in ID_NAMES and ((pa.types.is_integer(values.type) and not values.null_count) or huge):
            return str(column)
    return None


def _table(source: Source, fields: Fields, ids: NDArray[np.int64]) -> pa.Table:
    columns: dict[str, Any] = {"id": pa.array(ids), "row": pa.array(np.arange(len(ids), dtype=np.int64)), **fields.columns}
    kinds = [pa.field(name, column.type) for name, column in columns.items()]
    own = [source.table.schema.field(name) for name in source.table.column_names]
    kinds += [field.with_name(SOURCE_PREFIX + field.name) for field in own]
    return pa.table([*columns.values(), *source.table.columns], schema=pa.schema(kinds))


def _validation_of(data: str) -> str | None:
    """Return the validation split of a folder or hub dataset as a name for `load`; None without one."""
    if data == SAMPLE:
        return None
    there = readers.splits(data)
    return next((f"{data}#{split}" for split in readers.VALIDATION_SPLITS if split in there), None)


def counts_of(fields: Fields, keep: NDArray[np.bool_]) -> dict[str, int]:
    """Return class name -> number of kept rows; empty where the task has no classes."""
    if not fields.label_names:
        return {}
    indices = np.asarray(fields.columns["label"].filter(pa.array(keep)).combine_chunks(), dtype=np.int64)
    counts = np.bincount(indices, minlength=len(fields.label_names))
    return {name: int(count) for name, count in zip(fields.label_names, counts, strict=True)}


def too_few_classes(counts: Mapping[str, int]) -> str | None:
    """Return why these classes cannot be trained on, in a sentence; None when there are at least two."""
    present = [name for name, count in counts.items() if count]
    if len(present) >= 2:
        return None
    return f"Every row has the label {present[0]!r}; training needs at least two classes." if present else "No row has a label."


def _check_classes(train: Examples) -> None:
    if train.label_names and (problem := too_few_classes(train.label_counts())):
        raise DataError(f"{train.source}: {problem}")


def _check_seen(train: Examples, evaluation: Examples) -> None:
    seen = train.label_counts()
    for name, count in evaluation.label_counts().items():
        if count and not seen[name]:
            raise DataError(f"{evaluation.source} has the label {name!r} ({count} rows), which {train.source} declares but never uses.")
