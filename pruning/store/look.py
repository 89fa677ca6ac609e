"""The first look on disk: embeddings of the training examples, and the probe's probabilities beside them, both memory-mapped.

look/embeddings.npy      [N, D] float16, rows of length 1 in the order of examples.parquet
look/probabilities.npy   [N, classes] float32, out of sample; not there where the labels cannot be probed
look/look.json           model, tokens per text, pooling, the probe's result; written last
look/RECIPE/ROW.npy      parts of an unfinished pass, from row number ROW on; removed when it is done
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.probe import Probe
from pruning.data.models import changed_parts
from pruning.errors import ExperimentError
from pruning.files import atomic_write
from pruning.store.checksums import check_once, checksummed
from pruning.store.layout import Folder

FORMAT = 1
"""Version of what a look holds and how it is computed; another one is computed again."""

MAPPED_FROM = 2**28
"""Bytes from which a file is memory-mapped instead of copied."""

POOLING = "mean of the last hidden state over all tokens, length 1"

Half = NDArray[np.float16]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Look:
    """A finished look."""

    model: Mapping[str, Any]
    """The model that embedded the texts: its name as "source", and its identity (see `pruning.data.models.identity`)."""
    recipe: str
    """Identity of everything the embeddings follow from."""
    embeddings: Half
    """[N, D] memory-mapped."""
    probabilities: NDArray[np.float32] | None
    """[N, classes] memory-mapped, out of sample; None where the labels cannot be probed."""
    probe: Probe | None
    left_out: str
    """Why there is no probe, in one sentence; empty where there is one."""
    truncated: int
    """Texts that were longer than the maximum length."""
    seconds: float

    def gold(self, labels: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """[N] probability of each label; None where there is no probe."""
        if self.probabilities is None:
            return None
        return np.asarray(self.probabilities[np.arange(len(labels)), labels], dtype=np.float32)


def recipe(model: Mapping[str, Any], data: str, max_length: int) -> str:
    """Return the identity of a look: of the model and its tokenizer, the data, the length of texts and the way of pooling."""
    parts = [FORMAT, POOLING, model.get("parts") or model["fingerprint"], data, max_length]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_look(folder: Folder, rows: int, model: Mapping[str, Any]) -> Look | None:
    """Return the look of a folder, or None where there is none.

    Raises ExperimentError when a file is damaged, is not of `rows` examples, or was made with another model than `model`, the
    experiment's own (no fingerprint: any will do).
    """
    if not folder.look.exists():
        return None
    remedy = f"make it again: python -m pruning look {folder.root}"
    for path in folder.of_look:
        check_once(folder, path)
    try:
        info = json.loads(folder.look.read_text(encoding="utf-8"))
        if info["format"] != FORMAT:
            raise ExperimentError(f"{folder.look} has format {info['format']}, this Winnow reads {FORMAT}; {remedy}.")
        embeddings = load_array(folder.embeddings)
        probe = None if info["probe"] is None else Probe.from_dict(info["probe"])
        probabilities = None if probe is None else load_array(folder.probabilities)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExperimentError(f"{folder.look.parent} cannot be read ({error}); {remedy}.") from None
    if len(embeddings) != rows or (probabilities is not None and len(probabilities) != rows):
        raise ExperimentError(f"{folder.embeddings} has {len(embeddings):,} rows, the experiment {rows:,} examples; {remedy}.")
    if model.get("fingerprint") and (changed := changed_parts(model, info["model"])):
        raise ExperimentError(f"{folder.embeddings} is of another model (the {' and '.join(changed)} differ); {remedy}.")
    return Look(
        model=info["model"],
        recipe=info["recipe"],
        embeddings=embeddings,
        probabilities=probabilities,
        probe=probe,
        left_out=info["left_out"],
        truncated=info["truncated"],
        seconds=info["seconds"],
    )


def load_array(path: Path) -> NDArray[Any]:
    """Return an array's file, memory-mapped where it is large.

    A small one is copied: a process that maps a file which another program cuts short would crash at its next access.
    """
    large = path.stat().st_size > MAPPED_FROM
    return np.load(path, mmap_mode="r" if large else None, allow_pickle=False)


class Parts:
    """The parts of an unfinished pass, each on disk as soon as it is embedded."""

    def __init__(self, folder: Folder, recipe: str) -> None:
        self.folder = folder
        self.root = folder.look_parts(recipe)
        for other in folder.look.parent.glob("*/"):
            if other != self.root:
                shutil.rmtree(other, ignore_errors=True)

    def add(self, start: int, rows: Half) -> None:
        """Write the rows from number `start` on."""
        with atomic_write(self.root / f"{start}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, rows, allow_pickle=False)

    @property
    def done(self) -> int:
        """Rows on disk without a gap from the first on."""
        return sum(len(part) for part in self._read())

    def _read(self) -> Iterator[Half]:
        done = 0
        while True:
            try:
                part = np.load(self.root / f"{done}.npy", mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError):  # not there yet, or damaged: embedded again
                return
            yield part
            done += len(part)

    def join(self) -> None:
        """Write all parts as embeddings.npy."""
        parts = list(self._read())
        shape = (sum(len(part) for part in parts), parts[0].shape[1])
        with checksummed(self.folder, self.folder.embeddings) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
            for part in parts:
                file.write(np.ascontiguousarray(part, dtype="<f2").tobytes())

    def remove(self) -> None:
        """Remove what the finished look does not need."""
        shutil.rmtree(self.root, ignore_errors=True)


@contextmanager
def probabilities_file(folder: Folder, rows: int, classes: int) -> Iterator[NDArray[np.float32]]:
    """A memory-mapped [rows, classes] array to fill; its file appears when the block ends well."""
    with checksummed(folder, folder.probabilities) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=(rows, classes))
        yield array
        array.flush()
        del array


def write_look(
    folder: Folder, model: Mapping[str, Any], recipe: str, probe: Probe | None, left_out: str, truncated: int, seconds: float
) -> None:
    """Write look.json, which says that the look is finished."""
    info = {
        "format": FORMAT,
        "model": dict(model),
        "recipe": recipe,
        "pooling": POOLING,
        "probe": None if probe is None else probe.to_dict(),
        "left_out": left_out,
        "truncated": truncated,
        "seconds": round(seconds, 3),
    }
    with checksummed(folder, folder.look) as temporary:
        temporary.write_text(json.dumps(info, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def needed_bytes(rows: int, size: int, classes: int) -> int:
    """Bytes on disk that a look takes at most: the embeddings, once more as parts, and the probabilities.

    >>> needed_bytes(1_000_000, 384, 2)
    1544000000
    """
    return rows * (2 * 2 * size + 4 * classes)


def refuse_full_disk(folder: Folder, rows: int, size: int, classes: int) -> None:
    """Raise ExperimentError when the disk has less free space than a look takes."""
    wanted, free = needed_bytes(rows, size, classes), shutil.disk_usage(folder.root).free
    if wanted > free:
        raise ExperimentError(
            f"The look needs {wanted / 1e6:,.0f} MB of disk space in {folder.root}, and {free / 1e6:,.0f} MB are free; "
            "free some space, or leave the look out (--no-look)."
        )


def is_whole(folder: Folder, rows: int, model: Mapping[str, Any], recipe: str) -> bool:
    """Return True if the folder has a readable look of that recipe."""
    try:
        found = read_look(folder, rows, model)
    except ExperimentError:
        return False
    return found is not None and found.recipe == recipe
