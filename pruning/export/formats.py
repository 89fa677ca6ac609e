"""The formats that a subset can be written in: for each its writer, and what sets it apart. To add one: a writer, its entry in FORMATS.

JSON lines come out byte for byte and in their order. The other formats have the source's own columns; cartography has what was recorded.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.analysis.audit import NEEDED, rebuilt
from pruning.analysis.scores import missing
from pruning.data.examples import SOURCE_PREFIX
from pruning.errors import ExportError, UsageError
from pruning.export.exportable import Exportable
from pruning.files import sha256
from pruning.store.layout import read_table

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet run a cell; such cells get an apostrophe in front."""

BATCH = 8192
"""Rows in memory at a time."""


def _write_jsonl(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    with path.open("wb") as file:
        if source.folder.source.exists():
            return _copy_lines(source, kept, labels, file)
        written = 0
        for batch in _source_batches(source, kept, labels):
            for row in batch.to_pylist():
                file.write(json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n")
            written += batch.num_rows
        return written


def _copy_lines(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], file: IO[bytes]) -> int:
    """Copy the kept lines of source.jsonl as they are; `row` counts its lines that are not blank."""
    table = source.examples(["id", "row"])
    chosen = np.isin(np.asarray(table["id"]), kept)
    ids_of = dict(zip(np.asarray(table["row"])[chosen].tolist(), np.asarray(table["id"])[chosen].tolist(), strict=True))
    column = source.settings.label_column
    written = row = 0
    with source.folder.source.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            if row in ids_of:
                example = ids_of[row]
                file.write(_relabelled(line, column, labels[example]) if example in labels else line)
                written += 1
            row += 1
    return written


def _relabelled(line: bytes, column: str, label: Any) -> bytes:
    values = json.loads(line.decode("utf-8-sig"))
    values[column] = label
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"


def as_written(source: Exportable, labels: Mapping[int, str]) -> dict[int, Any]:
    """Labels by id as the source's own column writes them: a name, a number, a truth value or the index of a declared class."""
    column = SOURCE_PREFIX + source.settings.label_column
    if not labels or column not in source.schema.names:
        return dict(labels)
    values, written = source.examples([column])[column], {}
    if source.labels is not None:
        codes, rows = np.unique(source.labels, return_index=True)
        written = {source.label_names[code]: values[row].as_py() for code, row in zip(codes.tolist(), rows.tolist(), strict=True)}
    unseen = {label: _unseen(label, values[0].as_py(), written, source.label_names) for label in {*labels.values()} - written.keys()}
    written.update(unseen)
    return {example: written[label] for example, label in labels.items()}


def _unseen(label: str, like: Any, written: Mapping[str, Any], names: Sequence[str]) -> Any:
    """How the source would write a label that no example has, going by a value and by the labels that some have."""
    if isinstance(like, bool):
        return label == "true"
    if isinstance(like, (int, float)):
        by_name = all(str(int(value)) == name for name, value in written.items())
        return type(like)(label if by_name else names.index(label))
    return label


def _source_batches(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any]) -> Iterator[pa.RecordBatch]:
    """The kept rows with the source's own columns, in source order, a few thousand at a time."""
    with pq.ParquetFile(source.folder.examples) as file:
        names = [name for name in file.schema_arrow.names if name.startswith(SOURCE_PREFIX)]
        column = SOURCE_PREFIX + source.settings.label_column
        for batch in file.iter_batches(batch_size=BATCH, columns=["id", *names]):
            ids = np.asarray(batch["id"])
            chosen = np.isin(ids, kept)
            if not chosen.any():
                continue
            batch, ids = batch.filter(pa.array(chosen)), ids[chosen]
            if labels and column in names and not labels.keys().isdisjoint(ids.tolist()):
                new = [labels.get(i, value) for i, value in zip(ids.tolist(), batch[column].to_pylist(), strict=True)]
                batch = batch.set_column(batch.schema.get_field_index(column), column, pa.array(new, batch.schema.field(column).type))
            batch = batch.select(names)
            yield batch.rename_columns([name.removeprefix(SOURCE_PREFIX) for name in names])


def _write_csv(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for batch in _source_batches(source, kept, labels):
            if not written:
                writer.writerow([_cell(name) for name in batch.schema.names])
            for row in batch.to_pylist():
                writer.writerow([_cell(value) for value in row.values()])
            written += batch.num_rows
    return written


def csv_text(table: pd.DataFrame) -> bytes:
    """A small table as CSV that no spreadsheet runs: cells that begin like a formula get an apostrophe in front."""
    shown = table.rename(columns=_cell)
    for name in shown.columns:
        if not pd.api.types.is_numeric_dtype(shown[name].dtype):
            shown[name] = shown[name].astype(object).map(_cell)
    return shown.to_csv(index=False).encode()


def _cell(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return "'" + value if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _write_parquet(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    batches = _source_batches(source, kept, labels)
    first = next(batches)
    with pq.ParquetWriter(path, first.schema) as writer:
        return _written(writer, first) + sum(_written(writer, batch) for batch in batches)


def _written(writer: pq.ParquetWriter | pa.ipc.RecordBatchStreamWriter, batch: pa.RecordBatch) -> int:
    writer.write_batch(batch)
    return int(batch.num_rows)


def _write_hf(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    """A folder that `datasets.load_from_disk` reads. The rows pass through a file that is mapped, not held in memory."""
    from datasets import Dataset
    from datasets.table import MemoryMappedTable

    scratch = path / "scratch" / "rows.arrow"
    scratch.parent.mkdir(parents=True)
    batches = _source_batches(source, kept, labels)
    first = next(batches)
    with pa.OSFile(str(scratch), "wb") as file, pa.ipc.new_stream(file, first.schema) as writer:
        rows = _written(writer, first) + sum(_written(writer, batch) for batch in batches)
    Dataset(MemoryMappedTable.from_file(str(scratch)), fingerprint=sha256(scratch)[:16]).save_to_disk(str(path))
    shutil.rmtree(scratch.parent)
    return rows


def _write_cartography(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    """One folder per run as allenai/cartography writes them: run=0/training_dynamics/dynamics_epoch_0.jsonl ...

    The guid is the id; the logits are logarithms of the recorded probabilities (see `audit.rebuilt`), so that gold
    probability and prediction are what they were. Labels changed by hand stay out: `gold` is what was trained on.
    """
    dynamics, seeds = source.dynamics, source.settings.seeds
    if source.labels is None or missing(dynamics) & NEEDED:
        raise ExportError(f"{source.folder.root} has no class probabilities, which cartography's format is made of.")
    chosen = np.flatnonzero(np.isin(source.ids, kept))
    for (run, seed), epoch in product(enumerate(dynamics.seeds), range(dynamics.epochs)):
        file = path / f"run={run}" / "training_dynamics" / f"dynamics_epoch_{epoch}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(_cartography_lines(source, chosen, source.folder.epoch(seeds.index(seed), epoch), epoch))
    return len(chosen)


def _cartography_lines(source: Exportable, chosen: NDArray[np.int64], recorded: Path, epoch: int) -> Iterator[str]:
    """The lines of the examples at those places, from one epoch's file alone, a few thousand worked out at a time."""
    table, labels, classes = read_table(recorded, sorted(NEEDED)), source.labels, len(source.label_names)
    gold_prob, gold_margin = (np.asarray(table[name], dtype=np.float32) for name in ("gold_prob", "gold_margin"))
    predicted = np.asarray(table["predicted"], dtype=np.int64)
    for start in range(0, len(chosen), BATCH):
        some = chosen[start : start + BATCH]
        gold = np.asarray(labels)[some]
        probabilities = rebuilt(gold_prob[some], gold_margin[some], predicted[some], gold, classes)
        logits = np.log(np.maximum(probabilities, 1e-30)).round(6)
        for i, z, y in zip(source.ids[some].tolist(), logits.tolist(), gold.tolist(), strict=True):
            yield json.dumps({"guid": i, f"logits_epoch_{epoch}": z, "gold": y}) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write a subset."""

    write: Callable[[Exportable, NDArray[np.int64], Mapping[int, Any], Path], int]
    """Writer of (source, kept ids, labels changed by hand as the source writes them, path), returning the rows written."""
    folder: bool = False
    """Whether it is a folder; else a file with the format's name as its ending."""
    relabels: bool = True
    """Whether labels changed by hand are in it."""
    says: str = ""
    """What there is to know of it, for the help; empty where the name says it all."""


FORMATS: dict[str, Format] = {
    "jsonl": Format(write=_write_jsonl, says="the rows byte for byte"),
    "csv": Format(write=_write_csv),
    "parquet": Format(write=_write_parquet),
    "hf": Format(write=_write_hf, folder=True, says="a folder for datasets.load_from_disk"),
    "cartography": Format(write=_write_cartography, folder=True, relabels=False, says="what was recorded of the rows"),
}
"""Every format by its name, in the order of the help."""

FORMATS_HELP = f"{', '.join(name + f' ({format.says})' * bool(format.says) for name, format in FORMATS.items())}."
"""What to choose from, in a sentence."""


def find(name: str) -> Format:
    """The format of that name. Raises UsageError listing what there is."""
    if name not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, got {name!r}.", "format")
    return FORMATS[name]
