"""A recording on disk, written an epoch at a time and read one quantity at a time.

A page that needs only H reads one bit per example, not the whole recording.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.errors import ExperimentError
from pruning.records import QUANTITIES, WRONG, Dynamics, EpochRecord
from pruning.store.checksums import check, checksummed, checksums
from pruning.store.layout import Folder, read_notes, read_table

_THREADS = 4


def write_epoch(folder: Folder, ids: NDArray[np.int64], run: int, record: EpochRecord) -> None:
    """Write one epoch's recording of the examples `ids`, atomically."""
    columns: dict[str, Any] = {"id": ids, "epoch": np.full(len(ids), record.epoch, dtype=np.int32)}
    columns |= {name: getattr(record, name) for name in QUANTITIES}
    if record.wrong is not None:
        columns["wrong"] = record.wrong
    notes = {"accuracy": repr(float(record.correct.mean()))}
    if record.micro_batch:
        notes["micro_batch"] = str(record.micro_batch)
    with checksummed(folder, folder.epoch(run, record.epoch)) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata(notes), temporary)


def epoch_accuracy(folder: Folder, runs: int, epochs: int) -> NDArray[np.float64]:
    """Return [runs, epochs] online accuracy from each epoch file's metadata, nan where there is no file. Reads no data pages."""
    accuracy = np.full((runs, epochs), np.nan)
    for run, epoch in np.ndindex(runs, epochs):
        path = folder.epoch(run, epoch)
        if path.exists():
            accuracy[run, epoch] = float(read_notes(path).get("accuracy", np.nan))
    return accuracy


Right = Callable[[NDArray[np.integer], NDArray[np.floating]], NDArray[np.bool_]]
"""Wrong tokens and losses of an epoch -> which looks are right, [N] each."""


def without_runs(folder: Folder) -> str:
    """Say that nothing can be read of an experiment without a complete run."""
    return f"{folder.root} has no complete run yet; score it first, or resume it."


class Recording(Dynamics):
    """`Dynamics` of the complete runs, each array read from the folder on first use.

    Raises ExperimentError at construction when a file is damaged, or does not hold exactly the examples `ids`, in their order.
    """

    def __init__(
        self,
        folder: Folder,
        ids: NDArray[np.int64],
        runs: Sequence[int],
        seeds: Sequence[int],
        epochs: int,
        probe: NDArray[np.float32] | None = None,
        extras: Mapping[str, NDArray[np.float64]] | None = None,
        of_answers: bool = False,
    ) -> None:
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "probe", probe)
        object.__setattr__(self, "seeds", tuple(seeds))
        object.__setattr__(self, "successes", None)
        object.__setattr__(self, "attempts", None)
        object.__setattr__(self, "extras", dict(extras or {}))
        self.__dict__.update(_folder=folder, _runs=tuple(runs), _epochs=epochs)
        known = checksums(folder)

        def whole(path: Path) -> None:
            check(folder, path, known)
            if not np.array_equal(np.asarray(read_table(path, ["id"])["id"]), ids):
                raise ExperimentError(f"{path} does not hold the examples of {folder.examples}, in their order.")

        self._each(lambda index, epoch, path: whole(path))
        if of_answers:  # one answer is one look of one run
            object.__setattr__(self, "successes", self.correct.sum(axis=0, dtype=np.int64))
            object.__setattr__(self, "attempts", np.full((epochs, len(ids)), len(seeds), dtype=np.int64))

    def ruled(self, right: Right) -> Recording:
        """Return the same recording, whose `correct` is what `right` says of the wrong tokens and losses of an epoch, [N] each."""
        other = object.__new__(Recording)
        for name in ("ids", "probe", "seeds", "successes", "attempts", "extras"):
            object.__setattr__(other, name, getattr(self, name))
        other.__dict__.update({name: value for name, value in self.__dict__.items() if name != "correct"}, _right=right)
        return other

    @property
    def runs(self) -> int:
        """R, the number of complete runs."""
        return len(self.seeds)

    @property
    def epochs(self) -> int:
        """E, the number of epochs of each run."""
        return int(self.__dict__["_epochs"])

    @property
    def examples(self) -> int:
        """N, the number of examples."""
        return len(self.ids)

    def _each(self, do: Callable[[int, int, Path], None]) -> None:
        """Call `do(index of the run, epoch, file)` for every file, in several threads."""
        folder: Folder = self.__dict__["_folder"]
        runs = enumerate(self.__dict__["_runs"])
        places = [(index, epoch, folder.epoch(run, epoch)) for index, run in runs for epoch in range(self.epochs)]
        with ThreadPoolExecutor(_THREADS) as pool:
            for done in [pool.submit(do, *place) for place in places]:
                done.result()

    def read(self, name: str) -> NDArray[Any]:
        """Return one quantity, [R, E, N]. Raises ExperimentError without a complete run."""
        self._need_a_run()
        array = np.empty((self.runs, self.epochs, self.examples), {**QUANTITIES, "wrong": WRONG}[name])
        right: Right | None = self.__dict__.get("_right") if name == "correct" else None

        def one(index: int, epoch: int, path: Path) -> None:
            if right is None:
                array[index, epoch] = np.asarray(read_table(path, [name])[name])
            else:
                table = read_table(path, ["wrong", "loss"])
                array[index, epoch] = right(np.asarray(table["wrong"]), np.asarray(table["loss"]))

        self._each(one)
        return array

    def _need_a_run(self) -> None:
        if not self.seeds:
            raise ExperimentError(without_runs(self.__dict__["_folder"]))

    def first(self, name: str) -> NDArray[Any]:
        """Return the first value of a quantity, [1, 1, 1], without reading all of it."""
        if name in self.__dict__:
            return super().first(name)
        self._need_a_run()
        known: dict[str, NDArray[Any]] = self.__dict__.setdefault("_first", {})
        if name not in known:
            path = self.__dict__["_folder"].epoch(self.__dict__["_runs"][0], 0)
            known[name] = np.asarray(read_table(path, [name])[name][:1]).astype(QUANTITIES[name]).reshape(1, 1, -1)
        return known[name]

    def release(self, *names: str) -> None:
        """Free the memory of these quantities; they are read again on next use."""
        for name in names:
            self.__dict__.pop(name, None)


def _wrong(recording: Recording) -> NDArray[Any] | None:
    """Return the wrong tokens, [R, E, N]; None where the files have no such column."""
    path = recording.__dict__["_folder"].epoch(recording.__dict__["_runs"][0], 0)
    return recording.read("wrong") if "wrong" in pq.read_schema(path).names else None


def _quantity(name: str) -> cached_property[NDArray[Any] | None]:
    prop = cached_property(_wrong if name == "wrong" else lambda recording: recording.read(name))
    prop.__set_name__(Recording, name)
    return prop


for _name in (*QUANTITIES, "wrong"):
    setattr(Recording, _name, _quantity(_name))
