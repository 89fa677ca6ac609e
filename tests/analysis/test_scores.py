from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning.analysis import scores
from pruning.errors import ScoreError, UsageError
from pruning.records import Dynamics
from tests.support.recordings import recording


@given(st.integers(1, 12), st.integers(1, 10), st.integers(1, 40), st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_every_score_is_finite_in_range_and_follows_its_examples(runs: int, epochs: int, examples: int, classes: int, seed: int) -> None:
    dynamics = recording(runs, epochs, examples, classes, seed)
    order = np.random.default_rng(seed).permutation(examples)
    shuffled = Dynamics(
        ids=dynamics.ids[order],
        seeds=dynamics.seeds,
        probe=None if dynamics.probe is None else dynamics.probe[order],
        successes=None if dynamics.successes is None else dynamics.successes[:, order],
        attempts=None if dynamics.attempts is None else dynamics.attempts[:, order],
        extras={name: values[order] for name, values in dynamics.extras.items()},
        **{
            name: getattr(dynamics, name)[:, :, order]
            for name in ("correct", "gold_prob", "gold_margin", "error_norm", "loss", "predicted", "position", "wrong")
        },
    )
    computed, again = scores.compute_all(dynamics), scores.compute_all(shuffled)
    assert computed.keys() == {name for name, score in scores.SCORES.items() if epochs >= score.epochs}
    for name, values in computed.items():
        score = scores.SCORES[name]
        assert values.shape == (examples,), name
        assert np.isfinite(values).all(), name
        assert (values >= score.low - 1e-6).all() and (values <= score.high(runs, epochs) + 1e-6).all(), name
        assert np.allclose(again[name], values[order]), name


@given(st.integers(1, 12), st.integers(2, 10), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_a_burn_in_never_lowers_h(runs: int, epochs: int, examples: int, seed: int) -> None:
    correct = recording(runs, epochs, examples, 2, seed).correct
    assert (scores.h_score(correct, epochs - 1) >= scores.h_score(correct)).all()


def test_h_by_hand() -> None:
    """Three runs of two epochs. a: always right. b: right throughout run 0 only. c: right once in each run, so never throughout."""
    a, b, c = [[1, 1], [1, 1], [1, 1]], [[1, 1], [0, 1], [1, 0]], [[1, 0], [0, 1], [1, 0]]
    correct = np.array([a, b, c], dtype=bool).transpose(1, 2, 0)
    assert scores.h_score(correct).tolist() == [3, 1, 0]
    assert scores.h_score(correct, burn_in=1).tolist() == [3, 2, 1]


def test_burn_in_must_leave_an_epoch() -> None:
    with pytest.raises(UsageError, match="must be 0 to 1"):
        scores.h_score(np.ones((2, 2, 3), dtype=bool), burn_in=2)


def test_forgetting_counts_a_never_learned_example_as_every_epoch() -> None:
    """Toneva et al.: never learned is forgotten most. Two runs of three epochs."""
    correct = np.array([[[1, 0, 1], [0, 0, 1], [1, 0, 1]], [[1, 0, 1], [1, 0, 0], [0, 1, 1]]], dtype=bool)
    assert scores.forgetting(correct).tolist() == [2.0, 3.0, 1.0]


def test_variability_is_per_run_where_the_ambiguous_baseline_pools() -> None:
    """Two runs that are each constant but differ: no spread within a run, some over both."""
    prob = np.array([[[0.2], [0.2]], [[0.8], [0.8]]])
    assert scores.variability(prob).tolist() == [0.0]
    assert scores.pooled_variability(prob)[0] == pytest.approx(sqrt(4 * 0.3**2 / 3))


def test_dynamic_uncertainty_counts_every_window() -> None:
    """Windows (0, 1) and (1, 1) of ddof 1: sqrt(.5) and 0; the published code would drop the last one."""
    assert scores.dyn_unc(np.array([[[0.0], [1.0], [1.0]]]))[0] == pytest.approx(sqrt(0.5) / 2)


def test_el2n_of_two_classes_follows_from_the_probability() -> None:
    dynamics = recording(2, 3, 50, 2, 0)
    assert np.allclose(scores.el2n(dynamics.error_norm), sqrt(2) * (1 - dynamics.gold_prob[:, -1].mean(axis=0)), atol=1e-5)


def test_changes_of_a_two_class_prediction_by_hand() -> None:
    """TDDS, J = 3: changes .5 -> .8, none, none. |.8 ln 1.6| + |.2 ln .4| = .5593; norm around a third of it: .5593 * sqrt(2/3)."""
    gold = np.array([0.5, 0.8, 0.8, 0.8])[None, :, None]
    assert scores.tdds(gold)[0] == pytest.approx(0.9 * 0.5593 * sqrt(2 / 3), abs=1e-4)


def test_later_windows_weigh_more() -> None:
    early, late = np.array([0.5, 0.9, 0.9, 0.9, 0.9, 0.9]), np.array([0.5, 0.5, 0.5, 0.5, 0.5, 0.9])
    first, second = scores.tdds(np.stack([early, late], axis=-1)[None])
    assert second > 5 * first


def test_dual_is_uncertainty_times_difficulty() -> None:
    """One window (0.2, 0.6): std .2828, mean .4."""
    assert scores.dual(np.array([[[0.2], [0.6]]]))[0] == pytest.approx(0.2828 * 0.6, abs=1e-4)


def test_the_papers_window_is_ten_epochs_once_there_are_eleven() -> None:
    prob = np.random.default_rng(0).random((1, 11, 1))
    windows = [prob[0, start : start + 10, 0].std(ddof=1) for start in (0, 1)]
    assert scores.dyn_unc(prob)[0] == pytest.approx(np.mean(windows))


def test_random_differs_by_seed_and_fills_its_range() -> None:
    ids = np.arange(10_000)
    drawn = scores.random(ids)
    assert 0.49 < drawn.mean() < 0.51
    assert (drawn != scores.random(ids, seed=1)).all()
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.03


def test_an_imported_recording_gives_the_scores_it_can() -> None:
    whole = recording(2, 4, 10, 3, 0)
    nothing = np.broadcast_to(np.float32(np.nan), whole.correct.shape)
    part = replace(whole, gold_margin=nothing, error_norm=nothing, position=np.broadcast_to(np.int32(-1), whole.correct.shape))
    assert scores.missing(part) == {"gold_margin", "error_norm", "position"}
    assert scores.compute_all(part).keys() == scores.SCORES.keys() - {"aum", "el2n"}
    with pytest.raises(ScoreError, match="AUM needs gold_margin, which this recording does not have"):
        scores.compute("aum", part)


def test_a_score_that_needs_more_epochs_is_refused() -> None:
    one_epoch = recording(1, 1, 5, 2, 0)
    with pytest.raises(ScoreError, match="needs 2 epochs; this recording has 1"):
        scores.compute("dyn-unc", one_epoch)
    with pytest.raises(ScoreError, match="TDDS needs 4 epochs"):
        scores.compute("tdds", recording(6, 3, 5, 2, 0))
    with pytest.raises(UsageError, match="burn_in must be 0 to 0 with 1 epoch, got -1"):
        scores.compute("confidence", one_epoch, -1)
    with pytest.raises(UsageError, match="There is no score 'luck'; the scores are h, confidence"):
        scores.compute("luck", one_epoch)
