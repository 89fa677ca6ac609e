"""One experiment, read from its folder: scores, subsets, findings and the frontier, all of which follow from what is stored there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pruning.analysis import audit, divergence
from pruning.analysis import frontier as frontiers
from pruning.analysis import scores as score_registry
from pruning.analysis.divergence import DivergedRun
from pruning.analysis.duplicates import Duplicates, duplicates
from pruning.data.texts import flat, joined, stacked, text_fields
from pruning.errors import ScoreError, SubsetError
from pruning.export.writer import build
from pruning.records import DECISIONS, FrontierPoint, Subset
from pruning.store import cache
from pruning.store.layout import read_table
from pruning.store.saved_subsets import forget_subset, save_subset
from pruning.store.stored import Stored
from pruning.subsets import decisions as by_hand
from pruning.subsets import rules


class Experiment(Stored):
    """One experiment: its folder, and everything that follows from what is stored there.

    Raises ExperimentError when the folder is no experiment, is of a newer format, or lacks what is asked for.
    """

    def __init__(self, directory: str | Path) -> None:
        super().__init__(directory)
        self._rows: dict[tuple[str, int, int | None, int], str] = {}

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

    def subset(self, name: str, burn_in: int | None = None, seed: int | None = None) -> Subset:
        """The subset of that name, as a fine-tuning with `seed` (None: the first) uses it: random subsets are drawn anew for each seed,
        so that their mean is over draws too; saved ones keep what was saved; "X+decisions" is X after the standing decisions by hand.
        Raises what `subsets.resolve` raises.
        """
        base, plus = name.removesuffix(DECISIONS), name.endswith(DECISIONS)
        if DECISIONS in base:
            raise SubsetError(f"{name!r} has more after {DECISIONS}, which stands last, as in winning-ticket{DECISIONS}.")
        subset = self.rule(base, burn_in, seed)
        return by_hand.apply(subset, self.decided, self.ids) if plus else subset

    def rule(self, name: str, burn_in: int | None = None, seed: int | None = None) -> Subset:
        """The same without decisions by hand: here "X+decisions" is no name."""
        draw = self.settings.seeds[0] if seed is None else seed
        return rules.resolve(name, self.dynamics, self.labels, self.burn_in(burn_in), draw, self.label_names, self.saved)

    def subsets(self, burn_in: int | None = None) -> list[Subset]:
        """The automatic subsets: the paper's ladder for this recording's R, in the order in which it was published."""
        names = [rules.subset_name(removes, self.dynamics.runs) for removes in rules.ladder(self.dynamics.runs)]
        return [self.subset(name, burn_in) for name in names]

    @cached_property
    def label_errors(self) -> audit.LabelErrors | None:
        """Labels that look wrong; None where the task has no classes, or the recording lacks what it takes."""
        labels = self.labels
        if labels is None or score_registry.missing(self.dynamics) & audit.NEEDED:
            return None

        def found() -> cache.Arrays:
            errors = audit.label_errors(self.dynamics, labels, len(self.label_names))
            return {name: np.asarray(getattr(errors, name)) for name in _LABEL_ERRORS}

        kept = cache.remember(self.folder.cache("label-errors"), self._stamp_of_runs, found)
        sentence = str(kept["sentence"])
        return audit.LabelErrors(suspect=kept["suspect"], quality=kept["quality"], suggested=kept["suggested"], sentence=sentence)

    @property
    def _stamp_of_data(self) -> str:
        return f"{self.info['data']['fingerprint']} {self.info['data']['evaluation']['fingerprint']}"

    @property
    def _stamp_of_texts(self) -> str:
        return f"{self._stamp_of_data} text by text"

    @property
    def _stamp_of_runs(self) -> str:
        return f"{self._stamp_of_data} {list(self.dynamics.seeds)} {audit.LABEL_EPOCHS} epochs"

    @property
    def audited(self) -> bool:
        """Whether duplicates, label errors and rare words were worked out already, so that asking for them takes no time."""
        labelled = self.labels is not None and not score_registry.missing(self.dynamics) & audit.NEEDED
        wanted = {"duplicates": self._stamp_of_texts}
        if labelled:
            wanted |= {"label-errors": self._stamp_of_runs, "rarity": self._stamp_of_data}
        return all(cache.remembered(self.folder.cache(name), stamp) is not None for name, stamp in wanted.items())

    @cached_property
    def texts(self) -> pa.Table:
        """The training examples' text fields, in the task's order; a list of options is one text, a line each."""
        return flat(self.examples(text_fields(self.schema)))

    @cached_property
    def rarity(self) -> NDArray[np.float64]:
        """[N] how rare the words of each training example are; see `audit.word_rarity`."""
        return cache.remember(
            self.folder.cache("rarity"), self._stamp_of_data, lambda: {"rarity": audit.word_rarity(joined(self.texts).to_pylist())}
        )["rarity"]

    @cached_property
    def duplicates(self) -> Duplicates:
        """Groups of the same or nearly the same text, over the training examples and then the evaluation examples."""

        def found() -> cache.Arrays:
            held_out = flat(self.evaluation(text_fields(self.schema)))
            both = duplicates(stacked(self.texts, held_out))
            return {"group": both.group, "exact": both.exact}

        kept = cache.remember(self.folder.cache("duplicates"), self._stamp_of_texts, found)
        return Duplicates(group=kept["group"], exact=kept["exact"])

    # -- what went wrong -------------------------------------------------------------------------------------

    def diverged(self) -> list[DivergedRun]:
        """Scoring runs that should not be counted as they are: those that gave one answer to everything, or whose loss became NaN."""
        settings, labels, complete = self.settings, self.labels, self.finished_runs()
        if settings.recorded_by != "winnow":
            return []
        found = []
        for run in complete if labels is not None else ():
            path = self.folder.epoch(run, settings.scoring.epochs - 1)
            answer = divergence.stuck_at(np.asarray(read_table(path, ["predicted"])["predicted"]), np.asarray(labels))
            if answer is not None:
                sentence = f"run {run} (seed {settings.seeds[run]}) says {self.label_names[answer]!r} of nearly every example."
                found.append(DivergedRun(run=run, seed=settings.seeds[run], sentence=sentence))
        incomplete = sorted(set(range(settings.runs)) - set(complete))
        events = self.nan_events() if incomplete else []
        for run in incomplete:
            seed, nan = settings.seeds[run], divergence.nan_losses(run, events, self.info.get("redone", ()))
            if nan:
                found.append(DivergedRun(run=run, seed=seed, sentence=nan[-1]))
            elif self.folder.aside(seed).exists() and not self.folder.epoch(run, 0).parent.exists():
                sentence = f"run {run} (seed {seed}) diverged; its recording was put aside already."
                found.append(DivergedRun(run=run, seed=seed, sentence=sentence))
        return found

    def nan_events(self) -> list[Mapping[str, Any]]:
        """The events of fine-tunings whose loss became NaN, oldest first."""
        return [event for event in self.events(but="progress") if event["event"] == "diverged"]

    def warnings(self) -> list[str]:
        """Sentences about diverged runs and fine-tunings: nothing that diverged is counted silently."""
        finished = self.finished()
        return divergence.warnings(self.diverged(), finished[~self.set_aside(finished)])

    # -- saved subsets ---------------------------------------------------------------------------------------

    def save(self, name: str, subset: Subset, burn_in: int | None = None, seed: int | None = None) -> Path:
        """Save the subset's rows under that name and return their file; `burn_in` and `seed` are what the subset was made with.

        Raises what `pruning.store.saved_subsets.save_subset` raises.
        """
        draw, runs = self.settings.seeds[0] if seed is None else seed, len(self.finished_runs())
        return save_subset(self.folder, self.ids, name, subset, burn_in=self.burn_in(burn_in), seed=draw, runs=runs)

    def forget(self, name: str) -> None:
        """Remove a saved subset. Raises SubsetError where nothing was saved under that name."""
        forget_subset(self.folder, name)

    # -- the frontier ----------------------------------------------------------------------------------------

    def frontier(self, burn_in: int | None = None, budget: str = "epochs", metric: str | None = None) -> list[FrontierPoint]:
        """Every measured subset, aggregated over seeds, its differences in `metric` (None: the one that counts first). Fine-tunings
        of rows that a name no longer stands for (another burn-in, more runs) stay in the file and are left out here.
        """
        frontiers.check_budget(budget)
        finished = self.finished()
        if finished.empty:
            return []
        standing = np.array([self._stands_for(row.subset, row.seed, burn_in) == row.rows_sha256 for row in finished.itertuples()])
        asked = (finished["budget"] == budget) | (finished["subset"] == "full")
        return frontiers.points(finished[standing & ~self.set_aside(finished) & asked], len(self.ids), metric, self._measurements())

    def _measurements(self) -> list[float]:
        """When the jobs that measured the frontier started; one that went on after an interruption counts as another."""
        return [event["time"] for event in self.events(but="progress") if event["event"] == "started" and event["verb"] == "frontier"]

    def _stands_for(self, name: str, seed: int, burn_in: int | None) -> str | None:
        by_hand_of = self.folder.decisions.stat().st_size if DECISIONS in name and self.folder.decisions.exists() else 0
        asked = (name, seed, burn_in, by_hand_of)
        if asked not in self._rows:
            try:
                self._rows[asked] = frontiers.rows_sha256(self.subset(name, burn_in, seed).kept)
            except (SubsetError, ScoreError):  # not remembered: a saved subset may come back
                return None
        return self._rows[asked]

    def export(self, name: str, output: str | Path, format: str = "jsonl", force: bool = False) -> dict[str, Any]:
        """Write that subset and its manifest; see `pruning.export.writer.build`."""
        return build(self, self.subset(name), output, format, force)


def full_subset(ids: NDArray[np.int64]) -> Subset:
    """Full data as a subset: nothing removed."""
    return Subset(name="full", method="full", rule="keep everything", kept=ids, total=len(ids), removes=())


def list_experiments(root: str | Path) -> list[Path]:
    """Folders directly below `root` that hold an experiment, latest first."""
    found = [path.parent for path in Path(root).glob("*/experiment.json")]
    return sorted(found, key=lambda path: path.joinpath("experiment.json").stat().st_mtime, reverse=True)


_LABEL_ERRORS = ("suspect", "quality", "suggested", "sentence")
