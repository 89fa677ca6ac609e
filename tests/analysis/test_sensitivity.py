"""How far H moves, judged beside the seeds alone."""

from math import isnan, nan

import numpy as np
import pytest
from scipy import stats

from pruning.analysis.sensitivity import Moved, by_chance, interval, ordered


def row(name: str, agreement: float, examples: int = 500, problem: str = "") -> Moved:
    return Moved(name=name, words=name, examples=examples, rank_agreement=agreement, overlap=0.5, problem=problem)


def test_the_noise_floor_is_first_and_only_what_is_clearly_below_it_matters() -> None:
    """At 500 examples and agreements near .6, two differ for certain from some .1 on."""
    found = ordered([row("batch", 0.58), row("rate", 0.3), row("seeds", 0.6), row("epochs", 0.75), row("odd", nan, problem="it diverged")])
    assert [each.name for each in found.rows] == ["seeds", "rate", "batch", "epochs", "odd"]
    assert [each.name for each in found.rows if each.matters] == ["rate"]
    assert found.sentence.startswith("H depends on 1 of 3 changes more than on the seeds, most on rate")
    assert "score the variation seeds first" in ordered([row("rate", 0.3)]).sentence
    assert "none of 1 change more" in ordered([row("rate", 0.6), row("seeds", 0.6)]).sentence


def test_the_interval_covers_the_correlation() -> None:
    random, true, hits = np.random.default_rng(0), 6 / np.pi * np.arcsin(0.6 / 2), 0
    for _ in range(300):
        x, y = random.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 200).T
        low, high = interval(float(stats.spearmanr(x, y).statistic), 200)
        hits += low < true < high
    assert 0.91 < hits / 300 < 0.99
    assert isnan(interval(nan, 100)[0]) and interval(1.0, 100)[1] <= 1


def test_the_overlap_by_chance_is_that_of_random_draws() -> None:
    random = np.random.default_rng(0)
    one, two = (random.random(100_000) < share for share in (0.3, 0.6))
    assert by_chance(0.3, 0.6) == pytest.approx((one & two).sum() / (one | two).sum(), abs=0.01)
    assert isnan(by_chance(0.0, 0.0))
