"""Answers to multiple choice: how a column writes them, and the option that each one means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pruning.data.readers import Source
from pruning.data.tasks.base import Problem
from pruning.errors import DataError

KEYS, TEXTS, LETTERS = "keys of the options", "texts of the options", "letters"
FROM_ZERO, FROM_ONE = "numbers from 0", "numbers from 1"

HIDDEN = "-1"
"""Value by which test sets mark a withheld answer."""

Place = int | str | None
"""Index of an option; the answer itself where it matches no option, None where it is missing."""

_NUMBER = re.compile(r"[0-9]{1,2}")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answers:
    """A column of answers as indices of options."""

    places: list[int | None]
    """[rows] index of the option, None where there is none."""
    reading: str
    """How the column writes them, one of the constants above: evaluation data is read as the training data is."""
    unlabelled: NDArray[np.bool_]
    """[rows] mask of rows whose answer is marked as withheld."""
    mark: str
    """How they are marked."""
    problem: Problem
    """Rows whose answer is missing or none of their options."""
    note: str
    """How an ambiguous column is read, in a sentence; empty where it is not ambiguous."""


def read_answers(
    source: Source,
    column: str,
    options: list[list[str | None]],
    keys: list[list[str]] | None,
    reading: str = "",
    missing_label: str | None = None,
) -> Answers:
    """Return the column read in the way that fits most of its rows: by the data's own keys, else by text, letter, or number.

    Whole numbers (not text of digits) are numbers before they are texts. `reading` fixes the way; raises DataError where another
    one fits more rows. Rows with `missing_label`, or with -1 where that is not an option, have no answer.
    """
    values = [None if value is None or str(value).strip() == "" else str(value).strip() for value in source.table[column].to_pylist()]
    found = {way: _places(way, values, options, keys) for way in _ways(source, column, keys)}
    fits = {way: sum(isinstance(place, int) for place in places) for way, places in found.items()}
    best = max(fits, key=lambda way: (fits[way], way == reading))
    if reading and best != reading and fits[best]:
        raise DataError(
            f"Answers in {column!r} of {source.name} are {best}, those of the training data {reading}; write both the same way."
        )
    places = found[best]
    unlabelled = [
        (value == HIDDEN and not isinstance(place, int)) or (value is not None and value == missing_label)
        for value, place in zip(values, places, strict=True)
    ]
    alike = [way for way in found if fits[way] == fits[best] and found[way] != places]
    return Answers(
        places=[place if isinstance(place, int) else None for place in places],
        reading=best,
        unlabelled=np.asarray(unlabelled, dtype=np.bool_),
        mark=", ".join(sorted({value for value, none in zip(values, unlabelled, strict=True) if none and value})),
        problem=_problem(column, places, options, best),
        note="" if reading and best != FROM_ONE else _note(column, best, alike),
    )


def _ways(source: Source, column: str, keys: list[list[str]] | None) -> Sequence[str]:
    """Return the ways in which the column may be written, the likelier first."""
    if column in source.class_names:
        return (FROM_ZERO,)
    numbers = pa.types.is_integer(source.table[column].type)
    ways = (FROM_ZERO, FROM_ONE, TEXTS) if numbers else (TEXTS, LETTERS, FROM_ZERO, FROM_ONE)
    return ways if keys is None else (KEYS, *ways)


def _places(way: str, values: Sequence[str | None], options: list[list[str | None]], keys: list[list[str]] | None) -> list[Place]:
    if way in (KEYS, TEXTS):
        named = [[str(name).strip() for name in own] for own in (keys if way == KEYS and keys is not None else options)]
        return [
            own.index(value) if value is not None and own.count(value) == 1 else value for value, own in zip(values, named, strict=True)
        ]
    count = _letter if way == LETTERS else (lambda value: int(value) - (way == FROM_ONE) if _NUMBER.fullmatch(value) else -1)
    places = [-1 if value is None else count(value) for value in values]
    return [place if 0 <= place < len(own) else value for place, value, own in zip(places, values, options, strict=True)]


def _letter(value: str) -> int:
    return ord(value.upper()) - ord("A") if len(value) == 1 and value.isascii() and value.isalpha() else -1


def _note(column: str, best: str, alike: Sequence[str]) -> str:
    if best == FROM_ONE:
        return f"Answers in {column!r} count from 1."
    if best == KEYS or not alike:
        return ""
    return f"Answers in {column!r} could be {' or '.join(sorted([best, *alike]))}; they are read as {best}."


def _problem(column: str, places: Sequence[Place], options: list[list[str | None]], reading: str) -> Problem:
    outside = {row: place for row, place in enumerate(places) if not isinstance(place, int)}
    counted = " counted from 1" if reading == FROM_ONE else ""
    found = {
        row: f"has the answer {answer!r} in {column!r}, which is none of its {len(options[row])} options{counted}"
        for row, answer in outside.items()
        if answer is not None
    }
    rows = np.zeros(len(places), dtype=np.bool_)
    rows[list(outside)] = True
    return Problem(rows=rows, what=f"has no answer in {column!r}", found=found)
