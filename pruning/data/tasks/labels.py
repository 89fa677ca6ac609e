"""Class labels: integers, text, truth values or a ClassLabel, as class indices with names in a fixed order."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pruning.data.readers import Source
from pruning.data.tasks.base import Problem, mask, preview_values
from pruning.errors import DataError

NO_LABEL = ("-1", "-")
"""Label by which inference sets (SNLI, MNLI, XNLI), whose labels are `INFERENCE`, mark that annotators did not agree."""

INFERENCE = {"entailment", "neutral", "contradiction"}

LIKE_MISSING = {"nan", "none", "null", "nil", "na", "n/a", "<na>", "#n/a", "-", "?", "missing", "unlabeled", "unlabelled"}
"""Labels, in lower case, that often stand for a missing one."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Labels:
    """A label column as class indices."""

    values: pa.ChunkedArray
    """[rows] int64 index into `names`, null where there is no label."""
    names: tuple[str, ...]
    """Names of the classes: a ClassLabel's own, else sorted, by number where all are integers."""
    missing: Problem
    """Rows whose label is null or blank."""
    unlabelled: NDArray[np.bool_]
    """[rows] mask of rows marked as having no label."""
    mark: str = ""
    """How they are marked."""
    notes: tuple[str, ...] = ()
    """Labels that may not be meant as classes, in sentences."""


def read_labels(
    source: Source, column: str, known: Sequence[str] | None = None, pairs: bool = False, missing_label: str | None = None
) -> Labels:
    """Return a column of class labels. `known` fixes the classes; `pairs` is True for sets of sentence pairs.

    `missing_label` is the value that means "no label"; without it, -1 means that where the column declares its classes, and beside
    labels that are `INFERENCE`.

    Raises DataError for fractions, lists and other non-labels, for nearly as many classes as rows, and for labels
    that are not among `known`, naming them.
    """
    declared = source.class_names.get(column)
    texts = _of_classes(source, column, declared) if declared else _as_text(source, column)
    present = mask(pc.match_substring_regex(texts, r"\S").fill_null(False))
    found = _distinct(texts.filter(pa.array(present)))
    if declared:
        marks = {"-1"} - {*declared}
    else:
        marks = {*NO_LABEL} & {*found} if pairs and {name.lower() for name in found} - {*NO_LABEL} == INFERENCE else set()
    marks |= {missing_label} if missing_label is not None else set()
    unlabelled = mask(pc.is_in(texts, pa.array(sorted(marks), pa.string()))) & present
    names = tuple(name for name in (declared or sorted(found, key=_order)) if name not in marks)
    if known is None:
        _check_number(source, column, names, int(present.sum()))
    else:
        _check_known(source, column, texts.filter(pa.array(present & ~unlabelled)), known)
        names = tuple(known)
    values = pc.index_in(texts, pa.array(names, pa.string())).cast(pa.int64())
    return Labels(
        values=values,
        names=names,
        missing=Problem(rows=~present, what=f"has no label in {column!r}"),
        unlabelled=unlabelled,
        mark=", ".join(sorted(marks & {*found})),
        notes=() if declared else _doubts(texts.filter(pa.array(present & ~unlabelled)), column, pairs),
    )


def _doubts(texts: pa.ChunkedArray, column: str, pairs: bool) -> tuple[str, ...]:
    """Return sentences about labels that look like a missing label, or like another label written differently."""
    counts = {str(pair["values"]): int(pair["counts"]) for pair in pc.value_counts(texts).to_pylist()}
    numbers = {number for name in counts if (number := _number(name)) is not None}
    odd = [name for name in counts if name.strip().lower() in LIKE_MISSING]
    odd += ["-1"] if pairs and "-1" in counts and numbers - {-1} == set(range(len(counts) - 1)) else []
    notes = [
        f"Label {name!r} in {column!r} ({counts[name]:,} rows) counts as a class; if it means that the label is missing, add "
        f"--missing-label {shlex.quote(name)}."
        for name in sorted(odd)
    ]
    alike: dict[str, list[str]] = {}
    for name in sorted(counts):
        alike.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    for group in (names for names in alike.values() if len(names) > 1):
        listed = ", ".join(f"{name!r} ({counts[name]:,} rows)" for name in group)
        notes.append(
            f"Labels {listed} in {column!r} differ only in capitals, spaces or Unicode form and count as {len(group)} classes; "
            "write them alike in the data if they mean the same."
        )
    return tuple(notes)


def _as_text(source: Source, column: str) -> pa.ChunkedArray:
    """Return labels of any type by their names."""
    if column in source.mixed:
        raise DataError(f"Column {column!r} of {source.name} mixes {source.mixed[column]}; labels must be all of one kind.")
    values = source.table[column]
    kind = values.type
    if pa.types.is_floating(kind):
        values = _whole_numbers(source, column, values.cast(pa.float64()))
    elif not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise DataError(f"Column {column!r} of {source.name} holds {kind}; a label is text, a whole number or true/false.")
    return values.cast(pa.string())


def _whole_numbers(source: Source, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return decimals that are whole numbers as integers; nan as null."""
    numbers = np.asarray(values.fill_null(np.nan).combine_chunks(), dtype=np.float64)
    wrong = ~np.isnan(numbers) & ~((np.abs(numbers) < 2**53) & (np.trunc(numbers) == numbers))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"{source.place(row)} has {numbers[row]:g} in {column!r}; a label is a class, not a quantity.")
    missing = np.isnan(numbers)
    return pa.chunked_array([pa.array(np.where(missing, 0, numbers).astype(np.int64), mask=missing)])


def _of_classes(source: Source, column: str, declared: Sequence[str]) -> pa.ChunkedArray:
    """Return labels of a ClassLabel column by their names; -1 becomes "-1"."""
    values = source.table[column].cast(pa.int64())
    outside = mask(pc.or_(pc.greater_equal(values, len(declared)), pc.less(values, -1)).fill_null(False))
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise DataError(f"{source.place(row)} has {values[row].as_py()} in {column!r}, which declares {len(declared)} classes.")
    names = pa.array([*declared, "-1"], pa.string())
    indices = pc.if_else(pc.equal(values, -1), len(declared), values)
    return pa.chunked_array([names.take(chunk) for chunk in indices.chunks], pa.string())


def _distinct(texts: pa.ChunkedArray) -> list[str]:
    return [str(value) for value in pc.unique(texts).to_pylist()]


def _order(name: str) -> tuple[int, int, str]:
    """Sort key: integers first, by value, then words by code point."""
    return (1, 0, name) if (number := _number(name)) is None else (0, number, name)


def _number(name: str) -> int | None:
    return int(name) if re.fullmatch(r"-?[0-9]{1,18}", name) else None


def _check_number(source: Source, column: str, names: Sequence[str], rows: int) -> None:
    if len(names) > 20 and len(names) > rows / 2:
        raise DataError(f"Column {column!r} of {source.name} has {len(names)} different values in {rows} rows, too many for class labels.")


def _check_known(source: Source, column: str, texts: pa.ChunkedArray, known: Sequence[str]) -> None:
    counts = {str(pair["values"]): pair["counts"] for pair in pc.value_counts(texts).to_pylist()}
    unseen = {name: count for name, count in counts.items() if name not in known}
    if unseen:
        raise DataError(
            f"Column {column!r} of {source.name} has the label{'s' if len(unseen) > 1 else ''} {preview_values(unseen)} "
            f"({sum(unseen.values())} rows), which the training data does not have; it has {preview_values(known)}."
        )
