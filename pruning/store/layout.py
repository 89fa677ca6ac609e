"""The experiment's folder: a public format, and the only place that joins its paths.

    experiment.json                    settings, data and model fingerprints, versions; written first
    examples.parquet                   id, row, label, the task's fields, every source column as "source.<name>"
    evaluation.parquet                 the same for the evaluation data
    source.jsonl                       a copy of the source when it was JSON lines, so that an export is verbatim
    dynamics/run=0/epoch=0.parquet     what one epoch of one run recorded, by id
    frontier.parquet                   one row per fine-tuning of a subset
    subsets/NAME.parquet               the ids that a subset saved under NAME keeps
    checksums.jsonl                    append-only: file, bytes and sha256 of every file above, before it appears; file and began,
                                       the checksum of the first line, of every append-only file below
    decisions.jsonl                    append-only: what a person decided by hand
    events.jsonl                       append-only: progress of jobs; its last line is the sign of life
    checkpoints/                       state of unfinished fine-tunings; gone when they are done
    learning-rate/RECIPE/              finished runs of an unfinished search for a learning rate; removed when it is done
    views.jsonl                        append-only: filters that a person saved under a name
    cache/                             what took long to work out; may be deleted at any time
    diverged/seed=1215/                recordings of runs that diverged and were trained again with another seed
    frontier.damaged.parquet           a frontier.parquet that was not what was recorded, put aside to be measured again
    decisions.damaged.jsonl            likewise an append-only file, whose whole lines were written anew (events, checksums, views too)
    jobs/TIME-ABCD.log                 the log of one job: progress, warnings, and the traceback it died of
    jobs/TIME-ABCD.json                the settings file of a scoring that the dashboard started (settings_file.py)
    lock                               held by the one worker that may write; names it (pid and start time) while it does
    exports/<name>/                    data and its manifest.json, written last

The columns of frontier.parquet say what a fine-tuning was of (subset, method, rule, kept, kept_fraction, rows_sha256, budget,
burn_in), how it was trained (seed, epochs, seconds, steps, and finished: when, in seconds since 1970), what the evaluation data
gave (a column for each metric, and class_accuracy.NAME for each class) and how it went (micro_batch, stuck);
`records.FineTuning` describes each.

A saved subset has one column, id (int64, in source order), and in its schema's metadata, as "subset", one JSON value: rule (the name of the
subset it was made from), words (that rule in words), burn_in, seed, runs (how many were complete), total (examples before pruning) and
created (ISO, UTC).

experiment.json ends with "sha256", the digest of the bytes of the file before the comma that precedes it. Whoever edits the file
removes that entry; `verify` still says that the file is not the one that Winnow wrote.

Every line of an append-only file is a JSON object that ends with `"line": 7, "crc": "1a2b3c4d"}`: its number in the file, from 1, and
the CRC-32 of the bytes of the line before `, "crc"`. A line that follows one that a crash cut short says `"torn": true`. Damaged lines
are left out by every reader and named by `verify`; a last line without its end is passed over. Lines of folders written before these
checksums existed have neither and are read as they are. A checkpoint ends with the sha256 of the bytes before it, in 64 digits.

Everything else that a page or a command shows is derived from these files. A file without a line in checksums.jsonl (of
another tool) is taken as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pruning.errors import ExperimentError


@dataclass(frozen=True, slots=True)
class Folder:
    """Every path of one experiment."""

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / "experiment.json"

    @property
    def examples(self) -> Path:
        return self.root / "examples.parquet"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation.parquet"

    @property
    def source(self) -> Path:
        return self.root / "source.jsonl"

    @property
    def of_data(self) -> tuple[Path, ...]:
        """The files that are made of the data, and can be made of it again."""
        return self.examples, self.evaluation, self.source

    @property
    def dynamics(self) -> Path:
        return self.root / "dynamics"

    def epoch(self, run: int, epoch: int) -> Path:
        return self.dynamics / f"run={run}" / f"epoch={epoch}.parquet"

    def epochs(self, runs: Iterable[int], epochs: int) -> list[Path]:
        """The recordings of these runs, of so many epochs each, whether they are there or not."""
        return [self.epoch(run, epoch) for run in runs for epoch in range(epochs)]

    @property
    def frontier(self) -> Path:
        return self.root / "frontier.parquet"

    @property
    def damaged_frontier(self) -> Path:
        return self.root / "frontier.damaged.parquet"

    @property
    def subsets(self) -> Path:
        return self.root / "subsets"

    def saved(self, name: str) -> Path:
        return self.subsets / f"{name}.parquet"

    @property
    def checksums(self) -> Path:
        return self.root / "checksums.jsonl"

    @property
    def decisions(self) -> Path:
        return self.root / "decisions.jsonl"

    @property
    def views(self) -> Path:
        return self.root / "views.jsonl"

    def cache(self, name: str) -> Path:
        return self.root / "cache" / f"{name}.npz"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    def checkpoint(self, name: str) -> Path:
        return self.checkpoints / f"{name}.pt"

    @property
    def searches(self) -> Path:
        return self.root / "learning-rate"

    def trial(self, recipe: str, name: str) -> Path:
        return self.searches / recipe / f"{name}.parquet"

    @property
    def diverged(self) -> Path:
        return self.root / "diverged"

    def aside(self, seed: int, again: int = 1) -> Path:
        return self.diverged / (f"seed={seed}" if again == 1 else f"seed={seed}-{again}")

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    def job_log(self, name: str) -> Path:
        """The log of a job, by the file name that its events give."""
        return self.jobs / Path(name).name

    @property
    def append_only(self) -> tuple[Path, ...]:
        """The files of lines; see `pruning.store.lines`."""
        return self.checksums, self.decisions, self.events, self.views

    @property
    def exports(self) -> Path:
        return self.root / "exports"


def read_table(path: Path, columns: Sequence[str] | None) -> pa.Table:
    """A Parquet file of the folder, or some of its columns. Raises ExperimentError when it is missing or damaged."""
    try:
        return pq.ParquetFile(path).read(columns=list(columns) if columns is not None else None)
    except FileNotFoundError:
        raise ExperimentError(f"{path} is not there; resume the experiment to make it.") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise ExperimentError(f"{path} is damaged ({error}); delete it and resume the experiment.") from None


def read_notes(path: Path) -> dict[str, str]:
    """What a Parquet file says of itself, without its data. Raises ExperimentError when it is damaged."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise ExperimentError(f"{path} is damaged ({error}); delete it and resume the experiment.") from None
    return {name.decode(): value.decode() for name, value in metadata.items()}
