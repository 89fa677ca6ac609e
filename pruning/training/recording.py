"""Online recording of one run's epoch, kept on the device and written by row, so that the loop does not wait for the device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from pruning.errors import Diverged
from pruning.records import WRONG, EpochRecord
from pruning.training.objective import Outcome


class EpochRecorder:
    """Preallocated columns of one epoch, [n] each, in the order of the run's rows."""

    def __init__(self, key: str, rows: int, device: torch.device) -> None:
        self.key = key
        self.measures = torch.zeros(4, rows, device=device)
        self.predicted = torch.zeros(rows, dtype=torch.int64, device=device)
        self.correct = torch.zeros(rows, dtype=torch.bool, device=device)
        self.right = torch.zeros((), dtype=torch.int64, device=device)
        self.wrong: torch.Tensor | None = None

    def start(self) -> None:
        """Start an epoch."""
        self.measures.fill_(float("nan"))
        self.right.zero_()

    def state(self) -> dict[str, torch.Tensor]:
        """Return what an unfinished epoch has recorded so far."""
        names = ("measures", "predicted", "correct", "right", *(() if self.wrong is None else ("wrong",)))
        return {name: getattr(self, name) for name in names}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what `state` returned; nothing if it is empty."""
        for name, values in state.items():
            setattr(self, name, values.to(self.measures.device))

    def add(self, rows: torch.Tensor, result: Outcome, wrong: torch.Tensor | None = None) -> None:
        """Record one step's outcome; `rows` [n] are positions within the run's rows, `wrong` the wrong tokens, for generation."""
        self.measures[:, rows] = torch.stack([result.gold_prob, result.gold_margin, result.error_norm, result.loss.detach()])
        self.predicted[rows] = result.predicted
        self.correct[rows] = result.correct
        if wrong is not None:
            self.wrong = torch.zeros_like(self.predicted) if self.wrong is None else self.wrong
            self.wrong[rows] = wrong
        self.right += result.correct.sum()

    def forget(self, rows: torch.Tensor) -> None:
        """Undo what an unfinished step may have added."""
        self.measures[:, rows] = float("nan")
        self.right.copy_((self.correct & ~self.measures[3].isnan()).sum())

    def accuracy(self, examples: int, rows: torch.Tensor) -> float:
        """Return the online accuracy over the epoch's first `examples`; waits for the device.

        Raises `Diverged` if the loss of the latest `rows` is NaN.
        """
        self._refuse_nan(self.measures[3, rows])
        return int(self.right) / examples

    def finish(self, epoch: int, place: NDArray[np.int32]) -> EpochRecord:
        """Return the epoch's record; `place` [n] is each row's place in the epoch. Raises `Diverged` if a loss is NaN."""
        self._refuse_nan(self.measures[3])
        prob, margin, error, loss = self.measures.cpu().numpy().copy()
        return EpochRecord(
            key=self.key,
            epoch=epoch,
            correct=self.correct.cpu().numpy().copy(),
            gold_prob=prob,
            gold_margin=margin,
            error_norm=error,
            loss=loss,
            predicted=self.predicted.cpu().numpy().copy(),
            position=place,
            wrong=None if self.wrong is None else self.wrong.cpu().numpy().astype(WRONG),
        )

    def _refuse_nan(self, loss: torch.Tensor) -> None:
        if bool(loss.isnan().any()):
            raise Diverged(
                f"The loss of {self.key} became NaN (not a number); a lower --learning-rate or --precision fp32 keeps it finite."
            )
