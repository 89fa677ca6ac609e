"""The formats that a subset can be written in: for each its writer, and what sets it apart. To add one: a writer, its entry in FORMATS.

JSON lines are copied byte for byte. The other formats have the source's own columns, each value equal to the source's: a column that a
format cannot hold so is named and refused. cartography has what was recorded.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.analysis.audit import NEEDED, rebuilt
from pruning.analysis.scores import missing
from pruning.data.readers.files import KINDS, PACKED, kind_of
from pruning.data.readers.source import PRINTED, printed
from pruning.errors import ExportError, UsageError
from pruning.export import rows
from pruning.export.exportable import Exportable
from pruning.export.rows import BATCH
from pruning.export.text_values import Unwritable, cell, escaped, looks_like_json, plain, quoted
from pruning.export.typed import typed_batches
from pruning.files import sha256
from pruning.store.layout import read_table

CELLS = 2**20
"""Examples x classes whose logits are computed at a time."""

Writer = Callable[[Exportable, NDArray[np.int64], Mapping[int, Any], Path], int]
"""Writes (source, kept ids, labels changed by hand as the source writes them, path) and returns the number of rows."""


def _write_jsonl(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    written = 0
    with path.open("wb") as file:
        if source.folder.source.exists():
            for example, line in rows.lines(source, kept):
                file.write(_relabelled(line, source.settings.label_column, labels[example], example) if example in labels else line)
                written += 1
            return written
        for example, row in rows.objects(source, kept, labels):
            file.write(_json_line(row, example))
            written += 1
    return written


def _relabelled(line: bytes, column: str, label: Any, example: int) -> bytes:
    values = rows.parse(line)
    values[column] = label
    try:
        return json.dumps(values, ensure_ascii=False).encode() + b"\n"
    except TypeError:
        raise ExportError(f"Example {example} has a number beyond the range of a float, so its label cannot be changed.") from None


def _json_line(row: Mapping[str, Any], example: int) -> bytes:
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        text = json.dumps({name: _converted(plain, value, name, example, "jsonl") for name, value in row.items()}, ensure_ascii=False)
    return text.encode() + b"\n"


def _converted(convert: Callable[[Any], Any], value: Any, name: str, example: int, format: str) -> Any:
    try:
        return convert(value)
    except Unwritable as error:
        raise rows.refused(name, example, str(error), format, "parquet or hf") from None


def _write_csv(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    return _write_cells(source, kept, labels, path, lambda text: text)


def _write_escaped_csv(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    return _write_cells(source, kept, labels, path, escaped)


def _write_cells(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path, shown: Callable[[str], str]) -> int:
    """Write CSV: text verbatim but for `shown`, numbers in the source's digits, null as an empty cell and empty text as ""."""
    columns = [_CsvColumn(field) for field in rows.fields(source)]
    written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(_csv_line([shown(column.name) for column in columns]))
        for example, row in rows.objects(source, kept, labels):
            texts = [column.text(row.get(column.name), example) for column in columns]
            file.write(_csv_line([None if text is None else shown(text) for text in texts]))
            written += 1
    for column in columns:
        column.check()
    return written


def _csv_line(cells: list[str | None]) -> str:
    return (",".join(map(quoted, cells)) or '""') + "\r\n"


class _CsvColumn:
    """A column on its way to CSV: how it prints its values, and whether its texts differ from its other values."""

    def __init__(self, field: pa.Field) -> None:
        self.name = str(field.name)
        self._way = (field.metadata or {}).get(PRINTED)
        self._others = False
        self._alike: tuple[int, str] | None = None

    def text(self, value: Any, example: int) -> str | None:
        """Return a value as the text of its cell."""
        if self._way is not None:  # of a CSV file: empty cells were empty
            return printed(value, self._way) if isinstance(value, float) else None if value in (None, "") else str(value)
        if isinstance(value, str):
            if self._alike is None and looks_like_json(value):
                self._alike = (example, value)
        elif value is not None:
            self._others = True
        found: str | None = _converted(cell, value, self.name, example, "csv")
        return found

    def check(self) -> None:
        """Raise ExportError for a column of several types in which a text reads like another type."""
        if self._others and self._alike is not None:
            example, text = self._alike
            raise rows.refused(
                self.name, example, f"it has other types beside the text {text[:40]!r}, which CSV has no types for", "csv", "jsonl"
            )


def _write_parquet(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    schema, batches = typed_batches(source, kept, labels, "parquet")
    with pq.ParquetWriter(path, schema) as writer:
        return sum(_written(writer, batch) for batch in batches)


def _written(writer: pq.ParquetWriter | pa.ipc.RecordBatchStreamWriter, batch: pa.RecordBatch) -> int:
    writer.write_batch(batch)
    return int(batch.num_rows)


def _write_hf(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    """Write a folder that `datasets.load_from_disk` reads. The rows pass through a file that is mapped, not held in memory."""
    from datasets import Dataset
    from datasets.table import MemoryMappedTable

    scratch = path / "scratch" / "rows.arrow"
    scratch.parent.mkdir(parents=True)
    schema, batches = typed_batches(source, kept, labels, "hf")
    with pa.OSFile(str(scratch), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        count = sum(_written(writer, batch) for batch in batches)
    Dataset(MemoryMappedTable.from_file(str(scratch)), fingerprint=sha256(scratch)[:16]).save_to_disk(str(path))
    shutil.rmtree(scratch.parent)
    return count


def _write_cartography(source: Exportable, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    """Write one folder per run as allenai/cartography does: run=0/training_dynamics/dynamics_epoch_0.jsonl ...

    The guid is the id; the logits are logarithms of the recorded probabilities (see `audit.rebuilt`), so that gold
    probability and prediction are those recorded. Labels changed by hand are left out: `gold` is what was trained on.
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
    """Yield the lines of the examples at those places from one epoch's file alone, at most `BATCH` computed at a time."""
    table, labels, classes = read_table(recorded, sorted(NEEDED)), source.labels, len(source.label_names)
    size = min(BATCH, max(1, CELLS // classes))
    gold_prob, gold_margin = (np.asarray(table[name], dtype=np.float32) for name in ("gold_prob", "gold_margin"))
    predicted = np.asarray(table["predicted"], dtype=np.int64)
    for start in range(0, len(chosen), size):
        some = chosen[start : start + size]
        gold = np.asarray(labels)[some]
        probabilities = rebuilt(gold_prob[some], gold_margin[some], predicted[some], gold, classes)
        logits = np.log(np.maximum(probabilities, 1e-30)).round(6)
        for i, z, y in zip(source.ids[some].tolist(), logits.tolist(), gold.tolist(), strict=True):
            yield json.dumps({"guid": i, f"logits_epoch_{epoch}": z, "gold": y}) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write a subset."""

    write: Writer
    """Writer of the values as they are."""
    escape: Writer | None = None
    """Writer of cells that no spreadsheet runs as formulas; None where the format has no cells."""
    folder: bool = False
    """True for a folder; else a file with the format's name as its ending."""
    relabels: bool = True
    """True where labels changed by hand are in it."""
    says: str = ""
    """Description for the help; empty where the name suffices."""


FORMATS: dict[str, Format] = {
    "jsonl": Format(write=_write_jsonl, says="the rows byte for byte"),
    "csv": Format(write=_write_csv, escape=_write_escaped_csv),
    "parquet": Format(write=_write_parquet),
    "hf": Format(write=_write_hf, folder=True, says="a folder for datasets.load_from_disk"),
    "cartography": Format(write=_write_cartography, folder=True, relabels=False, says="the recorded dynamics of the rows"),
}
"""Every format by its name, in the order of the help."""

FORMATS_HELP = f"{', '.join(name + f' ({format.says})' * bool(format.says) for name, format in FORMATS.items())}."
"""The choices, in a sentence."""

ESCAPE_HELP = "CSV for spreadsheets: put an apostrophe before text that one would run as a formula. Not for training."
"""Help of the option that escapes formulas."""

ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
"""Ending of an output -> the format that it names."""

OTHER_TABLES = (".xlsx", ".xls", ".ods", ".feather", ".orc")
"""Endings of tables that are neither read nor written."""


def find_format(name: str) -> Format:
    """Return the format of that name. Raises UsageError listing the formats."""
    if name not in FORMATS:
        raise UsageError(f"format must be one of {', '.join(FORMATS)}, got {name!r}.", "format")
    return FORMATS[name]


def of_output(output: Path | None, format: str | None) -> str:
    """Return the name of the format to write: `format`, else what the ending of `output` names, else jsonl.

    Raises UsageError where the ending names another format, or a kind of file that is not written.
    """
    if format is not None:
        find_format(format)
    ending = "" if output is None else output.suffix.lower()
    named = ENDINGS.get(ending)
    if format is not None and named not in (None, format):
        raise UsageError(f"{output} names {named} by its ending, but format is {format}; change one of the two.", "format")
    if ending in PACKED and output is not None and kind_of(output) in KINDS:
        raise UsageError(f"{output} would not be compressed; leave the ending {ending} out.", "output")
    if format is None and named is None and ending in (*KINDS, *OTHER_TABLES):
        raise UsageError(f"No format is written as {ending}; end {output} with {', '.join(ENDINGS)}, or name a format.", "format")
    return format or named or "jsonl"


def check_escape(name: str, escape: bool) -> None:
    """Raise UsageError where formulas are to be escaped in a format without cells."""
    if escape and find_format(name).escape is None:
        raise UsageError(f"Only csv has cells to escape; {name} has none.", "escape_formulas")
