"""Make an experiment of sampled answers: its rows from the prompts' own data, or from the log where that is not given."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pruning.analysis.rates import already_filtered
from pruning.data.examples import SOURCE_PREFIX, Examples, load_training
from pruning.data.tasks.rollouts import SAMPLED
from pruning.errors import DataError, ExperimentError, UsageError
from pruning.experiment import Experiment
from pruning.files import atomic_write
from pruning.formatting import counted as words
from pruning.interop.answers import counting
from pruning.interop.answers.counting import Counted, Counts
from pruning.interop.answers.log import Log, Sample, Wanted
from pruning.interop.answers.matching import forms, rows_of_samples
from pruning.interop.answers.reading import AUTO, read_log
from pruning.interop.logits import from_success
from pruning.interop.recorder import make
from pruning.records import JobState
from pruning.settings import Settings, TrainSettings, default_seeds
from pruning.store import sampled
from pruning.store.checksums import write_manifest
from pruning.store.columns import write_columns
from pruning.store.layout import Folder
from pruning.store.lock import own

logger = logging.getLogger(__name__)

SAMPLE = "sample"
"""Tool name of answers that Winnow sampled itself; they know their row of the data."""

BY_ROW = ("wide", SAMPLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a log is read and counted."""

    data: str = ""
    """The prompts' own data; empty = the log's rows, or rows made from it."""
    tool: str = AUTO
    wanted: Wanted = field(default_factory=Wanted)
    threshold: float | None = None
    """Smallest reward that counts as right; None = rewards are 0 and 1, or -1 and 1."""
    windows: int | None = None
    """Parts into which the steps are divided, each an epoch; None = chosen."""
    chance: float = 0.0
    """Probability that a guess is right, 0..1."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the data: columns, id_column, drop_invalid."""


def import_answers(
    recording: Sequence[str | Path], directory: str | Path, options: Options, judge: Callable[[Log], None] = lambda log: None
) -> Experiment:
    """Create an experiment from a log of sampled answers; see `pruning.store.sampled` for what is stored.

    `judge` may give the answers other rewards (see `pruning.sampling.judging`).

    Raises DataError in one sentence with the line for what cannot be read or matched, UsageError for what has to be named, and
    ExperimentError where the folder has a recording already.
    """
    paths = [Path(path) for path in recording]
    log = read_log(paths, options.tool, options.wanted)
    judge(log)
    return record(log, directory, options, paths)


def record(
    log: Log,
    directory: str | Path,
    options: Options,
    paths: Sequence[Path] = (),
    about: Mapping[str, Any] | None = None,
    again: bool = False,
) -> Experiment:
    """Create the experiment of samples that are in memory; `again` keeps counts, which a later call may replace."""
    if not 0 <= options.chance < 1:
        raise UsageError(f"chance must be between 0 and 1, got {options.chance:g}.", "chance")
    folder = Folder(Path(directory))
    if not again and (folder.dynamics.exists() or folder.successes.exists()):
        raise ExperimentError(f"{folder.root} has a recording already; choose a new folder.")
    settings = _settings(log, folder, options, paths)
    examples = load_training(settings)
    positions, unmatched = _positions(log, examples, options)
    right, threshold = counting.successes_of(log.samples, options.threshold)
    steps, windows = counting.windows_of([sample.step for sample in log.samples], positions, options.windows)
    found = counting.counted(right, steps, positions, len(windows), len(examples))
    if again or (log.tool == "wide" and not _ordered(options.wanted)):
        found = Counted(found.successes, found.attempts, None)
    runs = sampled.bands_of(found.attempts) if found.cube is None else len(found.cube)
    recipe = TrainSettings(epochs=len(windows))
    settings = settings.with_changes(recorded_by=log.tool, seeds=default_seeds(runs), train=recipe, look=False)
    warnings = [*log.warnings, *filter(None, [unmatched]), *_warnings(log, right, found, windows, examples)]
    told = {"tool": log.tool, "threshold": threshold, "windows": windows, "chance": options.chance, "warnings": warnings, **(about or {})}
    with own(folder):
        experiment = make(directory, settings)
        _write(experiment, found, log.samples, right, steps, positions)
        write_manifest(folder, {**experiment.info, "rollouts": told})
        experiment.log("finished", state=JobState.DONE, verb="import", message=f"Imported from {log.tool}.")
    logger.info("%d answers of %s to %d prompts", len(log.samples), log.tool, len(examples))
    return Experiment(directory)


def _ordered(wanted: Wanted) -> bool:
    """Return True where single answers were logged, not rates or counts."""
    return not (wanted.pass_rate or wanted.successes or wanted.failures)


def _settings(log: Log, folder: Folder, options: Options, paths: Sequence[Path]) -> Settings:
    data, columns = options.data, dict(options.settings.get("columns", {}))
    if not data and log.tool == "wide":
        data = ",".join(map(str, paths))
        columns |= {name: column for name, column in (("prompt", options.wanted.prompt), ("key", options.wanted.key)) if column}
    elif not data and log.tool != SAMPLE:
        data = str(_write_rows(log.samples, folder.root.with_name(f"{folder.root.name}.prompts.jsonl")))
        columns = {}
    return Settings(data=data, model="", task=SAMPLED).with_changes(**{**options.settings, "columns": columns})


def _write_rows(samples: Sequence[Sample], path: Path) -> Path:
    """Write a row for each prompt of the log: its id where it has one, its text, its key. An earlier, other file is not replaced."""
    rows: dict[str, dict[str, Any]] = {}
    for sample in samples:
        found = rows.setdefault(
            _identity(sample), {**({"name": sample.name} if sample.name else {}), "prompt": sample.prompt or sample.name}
        )
        if sample.key is not None and found.setdefault("answer", sample.key) != sample.key:
            raise DataError(
                f"{sample.where} has the key {sample.key[:60]!r} to a prompt that had {str(found['answer'])[:60]!r} before; give the data "
                "that was sampled (--data), or an id of the prompts."
            )
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values())
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise UsageError(f"{path} exists and has other prompts; remove it, or choose another folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def _identity(sample: Sample) -> str:
    return sample.name or next(iter(forms(sample.prompt)), "")


def _positions(log: Log, examples: Examples, options: Options) -> tuple[Counts, str]:
    """Return [samples] the position of each sample's row in the data, and what did not match."""
    rows = np.asarray(examples.table["row"], dtype=np.int64)
    if log.tool in BY_ROW and (not options.data or log.tool == SAMPLE):
        place = {int(row): position for position, row in enumerate(rows)}
        return np.asarray([place.get(sample.row, -1) for sample in log.samples], dtype=np.int64), ""
    if not options.data:
        made = {name: position for position, name in enumerate(dict.fromkeys(map(_identity, log.samples)))}
        return np.asarray([made[_identity(sample)] for sample in log.samples], dtype=np.int64), ""
    column = options.settings.get("id_column")
    names = None
    if column:
        names = [str(value) for value in examples.table[SOURCE_PREFIX + column].to_pylist()]
        if not any(sample.name for sample in log.samples):
            raise UsageError(
                f"The log has no ids of its prompts (tool {log.tool}); leave --id out to join by the prompts' text.", "id_column"
            )
    found, unmatched = rows_of_samples(log.samples, examples.table["prompt"].to_pylist(), names, options.data)
    return np.asarray(found, dtype=np.int64), unmatched


def _warnings(log: Log, right: Sequence[bool | None], found: Counted, windows: Sequence[tuple[int, int]], examples: Examples) -> list[str]:
    every, all_right = found.attempts.sum(axis=0), found.successes.sum(axis=0)
    unknown = [index for index, ok in enumerate(right) if ok is None]
    notes = [already_filtered(all_right, every)]
    if unknown:
        first = log.samples[unknown[0]].where
        notes.append(f"{words(len(unknown), 'answer')} without a verdict (the first at {first}) count as unknown, not as wrong.")
    if never := int((every == 0).sum()):
        ids = ", ".join(map(str, examples.ids[every == 0][:5]))
        notes.append(
            f"{words(never, 'prompt')} of the data {'was' if never == 1 else 'were'} not sampled (ids {ids}), which is not a failure."
        )
    if cut := sum(bool(sample.cut) and ok is False for sample, ok in zip(log.samples, right, strict=True)):
        notes.append(f"{words(cut, 'wrong answer')} ran into the length limit; such a prompt is not hard for that (score share-cut).")
    if any(first != last for first, last in windows):
        notes.append(
            f"Steps {windows[0][0]} to {windows[-1][1]} of training are counted in {words(len(windows), 'window')}; success changes while "
            "a model trains, and --windows N separates the steps."
        )
    return list(filter(None, notes))


def _write(
    experiment: Experiment,
    found: Counted,
    samples: Sequence[Sample],
    right: Sequence[bool | None],
    windows: Counts,
    positions: Counts,
) -> None:
    folder, ids = experiment.folder, experiment.ids
    if found.cube is None:
        sampled.write_counts(folder, ids, found.successes, found.attempts)
    else:
        for run, epoch in np.ndindex(*found.cube.shape[:2]):
            experiment.write_epoch(run, from_success(f"sample {run}", epoch, found.cube[run, epoch]))
    if extras := counting.extras_of(samples, right, positions, len(ids)):
        write_columns(folder, folder.extras, ids, extras)
    if any(sample.answer is not None for sample in samples):
        sampled.write_answers(folder, _table(samples, right, windows, positions, ids))


def _table(samples: Sequence[Sample], right: Sequence[bool | None], windows: Counts, positions: Counts, ids: Counts) -> pd.DataFrame:
    """Return the answers that belong to a row of the data, by example, epoch and sample."""
    there = np.flatnonzero(positions >= 0)
    order = there[np.lexsort((there, windows[there], positions[there]))]
    kept: list[int] = order.tolist()
    table = pd.DataFrame(
        {
            "id": ids[positions[order]],
            "epoch": windows[order].astype(np.int32),
            "answer": [samples[i].answer for i in kept],
            "reward": [samples[i].reward for i in kept],
            "right": pd.array([right[i] for i in kept], dtype="boolean"),
            "tokens": pd.array([samples[i].tokens for i in kept], dtype="Int32"),
            "cut": pd.array([samples[i].cut for i in kept], dtype="boolean"),
        }
    )
    return table.assign(sample=table.groupby(["id", "epoch"]).cumcount().astype(np.int32))
