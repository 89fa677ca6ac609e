"""The experiment's folder: a public format, and the only place that joins its paths.

    experiment.json                    settings, data and model fingerprints, versions; written first
    examples.parquet                   id, row, label, the task's fields, every source column as "source.<name>"
    evaluation.parquet                 the same for the evaluation data
    source.jsonl                       a copy of the source when it was JSON lines, so that an export is verbatim
    dynamics/run=0/epoch=0.parquet     what one epoch of one run recorded, by id
    frontier.parquet                   one row per fine-tuning of a subset
    decisions.jsonl                    append-only: what a person decided by hand
    events.jsonl                       append-only: progress of jobs; its last line is the sign of life
    checkpoints/                       state of unfinished runs; gone when they are done
    worker.log                         what the latest background worker printed
    lock                               held by the one worker that may write
    exports/<name>/                    data and its manifest.json, written last

Everything else that a page or a command shows is derived from these files.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from pruning import audit
from pruning import decisions as by_hand
from pruning import frontier as frontiers
from pruning import scores as score_registry
from pruning import subsets as rules
from pruning.data import SOURCE_PREFIX
from pruning.decisions import Decided, Decision
from pruning.duplicates import Duplicates, duplicates
from pruning.errors import BusyError, ExperimentError, SubsetError
from pruning.files import append_line, atomic_write, write_json
from pruning.records import Dynamics, EpochRecord, FrontierPoint, JobState, JobStatus, Progress, Settings, Subset

if TYPE_CHECKING:
    from pruning.data import Examples

FORMAT = 1
"""Version of the folder's format. An older one is opened or named; a newer one is refused."""

LIBRARIES = ("torch", "transformers", "datasets", "numpy", "pyarrow")


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
    def dynamics(self) -> Path:
        return self.root / "dynamics"

    def epoch(self, run: int, epoch: int) -> Path:
        return self.dynamics / f"run={run}" / f"epoch={epoch}.parquet"

    @property
    def frontier(self) -> Path:
        return self.root / "frontier.parquet"

    @property
    def decisions(self) -> Path:
        return self.root / "decisions.jsonl"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    def checkpoint(self, name: str) -> Path:
        return self.root / "checkpoints" / f"{name}.pt"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def log(self) -> Path:
        return self.root / "worker.log"

    @property
    def exports(self) -> Path:
        return self.root / "exports"


class Experiment:
    """One experiment, read from (and by its owner written to) its folder.

    Raises ExperimentError when the folder is no experiment, is of a newer format, or lacks what is asked for.
    """

    def __init__(self, directory: str | Path) -> None:
        self.folder = Folder(Path(directory))
        self.info = _read_manifest(self.folder.manifest)

    # -- making one ------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, directory: str | Path, settings: Settings, train: Examples, evaluation: Examples, model_fingerprint: str) -> Experiment:
        """Write a new experiment, or open one that has the same settings and data; more seeds may be added at the end.

        Raises ExperimentError naming the first setting that differs from the folder's.
        """
        folder = Folder(Path(directory))
        manifest = _manifest(settings, train, evaluation, model_fingerprint)
        if folder.manifest.exists():
            manifest = _merge(_read_manifest(folder.manifest), manifest, folder.root)
        elif folder.root.exists() and any(path not in (folder.lock, folder.log, folder.events) for path in folder.root.iterdir()):
            raise ExperimentError(f"{folder.root} is not empty and holds no experiment; choose a new folder.")
        write_json(folder.manifest, manifest)
        for path, examples in ((folder.examples, train), (folder.evaluation, evaluation)):
            if not path.exists():
                with atomic_write(path) as temporary:
                    pq.write_table(examples.table, temporary)
        if train.jsonl is not None and not folder.source.exists():
            with atomic_write(folder.source) as temporary:
                shutil.copyfile(train.jsonl, temporary)
        return cls(directory)

    # -- what it is ------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.root.name

    @cached_property
    def settings(self) -> Settings:
        """What decided the recording."""
        return Settings.from_dict(self.info["settings"])

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, by index; empty where the task has none."""
        return tuple(self.info["data"]["label_names"])

    def examples(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The training examples in source order, or some of their columns."""
        return _read_table(self.folder.examples, columns)

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of the examples' columns."""
        return pq.read_schema(self.folder.examples)

    def evaluation(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The evaluation examples."""
        return _read_table(self.folder.evaluation, columns)

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """[N] ids of the training examples, in source order."""
        return np.asarray(self.examples(["id"])["id"], dtype=np.int64)

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """[N] class indices, or None where the task has no classes."""
        if not self.label_names:
            return None
        return np.asarray(self.examples(["label"])["label"], dtype=np.int64)

    # -- the recording ---------------------------------------------------------------------------------------

    def has_epoch(self, run: int, epoch: int) -> bool:
        """Whether that epoch's recording is on disk."""
        return self.folder.epoch(run, epoch).exists()

    def finished_runs(self) -> list[int]:
        """Runs whose every epoch is recorded."""
        return [run for run in range(self.settings.runs) if all(self.has_epoch(run, e) for e in range(self.settings.train.epochs))]

    def write_epoch(self, run: int, record: EpochRecord) -> None:
        """Put one epoch's recording on disk, whole or not at all."""
        columns: dict[str, Any] = {
            "id": self.ids,
            "epoch": np.full(len(self.ids), record.epoch, dtype=np.int32),
            "correct": record.correct,
            "gold_prob": record.gold_prob,
            "gold_margin": record.gold_margin,
            "error_norm": record.error_norm,
            "loss": record.loss,
            "predicted": record.predicted,
            "position": record.position,
        }
        notes = {"accuracy": repr(float(record.correct.mean()))}
        with atomic_write(self.folder.epoch(run, record.epoch)) as temporary:
            pq.write_table(pa.table(columns).replace_schema_metadata(notes), temporary)

    def epoch_accuracy(self) -> NDArray[np.float64]:
        """[R, E] online accuracy of every recorded epoch, nan where there is none yet. Reads no data pages."""
        accuracy = np.full((self.settings.runs, self.settings.train.epochs), np.nan)
        for run, epoch in np.ndindex(*accuracy.shape):
            if self.has_epoch(run, epoch):
                accuracy[run, epoch] = float(pq.read_schema(self.folder.epoch(run, epoch)).metadata[b"accuracy"])
        return accuracy

    @cached_property
    def dynamics(self) -> Dynamics:
        """The recording of all complete runs; incomplete ones are left out, never counted as failures.

        Raises ExperimentError when no run is complete, or a file does not hold exactly the experiment's examples.
        """
        runs = self.finished_runs()
        if not runs:
            raise ExperimentError(f"{self.folder.root} has no complete run yet; score it first, or resume it.")
        shape = (len(runs), self.settings.train.epochs, len(self.ids))
        arrays: dict[str, NDArray[Any]] = {name: np.empty(shape, dtype) for name, dtype in _DTYPES.items()}
        for index, run in enumerate(runs):
            for epoch in range(shape[1]):
                path = self.folder.epoch(run, epoch)
                table = _read_table(path, ["id", *_DTYPES])
                if not np.array_equal(np.asarray(table["id"]), self.ids):
                    raise ExperimentError(f"{path} does not hold the examples of {self.folder.examples}, in their order.")
                for name, array in arrays.items():
                    array[index, epoch] = np.asarray(table[name])
        return Dynamics(ids=self.ids, seeds=tuple(self.settings.seeds[run] for run in runs), **arrays)

    # -- what follows from it --------------------------------------------------------------------------------

    def burn_in(self, burn_in: int | None = None) -> int:
        """The burn-in asked for, or the experiment's own."""
        return self.settings.burn_in if burn_in is None else burn_in

    def h_score(self, burn_in: int | None = None) -> NDArray[np.int64]:
        """[N] H-scores over the complete runs."""
        return score_registry.h_score(self.dynamics.correct, self.burn_in(burn_in))

    def scores(self, burn_in: int | None = None) -> pd.DataFrame:
        """Every score that this recording can give, one column each, indexed by id."""
        computed = score_registry.compute_all(self.dynamics, burn_in=self.burn_in(burn_in))
        return pd.DataFrame(computed, index=pd.Index(self.ids, name="id"))

    def subset(self, name: str, burn_in: int | None = None) -> Subset:
        """The subset of that name. Raises SubsetError listing what there is."""
        return rules.resolve(name, self.dynamics, self.labels, self.burn_in(burn_in))

    def subsets(self, burn_in: int | None = None) -> list[Subset]:
        """The automatic subsets: the paper's ladder for this recording's R, largest first as published."""
        names = [rules.subset_name(removes, self.dynamics.runs) for removes in rules.ladder(self.dynamics.runs)]
        return [self.subset(name, burn_in) for name in names]

    @cached_property
    def label_errors(self) -> audit.LabelErrors | None:
        """Labels that look wrong; None where the task has no classes."""
        return None if self.labels is None else audit.label_errors(self.dynamics, self.labels, len(self.label_names))

    @property
    def text_columns(self) -> list[str]:
        """The task's fields that hold text, in their order."""
        fields = [field for field in self.schema if field.name not in ("id", "row", "label") and not field.name.startswith(SOURCE_PREFIX)]
        return [field.name for field in fields if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]

    @cached_property
    def duplicates(self) -> Duplicates:
        """Groups of the same or nearly the same text, over the training examples and then the evaluation examples."""
        return duplicates(pa.concat_arrays([_joined(self.examples(self.text_columns)), _joined(self.evaluation(self.text_columns))]))

    # -- the frontier ----------------------------------------------------------------------------------------

    def finished(self) -> pd.DataFrame:
        """One row per finished fine-tuning; empty when there is none."""
        if not self.folder.frontier.exists():
            return pd.DataFrame(columns=["subset", "method", "rows_sha256", "seed", "budget"])
        return pd.read_parquet(self.folder.frontier)

    def add_finished(self, row: Mapping[str, Any]) -> None:
        """Add one finished fine-tuning; one of the same rows, seed and budget is replaced."""
        table = pd.DataFrame([row])
        if self.folder.frontier.exists():
            table = pd.concat([self.finished(), table], ignore_index=True)
        table = table.drop_duplicates(["subset", "rows_sha256", "seed", "budget"], keep="last")
        with atomic_write(self.folder.frontier) as temporary:
            table.to_parquet(temporary, index=False)

    def frontier(self, burn_in: int | None = None, budget: str = "epochs") -> list[FrontierPoint]:
        """Every measured subset, aggregated over seeds. Fine-tunings of rows that a name no longer stands for
        (another burn-in, more runs) stay in the file and are left out here.
        """
        finished = self.finished()
        if finished.empty:
            return []
        standing = [self._stands_for(row.subset, row.seed, burn_in) == row.rows_sha256 for row in finished.itertuples()]
        asked = (finished["budget"] == budget) | (finished["subset"] == "full")
        return frontiers.points(finished[np.asarray(standing) & asked], len(self.ids))

    def measured_subset(self, name: str, burn_in: int | None = None, seed: int = 0) -> Subset:
        """The rows a fine-tuning with `seed` uses for that name: random subsets are drawn anew for each seed, so that
        their mean is over draws too; "X+decisions" is X after the standing decisions by hand.
        """
        base, plus, _ = name.partition("+decisions")
        subset = rules.resolve(base, self.dynamics, self.labels, self.burn_in(burn_in), seed=seed)
        return by_hand.apply(subset, self.decided, self.ids) if plus else subset

    def _stands_for(self, name: str, seed: int, burn_in: int | None) -> str | None:
        try:
            return frontiers.rows_sha256(self.measured_subset(name, burn_in, seed).kept)
        except SubsetError:
            return None

    def export(self, name: str, output: str | Path, format: str = "jsonl", force: bool = False) -> dict[str, Any]:
        """Write that subset and its manifest; see `pruning.export.build`."""
        from pruning.export import build

        return build(self, self.measured_subset(name), output, format, force)

    # -- decisions by hand -----------------------------------------------------------------------------------

    def decisions(self) -> list[Decision]:
        """Every decision ever made, undos included, oldest first."""
        return [Decision.from_dict(line) for line in _read_lines(self.folder.decisions)]

    @property
    def decided(self) -> Decided:
        """What the standing decisions add up to, read anew each time."""
        return by_hand.decided(self.decisions())

    def decide(self, decision: Decision) -> None:
        """Append one decision. Raises UsageError for an id or label that does not exist."""
        by_hand.check(decision, self.ids, self.label_names)
        append_line(self.folder.decisions, json.dumps(decision.to_dict(), ensure_ascii=False))

    # -- jobs ------------------------------------------------------------------------------------------------

    def owned(self) -> bool:
        """Whether a living worker holds the experiment. The operating system frees the lock of a dead one."""
        lock = FileLock(self.folder.lock)
        try:
            with lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def log(self, event: str, **values: Any) -> None:
        """Append one event."""
        append_line(self.folder.events, json.dumps({"time": round(time.time(), 3), "event": event, **values}))

    def events(self) -> Iterator[dict[str, Any]]:
        """Every event, oldest first."""
        yield from _read_lines(self.folder.events)

    def status(self) -> JobStatus:
        """The latest job as it really stands: running only while its worker holds the lock."""
        last = _last_line(self.folder.events)
        if last is None:
            return JobStatus(state=JobState.RUNNING if self.owned() else JobState.NEW)
        state = JobState(last["state"])
        if state is JobState.RUNNING and not self.owned():
            state = JobState.INTERRUPTED
        return JobStatus(
            state=state,
            verb=last.get("verb", ""),
            pid=last.get("pid"),
            message=last.get("message", ""),
            started=last.get("started"),
            updated=last["time"],
            done=last.get("done", 0),
            total=last.get("total", 0),
            rate=last.get("rate", 0.0),
            runs={key: Progress(**values) for key, values in last.get("runs", {}).items()},
        )


@contextmanager
def own(folder: Folder, wait: float = 2.0) -> Iterator[None]:
    """Be the one worker that may write. Raises BusyError when there is one already."""
    folder.root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.lock)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise BusyError(f"Another worker is at {folder.root}; wait for it, or cancel it first.") from None
    try:
        yield
    finally:
        lock.release()


def full_subset(ids: NDArray[np.int64]) -> Subset:
    """Full data as a subset: nothing removed."""
    return Subset(name="full", method="full", rule="keep everything", kept=ids, total=len(ids), removes=())


def _joined(table: pa.Table) -> pa.Array:
    """[N] all columns of each row as one text."""
    columns = [pc.fill_null(column.cast(pa.string()), "") for column in table.columns]
    return pc.binary_join_element_wise(*columns, "\n").combine_chunks()


def list_experiments(root: str | Path) -> list[Path]:
    """Folders directly below `root` that hold an experiment, latest first."""
    found = [path.parent for path in Path(root).glob("*/experiment.json")]
    return sorted(found, key=lambda path: path.joinpath("experiment.json").stat().st_mtime, reverse=True)


_DTYPES: dict[str, Any] = {
    "correct": np.bool_,
    "gold_prob": np.float32,
    "gold_margin": np.float32,
    "error_norm": np.float32,
    "loss": np.float32,
    "predicted": np.int64,
    "position": np.int32,
}


def _manifest(settings: Settings, train: Examples, evaluation: Examples, model_fingerprint: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "settings": settings.with_changes(task=train.task, columns=dict(train.columns)).to_dict(),
        "data": {
            "fingerprint": train.fingerprint,
            "rows": len(train),
            "label_names": list(train.label_names),
            "dropped": train.dropped,
            "notes": list(train.notes),
            "evaluation": {"fingerprint": evaluation.fingerprint, "rows": len(evaluation), "notes": list(evaluation.notes)},
        },
        "model": {"source": settings.model, "fingerprint": model_fingerprint},
        "versions": {name: version(name) for name in ("winnow", *LIBRARIES) if _installed(name)},
    }


def _installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError

    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _merge(old: dict[str, Any], new: dict[str, Any], root: Path) -> dict[str, Any]:
    """The old manifest, its seeds extended where the new ones begin with them; anything else that differs is refused."""
    for place, before, after in (
        ("data", old["data"]["fingerprint"], new["data"]["fingerprint"]),
        ("evaluation data", old["data"]["evaluation"]["fingerprint"], new["data"]["evaluation"]["fingerprint"]),
        ("model", old["model"]["fingerprint"], new["model"]["fingerprint"]),
    ):
        if before != after:
            raise ExperimentError(f"{root} was made with other {place} (fingerprint {before[:12]}, now {after[:12]}); choose a new folder.")
    seeds = new["settings"]["seeds"]
    shorter = min(len(seeds), len(old["settings"]["seeds"]))
    for name, before, after in _settings_pairs(old["settings"], new["settings"]):
        if before != after:
            raise ExperimentError(f"{root} was made with {name} = {before}, not {after}; choose a new folder or use {before}.")
    if seeds[:shorter] != old["settings"]["seeds"][:shorter]:
        raise ExperimentError(
            f"{root} was made with seeds {old['settings']['seeds']}; more may be added at the end, but these are {seeds}."
        )
    longest = max(seeds, old["settings"]["seeds"], key=len)
    return {**old, "settings": {**old["settings"], "seeds": longest}}


def _settings_pairs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    """Settings that decide the recording. Where data lies, and how it is read afterwards, may change."""
    for name in new:
        if name == "train":
            yield from ((inner, old["train"].get(inner, value), value) for inner, value in new["train"].items() if inner != "device")
        elif name not in ("data", "evaluation", "model", "seeds", "burn_in", "drop_invalid"):
            yield name, old.get(name, new[name]), new[name]


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExperimentError(f"{path.parent} is no experiment: it has no experiment.json.") from None
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{path} cannot be read: {error}.") from None
    if not isinstance(info, dict) or not isinstance(info.get("format"), int):
        raise ExperimentError(f"{path} names no format version; it was not written by Winnow.")
    if info["format"] > FORMAT:
        raise ExperimentError(f"{path.parent} has format {info['format']}; this Winnow reads up to {FORMAT}: update Winnow to open it.")
    return info


def _read_table(path: Path, columns: Sequence[str] | None) -> pa.Table:
    try:
        return pq.ParquetFile(path).read(columns=list(columns) if columns is not None else None)
    except FileNotFoundError:
        raise ExperimentError(f"{path} is not there; resume the experiment to make it.") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise ExperimentError(f"{path} is damaged ({error}); delete it and resume the experiment.") from None


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """JSON lines that are whole; a last line cut short by a crash is passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n") and line.strip():
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


def _last_line(path: Path) -> dict[str, Any] | None:
    """The last whole line of a JSON-lines file, read from its end."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65536))
        lines = file.read().split(b"\n")[:-1]
    for line in reversed(lines):
        try:
            return dict(json.loads(line))
        except ValueError:
            continue
    return None
