"""Write the chosen subset, and the manifest that says exactly what it is and how to make it again.

JSON lines come out byte for byte and in their order; the manifest is written last, so an export without one is unfinished.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shlex
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.audit import NEEDED, rebuilt
from pruning.data import SOURCE_PREFIX
from pruning.divergence import warnings as diverged
from pruning.duplicates import leaks
from pruning.errors import ExportError, UsageError
from pruning.experiment import Experiment
from pruning.files import atomic_write, sha256, write_json
from pruning.folder import read_table
from pruning.frontier import rows_sha256
from pruning.records import Subset
from pruning.scores import missing
from pruning.subsets import DECISIONS

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet run a cell; such cells get an apostrophe in front."""

BATCH = 8192
"""Rows in memory at a time."""


def build(
    experiment: Experiment,
    subset: Subset,
    output: str | Path,
    format: str = "jsonl",
    force: bool = False,
    burn_in: int | None = None,
) -> dict[str, Any]:
    """Write `subset` of the experiment to `output` and its manifest beside it; return the manifest.

    Labels changed by hand are changed in the rows that come out; every other byte of a JSON-lines row stays.
    Raises ExportError when the output exists (and not `force`) or the subset is empty, UsageError for an unknown format.
    """
    output = Path(output)
    if format not in WRITERS:
        raise UsageError(f"--format is {format!r}; use one of {', '.join(WRITERS)}.")
    if subset.size == 0:
        raise ExportError(f"{subset.name} keeps no example; there is nothing to export.")
    if output.exists() and not force:
        raise ExportError(f"{output} exists; choose another name or add --force to replace it.")
    experiment.check_data()
    with atomic_write(output) as temporary:
        rows = WRITERS[format](experiment, subset.kept, _as_written(experiment, relabelled(experiment, subset)), temporary)
        if rows != subset.size:
            raise ExportError(
                f"{output} would get {rows} rows instead of {subset.size}; {experiment.folder.root} does not match its source."
            )
        manifest_path(output).unlink(missing_ok=True)
        if output.is_dir():
            shutil.rmtree(output)
    manifest = _manifest(experiment, subset, output, format, experiment.burn_in(burn_in))
    write_json(manifest_path(output), manifest)
    return manifest


def verify(output: str | Path) -> dict[str, Any]:
    """Check an export against its manifest and return the manifest. Raises ExportError saying what differs."""
    output = Path(output)
    if not output.exists():
        raise ExportError(f"{output} is not there.")
    path = manifest_path(output)
    if not path.exists():
        raise ExportError(f"{output} has no manifest at {path}; the export was not finished, or the manifest was not copied along.")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        expected, size = manifest["output"]["sha256"], manifest["output"]["bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{path} is not a manifest of Winnow: {error}.") from None
    found = _digest(output)
    if found != expected:
        raise ExportError(
            f"{output} differs from its manifest: {_bytes(output)} bytes and sha256 {found[:12]} instead of {size} and {expected[:12]}."
        )
    return manifest


def is_current(manifest: Mapping[str, Any], experiment: Experiment, subset: Subset, burn_in: int | None = None) -> bool:
    """Whether the export of that manifest is what `build` would write now: of the same data, rows, rule, burn-in and decisions."""
    now = _content(experiment, subset, manifest["output"]["format"], experiment.burn_in(burn_in))
    return all(manifest.get(key) == value for key, value in now.items())


def relabelled(experiment: Experiment, subset: Subset) -> dict[int, str]:
    """Id -> new label, for the examples of `subset` whose label was changed by hand into another one."""
    decided = experiment.decided.labels
    if not decided:
        return {}
    changed = np.isin(experiment.ids, np.fromiter(decided, dtype=np.int64)) & np.isin(experiment.ids, subset.kept)
    new = {example: decided[example] for example in experiment.ids[changed].tolist()}
    if experiment.labels is None:
        return new
    old = [experiment.label_names[label] for label in experiment.labels[changed].tolist()]
    return {example: label for (example, label), before in zip(new.items(), old, strict=True) if label != before}


def archive(output: Path) -> Path:
    """Put an export that is a folder, and its manifest, into one zip beside it, on disk; return the zip's path."""
    manifest = manifest_path(output)
    with atomic_write(_archive_path(output)) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        zipped.comment = sha256(manifest).encode()
        zipped.write(manifest, "manifest.json")
        for path in _files(output):
            zipped.write(path, path.relative_to(output.parent))
    return _archive_path(output)


def archived(output: Path) -> Path | None:
    """The zip that `archive` made of this very export, or None."""
    path = _archive_path(output)
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as zipped:
        return path if zipped.comment == sha256(manifest_path(output)).encode() else None


def _archive_path(output: Path) -> Path:
    return output.with_name(output.name + ".zip")


def manifest_path(output: Path) -> Path:
    """manifest.json in an experiment's exports/<name>/, elsewhere the output's name with .manifest.json after it."""
    if output.parent.parent.name == "exports":
        return output.with_name("manifest.json")
    return output.with_name(output.name + ".manifest.json")


def default_output(experiment: Experiment, subset: Subset, format: str) -> Path:
    """Where an export goes when no place is named: a folder of exports/ for each subset, whatever letters its name has, and format."""
    ending = "data" if format in ("hf", "cartography") else f"data.{format}"
    plain = subset.name.replace("@", "-of-").replace("+", "-with-")
    safe = re.sub(r"[^\w.=%-]", "_", plain).lstrip(".")[:80]
    if safe != plain:
        safe += "-" + hashlib.sha256(plain.encode()).hexdigest()[:8]
    return experiment.folder.exports / (safe if format == "jsonl" else f"{safe}-{format}") / ending


def _write_jsonl(experiment: Experiment, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    with path.open("wb") as file:
        if experiment.folder.source.exists():
            return _copy_lines(experiment, kept, labels, file)
        written = 0
        for batch in _source_batches(experiment, kept, labels):
            for row in batch.to_pylist():
                file.write(json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n")
            written += batch.num_rows
        return written


def _copy_lines(experiment: Experiment, kept: NDArray[np.int64], labels: Mapping[int, Any], file: IO[bytes]) -> int:
    """Copy the kept lines of source.jsonl as they are; `row` counts its lines that are not blank."""
    table = experiment.examples(["id", "row"])
    chosen = np.isin(np.asarray(table["id"]), kept)
    ids_of = dict(zip(np.asarray(table["row"])[chosen].tolist(), np.asarray(table["id"])[chosen].tolist(), strict=True))
    column = experiment.settings.label_column
    written = row = 0
    with experiment.folder.source.open("rb") as lines:
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


def _as_written(experiment: Experiment, labels: Mapping[int, str]) -> dict[int, Any]:
    """Labels by id as the source's own column writes them: a name, a number, a truth value or the index of a declared class."""
    column = SOURCE_PREFIX + experiment.settings.label_column
    if not labels or column not in experiment.schema.names:
        return dict(labels)
    values, written = experiment.examples([column])[column], {}
    if experiment.labels is not None:
        codes, rows = np.unique(experiment.labels, return_index=True)
        written = {experiment.label_names[code]: values[row].as_py() for code, row in zip(codes.tolist(), rows.tolist(), strict=True)}
    unseen = {label: _unseen(label, values[0].as_py(), written, experiment.label_names) for label in {*labels.values()} - written.keys()}
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


def _source_batches(experiment: Experiment, kept: NDArray[np.int64], labels: Mapping[int, Any]) -> Iterator[pa.RecordBatch]:
    """The kept rows with the source's own columns, in source order, a few thousand at a time."""
    with pq.ParquetFile(experiment.folder.examples) as file:
        names = [name for name in file.schema_arrow.names if name.startswith(SOURCE_PREFIX)]
        column = SOURCE_PREFIX + experiment.settings.label_column
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


def _write_csv(experiment: Experiment, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for batch in _source_batches(experiment, kept, labels):
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


def _write_parquet(experiment: Experiment, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    batches = _source_batches(experiment, kept, labels)
    first = next(batches)
    with pq.ParquetWriter(path, first.schema) as writer:
        return _written(writer, first) + sum(_written(writer, batch) for batch in batches)


def _written(writer: pq.ParquetWriter | pa.ipc.RecordBatchStreamWriter, batch: pa.RecordBatch) -> int:
    writer.write_batch(batch)
    return int(batch.num_rows)


def _write_hf(experiment: Experiment, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    """A folder that `datasets.load_from_disk` reads. The rows pass through a file that is mapped, not held in memory."""
    from datasets import Dataset
    from datasets.table import MemoryMappedTable

    scratch = path / "scratch" / "rows.arrow"
    scratch.parent.mkdir(parents=True)
    batches = _source_batches(experiment, kept, labels)
    first = next(batches)
    with pa.OSFile(str(scratch), "wb") as file, pa.ipc.new_stream(file, first.schema) as writer:
        rows = _written(writer, first) + sum(_written(writer, batch) for batch in batches)
    Dataset(MemoryMappedTable.from_file(str(scratch)), fingerprint=sha256(scratch)[:16]).save_to_disk(str(path))
    shutil.rmtree(scratch.parent)
    return rows


def _write_cartography(experiment: Experiment, kept: NDArray[np.int64], labels: Mapping[int, Any], path: Path) -> int:
    """One folder per run as allenai/cartography writes them: run=0/training_dynamics/dynamics_epoch_0.jsonl ...

    The guid is the id; the logits are logarithms of the recorded probabilities (see `audit.rebuilt`), so that gold
    probability and prediction are what they were. Labels changed by hand stay out: `gold` is what was trained on.
    """
    dynamics, seeds = experiment.dynamics, experiment.settings.seeds
    if experiment.labels is None or missing(dynamics) & NEEDED:
        raise ExportError(f"{experiment.folder.root} has no class probabilities, which cartography's format is made of.")
    chosen = np.flatnonzero(np.isin(experiment.ids, kept))
    for (run, seed), epoch in product(enumerate(dynamics.seeds), range(dynamics.epochs)):
        file = path / f"run={run}" / "training_dynamics" / f"dynamics_epoch_{epoch}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(_cartography_lines(experiment, chosen, experiment.folder.epoch(seeds.index(seed), epoch), epoch))
    return len(chosen)


def _cartography_lines(experiment: Experiment, chosen: NDArray[np.int64], recorded: Path, epoch: int) -> Iterator[str]:
    """The lines of the examples at those places, from one epoch's file alone, a few thousand worked out at a time."""
    table, labels, classes = read_table(recorded, sorted(NEEDED)), experiment.labels, len(experiment.label_names)
    gold_prob, gold_margin = (np.asarray(table[name], dtype=np.float32) for name in ("gold_prob", "gold_margin"))
    predicted = np.asarray(table["predicted"], dtype=np.int64)
    for start in range(0, len(chosen), BATCH):
        some = chosen[start : start + BATCH]
        gold = np.asarray(labels)[some]
        probabilities = rebuilt(gold_prob[some], gold_margin[some], predicted[some], gold, classes)
        logits = np.log(np.maximum(probabilities, 1e-30)).round(6)
        for i, z, y in zip(experiment.ids[some].tolist(), logits.tolist(), gold.tolist(), strict=True):
            yield json.dumps({"guid": i, f"logits_epoch_{epoch}": z, "gold": y}) + "\n"


WRITERS: dict[str, Callable[[Experiment, NDArray[np.int64], Mapping[int, Any], Path], int]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "parquet": _write_parquet,
    "hf": _write_hf,
    "cartography": _write_cartography,
}
"""Format -> writer of (experiment, kept ids, labels changed by hand as the source writes them, path), returning the rows written."""


def _manifest(experiment: Experiment, subset: Subset, output: Path, format: str, burn_in: int) -> dict[str, Any]:
    command = ["python", "-m", "pruning", "export", str(experiment.folder.root), "--subset", subset.name, "--format", format]
    command += ["--output", str(output), "--burn-in", str(burn_in), "--force"]
    return {
        "format": 1,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "experiment": experiment.name,
        "model": experiment.info["model"],
        "versions": experiment.info["versions"],
        "settings": experiment.settings.to_dict(),
        "seeds": list(experiment.dynamics.seeds),
        "stopped": experiment.stopped,
        **_content(experiment, subset, format, burn_in),
        "warnings": warnings(experiment, subset),
        "ids": subset.kept.tolist(),
        "output": {"name": output.name, "format": format, "rows": subset.size, "bytes": _bytes(output), "sha256": _digest(output)},
        "command": shlex.join(command),
    }


def _content(experiment: Experiment, subset: Subset, format: str, burn_in: int) -> dict[str, Any]:
    """The part of a manifest that decides what is in the export."""
    decided, by_hand = experiment.decided, subset.name.endswith(DECISIONS)
    labels = {} if format == "cartography" else relabelled(experiment, subset)
    return {
        "data": {"source": experiment.settings.data, **experiment.info["data"]},
        "subset": {
            "name": subset.name,
            "method": subset.method,
            "rule": subset.rule,
            "burn_in": burn_in,
            "removes": None if subset.removes is None else list(subset.removes),
            "kept": subset.size,
            "total": subset.total,
            "rows_sha256": rows_sha256(subset.kept),
        },
        "decisions": {
            "kept": len(decided.kept) * by_hand,
            "dropped": len(decided.dropped) * by_hand,
            "relabelled": len(labels),
            "labels": {str(example): label for example, label in labels.items()},
        },
    }


def warnings(experiment: Experiment, subset: Subset) -> list[str]:
    """What a person should know before training on this subset, in sentences: of the scores, of the runs, of the subset itself."""
    caveat = experiment.settings.caveat
    return [*([caveat] if caveat else []), *diverged(experiment), *subset_warnings(experiment, subset)]


def subset_warnings(experiment: Experiment, subset: Subset) -> list[str]:
    """Of these, what is about the subset itself, and about runs that are missing."""
    found = []
    complete, asked = experiment.dynamics.runs, experiment.settings.runs
    if complete < asked:
        found.append(f"Only {complete} of {asked} runs are complete; the scores rest on those.")
    if rows_sha256(subset.kept) not in set(experiment.finished()["rows_sha256"]):
        found.append(f"{subset.name} was never trained on: what it costs in accuracy is unknown. Measure it with the frontier first.")
    if labels := relabelled(experiment, subset):
        found.append(f"Labels changed by hand: {len(labels):,}. Scores and frontier were measured with the labels before that.")
    if experiment.labels is not None and len(np.unique(experiment.labels[np.isin(experiment.ids, subset.kept)])) == 1:
        found.append(f"All {subset.size:,} examples it keeps have one class; a model trained on them learns nothing.")
    leaked = int(leaks(experiment.duplicates, subset.total)[: subset.total][np.isin(experiment.ids, subset.kept)].sum())
    if leaked:
        found.append(f"{leaked:,} of its examples are in the evaluation data too, or nearly: the frontier flatters it.")
    return found


def _digest(output: Path) -> str:
    """sha256 of a file; of a folder, over the names and digests of all its files."""
    if output.is_file():
        return sha256(output)
    digest = hashlib.sha256()
    for path in _files(output):
        digest.update(f"{path.relative_to(output).as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()


def _bytes(output: Path) -> int:
    return sum(path.stat().st_size for path in ([output] if output.is_file() else _files(output)))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
