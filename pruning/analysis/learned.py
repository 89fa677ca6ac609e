"""Did the model learn? One verdict for each run and for all of them, from what scoring recorded. Pure.

Evaluation loss is not recorded epoch by epoch. So "still rising" and "memorised" rest on the online accuracy and loss of the training
epochs and on the accuracy on the evaluation data at the end: where training accuracy runs ahead of evaluation accuracy the model
memorises; where it does not and the loss still falls, more epochs would teach it more.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from math import isnan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.formatting import counted

NARROW, SURE = 0.2, 0.75
"""Range from the 5th to the 95th percentile of gold probabilities below which a model tells no example from another, unless their mean is
higher than the second: a model that knows its examples by heart is sure of all of them (benchmarks/results/learning_rate.md)."""

FOLLOWS = 0.8
"""Part of the way from a class's share to 1, above which H = 0 (or H = R) holds hardly any other class: 90% for two equal classes."""

STILL_FALLING = 0.05
"""Fall of the training loss in the last epoch, as a share, from which the model is still learning."""

BY_HEART = 0.95
"""Training accuracy of the last epoch above which a model may know its examples by heart."""

GAP = 0.1
"""How far evaluation accuracy must then lie below it."""


class Verdict(StrEnum):
    """How far a model learned."""

    NOT_LEARNED = "not learned"
    STILL_RISING = "still rising"
    MEMORISED = "memorised"
    LEARNED = "learned"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Evidence:
    """Evidence behind the verdict; nan where it was not recorded."""

    training_accuracy: NDArray[np.float64]
    """[R, E] online accuracy of each epoch."""
    training_loss: NDArray[np.float64]
    """[R, E] mean online loss of each epoch."""
    spread: NDArray[np.float64]
    """[R] range from the 5th to the 95th percentile of gold probabilities in the last epoch."""
    confidence: NDArray[np.float64]
    """[R] mean gold probability in the last epoch."""
    accuracy: NDArray[np.float64]
    """[R] accuracy on the evaluation data."""
    evaluated: int
    """Evaluation examples."""
    majority: float
    """Share of the most frequent answer among them."""
    h: NDArray[np.int64]
    """[N] H-scores."""
    labels: NDArray[np.int64] | None
    """[N] class of each training example; None where the task has no classes."""
    base_loss: float = float("nan")
    """Mean loss of the model before training, for generated answers."""
    fall_error: NDArray[np.float64] | None = None
    """[R] standard error, over answers, of the fall from that to the loss of the last epoch; nan, or None, where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The verdict on a model, with the numbers it rests on."""

    verdict: Verdict
    sentence: str
    accuracy: float
    """Mean accuracy on the evaluation data; nan where it was not measured."""
    majority: float
    """Share of the most frequent answer there; nan where there is none."""
    runs: tuple[Verdict, ...]
    """The verdict on each run."""

    @property
    def refusal(self) -> str:
        """Why nothing is recommended from this model, in a sentence; empty where it learned."""
        return f"Nothing is recommended from a model that has not learned. {self.sentence}" if self.verdict is Verdict.NOT_LEARNED else ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; the runs in their order."""
        return {**asdict(self), "verdict": str(self.verdict), "runs": [str(run) for run in self.runs]}


def plateau(accuracy: NDArray[np.float64], loss: NDArray[np.float64]) -> int:
    """Return after how many epochs a run had learned nearly all that it would, from its [E] online accuracy and loss.

    No later epoch brought the loss down by more than `STILL_FALLING`, or accuracy was above `BY_HEART` before.

    >>> plateau(np.array([0.5, 0.7, 0.8, 0.8]), np.array([0.69, 0.5, 0.4, 0.39]))
    3
    """
    last = len(loss)
    while last > 1 and (accuracy[last - 2] > BY_HEART or loss[last - 1] > (1 - STILL_FALLING) * loss[last - 2]):
        last -= 1
    return last


def judge(evidence: Evidence) -> Learned:
    """Return the verdict: not learned, still rising, memorised or learned; unknown without any evidence.

    - *not learned*: evaluation accuracy less than two standard errors above the most frequent answer's, in the mean or in more than half
      of the runs; or gold probabilities of the last epoch within `NARROW` and not `SURE`; or H follows the label (`follows_label`).
    - *memorised*: training accuracy of the last epoch above `BY_HEART` and evaluation accuracy more than `GAP` below it.
    - for generated answers: *learned* where their mean loss in the last epoch is more than two standard errors below that of the model
      before training.
    - *still rising*: the training loss fell by more than `STILL_FALLING` in the last epoch, and training accuracy there is not above
      evaluation accuracy by more than two standard errors: what it learned of its examples holds for others.

    Over all runs the means decide, and H.
    """
    everything = list(range(len(evidence.accuracy)))
    runs = tuple(_of(evidence, [run])[0] for run in everything)
    verdict, why = _of(evidence, everything)
    failed = int((evidence.accuracy < _threshold(evidence)).sum())
    if verdict not in (Verdict.NOT_LEARNED, Verdict.UNKNOWN):
        if 2 * failed > len(runs):
            verdict, why = Verdict.NOT_LEARNED, f"{failed} of {len(runs)} runs do not beat the majority class"
        elif follows_label(evidence.h, evidence.labels, len(runs)):
            verdict, why = Verdict.NOT_LEARNED, "H follows the label: one class is always right and another never"
        elif failed:
            beside = f"{failed} of {len(runs)} runs {'does' if failed == 1 else 'do'} not beat the majority class"
            why = f"{why}; {beside}" if why else beside
    accuracy = float(np.mean(evidence.accuracy)) if everything else float("nan")
    return Learned(
        verdict=verdict,
        sentence=_sentence(verdict, why, accuracy, evidence.majority),
        accuracy=accuracy,
        majority=evidence.majority,
        runs=runs,
    )


def of_answers(successes: NDArray[np.int64], attempts: NDArray[np.int64]) -> Learned:
    """Return what sampled answers [N] say in the place of a verdict: nothing was trained, so it is unknown.

    >>> of_answers(np.array([0, 2, 8]), np.array([8, 8, 8])).sentence
    'Sampled answers: 10 of 24 right (pass rate 0.417), 3 prompts, 8 samples each.'
    """
    tried, total = attempts[attempts > 0], int(attempts.sum())
    most, least = int(tried.max(initial=0)), int(tried.min()) if len(tried) == len(attempts) else 0
    each = f"{counted(most, 'sample')} each" if least == most else f"{least} to {most} samples each"
    rate = f" (pass rate {successes.sum() / total:.3f})" if total else ""
    right = f"{int(successes.sum()):,} of {total:,} right{rate}"
    return Learned(
        verdict=Verdict.UNKNOWN,
        sentence=f"Sampled answers: {right}, {counted(len(attempts), 'prompt')}, {each}.",
        accuracy=float("nan"),
        majority=float("nan"),
        runs=(),
    )


def follows_label(h: NDArray[np.int64], labels: NDArray[np.int64] | None, runs: int) -> bool:
    """Return True if one class holds nearly all of H = 0 and another nearly all of H = R, beyond what their sizes explain.

    >>> follows_label(np.array([0, 0, 3, 3]), np.array([0, 0, 1, 1]), 3), follows_label(np.array([0, 3, 0, 3]), np.array([0, 0, 1, 1]), 3)
    (True, False)
    """
    if labels is None:
        return False
    shares = np.bincount(labels) / len(labels)
    named = []
    for value in (0, runs):
        held = np.bincount(labels[h == value], minlength=len(shares))
        if not held.sum():
            return False
        largest = int(held.argmax())
        beyond = (held[largest] / held.sum() - shares[largest]) / (1 - shares[largest]) if shares[largest] < 1 else 0.0
        named.append(largest if beyond >= FOLLOWS else None)
    return None not in named and named[0] != named[1]


def margin_of_error(share: float, examples: int) -> float:
    """Return two standard errors of a share measured on so many examples."""
    return 2 * sqrt(share * (1 - share) / examples) if examples else float("nan")


def _threshold(evidence: Evidence) -> float:
    """Return the accuracy that a model must reach, two standard errors above the most frequent answer's; nan where that is unknown."""
    return float("nan") if isnan(evidence.majority) else evidence.majority + margin_of_error(evidence.majority, evidence.evaluated)


def _of(evidence: Evidence, runs: list[int]) -> tuple[Verdict, str]:
    if not runs:
        return Verdict.UNKNOWN, "no run is complete"
    if not isnan(evidence.base_loss):
        return _of_answers(evidence, runs)
    accuracy, spread = float(np.mean(evidence.accuracy[runs])), float(np.mean(evidence.spread[runs]))
    training, loss = evidence.training_accuracy[runs].mean(axis=0), evidence.training_loss[runs].mean(axis=0)
    measured = not isnan(accuracy) and not isnan(evidence.majority)
    if not measured and isnan(spread):
        return Verdict.UNKNOWN, "neither evaluation accuracy nor probabilities were recorded"
    if measured and accuracy < _threshold(evidence):
        return Verdict.NOT_LEARNED, "evaluation accuracy is not two standard errors above the majority class"
    if spread < NARROW and float(np.mean(evidence.confidence[runs])) < SURE:
        return Verdict.NOT_LEARNED, f"90% of the gold probabilities in the last epoch lie within {spread:.2f} of each other"
    if isnan(accuracy) or isnan(training[-1]):
        return Verdict.LEARNED, ""
    if training[-1] > BY_HEART and accuracy < training[-1] - GAP:
        return Verdict.MEMORISED, f"training accuracy {training[-1]:.3f} in the last epoch"
    falls = len(loss) > 1 and loss[-1] < (1 - STILL_FALLING) * loss[-2]
    if falls and training[-1] <= accuracy + margin_of_error(accuracy, evidence.evaluated):
        return Verdict.STILL_RISING, f"training loss fell by {1 - loss[-1] / loss[-2]:.0%} in the last epoch"
    return Verdict.LEARNED, ""


def _of_answers(evidence: Evidence, runs: list[int]) -> tuple[Verdict, str]:
    """Return the verdict on generated answers: their mean loss must have fallen by two standard errors since before training."""
    last = float(evidence.training_loss[runs, -1].mean())
    doubt = 0.0 if evidence.fall_error is None else 2 * float(evidence.fall_error[runs].max())
    numbers = f"mean loss {last:.2f} nats a token in the last epoch, {evidence.base_loss:.2f} before training"
    if 0 < evidence.base_loss - last <= doubt:
        return Verdict.NOT_LEARNED, f"{numbers}, a fall of less than two standard errors"
    return (Verdict.LEARNED if last < evidence.base_loss else Verdict.NOT_LEARNED), numbers


_ADVICE = {
    Verdict.NOT_LEARNED: "Fit the learning rate (--learning-rate auto), train longer (--epochs), or use another model (--model).",
    Verdict.STILL_RISING: "More epochs would probably teach it more (--epochs).",
    Verdict.MEMORISED: "Fewer epochs (--epochs) memorise less; a wrong label can only be memorised, so look at the suspected ones.",
}


def _sentence(verdict: Verdict, why: str, accuracy: float, majority: float) -> str:
    beside = "" if isnan(majority) else f", majority class {majority:.3f}"
    numbers = "" if isnan(accuracy) else f": evaluation accuracy {accuracy:.3f}{beside}"
    reason = f" ({why})" if why else ""
    return f"{verdict.capitalize()}{numbers}{reason}. {_ADVICE.get(verdict, '')}".strip()
