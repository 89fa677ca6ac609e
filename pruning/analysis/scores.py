"""Scores: one number per example, from the recording alone. Pure functions over [runs, epochs, examples].

Every score is a function with a decorator (`pruning.analysis.registry.score`) that registers it in `SCORES` with its range, direction and
source. A new score is one more such function; a property test covers it automatically. Scores of sampled answers are in
`pruning.analysis.rate_scores`, those of generated answers in `pruning.analysis.answer_scores`. If a paper and its published code differ,
the docstring says which we follow.
Sums are computed in float64, one run at a time, so that a million examples need little more memory than their recording.
"""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from pruning.analysis import expected_success as stacking
from pruning.analysis.registry import SCORES, score
from pruning.analysis.windows import mean_over_runs, surprise, usual_window, windows
from pruning.errors import ScoreError, UsageError
from pruning.records import QUANTITIES, Dynamics

__all__ = ["SCORES", "answer_scores", "compute", "compute_all", "h_score", "missing", "possible", "rate_scores"]

Floats = NDArray[np.float64]


_SWAYAMDIPTA = "Swayamdipta et al. 2020"


@score(
    "h",
    "H-score",
    "Number of runs that were right in every epoch.",
    high=lambda runs, epochs: runs,
    higher="easier",
    keep="low",
    source="Tayaranian et al., CoLLAs 2024",
)
def h_score(correct: NDArray[np.bool_], burn_in: int = 0) -> NDArray[np.int64]:
    """[N] number of runs in which the example was right in every epoch from `burn_in` on; 0..R, higher = easier.

    Tayaranian et al. (CoLLAs 2024): H[i] = sum over runs of the product over epochs of c[run, epoch, i]. `correct` is
    [R, E, N]; burn_in = 0 is the paper. Raises UsageError when no epoch would be left.

    >>> right = np.array([[[1, 1, 0], [1, 0, 0]], [[1, 1, 1], [1, 1, 0]]], dtype=bool)  # 2 runs x 2 epochs x 3 examples
    >>> h_score(right), h_score(right, burn_in=1)
    (array([2, 1, 0]), array([2, 1, 0]))
    """
    check_burn_in(burn_in, correct.shape[1])
    return correct[:, burn_in:].all(axis=1).sum(axis=0).astype(np.int64)


def check_burn_in(burn_in: int, epochs: int) -> None:
    """Raise UsageError if `burn_in` is negative or leaves no epoch."""
    if not 0 <= burn_in < epochs:
        raise UsageError(f"burn_in must be 0 to {epochs - 1} with {epochs} epoch{'s' * (epochs > 1)}, got {burn_in}.", "burn_in")


@score("confidence", "Confidence", "Mean probability of the correct answer.", high=1, higher="easier", keep="low", source=_SWAYAMDIPTA)
def confidence(gold_prob: NDArray[np.float32]) -> Floats:
    """[N] mean gold probability over epochs and runs; 0..1, higher = easier (Swayamdipta et al. 2020).

    >>> confidence(np.array([[[0.2, 1.0], [0.6, 1.0]]]))
    array([0.4, 1. ])
    """
    return gold_prob.mean(axis=(0, 1), dtype=np.float64)


@score(
    "variability",
    "Variability",
    "Standard deviation of that probability over epochs.",
    high=0.5,
    higher="more ambiguous",
    keep="high",
    source=_SWAYAMDIPTA,
)
def variability(gold_prob: NDArray[np.float32]) -> Floats:
    """[N] standard deviation (ddof 0) of the gold probability over epochs, mean over runs; 0..0.5, higher = more ambiguous.

    Swayamdipta et al. (2020) and allenai/cartography, per run.

    >>> variability(np.array([[[0.2, 1.0], [0.6, 1.0]]])).round(3)
    array([0.2, 0. ])
    """
    return mean_over_runs(gold_prob, lambda run: run.std(axis=0, dtype=np.float64))


@score(
    "pooled-variability",
    "Variability over all runs",
    "Standard deviation of that probability over epochs and runs.",
    high=sqrt(0.5),
    higher="more ambiguous",
    keep="high",
    source="Tayaranian et al., CoLLAs 2024 (the ambiguous baseline)",
)
def pooled_variability(gold_prob: NDArray[np.float32]) -> Floats:
    """[N] standard deviation (ddof 1) over all E*R gold probabilities; the paper's "ambiguous" baseline keeps the highest.

    One recorded value has no spread: 0.

    >>> pooled_variability(np.array([[[0.2, 1.0], [0.6, 1.0]]])).round(3)
    array([0.283, 0.   ])
    """
    mean, squares = confidence(gold_prob), np.zeros(gold_prob.shape[-1])
    for run, epoch in np.ndindex(*gold_prob.shape[:2]):
        squares += (gold_prob[run, epoch] - mean) ** 2
    return np.sqrt(squares / max(1, gold_prob.shape[0] * gold_prob.shape[1] - 1))


@score(
    "correctness", "Correctness", "Share of training predictions that were right.", high=1, higher="easier", keep="low", source=_SWAYAMDIPTA
)
def correctness(correct: NDArray[np.bool_]) -> Floats:
    """[N] share of epochs and runs in which the example was right; 0..1, higher = easier (Swayamdipta et al. 2020).

    >>> correctness(np.array([[[True, False], [True, True]]]))
    array([1. , 0.5])
    """
    return correct.mean(axis=(0, 1), dtype=np.float64)


@score(
    "forgetting",
    "Forgetting",
    "Changes from right to wrong; never right counts every epoch.",
    high=lambda runs, epochs: runs * epochs,
    higher="harder",
    keep="high",
    source="Toneva et al. 2019",
)
def forgetting(correct: NDArray[np.bool_]) -> Floats:
    """[N] number of changes from right to wrong between epochs, summed over runs; never right in a run counts E.

    0..R*E, higher = harder (Toneva et al. 2019; DeepCore and dPrune count a never-learned example as 0, which is a bug).

    >>> forgetting(np.array([[[True, False], [False, False], [True, False]]]))
    array([1., 3.])
    """
    events = (correct[:, :-1] & ~correct[:, 1:]).sum(axis=(0, 1))
    never = (~correct.any(axis=1)).sum(axis=0)
    return events + float(correct.shape[1]) * never


@score(
    "el2n",
    "EL2N",
    "Distance of the last epoch's probabilities from the correct answer.",
    high=sqrt(2),
    higher="harder",
    keep="high",
    source="Paul et al. 2021, at the last epoch",
)
def el2n(error_norm: NDArray[np.float32], epoch: int = -1) -> Floats:
    """[N] norm of (probabilities - one-hot) at one epoch, mean over runs; 0..sqrt(2), higher = harder (Paul et al. 2021).

    >>> el2n(np.array([[[0.9, 0.1], [0.5, 0.1]], [[0.9, 0.1], [0.7, 0.3]]]))
    array([0.6, 0.2])
    """
    return error_norm[:, epoch].mean(axis=0, dtype=np.float64)


@score(
    "aum",
    "AUM",
    "Margin of the correct answer over the next best; strongly negative suggests a wrong label.",
    high=inf,
    higher="easier",
    keep="low",
    source="Pleiss et al. 2020",
    low=-inf,
)
def aum(gold_margin: NDArray[np.float32]) -> Floats:
    """[N] mean over epochs and runs of gold logit minus best other logit; any number, low = suspect label (Pleiss et al. 2020).

    >>> aum(np.array([[[2.0, -1.0], [4.0, -3.0]]]))
    array([ 3., -2.])
    """
    return gold_margin.mean(axis=(0, 1), dtype=np.float64)


@score(
    "dyn-unc",
    "Dynamic uncertainty",
    "Standard deviation of that probability within a few epochs.",
    high=sqrt(0.5),
    higher="more ambiguous",
    keep="high",
    source="He et al. 2024, windows of 2 epochs if there are fewer than 11",
    epochs=2,
)
def dyn_unc(gold_prob: NDArray[np.float32], window: int = 0) -> Floats:
    """[N] standard deviation (ddof 1) of the gold probability within windows of consecutive epochs, mean over windows and runs.

    0..0.71, higher = more uncertain (He et al. 2024). The paper's window is 10 epochs; 0 picks 10, or 2 where there are fewer
    than 11 epochs. All windows count: the published code drops the last epoch, and multiplies by 10.

    >>> dyn_unc(np.array([[[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]])).round(3)
    array([0.354, 0.   ])
    """
    size = window or usual_window(gold_prob)
    return mean_over_runs(gold_prob, lambda run: windows(run, size).std(axis=-1, ddof=1, dtype=np.float64).mean(axis=0))


@score(
    "dual",
    "DUAL",
    "Dynamic uncertainty, weighted by difficulty.",
    high=sqrt(0.5),
    higher="more uncertain and harder",
    keep="high",
    source="Cho et al. 2025 (DUAL), windows as dynamic uncertainty",
    epochs=2,
)
def dual(gold_prob: NDArray[np.float32], window: int = 0) -> Floats:
    """[N] mean over windows and runs of standard deviation * (1 - mean) of the gold probability: uncertain and hard.

    0..0.71, higher = more useful (Cho et al. 2025). Windows as in `dyn_unc`; the published code multiplies by 10.

    >>> dual(np.array([[[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]])).round(3)
    array([0.177, 0.   ])
    """
    size = window or usual_window(gold_prob)

    def one(run: NDArray[np.float32]) -> Floats:
        found = windows(run, size)
        return (found.std(axis=-1, ddof=1, dtype=np.float64) * (1 - found.mean(axis=-1, dtype=np.float64))).mean(axis=0)

    return mean_over_runs(gold_prob, one)


@score(
    "tdds",
    "TDDS",
    "Unevenness of the prediction's changes between epochs.",
    high=inf,
    higher="more influential",
    keep="high",
    source="Zhang et al. 2024, J = 3, gold class against all others",
    epochs=4,
)
def tdds(gold_prob: NDArray[np.float32], window: int = 3, decay: float = 0.9) -> Floats:
    """[N] unevenness of the prediction's changes between epochs within a window; later windows have more weight.

    0.., higher = more influential (Zhang et al. 2024; their J is `window`, so E >= window + 1). Between two epochs the change is
    the sum over classes of |p_new log(p_new / p_old)|, as in their code; the norm of its deviations from the window's mean
    enters with weight decay * (1 - decay)^age. The recording holds the gold probability, so all other classes count as one:
    exact for two classes.

    >>> tdds(np.array([[[0.5, 0.5], [0.5, 0.9], [0.5, 0.9], [0.5, 0.9]]])).round(3)
    array([0.   , 0.507])
    """
    if gold_prob.shape[1] < window + 1:
        raise ScoreError(f"A window of {window} changes needs {window + 1} epochs; this recording has {gold_prob.shape[1]}.")

    def one(run: NDArray[np.float32]) -> Floats:
        gold = run.astype(np.float64)
        change = surprise(gold[1:], gold[:-1]) + surprise(1 - gold[1:], 1 - gold[:-1])
        found = windows(change, window)
        norms = np.linalg.norm(found - found.mean(axis=-1, keepdims=True), axis=-1)
        return decay * (1 - decay) ** np.arange(len(norms) - 1, -1, -1) @ norms

    return mean_over_runs(gold_prob, one)


@score("loss", "Loss", "Mean training loss.", high=inf, higher="harder", keep="high", source="mean cross-entropy in nats")
def mean_loss(loss: NDArray[np.float32]) -> Floats:
    """[N] mean cross-entropy over epochs and runs, in nats; 0.., higher = harder.

    >>> mean_loss(np.array([[[0.1, 2.0], [0.3, 4.0]]]))
    array([0.2, 3. ])
    """
    return loss.mean(axis=(0, 1), dtype=np.float64)


@score("random", "Random", "Random baseline for every other score.", high=1, higher="nothing", keep="high", source="a hash of the id")
def random(ids: NDArray[np.int64], seed: int = 0) -> Floats:
    """[N] a number from each id; 0..1, no direction. It depends on the id only, not on the order or on other examples.

    A hash (SplitMix64) instead of a random draw; subsets named random@... are drawn again for each seed.

    >>> bool((random(np.array([7, 3])) == random(np.array([3, 7]))[::-1]).all())
    True
    """
    bits = ids.astype(np.uint64) + np.uint64(seed) * np.uint64(0xD1B54A32D192ED03) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return (bits ^ (bits >> np.uint64(31))) / 2.0**64


@score(
    "expected-success",
    "Expected success",
    "Chance that one more run gets it right in every epoch, from the look and the runs so far.",
    high=1,
    higher="easier",
    keep="low",
    source="stacking (Wolpert 1992) of the probe and the runs, fitted on the recording",
    runs=2,
)
def expected_success(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] expected share of new runs that succeed; 0..1, higher = easier (see `pruning.analysis.expected_success`)."""
    return stacking.expected_success(dynamics, burn_in).estimate


@score(
    "probe",
    "Probe",
    "Probability of its label by a linear model on the pretrained embeddings that never saw it.",
    high=1,
    higher="easier",
    keep="low",
    source="logistic regression, out of sample by 5 folds; after Ethayarajh et al. 2022",
)
def probe(probe: NDArray[np.float32]) -> Floats:
    """[N] out-of-sample probability of the label before any training; 0..1, higher = easier (see `pruning.analysis.probe`)."""
    return np.asarray(probe, dtype=np.float64)


OF_TRAINING = ("correctness", "forgetting", "expected-success")
"""Scores of runs and epochs that say nothing about sampled answers; `pass-rate` and the like do."""


def missing(dynamics: Dynamics) -> frozenset[str]:
    """Return what a recording lacks (all values are nan, or -1 for integers): recorded quantities, and what only some recordings have."""
    absent = {name for name in QUANTITIES if _absent(dynamics.first(name))}
    known = {
        "ids",
        "dynamics",
        *dynamics.extras,
        *(name for name in ("probe", "successes", "wrong") if getattr(dynamics, name) is not None),
    }
    return frozenset(absent | {one.needs for one in SCORES.values()} - QUANTITIES.keys() - known)


def possible(dynamics: Dynamics, burn_in: int = 0) -> list[str]:
    """Return the names of the scores available from this recording, in the registry's order."""
    counted, lacking = dynamics.epochs - burn_in, missing(dynamics)
    runs = dynamics.runs if dynamics.probe is None else max(one.runs for one in SCORES.values())
    hidden = OF_TRAINING if dynamics.successes is not None and "gold_prob" in lacking else ()
    there = [name for name, one in SCORES.items() if counted >= one.epochs and one.needs not in lacking and runs >= one.runs]
    return [name for name in there if name not in hidden]


def compute(name: str, dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """Return [N] that score. Raises UsageError for an unknown name, ScoreError naming what the recording lacks."""
    if name not in SCORES:
        raise UsageError(f"There is no score {name!r}; the scores are {', '.join(SCORES)}.")
    check_burn_in(burn_in, dynamics.epochs)
    one, counted = SCORES[name], dynamics.epochs - burn_in
    if counted < one.epochs:
        raise ScoreError(f"{one.title} needs {one.epochs} epochs; this recording has {dynamics.epochs}, {counted} of them counted.")
    if one.needs in missing(dynamics):
        remedy = _REMEDIES.get(one.needs, "")
        raise ScoreError(f"{one.title} needs {one.needs}, which this recording does not have{remedy}.")
    if one.whole:
        return np.asarray(one.of(dynamics, burn_in), dtype=np.float64)
    if one.needs in QUANTITIES:
        return np.asarray(one.of(getattr(dynamics, one.needs)[:, burn_in:]), dtype=np.float64)
    values = dynamics.extras[one.needs] if one.needs in dynamics.extras else getattr(dynamics, one.needs)
    return np.asarray(one.of(values), dtype=np.float64)


_REMEDIES = {
    "probe": "; python -m pruning look DIR adds it",
    "successes": "; it is for sampled answers (winnow rollouts, winnow sample)",
}


def compute_all(dynamics: Dynamics, burn_in: int = 0) -> dict[str, Floats]:
    """Return every score available from this recording, by name."""
    return {name: compute(name, dynamics, burn_in) for name in possible(dynamics, burn_in)}


def _absent(value: NDArray[np.generic]) -> bool:
    return value.dtype != np.bool_ and bool((value == -1).all() if value.dtype.kind == "i" else np.isnan(value).all())


from pruning.analysis import answer_scores, rate_scores  # noqa: E402  (listed after those of training)
