"""Write a subset, and the manifest that says exactly what it is and how to reproduce it.

The manifest appears just before the data: an export that differs from its manifest was not finished. The formats are in
`pruning.export.formats`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shlex
import shutil
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pruning import __version__
from pruning.analysis.duplicates import leaks
from pruning.analysis.frontier import subset_sha256
from pruning.analysis.learned import Verdict
from pruning.data.tasks.rollouts import SAMPLED
from pruning.errors import ExportError
from pruning.export import target
from pruning.export.exportable import Exportable
from pruning.export.formats import Format, check_escape, find_format, of_output
from pruning.export.rows import as_written, text_only
from pruning.export.target import files_of, manifest_path
from pruning.files import atomic_write, sha256
from pruning.records import DECISIONS, Subset
from pruning.store.checksums import check_data

__all__ = [
    "archive",
    "archived",
    "build",
    "default_output",
    "files_of",
    "format_warnings",
    "is_current",
    "manifest_path",
    "subset_warnings",
    "verify",
    "warnings",
]

logger = logging.getLogger(__name__)

FORMULA_RISK = (
    "Cells are written as they are: a spreadsheet runs text that starts with =, +, -, @, a tab or a carriage return as a formula. "
    "Open the file in one only after exporting with --escape-formulas."
)
"""Warning about a CSV file for training."""


def build(
    source: Exportable,
    subset: Subset,
    output: str | Path,
    format: str | None = None,
    force: bool = False,
    escape_formulas: bool = False,
) -> dict[str, Any]:
    """Write `subset` to `output` and its manifest beside it; return the manifest.

    `format` None is the one that the ending of `output` names, else jsonl. Rows whose label was changed by hand have the new label;
    all other rows of JSON lines are copied byte for byte. `escape_formulas` keeps spreadsheets from running cells of a CSV file.

    Raises ExportError when the output exists (and not `force`), the subset is empty, or a column cannot be written with the values of
    its source; UsageError for an unknown format, or one that the ending of `output` contradicts.
    """
    output = Path(output)
    format = of_output(output, format)
    check_escape(format, escape_formulas)
    chosen = find_format(format)
    write = chosen.escape if escape_formulas and chosen.escape is not None else chosen.write
    if subset.size == 0:
        raise ExportError(f"{subset.name} keeps no examples; there is nothing to export.")
    target.sweep(output.parent)
    data = [source.settings.data, source.settings.evaluation]
    replaces = target.check(data, output, force, chosen.folder)
    check_data(source.folder)
    with target.staged(output) as temporary:
        labels = as_written(source, _labels(subset, chosen))
        rows = write(source, subset.kept, labels, temporary)
        if rows != subset.size:
            raise ExportError(f"{output} would have {rows} rows instead of {subset.size}; {source.folder.root} does not match its source.")
        manifest = _manifest(source, subset, output, format, temporary, replaces, escape_formulas)
        with target.staged(manifest_path(output)) as written:
            written.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
        if output.is_dir():
            target.check(data, output, force, chosen.folder)
            shutil.rmtree(output)
    logger.info("wrote %d rows of %s to %s", subset.size, subset.name, output)
    return manifest


def verify(output: str | Path) -> dict[str, Any]:
    """Check an export against its manifest and return the manifest. Raises ExportError naming what differs."""
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
    found = target.digest(output)
    if found != expected:
        if found == manifest.get("replaces"):
            raise ExportError(f"{output} is an earlier export; the one that its manifest describes was not finished. Export it again.")
        raise ExportError(
            f"{output} differs from its manifest: {_bytes(output)} bytes and sha256 {found[:12]} instead of {size} and {expected[:12]}."
        )
    return manifest


def is_current(manifest: Mapping[str, Any], source: Exportable, subset: Subset, escape_formulas: bool = False) -> bool:
    """Return True when `build` would write the same as that manifest says: the same data, rows, rule, burn-in, decisions and cells.

    Raises UsageError where the manifest names an unknown format.
    """
    now = _content(source, subset, manifest["output"]["format"], escape_formulas)
    return all(manifest.get(key) == value for key, value in now.items())


def _labels(subset: Subset, format: Format) -> Mapping[int, str]:
    """Return the changed labels that an export in that format has: all, or none."""
    return subset.labels if format.relabels else {}


def archive(output: Path) -> Path:
    """Pack an export that is a folder, and its manifest, into one zip beside it; return the zip's path.

    Raises ExportError where another file has the zip's name.
    """
    there = _archive_path(output)
    if os.path.lexists(there) and not (zipfile.is_zipfile(there) and re.fullmatch(rb"[0-9a-f]{64}", _comment(there))):
        raise ExportError(f"{there} exists and is not a zip of an export; move it away.")
    manifest = manifest_path(output)
    with atomic_write(_archive_path(output)) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        zipped.comment = sha256(manifest).encode()
        zipped.write(manifest, "manifest.json")
        for path in files_of(output):
            zipped.write(path, path.relative_to(output.parent))
    return _archive_path(output)


def _comment(path: Path) -> bytes:
    with zipfile.ZipFile(path) as zipped:
        return zipped.comment


def archived(output: Path) -> Path | None:
    """Return the zip that `archive` made of this export, or None."""
    path = _archive_path(output)
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as zipped:
        return path if zipped.comment == sha256(manifest_path(output)).encode() else None


def _archive_path(output: Path) -> Path:
    return output.with_name(output.name + ".zip")


def default_output(source: Exportable, subset: Subset, format: str) -> Path:
    """Return the default path of an export: a folder in exports/ for each subset, whatever characters its name has, and format.

    Raises UsageError for an unknown format.
    """
    ending = "data" if find_format(format).folder else f"data.{format}"
    plain = subset.name.replace("@", "-of-").replace("+", "-with-")
    safe = re.sub(r"[^\w.=%-]", "_", plain).lstrip(".")[:80]
    if safe != plain:
        safe += "-" + hashlib.sha256(plain.encode()).hexdigest()[:8]
    return source.folder.exports / (safe if format == "jsonl" else f"{safe}-{format}") / ending


def _manifest(
    source: Exportable, subset: Subset, output: Path, format: str, written: Path, replaces: str | None, escape_formulas: bool
) -> dict[str, Any]:
    command = ["python", "-m", "pruning", "export", str(source.folder.root), "--subset", subset.name, "--format", format]
    command += ["--output", str(output), "--burn-in", str(source.burn_in)]
    command += ["--success", source.success.name] if source.success else []
    command += [] if source.with_decisions else ["--without-decisions"]
    command += ["--escape-formulas"] if escape_formulas else []
    return {
        "format": 1,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "experiment": source.name,
        "model": source.info["model"],
        "versions": source.info["versions"],
        "winnow": __version__,
        "settings": source.settings.to_dict(),
        "seeds": list(source.dynamics.seeds),
        "stopped": source.stopped,
        **_content(source, subset, format, escape_formulas),
        "groups": None if source.settings.task == SAMPLED else source.groups(subset).to_dict(),
        "warnings": [*warnings(source, subset), *format_warnings(source, format, escape_formulas)],
        "ids": subset.kept.tolist(),
        "output": _output(output, format, subset.size, written),
        **({} if replaces is None else {"replaces": replaces}),
        "command": shlex.join(command),
    }


def _output(output: Path, format: str, rows: int, written: Path) -> dict[str, Any]:
    """Return the part of a manifest that describes the file or folder written."""
    found = {"name": output.name, "format": format, "rows": rows, "bytes": _bytes(written), "sha256": target.digest(written)}
    return found if written.is_file() else {**found, "files": [path.relative_to(written).as_posix() for path in files_of(written)]}


def _content(source: Exportable, subset: Subset, format: str, escape_formulas: bool) -> dict[str, Any]:
    """Return the part of a manifest that decides what is in the export."""
    decided, by_hand = source.applied, subset.name.endswith(DECISIONS)
    labels = _labels(subset, find_format(format))
    return {
        **({"cells": {"formulas_escaped": escape_formulas}} if find_format(format).escape else {}),
        "data": {"source": source.settings.data, **source.info["data"]},
        "subset": {
            "name": subset.name,
            "method": subset.method,
            "rule": subset.rule,
            "burn_in": source.burn_in,
            **({"success": source.success.name, "success_words": source.success.words} if source.success else {}),
            "removes": None if subset.removes is None else list(subset.removes),
            "kept": subset.size,
            "total": subset.total,
            "rows_sha256": subset_sha256(subset),
        },
        "decisions": {
            "kept": len(decided.kept) * by_hand,
            "dropped": len(decided.dropped) * by_hand,
            "relabelled": len(labels),
            "labels": {str(example): label for example, label in labels.items()},
        },
    }


def warnings(source: Exportable, subset: Subset) -> list[str]:
    """Return what to know before training on this subset, in sentences: about the scores, the runs and the subset itself."""
    caveat = source.settings.caveat
    learned = source.learned
    unsure = [] if learned.verdict in (Verdict.LEARNED, Verdict.UNKNOWN) else [learned.sentence]
    return [*([caveat] if caveat else []), *unsure, *source.warnings(), *subset_warnings(source, subset)]


def format_warnings(source: Exportable, format: str, escape_formulas: bool = False) -> list[str]:
    """Return what to know about the values in a file of that format, in sentences."""
    if escape_formulas:
        return [
            "Text that a spreadsheet would run as a formula has an apostrophe before it (--escape-formulas); do not train on this file."
        ]
    if find_format(format).escape:
        return [FORMULA_RISK]
    found = [] if format != "jsonl" else text_only(source)
    return [f"Columns {', '.join(map(repr, found))} hold dates, times or decimals, which JSON has as text (ISO 8601)."] if found else []


def subset_warnings(source: Exportable, subset: Subset) -> list[str]:
    """Return the warnings about the subset itself, and about missing runs."""
    found = []
    complete, asked = source.dynamics.runs, source.settings.runs
    if not complete:
        found.append("Chosen before any training.")
    elif complete < asked:
        found.append(f"Only {complete} of {asked} runs are complete; the scores rest on those.")
    if source.settings.task == SAMPLED:
        found.append(f"What {subset.name} does to training is not measured here: compare a run on it with one on random@{subset.size}.")
    elif subset_sha256(subset) not in set(source.finished()["rows_sha256"]):
        found.append(f"{subset.name} was never trained on: what it costs in accuracy is unknown. Measure it with the frontier first.")
    else:
        found += source.groups(subset).warnings
    if labels := subset.labels:
        found.append(f"Labels changed by hand: {len(labels):,}. The scores were made with the labels before that.")
    if source.labels is not None and len(np.unique(source.labels[subset.mask(source.ids)])) == 1:
        found.append(f"All {subset.size:,} examples it keeps have one class; a model would learn nothing.")
    leaked = int(leaks(source.duplicates, subset.total)[: subset.total][subset.mask(source.ids)].sum())
    if leaked:
        found.append(f"{leaked:,} of its examples are also in the evaluation data, exactly or nearly: its accuracy is overestimated.")
    return found


def _bytes(output: Path) -> int:
    return sum(path.stat().st_size for path in files_of(output))
