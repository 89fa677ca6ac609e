"""The experiment's folder, a public format. Its paths are joined here only.

    experiment.json                    settings, data and model fingerprints, versions; written first
    examples.parquet                   id, row, label, the task's fields, every source column as "source.<name>"
    evaluation.parquet                 the same for the evaluation data
    source.jsonl                       a copy of the source when it was JSON lines, so that an export is verbatim
    dynamics/run=0/epoch=0.parquet     what one epoch of one run recorded, by id
    successes.parquet                  sampled answers with unequal counts: id, epoch (a checkpoint), successes, attempts; then no dynamics/
    answers.parquet                    each sampled answer: id, epoch, sample, answer, reward, right (null = unknown), tokens, cut
    extras.parquet                     further numbers of each example, by id: of sampled answers consensus, answer_tokens, share_cut
    base.parquet                       for generation: tokens of each answer, and the unadapted model's loss of it, by id
    frontier.parquet                   one row per fine-tuning of a subset
    look/embeddings.npy                [N, D] float16: the training texts embedded by the pretrained model, length 1, in source order
    look/probabilities.npy             [N, classes] float32: the probe's out-of-sample probabilities; not where labels cannot be probed
    look/look.json                     model, pooling and result of the look; written last
    look/map.parquet                   the map by meaning, made after the look: id, x, y; its schema's metadata has the names of regions
    subsets/NAME.parquet               the ids that a subset saved under NAME keeps
    checksums.jsonl                    append-only: file, bytes and sha256 of every file above, before it appears; file and began,
                                       the checksum of the first line, of every append-only file below
    decisions.jsonl                    append-only: decisions made by hand
    events.jsonl                       append-only: progress of jobs; the last line shows whether the job is alive
    checkpoints/                       state of unfinished fine-tunings; removed when they are done
    look/RECIPE/                       finished parts of an unfinished look; removed when it is done
    learning-rate/RECIPE/              finished runs of an unfinished search for a learning rate; removed when it is done
    views.jsonl                        append-only: filters saved under a name
    cache/                             results that are slow to compute; may be deleted at any time
    sensitivity/NAME/                  an experiment for each variation of the scoring: the same folder, scored with one thing changed
    diverged/seed=1215/                recordings of runs that diverged and were trained again with another seed
    frontier.damaged.parquet           a frontier.parquet that was damaged, kept when it is measured again
    decisions.damaged.jsonl            a damaged append-only file, kept when its whole lines were rewritten (also events, checksums, views)
    jobs/TIME-ABCD.log                 the log of one job: progress, warnings, and the traceback if it failed
    jobs/TIME-ABCD.json                the settings file of a scoring job started by the dashboard (settings_file.py)
    lock                               held by the one job that may write; names its process (pid and start time) while it does
    exports/<name>/                    data and its manifest.json, written last

The columns of frontier.parquet name the rows of a fine-tuning (subset, method, rule, kept, kept_fraction, rows_sha256, budget,
burn_in), its training (seed, epochs, seconds, steps, and finished, in seconds since 1970), the metrics on the evaluation data (one
column each), its course (micro_batch, tokens, stuck), the time of training and of predicting the evaluation data, as CPU time on the CPU
(compute_seconds, evaluation_seconds), the fingerprint of the model that was fine-tuned (model) and whether each evaluation example was
predicted right, in the order of evaluation.parquet (right); `fine_tunings.FineTuning` describes each. Older files lack the last four.

A saved subset has one column, id (int64, in source order), and in its schema's metadata, as "subset", one JSON value: rule (the name of the
subset it was made from), words (that rule in words), burn_in, seed, runs (how many were complete), total (examples before pruning) and
created (ISO, UTC).

experiment.json ends with "sha256", the digest of the bytes of the file before the comma that precedes it. To edit the file by hand,
remove that entry; `verify` still reports that the file is not the one that Winnow wrote.

Every line of an append-only file is a JSON object that ends with `"line": 7, "crc": "1a2b3c4d"}`: its number in the file, from 1, and
the CRC-32 of the bytes of the line before `, "crc"`. A line that follows one that a crash cut short says `"torn": true`. Damaged lines
are left out by every reader and named by `verify`; a last line without its end is ignored. Lines of folders written before these
checksums existed have neither and are read as they are. A checkpoint ends with the sha256 of the bytes before it, in 64 digits.

Everything else that a page or a command shows is derived from these files. A file without a line in checksums.jsonl (written by
another tool) is accepted as it is.
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
        """The files that are made from the data, and can be recreated from it."""
        return self.examples, self.evaluation, self.source

    @property
    def dynamics(self) -> Path:
        return self.root / "dynamics"

    def epoch(self, run: int, epoch: int) -> Path:
        return self.dynamics / f"run={run}" / f"epoch={epoch}.parquet"

    def epochs(self, runs: Iterable[int], epochs: int) -> list[Path]:
        """Return the paths of the recordings of these runs, of `epochs` epochs each, whether they exist or not."""
        return [self.epoch(run, epoch) for run in runs for epoch in range(epochs)]

    @property
    def successes(self) -> Path:
        return self.root / "successes.parquet"

    @property
    def answers(self) -> Path:
        return self.root / "answers.parquet"

    @property
    def extras(self) -> Path:
        return self.root / "extras.parquet"

    @property
    def of_answers(self) -> tuple[Path, ...]:
        """The files of sampled answers."""
        return self.successes, self.answers, self.extras

    @property
    def base(self) -> Path:
        return self.root / "base.parquet"

    @property
    def frontier(self) -> Path:
        return self.root / "frontier.parquet"

    @property
    def damaged_frontier(self) -> Path:
        return self.root / "frontier.damaged.parquet"

    @property
    def look(self) -> Path:
        return self.root / "look" / "look.json"

    @property
    def embeddings(self) -> Path:
        return self.root / "look" / "embeddings.npy"

    @property
    def probabilities(self) -> Path:
        return self.root / "look" / "probabilities.npy"

    @property
    def map(self) -> Path:
        return self.root / "look" / "map.parquet"

    @property
    def of_look(self) -> tuple[Path, ...]:
        """The files of a finished look."""
        return self.embeddings, self.probabilities, self.look

    def look_parts(self, recipe: str) -> Path:
        return self.root / "look" / recipe[:16]

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

    def variation(self, name: str) -> Path:
        return self.root / "sensitivity" / name

    @property
    def variations(self) -> list[Path]:
        """The folders of the variations that were begun, by name."""
        return sorted(path.parent for path in (self.root / "sensitivity").glob("*/experiment.json"))

    def stamp(self) -> tuple[int, ...]:
        """Return times that change whenever the settings, the recorded epochs, the saved subsets or the look do."""
        epochs = sorted(path.stat().st_mtime_ns for path in self.dynamics.glob("run=*/epoch=*.parquet"))
        saved = [path.stat().st_mtime_ns for path in sorted(self.subsets.glob("*.parquet"))]
        look = [self.look.stat().st_mtime_ns] if self.look.exists() else []
        return (self.manifest.stat().st_mtime_ns, *epochs, 0, *saved, 0, *look)

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    def job_log(self, name: str) -> Path:
        """Return the log of a job, by the file name in its events."""
        return self.jobs / Path(name).name

    @property
    def append_only(self) -> tuple[Path, ...]:
        """The append-only files; see `pruning.store.lines`."""
        return self.checksums, self.decisions, self.events, self.views

    @property
    def exports(self) -> Path:
        return self.root / "exports"


def read_table(path: Path, columns: Sequence[str] | None) -> pa.Table:
    """Return a Parquet file of the folder, or some of its columns. Raises ExperimentError when it is missing or damaged."""
    try:
        return pq.ParquetFile(path).read(columns=list(columns) if columns is not None else None)
    except FileNotFoundError:
        raise ExperimentError(f"{path} is missing; resume the experiment to recreate it.") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise ExperimentError(f"{path} is damaged ({error}); delete it and resume the experiment.") from None


def column_names(path: Path) -> list[str]:
    """Return the names of a Parquet file's columns, without its data. Raises ExperimentError when it is damaged."""
    try:
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowInvalid) as error:
        raise ExperimentError(f"{path} is damaged ({error}); delete it and resume the experiment.") from None


def read_notes(path: Path) -> dict[str, str]:
    """Return the metadata of a Parquet file, without its data. Raises ExperimentError when it is damaged."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise ExperimentError(f"{path} is damaged ({error}); delete it and resume the experiment.") from None
    return {name.decode(): value.decode() for name, value in metadata.items()}
