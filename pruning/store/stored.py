"""One experiment as it is stored: its data, recording, fine-tunings, decisions and events, read and written. No analysis.

Paths are in `pruning.store.layout`, checksums in `pruning.store.checksums`, ownership and the state of a job in `pruning.store.lock`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pruning.analysis.learning_rate import RateFit
from pruning.errors import ExperimentError
from pruning.files import make_folder
from pruning.records import DecisionKind, Dynamics, EpochRecord, JobStatus, Subset
from pruning.settings import Settings
from pruning.store import checksums, lines, lock, manifest
from pruning.store.checksums import check_once, checksummed
from pruning.store.dynamics import Recording, epoch_accuracy, write_epoch
from pruning.store.layout import Folder, read_table
from pruning.store.saved_subsets import forget_subset, saved_files, saved_subsets
from pruning.store.shared import shared
from pruning.subsets import decisions as by_hand
from pruning.subsets.decisions import Decided, Decision

if TYPE_CHECKING:
    from pruning.data.examples import Examples


class Stored:
    """One experiment's folder, read by anyone and written by its owner.

    Raises ExperimentError when the folder is no experiment, is of a newer format, or lacks what is asked for.
    """

    def __init__(self, directory: str | Path) -> None:
        self.folder = Folder(Path(directory))
        self.info = manifest.read(self.folder.manifest)
        self._shared: dict[str, Any] = {}

    # -- making one ------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls, directory: str | Path, settings: Settings, train: Examples, evaluation: Examples, model: str | Mapping[str, Any]
    ) -> Self:
        """Write a new experiment, or open one that has the same settings and data; more seeds may be added at the end.

        Files of the data that are missing or damaged are made anew; the evaluation data comes last, and says that all are there.
        Raises ExperimentError naming the first setting that differs from the folder's.
        """
        folder = Folder(Path(directory))
        made = manifest.make(settings, train, evaluation, model)
        if folder.manifest.exists():
            made = manifest.merge(manifest.read(folder.manifest), made, folder.root)
        else:
            lock.refuse_strange(folder)
            make_folder(folder.root)
        checksums.write_manifest(folder, made)
        known = checksums.checksums(folder)
        lost = [path for path in folder.of_data if not checksums.whole(folder, path, known)]
        if any(path.relative_to(folder.root).as_posix() in known for path in lost):
            manifest.check_same(made, train, evaluation, folder.root)
        if train.origin is not None and train.origin.lines and folder.source in lost:
            with checksummed(folder, folder.source) as temporary:
                train.origin.write_lines(temporary)
        for path, examples in ((folder.examples, train), (folder.evaluation, evaluation)):
            if path in lost:
                with checksummed(folder, path) as temporary:
                    pq.write_table(examples.table, temporary)
        return cls(directory)

    # -- what it is ------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.root.name

    @shared
    def asked(self) -> Settings:
        """The settings as they were asked for, with auto for a fitted learning rate."""
        return Settings.from_dict(self.info["settings"])

    @shared
    def settings(self) -> Settings:
        """The settings that decided the recording, with fitted learning rates in the place of auto."""
        return self.asked.with_fitted({name: fit.rate for name, fit in self.learning_rates.items() if fit.rate is not None})

    @shared
    def learning_rates(self) -> dict[str, RateFit]:
        """Fitted learning rates: `settings.FULL_RECIPE` or an approximation's name -> rate, losses and cost of its search."""
        return {name: RateFit.from_dict(values) for name, values in self.info.get("learning_rates", {}).items()}

    def keep_fit(self, name: str, fit: RateFit) -> None:
        """Write a fitted learning rate to experiment.json; open the experiment again to use it. For the owner only."""
        kept = {**self.info.get("learning_rates", {}), name: fit.to_dict()}
        self.info = {**self.info, "learning_rates": kept}
        checksums.write_manifest(self.folder, self.info)

    @property
    def stopped(self) -> str:
        """Why scoring ended before all its runs, in a sentence; empty when it did not."""
        return str(self.info.get("stopped", ""))

    def stop_scoring(self, runs: int, sentence: str) -> None:
        """Make do with the first `runs` runs, and say why. Asking for more runs later goes on from there."""
        settings = {**self.info["settings"], "seeds": self.info["settings"]["seeds"][:runs]}
        checksums.write_manifest(self.folder, {**self.info, "settings": settings, "stopped": sentence})

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, by index; empty where the task has none."""
        return tuple(self.info["data"]["label_names"])

    def examples(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The training examples in source order, or some of their columns."""
        return read_table(self._checked(self.folder.examples), columns)

    @shared
    def schema(self) -> pa.Schema:
        """Names and types of the examples' columns."""
        return pq.read_schema(self._checked(self.folder.examples))

    def evaluation(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The evaluation examples."""
        return read_table(self._checked(self.folder.evaluation), columns)

    @shared
    def ids(self) -> NDArray[np.int64]:
        """[N] ids of the training examples, in source order."""
        return np.asarray(self.examples(["id"])["id"], dtype=np.int64)

    @shared
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
        return [run for run in range(self.settings.runs) if all(self.has_epoch(run, e) for e in range(self.settings.scoring.epochs))]

    def files(self) -> list[Path]:
        """The files that hold data, in a fixed order; those that are not there yet are left out."""
        return [path for path in self._files if path.exists()]

    @property
    def _files(self) -> list[Path]:
        epochs = self.folder.epochs(range(self.settings.runs), self.settings.scoring.epochs)
        return [*self.folder.of_data, *epochs, self.folder.frontier, *saved_files(self.folder)]

    def verify(self) -> int:
        """Check every file against its checksum; how many there are. Raises ExperimentError naming the first that is damaged or gone."""
        checksums.verify(self.folder, self._files, self._redone)
        return len(self.files())

    def complaints(self) -> list[str]:
        """Return what is wrong with the files of decisions, events, filters and checksums, in sentences. Reads every line."""
        return checksums.complaints(self.folder)

    def repair(self) -> None:
        """Go on without what is lost of those files; what is damaged is kept beside them. For the owner only."""
        for path in self.folder.append_only:
            lines.repair(self.folder, path)

    def damaged(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Which of these files are not what was recorded, or are gone, and a sentence for each; see `pruning.store.checksums`."""
        return checksums.damaged(self.folder, paths, self._redone)

    def damaged_runs(self) -> set[int]:
        """Runs of which a file is not what was recorded."""
        runs, epochs = range(self.settings.runs), self.settings.scoring.epochs
        damaged = self.damaged(self.folder.epochs(runs, epochs)).keys()
        return {run for run in runs if damaged & self.folder.epochs([run], epochs)}

    @property
    def _redone(self) -> list[Path]:
        return self.folder.epochs({entry["run"] for entry in self.info.get("redone", ())}, self.settings.scoring.epochs)

    def _checked(self, path: Path) -> Path:
        check_once(self.folder, path)
        return path

    def write_epoch(self, run: int, record: EpochRecord) -> None:
        """Put one epoch's recording on disk, whole or not at all."""
        write_epoch(self.folder, self.ids, run, record)

    def epoch_accuracy(self) -> NDArray[np.float64]:
        """[R, E] online accuracy of every recorded epoch, nan where there is none yet. Reads no data pages."""
        return epoch_accuracy(self.folder, self.settings.runs, self.settings.scoring.epochs)

    @shared
    def dynamics(self) -> Dynamics:
        """The recording of all complete runs; incomplete ones are left out, never counted as failures.

        Raises ExperimentError when no run is complete, or a file is not what was recorded or not of exactly the experiment's examples.
        """
        runs = self.finished_runs()
        if not runs:
            raise ExperimentError(f"{self.folder.root} has no complete run yet; score it first, or resume it.")
        seeds = [self.settings.seeds[run] for run in runs]
        return Recording(self.folder, self.ids, runs, seeds, self.settings.scoring.epochs)

    # -- fine-tunings ---------------------------------------------------------------------------------------

    def finished(self) -> pd.DataFrame:
        """One row per finished fine-tuning; empty when there is none."""
        if not self.folder.frontier.exists():
            return pd.DataFrame(columns=["subset", "method", "rows_sha256", "seed", "budget"])
        return read_table(self._checked(self.folder.frontier), None).to_pandas()

    def add_finished(self, row: Mapping[str, Any]) -> None:
        """Add one finished fine-tuning; one of the same rows, seed and budget is replaced."""
        table = pd.DataFrame([row])
        if self.folder.frontier.exists():
            table = pd.concat([self.finished(), table], ignore_index=True)
        table = table.drop_duplicates(["subset", "rows_sha256", "seed", "budget"], keep="last")
        with checksummed(self.folder, self.folder.frontier) as temporary:
            table.to_parquet(temporary, index=False)

    def set_aside(self, finished: pd.DataFrame) -> NDArray[np.bool_]:
        """Which of these fine-tunings are of a scoring run that diverged and was trained again with another seed."""
        seeds = [entry["seed"] for entry in self.info.get("redone", ())]
        return np.asarray((finished["subset"] == "full") & finished["seed"].isin(seeds))

    # -- saved subsets ---------------------------------------------------------------------------------------

    @property
    def saved(self) -> Mapping[str, Subset]:
        """Saved subsets by name; see `pruning.store.saved_subsets`."""
        return saved_subsets(self.folder, self.ids)

    def forget(self, name: str) -> None:
        """Remove a saved subset. Raises SubsetError where nothing was saved under that name."""
        forget_subset(self.folder, name)

    # -- decisions by hand -----------------------------------------------------------------------------------

    def decisions(self) -> list[Decision]:
        """Every decision ever made, undos included, oldest first."""
        kinds = set(DecisionKind)
        return [Decision.from_dict(line) for line in lines.read(self.folder.decisions) if line["kind"] in kinds]

    @property
    def decided(self) -> Decided:
        """The state that the standing decisions add up to, read each time."""
        return by_hand.decided(self.decisions())

    def decide(self, decision: Decision) -> None:
        """Append one decision. Raises UsageError for an id or label that does not exist."""
        by_hand.check(decision, self.ids, self.label_names)
        lines.append(self.folder, self.folder.decisions, decision.to_dict())

    # -- jobs ------------------------------------------------------------------------------------------------

    def log(self, event: str, **values: Any) -> None:
        """Append one event."""
        lock.log(self.folder, event, **values)

    def events(self, but: str = "") -> Iterator[dict[str, Any]]:
        """Every event, oldest first, or every one of another name than `but`."""
        yield from lines.read(self.folder.events, without=but and f'"event": "{but}"')

    def notes(self) -> list[str]:
        """What jobs had to say beside their progress, in sentences, each once, oldest first."""
        return list(
            dict.fromkeys(str(event["message"]) for event in self.events(but="progress") if event["event"] == "note" and "message" in event)
        )

    def status(self) -> JobStatus:
        """The latest job as it really stands."""
        return lock.status(self.folder)
