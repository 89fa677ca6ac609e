"""Scores of sampled answers: success rates with intervals, from right looks of all looks. Pure.

Without attempts a rate is unknown: such examples get what the set as a whole says (the mean of the fitted prior), never 0.
"""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from pruning.analysis.looks import looks, looks_by_epoch
from pruning.analysis.rates import fit_prior, jeffreys, pass_at
from pruning.analysis.registry import score
from pruning.records import Dynamics

Floats = NDArray[np.float64]


def _rate(dynamics: Dynamics) -> Floats:
    right, every = looks(dynamics)
    return np.where(every > 0, right / np.maximum(every, 1), fit_prior(right, every).mean)


@score(
    "pass-rate",
    "Pass rate",
    "Share of the sampled answers that were right.",
    high=1,
    higher="easier",
    keep="low",
    source="successes / attempts",
    needs="successes",
)
def pass_rate(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] successes / attempts over all checkpoints; 0..1, higher = easier. All answers count, whatever the burn-in."""
    return _rate(dynamics)


@score(
    "pass-rate-low",
    "Pass rate, lower end",
    "Lower end of its 95% interval.",
    high=1,
    higher="easier",
    keep="low",
    source="Jeffreys interval, two-sided 95% (Brown et al. 2001)",
    needs="successes",
)
def pass_rate_low(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] lower end of the two-sided 95% Jeffreys interval of the pass rate; 0..1."""
    return jeffreys(*looks(dynamics))[0]


@score(
    "pass-rate-high",
    "Pass rate, upper end",
    "Upper end of its 95% interval.",
    high=1,
    higher="easier",
    keep="low",
    source="Jeffreys interval, two-sided 95% (Brown et al. 2001)",
    needs="successes",
)
def pass_rate_high(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] upper end of the two-sided 95% Jeffreys interval of the pass rate; 0..1."""
    return jeffreys(*looks(dynamics))[1]


@score(
    "expected-rate",
    "Expected pass rate",
    "Pass rate, drawn towards that of all prompts as far as few samples require.",
    high=1,
    higher="easier",
    keep="low",
    source="posterior mean of a beta-binomial fitted to the set (empirical Bayes)",
    needs="successes",
)
def expected_rate(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] (successes + a) / (attempts + a + b) with Beta(a, b) fitted to all examples; 0..1, higher = easier."""
    right, every = looks(dynamics)
    return fit_prior(right, every).posterior_mean(right, every)


@score(
    "learnability-p",
    "Learnability p(1 - p)",
    "Variance of success: largest where half the answers are right.",
    high=0.25,
    higher="more signal for GRPO",
    keep="high",
    source="arXiv:2504.03380: the variance of success bounds the expected gain from below",
    needs="successes",
)
def learnability_p(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] p(1 - p) of the pass rate; 0..0.25, higher = more signal."""
    rate = _rate(dynamics)
    return np.asarray(rate * (1 - rate))


@score(
    "pass-at-4",
    "Pass@4",
    "Chance that at least one of 4 samples is right.",
    high=1,
    higher="easier",
    keep="low",
    source="Chen et al. 2021, unbiased; with fewer than 4 samples from the expected pass rate",
    needs="successes",
)
def pass_at_4(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] 1 - C(n - c, 4) / C(n, 4), higher = easier; below 4 attempts 1 - (1 - expected rate)^4."""
    right, every = looks(dynamics)
    found = pass_at(4, right, every)
    return np.where(np.isnan(found), 1 - (1 - expected_rate(dynamics)) ** 4, found)


@score(
    "gain",
    "Gain",
    "Pass rate at the last checkpoint minus that at the first.",
    high=1,
    higher="learned more",
    keep="high",
    source="difference of two rates",
    low=-1.0,
    epochs=2,
    needs="successes",
)
def gain(dynamics: Dynamics, burn_in: int = 0) -> Floats:
    """[N] pass rate of the last checkpoint minus that of the first one counted; -1..1; 0 where either was not sampled."""
    right, every = looks_by_epoch(dynamics)
    rate = right / np.maximum(every, 1)
    return np.where((every[burn_in] > 0) & (every[-1] > 0), rate[-1] - rate[burn_in], 0.0)


@score(
    "consensus",
    "Consensus",
    "Share of the most frequent answer, right or not.",
    high=1,
    higher="the model agrees with itself",
    keep="low",
    source="majority share, as in self-consistency (Wang et al. 2022)",
)
def consensus(consensus: Floats) -> Floats:
    """[N] share of the most frequent answer among those sampled; 0..1; 0 where no answer could be read."""
    return consensus


@score(
    "answer-tokens",
    "Answer length",
    "Mean length of the sampled answers.",
    high=inf,
    higher="longer answers",
    keep="low",
    source="the log's own count of tokens, else words",
)
def answer_tokens(answer_tokens: Floats) -> Floats:
    """[N] mean tokens of the answers (words where the log has no tokens); 0.., no direction of its own."""
    return answer_tokens


@score(
    "share-cut",
    "Share cut off",
    "Share of the answers that ran into the length limit; such a prompt is not hard for that.",
    high=1,
    higher="more answers cut",
    keep="low",
    source="finish reason 'length'",
)
def share_cut(share_cut: Floats) -> Floats:
    """[N] share of the answers cut at the maximum length; 0..1."""
    return share_cut


@score(
    "key-disagrees",
    "Key disagrees",
    "Share of the most frequent answer where it was judged wrong: a wrong key or a verifier's error looks like that.",
    high=1,
    higher="more doubtful key",
    keep="low",
    source="majority answer against the key",
)
def key_disagrees(key_disagrees: Floats) -> Floats:
    """[N] share of the most frequent answer, 0 where it was judged right or only one answer gave it; 0..1, higher = more doubtful key."""
    return key_disagrees
