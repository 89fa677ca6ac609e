"""Scores of generated answers on numbers worked by hand, and rules that need them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pruning.analysis import scores
from pruning.errors import ScoreError
from pruning.subsets import answers, rules
from tests.support.recordings import recording


def test_both_variants_of_ifd_on_hand_numbers() -> None:
    """s(y|x) = 1, 2, 3 and s(y) = 2, 2, 1: ratios 0.5, 1, 3; perplexity ratios e^-1, 1, e^2."""
    dynamics = replace(recording(1, 1, 3, 2, 0), extras={"loss0": np.asarray([1.0, 2, 3]), "loss0_alone": np.asarray([2.0, 2, 1])})
    assert scores.compute("ifd", dynamics).tolist() == [0.5, 1.0, 3.0]
    assert scores.compute("ifd-ppl", dynamics) == pytest.approx(np.exp([-1.0, 0, 2]))


def test_learnability_is_the_fall_of_the_loss() -> None:
    dynamics = recording(2, 2, 1, 2, 0)
    dynamics = replace(dynamics, loss=np.asarray([[[9.0], [0.5]], [[9.0], [1.5]]], dtype=np.float32), extras={"loss0": np.asarray([4.0])})
    assert scores.compute("learnability", dynamics).tolist() == [3.0]


def test_token_accuracy_and_perplexity_are_means_over_the_looks_counted() -> None:
    dynamics = recording(1, 2, 2, 2, 0)
    dynamics = replace(
        dynamics,
        wrong=np.asarray([[[4, 0], [1, 0]]], dtype=np.int32),
        loss=np.log(np.asarray([[[8.0, 1.0], [2.0, 1.0]]], dtype=np.float32)),
        extras={"answer_length": np.asarray([4.0, 2])},
    )
    assert scores.compute("tokens", dynamics).tolist() == [0.375, 1.0]
    assert scores.compute("tokens", dynamics, burn_in=1).tolist() == [0.75, 1.0]
    assert scores.compute("perplexity", dynamics) == pytest.approx([4.0, 1.0])
    assert scores.compute("answer-length", dynamics).tolist() == [4.0, 2.0]


def test_scores_of_answers_are_missing_elsewhere() -> None:
    dynamics = replace(recording(2, 3, 10, 2, 0), extras={}, wrong=None)
    assert not {"tokens", "perplexity", "worst-token", "ifd", "learnability", "answer-length"} & set(scores.possible(dynamics))
    assert "middle-loss" in scores.possible(dynamics)
    with pytest.raises(ScoreError, match="IFD needs loss0_alone, which this recording does not have"):
        scores.compute("ifd", dynamics)


def test_s2l_takes_equally_from_every_cluster_of_trajectories() -> None:
    """Thirty easy, thirty hard and six odd examples: a third of 18 comes from each."""
    loss = np.concatenate([np.full((2, 3, 30), 0.1), np.full((2, 3, 30), 5.0), np.full((2, 3, 6), 20.0)], axis=-1).astype(np.float32)
    loss += np.random.default_rng(0).normal(0, 0.01, loss.shape).astype(np.float32)
    kept = answers.s2l(loss[:, :, :], 18, np.random.default_rng(1))
    assert len(kept) == 18 and (np.diff(kept) > 0).all()
    assert (kept >= 60).sum() >= 3 and (kept < 30).any() and ((kept >= 30) & (kept < 60)).any()


def test_length_matched_draws_the_lengths_of_the_subset_beside_it() -> None:
    dynamics = recording(2, 3, 400, 2, 3)
    long = dynamics.extras["answer_length"] > 20
    kept = rules.resolve("length-matched@answer-length-high@0.25", dynamics, None, seed=1)
    of = rules.resolve("answer-length-high@0.25", dynamics, None)
    assert kept.size == of.size == 100
    assert long[kept.mask(dynamics.ids)].mean() == pytest.approx(long[of.mask(dynamics.ids)].mean(), abs=0.1)
    plain = rules.resolve("length-matched@0.25", dynamics, None, seed=1)
    assert long[plain.mask(dynamics.ids)].mean() == pytest.approx(long.mean(), abs=0.05)
    assert rules.resolve("s2l@0.25", dynamics, None, seed=1).size == 100
