"""Import recordings of other tools into an experiment's folder.

- allenai/cartography: one folder per run with dynamics_epoch_0.jsonl, dynamics_epoch_1.jsonl, ... of lines
  {"guid": ..., "logits_epoch_0": [...], "gold": ...}. All scores are computed from the logits.
- The published code of the H-score, at either of its stages: the file of rewards [epochs, examples, runs] (with the file of gold
  probabilities, if there is one), or the folder of its runs, each with all_outputs.bin and sampler.bin.

Incomplete recordings are refused: a missing run, epoch or example would count as wrong.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pruning.data.examples import SOURCE_PREFIX, load_training
from pruning.errors import DataError, UsageError, system_words
from pruning.experiment import Experiment
from pruning.interop.logits import aligned, check_size, from_logits, from_success
from pruning.interop.recorder import make
from pruning.records import EpochRecord, JobState
from pruning.settings import PAPER_SEEDS, Settings, default_seeds
from pruning.store.layout import Folder
from pruning.store.lock import own

logger = logging.getLogger(__name__)

OUTPUTS, SAMPLER = "all_outputs.bin", "sampler.bin"

LARGEST = 1e38
"""Bound of the logits: the difference of two larger ones would not be a finite float32."""

Runs = list[list[EpochRecord]]
"""Per run, the records of its epochs."""


def take_over(
    recording: Sequence[str | Path],
    directory: str | Path,
    settings: Settings,
    *,
    runs: int | None = None,
    probabilities: str | Path | None = None,
    guid: str | None = None,
) -> Experiment:
    """Create an experiment from a recording of `settings.data`; seeds and epochs in the settings are those of the recording.

    `runs` is the expected number of runs: by default one per cartography folder, and the paper's six for the H-score's code. `guid`
    names the data's column of cartography's guids; by default they are the examples' ids. Raises DataError for missing or repeated
    parts and for recordings of other data, UsageError for options that do not fit.
    """
    paths = [Path(path) for path in recording]
    for path in paths:
        if not path.exists():
            raise DataError(f"There is no {path}.")
    cartography = all(_epoch_files(path) for path in paths)
    if not cartography and len(paths) > 1:
        raise UsageError("Several paths must be runs of cartography, each a folder with dynamics_epoch_0.jsonl; otherwise give one path.")
    examples = load_training(settings)
    labels = examples.labels
    if labels.dtype == object:
        raise UsageError(f"Recordings of the task {examples.task} cannot be imported: its answers are not one of several classes.")
    if cartography:
        keys = _keys(examples.table, guid)
        found = [_cartography(path, keys, labels, len(examples.label_names)) for path in paths]
    elif paths[0].is_dir():
        found = _outputs(paths[0], labels, len(examples.label_names))
    else:
        found = _rewards(paths[0], probabilities, len(labels))
    wanted = runs or (len(paths) if cartography else len(PAPER_SEEDS))
    if len(found) != wanted:
        raise DataError(f"{paths[0]} holds {len(found)} runs instead of {wanted}; if it is complete, use --runs {len(found)}.")
    if len({len(epochs) for epochs in found}) > 1:
        raise DataError(f"The runs have {', '.join(str(len(epochs)) for epochs in found)} epochs; all runs must have the same number.")
    recorder = "cartography" if cartography else "h-score"
    recipe = replace(settings.train, epochs=len(found[0]))
    logger.info("%s recording in %s: %d runs of %d epochs", recorder, paths[0], len(found), len(found[0]))
    return _write(directory, replace(settings, recorded_by=recorder, seeds=default_seeds(len(found)), train=recipe), found)


def _write(directory: str | Path, settings: Settings, runs: Runs) -> Experiment:
    with own(Folder(Path(directory))):
        experiment = make(directory, settings)
        for run, epochs in enumerate(runs):
            for record in epochs:
                experiment.write_epoch(run, record)
        experiment.log("finished", state=JobState.DONE, verb="import", message=f"Imported from {settings.recorded_by}.")
    return experiment


# -- allenai/cartography --------------------------------------------------------------------------------------------------


def _epoch_files(path: Path) -> list[Path]:
    """Return the epochs' files in order; `path` is the model's folder or its training_dynamics folder."""
    inner = path / "training_dynamics"
    files = list((inner if inner.is_dir() else path).glob("dynamics_epoch_*.jsonl")) if path.is_dir() else []
    return sorted(files, key=lambda file: (len(file.name), file.name))


def _cartography(path: Path, keys: list[str], labels: NDArray[np.int64], classes: int) -> list[EpochRecord]:
    files = _epoch_files(path)
    place = {key: index for index, key in enumerate(keys)}
    records = []
    for epoch, file in enumerate(files):
        if file.name != f"dynamics_epoch_{epoch}.jsonl":
            raise DataError(f"{file.parent} has no dynamics_epoch_{epoch}.jsonl, but {file.name}.")
        logits, gold = _epoch(file, epoch, place, classes)
        records.append(from_logits(path.name, epoch, aligned(logits, gold, labels, classes, str(file)), labels))
    return records


def _epoch(file: Path, epoch: int, place: dict[str, int], classes: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return logits [N, classes] and gold classes [N] of one file, in the data's order; 0 classes: as many as its first line has."""
    column = f"logits_epoch_{epoch}"
    logits, gold = np.empty((0, classes)), np.full(len(place), -1, dtype=np.int64)
    for where, line in _lines(file):
        lacking = [name for name in ("guid", column, "gold") if name not in line]
        if lacking:
            raise DataError(f"{where} has no {' and no '.join(lacking)}.")
        guid, values, right = line["guid"], line[column], line["gold"]
        index = place.get(str(guid)) if type(guid) in (str, int, float) else None
        if index is None:
            raise DataError(f"{where} has guid {guid}, which the data does not have; name its column with --guid.")
        if gold[index] >= 0:
            raise DataError(f"{where} repeats guid {guid}.")
        if not (isinstance(values, list) and values and all(type(value) in (int, float) and abs(value) < LARGEST for value in values)):
            raise DataError(f"{where} has a {column} that is not a list of finite numbers.")
        if not len(logits):
            check_size(len(place), classes or len(values))
            logits = np.empty((len(place), classes or len(values)))
        if len(values) != logits.shape[1]:
            raise DataError(f"{where} has {len(values)} numbers in {column} instead of {logits.shape[1]}, one for each class.")
        if type(right) is not int or not 0 <= right < len(values):
            wanted = f"a whole number from 0 to {len(values) - 1}, an index into its {column}"
            raise DataError(f"{where} has gold {json.dumps(right)}; it must be {wanted}.")
        logits[index], gold[index] = values, right
    absent = np.flatnonzero(gold < 0)
    if len(absent):
        raise DataError(f"{file} lacks {len(absent):,} of {len(gold):,} examples, first guid {[*place][absent[0]]}.")
    return logits, gold


def _lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each line that is not blank, with its position in words."""
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    where = f"Line {number} of {file}"
                    yield where, _object(line, where)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {system_words(error)}.") from None


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise DataError(f"{where} is not UTF-8; save the file as UTF-8.") from None
    except RecursionError:
        raise DataError(f"{where} is nested too deeply; it must be one flat JSON object.") from None
    except ValueError as error:
        raise DataError(f"{where} is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise DataError(f"{where} is not a JSON object.")
    return value


def _keys(table: pa.Table, guid: str | None) -> list[str]:
    """Return each example's name in the recording, in the data's order."""
    name = "id" if guid is None else SOURCE_PREFIX + guid
    if name not in table.column_names:
        columns = ", ".join(column.removeprefix(SOURCE_PREFIX) for column in table.column_names if column.startswith(SOURCE_PREFIX))
        raise DataError(f"The data has no column {guid!r} for guids; its columns are {columns}.")
    keys = [str(value) for value in table[name].to_pylist()]
    double = next((key for key, count in Counter(keys).items() if count > 1), None)
    if double is not None:
        raise DataError(f"Column {guid!r} of the data is not unique: {double} occurs twice.")
    return keys


# -- the published code of the H-score ------------------------------------------------------------------------------------


def _rewards(path: Path, probabilities: str | Path | None, examples: int) -> Runs:
    """Return [E, N, R] of 0 and 1, and the gold probabilities of the same shape."""
    rewards = _tensor(path, examples)
    if not np.isin(rewards, (0, 1)).all():
        raise DataError(f"{path} has rewards other than 0 and 1; pass a file of probabilities with --probabilities.")
    gold = None if probabilities is None else _tensor(Path(probabilities), examples)
    if gold is not None and gold.shape != rewards.shape:
        raise DataError(
            f"{probabilities} has the shape {list(gold.shape)}, {path} has {list(rewards.shape)}; they must record the same runs."
        )
    if gold is not None and not ((gold >= 0) & (gold <= 1)).all():
        raise DataError(f"{probabilities} has values outside 0 to 1, so they are not probabilities.")
    return [
        [
            from_success(f"run {run}", epoch, rewards[epoch, :, run].astype(np.bool_), None if gold is None else gold[epoch, :, run])
            for epoch in range(rewards.shape[0])
        ]
        for run in range(rewards.shape[2])
    ]


def _tensor(path: Path, examples: int) -> NDArray[Any]:
    from pruning.training.tensors import load as load_tensors

    values = load_tensors(path)
    if not isinstance(values, np.ndarray) or values.ndim != 3 or 0 in values.shape:
        found = list(values.shape) if isinstance(values, np.ndarray) else type(values).__name__
        raise DataError(f"{path} holds {found}, not one tensor [epochs, examples, runs].")
    if values.shape[1] != examples:
        raise DataError(f"{path} has {values.shape[1]:,} examples, the data has {examples:,}; they must be the same, in the same order.")
    return values


def _outputs(folder: Path, labels: NDArray[np.int64], classes: int) -> Runs:
    """Return the logits of every run's steps, put into the data's order by the run's permutation."""
    runs = sorted(
        path for path in folder.iterdir() if path.is_dir() and (path.joinpath(OUTPUTS).exists() or path.joinpath(SAMPLER).exists())
    )
    if not runs:
        raise DataError(f"{folder} has neither dynamics_epoch_0.jsonl nor runs with {OUTPUTS} and {SAMPLER}.")
    return [_output(run, labels, classes) for run in runs]


def _output(run: Path, labels: NDArray[np.int64], classes: int) -> list[EpochRecord]:
    from pruning.training.tensors import load as load_tensors

    for name in (OUTPUTS, SAMPLER):
        if not run.joinpath(name).exists():
            raise DataError(f"The run {run} has no {name}; every run needs one.")
    order = _order(load_tensors(run / SAMPLER), len(labels))
    if order is None:
        raise DataError(
            f"{run / SAMPLER} is not a permutation of the data's {len(labels):,} examples; a run on a pruned set lacks the other examples."
        )
    steps = load_tensors(run / OUTPUTS)
    if not (isinstance(steps, list) and steps and all(isinstance(step, np.ndarray) and step.ndim == 2 for step in steps)):
        raise DataError(f"{run / OUTPUTS} is not a list of logits [batch, classes].")
    widths, fewest = sorted({step.shape[1] for step in steps}), classes or int(labels.max()) + 1
    if len(widths) > 1 or widths[0] < fewest or (classes and widths[0] > classes):
        raise DataError(f"{run / OUTPUTS} has logits of {' and '.join(map(str, widths))} classes, the data has {fewest}.")
    logits = np.concatenate(steps)
    if not (np.abs(logits.astype(np.float64)) < LARGEST).all():
        raise DataError(f"{run / OUTPUTS} has logits that are not finite numbers.")
    if not len(logits) or len(logits) % len(labels):
        raise DataError(f"{run / OUTPUTS} has {len(logits):,} rows, which is not a multiple of {len(labels):,} examples.")
    place = np.argsort(order)
    return [
        from_logits(run.name, epoch, part[place], labels, place) for epoch, part in enumerate(np.split(logits, len(logits) // len(labels)))
    ]


def _order(saved: Any, examples: int) -> NDArray[np.int64] | None:
    """Return the permutation that a sampler saved; None if it is not a permutation of all examples."""
    try:
        order = np.asarray(saved)
    except ValueError:
        return None
    if order.dtype.kind not in "iu" or not np.array_equal(np.sort(order, axis=None), np.arange(examples)):
        return None
    return order.astype(np.int64).ravel()
