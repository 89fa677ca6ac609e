"""Scores: one number per example, from the recording alone. Pure functions over [runs, epochs, examples].

Every score is an entry of `SCORES` with its range, its direction and its source. Adding one is adding an entry; a property
test picks it up. Where papers and their published code differ, the docstring says which we follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pruning.errors import ScoreError, UsageError
from pruning.records import Dynamics

Floats = NDArray[np.float64]


def h_score(correct: NDArray[np.bool_], burn_in: int = 0) -> NDArray[np.int64]:
    """[N] number of runs in which the example was right in every epoch from `burn_in` on; 0..R, higher = easier.

    Tayaranian et al. (CoLLAs 2024): H[i] = sum over runs of the product over epochs of c[run, epoch, i]. `correct` is
    [R, E, N]; burn_in = 0 is the paper. Raises UsageError when no epoch would be left.

    >>> right = np.array([[[1, 1, 0], [1, 0, 0]], [[1, 1, 1], [1, 1, 0]]], dtype=bool)  # 2 runs x 2 epochs x 3 examples
    >>> h_score(right), h_score(right, burn_in=1)
    (array([2, 1, 0]), array([2, 1, 0]))
    """
    if not 0 <= burn_in < correct.shape[1]:
        raise UsageError(f"--burn-in is {burn_in}; with {correct.shape[1]} epochs it must be 0 to {correct.shape[1] - 1}.")
    return correct[:, burn_in:].all(axis=1).sum(axis=0).astype(np.int64)


def confidence(gold_prob: NDArray[np.float32]) -> Floats:
    """[N] mean gold probability over epochs and runs; 0..1, higher = easier (Swayamdipta et al. 2020).

    >>> confidence(np.array([[[0.2, 1.0], [0.6, 1.0]]]))
    array([0.4, 1. ])
    """
    return gold_prob.mean(axis=(0, 1), dtype=np.float64)


def variability(gold_prob: NDArray[np.float32]) -> Floats:
    """[N] standard deviation (ddof 0) of the gold probability over epochs, mean over runs; 0..0.5, higher = more ambiguous.

    Swayamdipta et al. (2020) and allenai/cartography, per run.

    >>> variability(np.array([[[0.2, 1.0], [0.6, 1.0]]])).round(3)
    array([0.2, 0. ])
    """
    return gold_prob.std(axis=1, dtype=np.float64).mean(axis=0)


def pooled_variability(gold_prob: NDArray[np.float32]) -> Floats:
    """[N] standard deviation (ddof 1) over all E*R gold probabilities; the paper's "ambiguous" baseline keeps the highest.

    One recorded value has no spread: 0.

    >>> pooled_variability(np.array([[[0.2, 1.0], [0.6, 1.0]]])).round(3)
    array([0.283, 0.   ])
    """
    values = gold_prob.reshape(-1, gold_prob.shape[-1])
    return values.std(axis=0, ddof=1, dtype=np.float64) if len(values) > 1 else np.zeros(values.shape[1])


def correctness(correct: NDArray[np.bool_]) -> Floats:
    """[N] share of epochs and runs in which the example was right; 0..1, higher = easier (Swayamdipta et al. 2020).

    >>> correctness(np.array([[[True, False], [True, True]]]))
    array([1. , 0.5])
    """
    return correct.mean(axis=(0, 1), dtype=np.float64)


def forgetting(correct: NDArray[np.bool_]) -> Floats:
    """[N] times the example went from right to wrong between epochs, summed over runs; never right in a run counts E.

    0..R*E, higher = harder (Toneva et al. 2019; DeepCore and dPrune count a never-learned example as 0, which is a bug).

    >>> forgetting(np.array([[[True, False], [False, False], [True, False]]]))
    array([1., 3.])
    """
    events = (correct[:, :-1] & ~correct[:, 1:]).sum(axis=1)
    never = ~correct.any(axis=1)
    return np.where(never, correct.shape[1], events).sum(axis=0).astype(np.float64)


def el2n(error_norm: NDArray[np.float32], epoch: int = -1) -> Floats:
    """[N] norm of (probabilities - one-hot) at one epoch, mean over runs; 0..sqrt(2), higher = harder (Paul et al. 2021).

    >>> el2n(np.array([[[0.9, 0.1], [0.5, 0.1]], [[0.9, 0.1], [0.7, 0.3]]]))
    array([0.6, 0.2])
    """
    return error_norm[:, epoch].mean(axis=0, dtype=np.float64)


def aum(gold_margin: NDArray[np.float32]) -> Floats:
    """[N] mean over epochs and runs of gold logit minus best other logit; any number, low = suspect label (Pleiss et al. 2020).

    >>> aum(np.array([[[2.0, -1.0], [4.0, -3.0]]]))
    array([ 3., -2.])
    """
    return gold_margin.mean(axis=(0, 1), dtype=np.float64)


def dyn_unc(gold_prob: NDArray[np.float32], window: int = 0) -> Floats:
    """[N] standard deviation (ddof 1) of the gold probability within windows of consecutive epochs, mean over windows and runs.

    0..0.71, higher = more uncertain (He et al. 2024). The paper's window is 10 epochs; 0 picks 10, or 2 where there are fewer
    than 11 epochs. All windows count: the published code drops the last epoch, and multiplies by 10.

    >>> dyn_unc(np.array([[[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]])).round(3)
    array([0.354, 0.   ])
    """
    return _windows(gold_prob, window or _window(gold_prob, 10)).std(axis=-1, ddof=1, dtype=np.float64).mean(axis=(0, 1))


def dual(gold_prob: NDArray[np.float32], window: int = 0) -> Floats:
    """[N] mean over windows and runs of standard deviation * (1 - mean) of the gold probability: uncertain and hard.

    0..0.71, higher = more useful (DUAL, 2025). Windows as in `dyn_unc`.

    >>> dual(np.array([[[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]])).round(3)
    array([0.177, 0.   ])
    """
    windows = _windows(gold_prob, window or _window(gold_prob, 10))
    return (windows.std(axis=-1, ddof=1, dtype=np.float64) * (1 - windows.mean(axis=-1, dtype=np.float64))).mean(axis=(0, 1))


def tdds(gold_prob: NDArray[np.float32], window: int = 3, decay: float = 0.9) -> Floats:
    """[N] spread over a window of how much the gold log-probability changed from epoch to epoch, later windows weighing more.

    0.., higher = more influential (Zhang et al. 2024, J = window, needs E >= J + 1). The paper takes the change of the whole
    predictive distribution (KL); the recording holds the gold probability, so the change of its logarithm stands for it.

    >>> bool((tdds(np.array([[[0.1], [0.9], [0.2], [0.9]]])) > 0).all())
    True
    """
    change = np.abs(np.diff(np.log(np.clip(gold_prob, 1e-6, 1)), axis=1))
    windows = _windows(change, window)
    spread = ((windows - windows.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    weights = decay * (1 - decay) ** np.arange(spread.shape[1] - 1, -1, -1)
    return np.asarray(np.einsum("rwn,w->n", spread, weights) / gold_prob.shape[0], dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One score: how it is computed, what its numbers mean, where it comes from."""

    name: str
    title: str
    compute: Callable[[Dynamics, int], NDArray[np.float64]]
    """(recording, burn-in) -> [N]."""
    low: float
    high: Callable[[int, int], float]
    """(runs, epochs) -> largest possible value."""
    higher: str
    """What a higher number means, in a word: easier, harder, more ambiguous ..."""
    keep: str
    """The end that pruning by this score keeps: "high" or "low"."""
    source: str
    sentence: str
    """What it says, for people."""
    epochs: int = 1
    """Fewest epochs it needs."""


def _entries() -> list[Score]:
    def constant(value: float) -> Callable[[int, int], float]:
        return lambda runs, epochs: value

    swayamdipta = "Swayamdipta et al. 2020"
    return [
        Score(
            name="h",
            title="H-score",
            compute=lambda d, b: h_score(d.correct, b).astype(np.float64),
            low=0,
            high=lambda runs, epochs: runs,
            higher="easier",
            keep="low",
            source="Tayaranian et al., CoLLAs 2024",
            sentence="Runs in which the model got it right in every epoch.",
        ),
        Score(
            name="confidence",
            title="Confidence",
            compute=lambda d, b: confidence(d.gold_prob[:, b:]),
            low=0,
            high=constant(1),
            higher="easier",
            keep="low",
            source=swayamdipta,
            sentence="Mean probability given to the right answer.",
        ),
        Score(
            name="variability",
            title="Variability",
            compute=lambda d, b: variability(d.gold_prob[:, b:]),
            low=0,
            high=constant(0.5),
            higher="more ambiguous",
            keep="high",
            source=swayamdipta,
            sentence="How much that probability moves between epochs.",
        ),
        Score(
            name="pooled-variability",
            title="Variability over all runs",
            compute=lambda d, b: pooled_variability(d.gold_prob[:, b:]),
            low=0,
            high=constant(sqrt(0.5)),
            higher="more ambiguous",
            keep="high",
            source="Tayaranian et al., CoLLAs 2024 (the ambiguous baseline)",
            sentence="How much that probability moves between epochs and runs.",
        ),
        Score(
            name="correctness",
            title="Correctness",
            compute=lambda d, b: correctness(d.correct[:, b:]),
            low=0,
            high=constant(1),
            higher="easier",
            keep="low",
            source=swayamdipta,
            sentence="Share of all looks at it that were right.",
        ),
        Score(
            name="forgetting",
            title="Forgetting",
            compute=lambda d, b: forgetting(d.correct[:, b:]),
            low=0,
            high=lambda runs, epochs: runs * epochs,
            higher="harder",
            keep="high",
            source="Toneva et al. 2019",
            sentence="Times it was right and then wrong again; never right counts every epoch.",
        ),
        Score(
            name="el2n",
            title="EL2N",
            compute=lambda d, b: el2n(d.error_norm),
            low=0,
            high=constant(sqrt(2)),
            higher="harder",
            keep="high",
            source="Paul et al. 2021, at the last epoch",
            sentence="Distance of the last epoch's probabilities from the right answer.",
        ),
        Score(
            name="aum",
            title="AUM",
            compute=lambda d, b: aum(d.gold_margin[:, b:]),
            low=-inf,
            high=constant(inf),
            higher="easier",
            keep="low",
            source="Pleiss et al. 2020",
            sentence="How clearly the right answer leads the next best; strongly negative hints at a wrong label.",
        ),
        Score(
            name="dyn-unc",
            title="Dynamic uncertainty",
            compute=lambda d, b: dyn_unc(d.gold_prob[:, b:]),
            low=0,
            high=constant(sqrt(0.5)),
            higher="more ambiguous",
            keep="high",
            source="He et al. 2024, windows of 2 epochs where there are fewer than 11",
            sentence="How much its probability moves within a few epochs.",
            epochs=2,
        ),
        Score(
            name="dual",
            title="DUAL",
            compute=lambda d, b: dual(d.gold_prob[:, b:]),
            low=0,
            high=constant(sqrt(0.5)),
            higher="more uncertain and harder",
            keep="high",
            source="DUAL, 2025",
            sentence="Dynamic uncertainty, weighed by difficulty.",
            epochs=2,
        ),
        Score(
            name="tdds",
            title="TDDS",
            compute=lambda d, b: tdds(d.gold_prob[:, b:]),
            low=0,
            high=constant(inf),
            higher="more influential",
            keep="high",
            source="Zhang et al. 2024, on the gold probability, J = 3",
            sentence="How unevenly its loss changed from epoch to epoch.",
            epochs=4,
        ),
        Score(
            name="loss",
            title="Loss",
            compute=lambda d, b: d.loss[:, b:].mean(axis=(0, 1), dtype=np.float64),
            low=0,
            high=constant(inf),
            higher="harder",
            keep="high",
            source="mean cross-entropy in nats",
            sentence="Mean loss when it was trained on.",
        ),
    ]


SCORES: dict[str, Score] = {score.name: score for score in _entries()}
"""Name -> score, in the order in which a person should meet them."""


def compute(name: str, dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] that score. Raises UsageError for a name that does not exist, ScoreError naming what the recording lacks."""
    if name not in SCORES:
        raise UsageError(f"There is no score {name!r}; the scores are {', '.join(SCORES)}.")
    score = SCORES[name]
    counted = dynamics.epochs - burn_in
    if counted < score.epochs:
        raise ScoreError(f"{score.title} needs {score.epochs} epochs; this recording has {dynamics.epochs}, of which {counted} count.")
    return score.compute(dynamics, burn_in)


def compute_all(dynamics: Dynamics, burn_in: int = 0) -> dict[str, Floats]:
    """Every score that this recording can give, by name."""
    return {name: compute(name, dynamics, burn_in) for name, score in SCORES.items() if dynamics.epochs - burn_in >= score.epochs}


def _window(gold_prob: NDArray[np.float32], paper: int) -> int:
    return paper if gold_prob.shape[1] > paper else 2


def _windows(values: NDArray[np.floating], window: int) -> NDArray[np.floating]:
    if values.shape[1] < window:
        raise ScoreError(f"A window of {window} epochs needs as many; this recording has {values.shape[1]}.")
    return sliding_window_view(values, window, axis=1)
