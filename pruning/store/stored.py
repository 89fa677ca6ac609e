"""One stored experiment: reads and writes its data, recording, fine-tunings, decisions and events. No analysis.

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
from pruning.data.tasks.rollouts import SAMPLED
from pruning.errors import ExperimentError
from pruning.files import make_folder
from pruning.fine_tunings import MODEL, RIGHT
from pruning.records import DecisionKind, Dynamics, EpochRecord, Subset
from pruning.settings import Settings
from pruning.store import checksums, lines, lock, manifest, sampled
from pruning.store.base import read_base
from pruning.store.checksums import check_once, checksummed
from pruning.store.columns import read_columns
from pruning.store.dynamics import Recording, epoch_accuracy, write_epoch
from pruning.store.job_status import JobStatus
from pruning.store.layout import Folder, column_names, read_table
from pruning.store.look import Look, read_look
from pruning.store.manifest import MEASURED_WITH, OWN_EPOCHS, OWN_MODEL, PARAMETERS
from pruning.store.saved_subsets import forget_subset, saved_files, saved_subsets
from pruning.store.shared import shared
from pruning.subsets import decisions as by_hand
from pruning.subsets.decisions import Decided, Decision

if TYPE_CHECKING:
    from pruning.data.examples import Examples


class Stored:
    """One experiment's folder, read by anyone and written by its owner.

    Raises ExperimentError when the folder is not an experiment, has a newer format, or lacks a file that is read.
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

        Missing or damaged files of the data are recreated; the evaluation data is written last, so that it marks them complete.
        Raises ExperimentError naming the first setting that differs.
        """
        folder = Folder(Path(directory))
        made = manifest.make(settings, train, evaluation, model)
        if folder.manifest.exists():
            found = manifest.read(folder.manifest)
            made = manifest.merge(found, made, folder.root, recorded=not _only_looked(folder, found))
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
        """The settings as given, with auto for a fitted learning rate."""
        return Settings.from_dict(self.info["settings"])

    @shared
    def settings(self) -> Settings:
        """The settings of the recording, with fitted learning rates instead of auto."""
        return self.asked.with_fitted({name: fit.rate for name, fit in self.learning_rates.items() if fit.rate is not None})

    @shared
    def learning_rates(self) -> dict[str, RateFit]:
        """Fitted learning rates: `settings.FULL_RECIPE` or an approximation's name -> rate, losses and cost of its search."""
        return {name: RateFit.from_dict(values) for name, values in self.info.get("learning_rates", {}).items()}

    def keep_fit(self, name: str, fit: RateFit) -> None:
        """Write a fitted learning rate to experiment.json; open the experiment again to use it. For the owner only."""
        kept = {**self.info.get("learning_rates", {}), name: fit.to_dict()}
        self.info = {**self.info, "learning_rates": kept}
        if self.model == self.own_model:
            checksums.write_manifest(self.folder, self.info)
            return
        written = manifest.read(self.folder.manifest)
        written[MEASURED_WITH][self.model]["learning_rates"] = kept
        checksums.write_manifest(self.folder, written)

    @property
    def stopped(self) -> str:
        """Why scoring ended early, in a sentence; empty when all runs are complete or still to come."""
        return str(self.info.get("stopped", ""))

    def stop_scoring(self, runs: int, sentence: str) -> None:
        """End scoring after the first `runs` runs and record why. More runs can be added later."""
        settings = {**self.info["settings"], "seeds": self.info["settings"]["seeds"][:runs]}
        checksums.write_manifest(self.folder, {**self.info, "settings": settings, "stopped": sentence})

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, by index; empty where the task has none."""
        return tuple(self.info["data"]["label_names"])

    def examples(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the training examples in source order, or some of their columns."""
        return read_table(check_once(self.folder, self.folder.examples), columns)

    @shared
    def schema(self) -> pa.Schema:
        """Names and types of the examples' columns."""
        return pq.read_schema(check_once(self.folder, self.folder.examples))

    def evaluation(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the evaluation examples, or some of their columns."""
        return read_table(check_once(self.folder, self.folder.evaluation), columns)

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
        """Return True when that epoch's recording is on disk."""
        return self.folder.epoch(run, epoch).exists()

    def finished_runs(self) -> list[int]:
        """Return the runs with every epoch recorded; all of them where there are counts of sampled answers instead."""
        if self.folder.successes.exists():
            return list(range(self.settings.runs))
        return [run for run in range(self.settings.runs) if all(self.has_epoch(run, e) for e in range(self.scored_epochs))]

    def files(self) -> list[Path]:
        """Return the data files that exist, in a fixed order."""
        return [path for path in self._files if path.exists()]

    @property
    def _files(self) -> list[Path]:
        epochs = self.folder.epochs(range(self.settings.runs), self.scored_epochs)
        recorded = [*epochs, *self.folder.of_answers, self.folder.base]
        return [*self.folder.of_data, *self.folder.of_look, self.folder.map, *recorded, self.folder.frontier, *saved_files(self.folder)]

    def verify(self) -> int:
        """Check every file against its checksum and return their number. Raises ExperimentError naming the first damaged or missing one."""
        checksums.verify(self.folder, self._files, self._redone)
        return len(self.files())

    def complaints(self) -> list[str]:
        """Return what is wrong with the files of decisions, events, filters and checksums, in sentences. Reads every line."""
        return checksums.complaints(self.folder)

    def repair(self) -> None:
        """Rewrite those files without their damaged lines; the damaged files are kept beside them. For the owner only."""
        for path in self.folder.append_only:
            lines.repair(self.folder, path)

    def damaged(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Return the files that are damaged or missing, each with a sentence; see `pruning.store.checksums`."""
        return checksums.damaged(self.folder, paths, self._redone)

    def damaged_runs(self) -> set[int]:
        """Return the runs with a damaged or missing file."""
        runs, epochs = range(self.settings.runs), self.scored_epochs
        damaged = self.damaged(self.folder.epochs(runs, epochs)).keys()
        return {run for run in runs if damaged & self.folder.epochs([run], epochs)}

    @property
    def _redone(self) -> list[Path]:
        return self.folder.epochs({entry["run"] for entry in self.info.get("redone", ())}, self.scored_epochs)

    def write_epoch(self, run: int, record: EpochRecord) -> None:
        """Write one epoch's recording, atomically."""
        write_epoch(self.folder, self.ids, run, record)

    def epoch_accuracy(self) -> NDArray[np.float64]:
        """Return [R, E] online accuracy of every recorded epoch, nan where there is none yet. Reads no data pages."""
        return epoch_accuracy(self.folder, self.settings.runs, self.scored_epochs)

    @shared
    def extras(self) -> dict[str, NDArray[np.float64]]:
        """Numbers of each answer from before training, for generation; see `pruning.store.base`."""
        return read_base(self.folder, self.ids)

    @shared
    def recorded(self) -> Dynamics:
        """The recording of all complete runs; incomplete runs are left out, never counted as failures.

        Raises ExperimentError when a file is damaged or does not hold exactly the experiment's examples; without a complete run
        as soon as a quantity is asked for.
        """
        runs = self.finished_runs()
        seeds, epochs = [self.settings.seeds[run] for run in runs], self.scored_epochs
        extras = {**read_columns(self.folder, self.folder.extras, self.ids), **self.extras}
        if self.folder.successes.exists():
            return sampled.of_counts(self.ids, seeds, *sampled.read_counts(self.folder, self.ids, epochs), extras)
        return Recording(self.folder, self.ids, runs, seeds, epochs, self.probe, extras, of_answers=self.sampled)

    @property
    def sampled(self) -> bool:
        """True where the recording is of sampled answers."""
        return self.settings.task == SAMPLED

    # -- the look --------------------------------------------------------------------------------------------

    @property
    def look(self) -> Look | None:
        """The first look at the data; None where there is none, or none that can be used (see `look_problem`)."""
        return self._look[0]

    @property
    def look_problem(self) -> str:
        """Why the look on disk cannot be used, in one sentence; empty where it can be, or there is none."""
        return self._look[1]

    @shared
    def _look(self) -> tuple[Look | None, str]:
        try:
            return read_look(self.folder, len(self.ids), self.info["model"]), ""
        except ExperimentError as error:
            return None, str(error)

    @shared
    def probe(self) -> NDArray[np.float32] | None:
        """[N] the look's out-of-sample probability of each label; None where there is no look, or labels cannot be probed."""
        labels = self.labels
        return None if self.look is None or labels is None else self.look.gold(labels)

    # -- fine-tunings ---------------------------------------------------------------------------------------

    @property
    def model(self) -> str:
        """Fingerprint of the model that fine-tunings are read and written of: the experiment's own, or that of `with_model`."""
        return str(self.info["model"].get("fingerprint", ""))

    @property
    def parameters(self) -> int | None:
        """Parameters of the whole model that `model` is the fingerprint of; None where they were not recorded."""
        found = self.info["model"].get(PARAMETERS)
        return found if type(found) is int else None

    @property
    def own_model(self) -> str:
        """Fingerprint of the model that scored the data; empty where it is unknown."""
        return str(self.info.get(OWN_MODEL, self.model))

    @property
    def scored_epochs(self) -> int:
        """Epochs of the scoring runs, whichever model is read."""
        return int(self.info.get(OWN_EPOCHS) or self.settings.scoring.epochs)

    @property
    def other_models(self) -> dict[str, str]:
        """Other models that subsets were measured with: fingerprint -> name as given."""
        return {fingerprint: str(entry["source"]) for fingerprint, entry in self.info.get(MEASURED_WITH, {}).items()}

    def add_model(self, source: str, identity: Mapping[str, Any], learning_rate: float | None, write: bool = True) -> None:
        """Enter another model to measure subsets with, for `Reading.with_model`. For the owner only, unless nothing is to be written.

        `learning_rate` None = to be fitted. Raises ExperimentError where it was entered with another rate.
        """
        known = self.info.get(MEASURED_WITH, {})
        entry = known.get(identity["fingerprint"], {"learning_rates": {}, "learning_rate": learning_rate})
        if entry["learning_rate"] != learning_rate:
            before, now = ("auto" if rate is None else f"{rate:g}" for rate in (entry["learning_rate"], learning_rate))
            raise ExperimentError(
                f"{self.folder.root} has points of {source} at learning rate {before}, not {now}; use --learning-rate {before}."
            )
        entry = {**entry, "source": source, **identity}
        self.info = {**self.info, MEASURED_WITH: {**known, identity["fingerprint"]: entry}}
        if write:
            checksums.write_manifest(self.folder, self.info)

    def finished(self, right: bool = False) -> pd.DataFrame:
        """Return one row per finished fine-tuning of `model`; empty when there is none.

        `right` adds that column, which holds a value for each evaluation example and is left out otherwise.
        """
        every = self._every_finished(right)
        return every[every[MODEL] == self.model].reset_index(drop=True)

    def _every_finished(self, right: bool) -> pd.DataFrame:
        if not self.folder.frontier.exists():
            return pd.DataFrame(columns=["subset", "method", "rows_sha256", "seed", "budget", MODEL])
        names = column_names(check_once(self.folder, self.folder.frontier))
        found = read_table(self.folder.frontier, [name for name in names if right or name != RIGHT]).to_pandas()
        if MODEL not in found:
            found[MODEL] = ""
        found[MODEL] = found[MODEL].fillna("").replace("", self.own_model)
        return found

    def add_finished(self, row: Mapping[str, Any]) -> None:
        """Add one finished fine-tuning; it replaces one with the same rows, seed, budget and model."""
        table = pd.DataFrame([{**row, MODEL: row.get(MODEL) or self.model}])
        if self.folder.frontier.exists():
            table = pd.concat([self._every_finished(right=True), table], ignore_index=True)
        table = table.drop_duplicates(["subset", "rows_sha256", "seed", "budget", MODEL], keep="last")
        with checksummed(self.folder, self.folder.frontier) as temporary:
            table.to_parquet(temporary, index=False)

    def set_aside(self, finished: pd.DataFrame) -> NDArray[np.bool_]:
        """Return a mask of the fine-tunings of scoring runs that diverged and were trained again with another seed."""
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
        """Return all decisions, undos included, oldest first."""
        kinds = set(DecisionKind)
        return [Decision.from_dict(line) for line in lines.read(self.folder.decisions) if line["kind"] in kinds]

    @property
    def decided(self) -> Decided:
        """The combined state of the decisions in force, read each time."""
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
        """Yield every event, oldest first, except those named `but`."""
        yield from lines.read(self.folder.events, without=but and f'"event": "{but}"')

    def started(self, verb: str = "") -> list[dict[str, Any]]:
        """Return the first event of every job, or of those of one verb, oldest first."""
        return [event for event in self.events(but="progress") if event["event"] == "started" and verb in ("", event.get("verb"))]

    def notes(self) -> list[str]:
        """Return the notes of jobs, in sentences, each once, oldest first."""
        return list(
            dict.fromkeys(str(event["message"]) for event in self.events(but="progress") if event["event"] == "note" and "message" in event)
        )

    def status(self) -> JobStatus:
        """Return the state of the latest job, checked against its lock."""
        return lock.status(self.folder)


def _only_looked(folder: Folder, info: Mapping[str, Any]) -> bool:
    """Return True for an experiment that has a look and nothing that depends on how runs train."""
    trained = (folder.dynamics, folder.frontier, folder.checkpoints, folder.searches, folder.diverged)
    return folder.look.exists() and not info.get("learning_rates") and not any(path.exists() for path in trained)
