"""One experiment read with a burn-in, with or without decisions made by hand: scores, subsets, label errors, duplicates, frontier."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pruning.analysis import audit, neighbours
from pruning.analysis import frontier as frontiers
from pruning.analysis import scores as score_registry
from pruning.analysis.duplicates import Duplicates, duplicates
from pruning.analysis.expected_success import ExpectedSuccess, expected_success, from_probe
from pruning.analysis.groups import Groups, Slicing, groups
from pruning.analysis.stability import Stability, stability
from pruning.data.texts import flat, joined, stacked, text_fields
from pruning.errors import ExperimentError, ScoreError, SubsetError, UsageError
from pruning.reading import grouping
from pruning.reading.course import Course
from pruning.records import DECISIONS, DISTINCT, FrontierPoint, Subset
from pruning.store import cache
from pruning.store.dynamics import without_runs
from pruning.store.manifest import MEASURED_WITH, OWN_EPOCHS, OWN_MODEL, PARAMETERS
from pruning.store.meaning_map import MeaningMap, read_map
from pruning.store.saved_subsets import save_subset
from pruning.store.shared import shared
from pruning.subsets import decisions as by_hand
from pruning.subsets import rules
from pruning.subsets.decisions import Decided
from pruning.subsets.findings import SUSPECTS, Finding
from pruning.subsets.ladder import ladder_names
from pruning.success import EXACT_RULE


class Reading(Course):
    """A stored experiment, read with one burn-in and with or without the decisions made by hand.

    Parameters
    ----------
    directory
        Folder of the experiment.
    burn_in
        First epochs left out of every score; None = the experiment's own.
    decisions
        True applies the decisions made by hand: subsets include the examples kept and exclude those dropped, and exports have the
        changed labels.
    success
        When a generated answer is right: a name of `pruning.success`; None = the experiment's own.
    """

    def __init__(self, directory: str | Path, burn_in: int | None = None, decisions: bool = True, success: str | None = None) -> None:
        super().__init__(directory)
        self.burn_in = self.settings.burn_in if burn_in is None else burn_in
        self.with_decisions = decisions
        self.asked_success = success
        self._rows: dict[tuple[str, int, int], str] = {}

    def reading(self, burn_in: int | None = None, decisions: bool = True, success: str | None = None) -> Self:
        """Return the same experiment read in another way; results that depend on none of the three are shared."""
        other = copy(self)
        other.burn_in = self.settings.burn_in if burn_in is None else burn_in
        other.with_decisions = decisions
        other.asked_success = success
        other._rows = {}
        return other

    def reopened(self) -> Self:
        """Return the same reading of the files as they are now."""
        again = type(self)(self.folder.root, self.burn_in, self.with_decisions, self.asked_success)
        return again if self.model == self.own_model else again.with_model(self.model)

    def with_model(self, fingerprint: str) -> Self:
        """Return the same reading with the fine-tunings, settings and learning rate of another model (see `other_models`).

        Scores, subsets and the verdict on the scoring runs are those of the experiment's own model.
        """
        entry = self.info[MEASURED_WITH][fingerprint]
        if self.finished_runs():
            _ = self.learned, self.look
        other = copy(self)
        other._shared = {name: value for name, value in self._shared.items() if name not in ("asked", "settings", "learning_rates")}
        train = {**self.info["settings"]["train"], "learning_rate": entry["learning_rate"]}
        given = {"model": entry["source"], "train": train, "approximate": "", "frontier_learning_rate": None, "scoring_learning_rate": None}
        other.info = {
            **self.info,
            OWN_MODEL: self.own_model,
            OWN_EPOCHS: self.scored_epochs,
            "model": {name: entry[name] for name in ("source", "fingerprint", "parts", PARAMETERS) if name in entry},
            "settings": {**self.info["settings"], **given},
            "learning_rates": entry["learning_rates"],
        }
        other._rows = {}
        return other

    @property
    def applied(self) -> Decided:
        """Decisions that this reading applies: all in force, or none."""
        return self.decided if self.with_decisions else Decided()

    # -- scores and subsets ----------------------------------------------------------------------------------

    def need_a_run(self) -> None:
        """Raise ExperimentError unless a run is complete."""
        if not self.finished_runs():
            raise ExperimentError(without_runs(self.folder))

    def h_score(self) -> NDArray[np.int64]:
        """[N] H-scores over the complete runs."""
        return score_registry.h_score(self.dynamics.correct, self.burn_in)

    def h_histogram(self) -> NDArray[np.int64]:
        """[R+1] number of examples with H = 0..R."""
        return np.bincount(self.h_score(), minlength=self.dynamics.runs + 1)

    def stability(self) -> Stability:
        """Return the stability of H over the complete runs."""
        return stability(self.dynamics.correct, self.burn_in)

    def scores(self) -> pd.DataFrame:
        """Return every score available from this recording, one column each, indexed by id."""
        computed = score_registry.compute_all(self.dynamics, burn_in=self.burn_in)
        return pd.DataFrame(computed, index=pd.Index(self.ids, name="id"))

    def subset(self, name: str, *, seed: int | None = None) -> Subset:
        """Return the subset of that name in this reading.

        Parameters
        ----------
        name
            A name of the grammar (see `pruning.subsets.rules`). The suffix "+decisions" is allowed and has no effect here.
        seed
            Seed of the fine-tuning that uses it; None = the first. Random subsets are drawn again for each seed.

        Raises what `rules.resolve` raises, and UsageError for the suffix if this reading leaves decisions out.
        """
        rule, asked = by_hand.without_suffix(name)
        if asked and not self.with_decisions:
            raise UsageError(f"{name!r} asks for the decisions made by hand, which --without-decisions leaves out; use one of the two.")
        return by_hand.apply(self.rule(rule, seed=seed), self.applied, self.ids, self.labels, self.label_names)

    def named(self, name: str, *, seed: int | None = None) -> Subset:
        """Return the subset of a frontier point: the rule's own rows, or with decisions applied if the name has the suffix."""
        rule, asked = by_hand.without_suffix(name)
        subset = self.rule(rule, seed=seed)
        return by_hand.apply(subset, self.decided, self.ids, self.labels, self.label_names) if asked else subset

    def labels_of(self, subset: Subset) -> NDArray[np.int64] | None:
        """Return [N] class indices of all examples as a fine-tuning on the subset has them; None where the task has no classes."""
        return None if self.labels is None else by_hand.relabelled(self.labels, self.ids, self.label_names, subset.labels)

    def rule(self, name: str, *, seed: int | None = None) -> Subset:
        """Return the rows as the rule chooses them, without decisions; `name` has no suffix."""
        draw = self.settings.seeds[0] if seed is None else seed
        return rules.resolve(name, self.dynamics, self.labels, self.burn_in, draw, self.label_names, self.saved, self.findings)

    @property
    def findings(self) -> dict[str, Finding]:
        """Findings in the data: name of a subset -> what it removes."""
        return {
            SUSPECTS: lambda: None if self.label_errors is None else self.label_errors.suspect,
            DISTINCT: lambda: None if self.same_meaning is None else neighbours.repeats(self.same_meaning, self.labels),
        }

    def ladder(self) -> list[str]:
        """Return the names of the automatic subsets: the paper's ladder for this recording's R, in the published order."""
        return ladder_names(self.dynamics.runs)

    def subsets(self) -> list[Subset]:
        """Return the automatic subsets in this reading."""
        return [self.subset(name) for name in self.ladder()]

    def save(self, name: str, subset: Subset, *, seed: int | None = None) -> Path:
        """Save the subset's rows under that name and return their file; `seed` is what a random subset was drawn with.

        Raises what `pruning.store.saved_subsets.save_subset` raises.
        """
        draw, runs = self.settings.seeds[0] if seed is None else seed, len(self.finished_runs())
        return save_subset(self.folder, self.ids, name, subset, burn_in=self.burn_in, seed=draw, runs=runs)

    # -- findings --------------------------------------------------------------------------------------------

    @shared
    def label_errors(self) -> audit.LabelErrors | None:
        """Labels that look wrong, by the runs and the look; before any run by the look alone.

        None where the task has no classes, or neither the recording nor a look has what it takes.
        """
        labels = self.labels
        if labels is None or not self.finds_label_errors:
            return None
        probe = None if self.look is None else self.look.probabilities

        def found() -> cache.Arrays:
            if self._recorded_answers:
                errors = audit.label_errors(self.dynamics, labels, len(self.label_names), probe=probe)
            else:
                assert probe is not None
                errors = audit.label_errors_of_probe(probe, labels, trained=bool(self.finished_runs()))
            return {name: np.asarray(getattr(errors, name)) for name in _LABEL_ERRORS}

        kept = cache.remember(self.folder.cache("label-errors"), self._stamp_of_runs, found)
        sentence = str(kept["sentence"])
        return audit.LabelErrors(suspect=kept["suspect"], quality=kept["quality"], suggested=kept["suggested"], sentence=sentence)

    @property
    def finds_label_errors(self) -> bool:
        """Return True if `label_errors` is not None, without computing it."""
        if self.labels is None or audit.too_large(len(self.labels), len(self.label_names)):
            return False
        return self._recorded_answers or self.probe is not None

    @property
    def _recorded_answers(self) -> bool:
        """True where complete runs have what label errors need."""
        return bool(self.finished_runs()) and not score_registry.missing(self.dynamics) & audit.NEEDED

    @property
    def expected_success(self) -> ExpectedSuccess | None:
        """Chance of success of each example from the look and the complete runs; None without a look and fewer than two runs."""
        if self.finished_runs():
            return None if len(self.finished_runs()) == 1 and self.probe is None else expected_success(self.dynamics, self.burn_in)
        return None if self.probe is None else from_probe(self.probe)

    @property
    def _stamp_of_data(self) -> str:
        return f"{self.info['data']['fingerprint']} {self.info['data']['evaluation']['fingerprint']}"

    @property
    def _stamp_of_texts(self) -> str:
        return f"{self._stamp_of_data} text by text"

    @property
    def _stamp_of_runs(self) -> str:
        look = "" if self.look is None or self.look.probe is None else f" look {self.look.recipe[:16]}"
        runs = list(self.dynamics.seeds) if self._recorded_answers else []
        return f"{self._stamp_of_data} {runs} {audit.LABEL_EPOCHS} epochs{look}"

    @property
    def audited(self) -> bool:
        """True if duplicates, label errors and rare words are cached, so that reading them takes no time."""
        wanted = {"duplicates": self._stamp_of_texts}
        if self.finds_label_errors:
            wanted |= {"label-errors": self._stamp_of_runs, **({"rarity": self._stamp_of_data} if self.finished_runs() else {})}
        if self.look is not None:
            wanted |= {"same-meaning": self._stamp_of_meaning}
        return all(cache.remembered(self.folder.cache(name), stamp) is not None for name, stamp in wanted.items())

    @shared
    def texts(self) -> pa.Table:
        """Text fields of the training examples, in the task's order; a list of options is one text with a line each."""
        return flat(self.examples(text_fields(self.schema)))

    @shared
    def rarity(self) -> NDArray[np.float64]:
        """[N] rarity of the words of each training example; see `audit.word_rarity`."""
        return cache.remember(
            self.folder.cache("rarity"), self._stamp_of_data, lambda: {"rarity": audit.word_rarity(joined(self.texts).to_pylist())}
        )["rarity"]

    @shared
    def same_meaning(self) -> NDArray[np.int64] | None:
        """[N] group of each training example with others of nearly the same meaning, -1 for none; see `neighbours.same_meaning`.

        None without a look, and where that function gives none.
        """
        look = self.look
        if look is None:
            return None

        def found() -> cache.Arrays:
            groups = neighbours.same_meaning(look.embeddings)
            return {"group": np.empty(0, dtype=np.int64) if groups is None else groups}

        kept = cache.remember(self.folder.cache("same-meaning"), self._stamp_of_meaning, found)["group"]
        return kept if len(kept) else None

    @property
    def _stamp_of_meaning(self) -> str:
        return f"{'' if self.look is None else self.look.recipe} {neighbours.SAME_MEANING}"

    @property
    def map(self) -> MeaningMap | None:
        """The map by meaning; None where there is none yet, or none that can be used (see `map_problem`)."""
        return self._map[0]

    @property
    def map_problem(self) -> str:
        """Why the map on disk cannot be used, in one sentence; empty where it can be, or there is none."""
        return self._map[1]

    @shared
    def _map(self) -> tuple[MeaningMap | None, str]:
        try:
            return (None, "") if self.look is None else (read_map(self.folder, self.ids, self.look.recipe), "")
        except ExperimentError as error:
            return None, str(error)

    def nearest(self, position: int, count: int = 5) -> neighbours.Nearest:
        """Nearest training examples by meaning, or by words where there is no look; of the same label and of others."""
        if self.look is not None:
            closeness = neighbours.cosines(self.look.embeddings, position)
        else:
            closeness = neighbours.word_cosines(self._word_vectors, position)
        return neighbours.nearest(closeness, position, self.labels, count)

    @shared
    def _word_vectors(self) -> csr_array:
        return neighbours.word_vectors(joined(self.texts).to_pylist())

    @shared
    def duplicates(self) -> Duplicates:
        """Groups of identical or nearly identical texts, over the training examples followed by the evaluation examples."""

        def found() -> cache.Arrays:
            held_out = flat(self.evaluation(text_fields(self.schema)))
            both = duplicates(stacked(self.texts, held_out))
            return {"group": both.group, "exact": both.exact}

        kept = cache.remember(self.folder.cache("duplicates"), self._stamp_of_texts, found)
        return Duplicates(group=kept["group"], exact=kept["exact"])

    # -- the frontier ----------------------------------------------------------------------------------------

    def frontier(self, budget: str = "epochs", metric: str | None = None) -> list[FrontierPoint]:
        """Return every measured subset, aggregated over seeds, with differences in `metric` (None: the task's first metric).

        A point has the rows that a rule chose, or those with decisions applied if its name ends in "+decisions". Fine-tunings on rows
        that the name no longer selects (other burn-in, more runs, other decisions) are kept in the file but left out here.
        """
        chosen = self.measured(budget)
        if chosen.empty:
            return []
        exact = metric is None and self.success == EXACT_RULE and EXACT_MATCH in chosen
        found = frontiers.points(chosen, len(self.ids), EXACT_MATCH if exact else metric, self._measurements(), self.evaluated)
        return [replace(point, metrics={EXACT_MATCH: point.metrics[EXACT_MATCH], **point.metrics}) for point in found] if exact else found

    def measured(self, budget: str = "epochs", right: bool = False) -> pd.DataFrame:
        """Return the fine-tunings that `frontier` aggregates, one row each; `right` as in `Stored.finished`."""
        frontiers.check_budget(budget)
        finished = self.finished(right=right)
        if finished.empty:
            return finished
        standing = np.array([self._stands_for(row.subset, row.seed) == row.rows_sha256 for row in finished.itertuples()])
        asked = (finished["budget"] == budget) | (finished["subset"] == "full")
        return finished[standing & ~self.set_aside(finished) & asked]

    def groups(self, subset: Subset, budget: str = "epochs") -> Groups:
        """Return the accuracy of every class and slice under a subset, compared with full data.

        The fine-tunings are those of a point of the subset's name, or on the same rows under any name.
        """
        return self._groups(subset, self.measured(budget, right=True))

    def groups_of_points(self, budget: str = "epochs") -> list[Groups]:
        """Return the same for every point of the frontier but full data and baselines, largest first."""
        rows = self.measured(budget, right=True)
        if rows.empty:
            return []
        subsets = [self.named(str(name)) for name in rows.loc[~rows["method"].isin(rules.NOT_PROPOSED), "subset"].unique()]
        return [self._groups(subset, rows) for subset in sorted(subsets, key=lambda subset: -subset.size)]

    def _groups(self, subset: Subset, rows: pd.DataFrame) -> Groups:
        sides = grouping.sides(rows, subset, self.evaluation(["id"]).num_rows)
        if isinstance(sides, str):
            return Groups(subset=subset.name, seeds=0, missing=sides)
        return groups(subset.name, *sides, self.slicings, subset.mask(self.ids))

    @shared
    def slicings(self) -> list[Slicing]:
        """The classes, and every column of the source, as groups of evaluation and of training examples."""
        return grouping.slicings(self)

    def _measurements(self) -> list[float]:
        """Return the start times of the jobs that measured the frontier; a resumed job counts again."""
        return [event["time"] for event in self.started("frontier")]

    def _stands_for(self, name: str, seed: int) -> str | None:
        decided = self.folder.decisions.stat().st_size if DECISIONS in name and self.folder.decisions.exists() else 0
        asked = (name, seed, decided)
        if asked not in self._rows:
            try:
                self._rows[asked] = frontiers.subset_sha256(self.named(name, seed=seed))
            except (SubsetError, ScoreError):  # not remembered: a saved subset may come back
                return None
        return self._rows[asked]


EXACT_MATCH = "exact_match"
"""Metric in front, by which a frontier of generated answers is read where answers must be exact; else it is token accuracy."""

_LABEL_ERRORS = ("suspect", "quality", "suggested", "sentence")
