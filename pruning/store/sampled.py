"""Sampled answers on disk: counts of right answers where they are unequal, the answers themselves, and numbers made from them.

Where every prompt has the same number of answers at every checkpoint, the recording is the usual one: a run is a sample, an epoch a
checkpoint. Unequal counts are stored as successes and attempts. H is then the expected pass rate in R-ths, 0 and R only where no or every
answer was right, and runs are not single answers. A prompt that was never sampled is not a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.analysis.rates import fit_prior
from pruning.errors import ExperimentError
from pruning.records import QUANTITIES, Dynamics
from pruning.store.checksums import check_once, checksummed
from pruning.store.layout import Folder, read_table

Counts = NDArray[np.int64]

MOST_BANDS = 16
"""Largest H where counts are unequal."""

EMPTY = {"id": pa.int64(), "epoch": pa.int32(), "sample": pa.int32(), "answer": pa.string(), "reward": pa.float64(), "right": pa.bool_()}
ANSWERS = pa.schema({**EMPTY, "tokens": pa.int32(), "cut": pa.bool_()})
"""Columns of answers.parquet; null where the log does not say."""


def bands_of(attempts: Counts) -> int:
    """Return R for unequal counts: the largest number of attempts at a checkpoint, at most `MOST_BANDS`, at least 2."""
    return int(min(MOST_BANDS, max(2, attempts.max(initial=0))))


def bands(successes: Counts, attempts: Counts, runs: int) -> Counts:
    """Return [E, N] pass rates in `runs`-ths: 0 = no answer right, `runs` = every answer right, else the expected rate, rounded, between.

    With `runs` attempts it is the number of successes.

    The expected rate is the posterior mean of a beta-binomial fitted to the epoch. An epoch without attempts has the example's own rate
    over all epochs, and an example without any attempt the mean of the set, never 0 or `runs`.

    >>> bands(np.array([[0, 1, 4, 0]]), np.array([[4, 4, 4, 0]]), 4)
    array([[0, 1, 4, 2]])
    """
    every = _bands(successes.sum(axis=0), attempts.sum(axis=0), runs)
    return np.stack([np.where(n > 0, _bands(k, n, runs), every) for k, n in zip(successes, attempts, strict=True)])


def _bands(successes: Counts, attempts: Counts, runs: int) -> Counts:
    expected = fit_prior(successes, attempts).posterior_mean(successes, attempts)
    found = np.clip(np.rint(expected * runs), 1, runs - 1).astype(np.int64)
    found = np.where(attempts == runs, successes, found)
    found = np.where((attempts > 0) & (successes == 0), 0, found)
    return np.where((attempts > 0) & (successes == attempts), runs, found)


def of_counts(
    ids: Counts, seeds: Sequence[int], successes: Counts, attempts: Counts, extras: Mapping[str, NDArray[np.float64]]
) -> Dynamics:
    """Return the recording of unequal counts [E, N]: run r is right at an epoch where the epoch's band is above r; the rest is nan."""
    shape = (len(seeds), *successes.shape)
    nothing = {
        name: np.broadcast_to(np.asarray(-1 if np.issubdtype(kind, np.integer) else np.nan, dtype=kind), shape)
        for name, kind in QUANTITIES.items()
        if name != "correct"
    }
    band = bands(successes, attempts, len(seeds))
    correct = np.arange(len(seeds))[:, None, None] < band
    return Dynamics(ids=ids, seeds=tuple(seeds), correct=correct, successes=successes, attempts=attempts, extras=dict(extras), **nothing)


def write_counts(folder: Folder, ids: Counts, successes: Counts, attempts: Counts) -> None:
    """Write successes and attempts [E, N], a row for each epoch and example."""
    epochs = len(successes)
    columns = {
        "id": np.tile(ids, epochs),
        "epoch": np.repeat(np.arange(epochs, dtype=np.int32), len(ids)),
        "successes": successes.ravel(),
        "attempts": attempts.ravel(),
    }
    with checksummed(folder, folder.successes) as temporary:
        pq.write_table(pa.table(columns), temporary)


def read_counts(folder: Folder, ids: Counts, epochs: int) -> tuple[Counts, Counts]:
    """Return successes and attempts [E, N]. Raises ExperimentError where the file is damaged or does not hold these examples."""
    check_once(folder, folder.successes)
    table = read_table(folder.successes, None)
    if table.num_rows != epochs * len(ids) or not np.array_equal(np.asarray(table["id"]), np.tile(ids, epochs)):
        raise ExperimentError(f"{folder.successes} does not hold the examples of {folder.examples}, in their order.")
    both = (np.asarray(table[name], dtype=np.int64).reshape(epochs, len(ids)) for name in ("successes", "attempts"))
    return next(both), next(both)


def write_answers(folder: Folder, answers: pd.DataFrame) -> None:
    """Write the answers, sorted by example, epoch and sample. Columns are those of `ANSWERS`; missing ones are null."""
    table = pa.Table.from_pandas(answers.reindex(columns=ANSWERS.names), ANSWERS, preserve_index=False)
    with checksummed(folder, folder.answers) as temporary:
        pq.write_table(table, temporary, row_group_size=4096)


def read_answers(folder: Folder, example: int | None = None) -> pd.DataFrame:
    """Return the answers of one example, or all; empty where the log had none. Raises ExperimentError where the file is damaged."""
    if not folder.answers.exists():
        return ANSWERS.empty_table().to_pandas()
    check_once(folder, folder.answers)
    if example is None:
        return read_table(folder.answers, None).to_pandas()
    return pq.read_table(folder.answers, filters=[("id", "=", example)]).to_pandas()
