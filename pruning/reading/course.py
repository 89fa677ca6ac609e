"""How the scoring runs of one experiment went: whether the model learned, and which runs diverged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pruning.analysis import audit, divergence
from pruning.analysis import scores as score_registry
from pruning.analysis.divergence import DivergedRun
from pruning.analysis.learned import Evidence, Learned, judge, of_answers, plateau
from pruning.analysis.looks import looks
from pruning.reading.judged import Judged
from pruning.records import FULL
from pruning.store.base import LOSS0
from pruning.store.layout import read_table
from pruning.store.shared import shared


class Course(Judged):
    """A stored experiment with the verdict on its scoring runs. Burn-in and decisions play no part in it."""

    # -- whether the model learned ---------------------------------------------------------------------------

    @shared
    def learned(self) -> Learned:
        """Verdict on the complete scoring runs: not learned, still rising, memorised or learned; see `pruning.analysis.learned`."""
        return of_answers(*looks(self.dynamics)) if self.sampled and self.finished_runs() else judge(self.evidence)

    @property
    def evaluated(self) -> int:
        """Number of evaluation examples."""
        return int(self.info["data"]["evaluation"]["rows"])

    @property
    def plateau(self) -> int:
        """Epochs after which full data had taught nearly all that it would: those of the first scoring run, all where it is not there.

        One run, so that runs added later do not move it.
        """
        epochs = self.settings.measuring.epochs
        if self.settings.scored_subset != FULL or self.scored_epochs != epochs or 0 not in self.finished_runs():
            return epochs
        loss = [float(np.asarray(read_table(self.folder.epoch(0, epoch), ["loss"])["loss"]).mean()) for epoch in range(epochs)]
        return plateau(self.epoch_accuracy()[0], np.array(loss))

    @shared
    def evidence(self) -> Evidence:
        """Measurements of the complete scoring runs that the verdict is based on."""
        runs, last = self.finished_runs(), self.scored_epochs - 1
        spread, confidence = np.full(len(runs), np.nan), np.full(len(runs), np.nan)
        loss, before = np.full((len(runs), last + 1), np.nan), self.extras.get(LOSS0)
        fall_error = np.full(len(runs), np.nan)
        for index, run in enumerate(runs):
            for epoch in range(max(0, last - 1), last + 1):
                table = read_table(self.folder.epoch(run, epoch), ["gold_prob", "loss"])
                loss[index, epoch] = np.asarray(table["loss"]).mean()
            if before is not None and len(before) > 1:
                fall_error[index] = (before - np.asarray(table["loss"])).std(ddof=1) / len(before) ** 0.5
            probabilities = np.asarray(table["gold_prob"], dtype=np.float64)
            spread[index], confidence[index] = np.subtract(*np.percentile(probabilities, [95, 5])), probabilities.mean()
        return Evidence(
            training_accuracy=self.epoch_accuracy()[runs],
            training_loss=loss,
            spread=spread,
            confidence=confidence,
            accuracy=self._evaluation_accuracy(runs),
            evaluated=self.evaluated,
            majority=self.majority,
            h=score_registry.h_score(self.dynamics.correct, self.settings.burn_in) if runs else np.zeros(0, dtype=np.int64),
            labels=self.labels,
            base_loss=float("nan") if before is None else float(before.mean()),
            fall_error=fall_error,
        )

    @shared
    def majority(self) -> float:
        """Share of the most frequent class in the evaluation data; nan without classes."""
        labels = self.evaluation(["label"])["label"]
        if not len(labels) or not pa.types.is_integer(labels.type):
            return float("nan")
        return float(np.unique(np.asarray(labels), return_counts=True)[1].max() / len(labels))

    def _evaluation_accuracy(self, runs: list[int]) -> NDArray[np.float64]:
        """Return [runs] accuracy of the scoring runs on the evaluation data; nan for runs without evaluation."""
        finished = self.finished()
        subset = self.settings.scored_subset
        if "accuracy" not in finished or not subset:
            return np.full(len(runs), np.nan)
        full = finished[finished["subset"] == subset].drop_duplicates("seed", keep="last").set_index("seed")["accuracy"]
        return full.reindex([self.settings.seeds[run] for run in runs]).to_numpy(float)

    # -- what went wrong -------------------------------------------------------------------------------------

    def diverged(self) -> list[DivergedRun]:
        """Return scoring runs that diverged: they predict one class for nearly every example, or their loss became NaN."""
        settings, labels, complete = self.settings, self.labels, self.finished_runs()
        if settings.recorded_by != "winnow":
            return []
        found = []
        for run in complete if labels is not None else ():
            path = self.folder.epoch(run, self.scored_epochs - 1)
            answer = divergence.stuck_at(np.asarray(read_table(path, ["predicted"])["predicted"]), np.asarray(labels))
            if answer is not None:
                sentence = f"run {run} (seed {settings.seeds[run]}) predicts {self.label_names[answer]!r} for nearly every example."
                found.append(DivergedRun(run=run, seed=settings.seeds[run], sentence=sentence))
        incomplete = sorted(set(range(settings.runs)) - set(complete))
        events = self.nan_events() if incomplete else []
        for run in incomplete:
            seed, nan = settings.seeds[run], divergence.nan_losses(run, events, self.info.get("redone", ()))
            if nan:
                found.append(DivergedRun(run=run, seed=seed, sentence=nan[-1]))
            elif self.folder.aside(seed).exists() and not self.folder.epoch(run, 0).parent.exists():
                sentence = f"run {run} (seed {seed}) diverged; its recording was moved to diverged/."
                found.append(DivergedRun(run=run, seed=seed, sentence=sentence))
        return found

    def nan_events(self) -> list[Mapping[str, Any]]:
        """Return the events of fine-tunings whose loss became NaN, oldest first."""
        return [event for event in self.events(but="progress") if event["event"] == "diverged" and {"key", "message"} <= event.keys()]

    def warnings(self) -> list[str]:
        """Return sentences about damaged lines, diverged runs and fine-tunings, and label errors that are not looked for."""
        finished = self.finished()
        large = "" if self.labels is None else audit.too_large(len(self.labels), len(self.label_names))
        own = divergence.warnings(self.diverged(), finished[~self.set_aside(finished)], self.folder.root)
        own += self.info.get("rollouts", {}).get("warnings", [])
        return [*self.complaints(), *filter(None, [self.look_problem]), *own, *filter(None, [large])]
