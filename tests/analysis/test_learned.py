"""The verdict on a model, with the numbers of measured runs (benchmarks/results/learning_rate.md, 1,000 sentences)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pruning.analysis.learned import Evidence, Verdict, follows_label, judge, margin_of_error, plateau
from pruning.analysis.recommendation import recommend
from tests.support.points import FULL, point

LABELS = np.arange(1000) % 2
MIXED = np.random.default_rng(0).integers(0, 4, 1000)


def evidence(**changes: object) -> Evidence:
    """At 1e-4: learned."""
    usual = Evidence(
        training_accuracy=np.tile([0.646, 0.849, 0.922], (3, 1)),
        training_loss=np.tile([0.631, 0.372, 0.230], (3, 1)),
        spread=np.array([0.67, 0.66, 0.61]),
        confidence=np.full(3, 0.83),
        accuracy=np.array([0.812, 0.7985, 0.794]),
        evaluated=2000,
        majority=0.504,
        h=MIXED,
        labels=LABELS,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


AT_2E5 = {
    "training_accuracy": np.tile([0.545, 0.720, 0.772], (3, 1)),
    "training_loss": np.tile([0.691, 0.678, 0.657], (3, 1)),
    "spread": np.array([0.06, 0.07, 0.12]),
    "confidence": np.full(3, 0.52),
    "accuracy": np.array([0.725, 0.7325, 0.732]),
}
AT_2E4 = {
    "training_accuracy": np.tile([0.649, 0.876, 0.963], (3, 1)),
    "training_loss": np.tile([0.613, 0.311, 0.121], (3, 1)),
    "spread": np.array([0.54, 0.26, 0.13]),
    "confidence": np.full(3, 0.93),
    "accuracy": np.array([0.815, 0.809, 0.8055]),
}
RISING = {"training_accuracy": np.tile([0.6, 0.7, 0.75], (3, 1)), "training_loss": np.tile([0.65, 0.58, 0.51], (3, 1))}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.LEARNED),
        (AT_2E5, Verdict.NOT_LEARNED),
        (AT_2E4, Verdict.MEMORISED),
        (RISING, Verdict.STILL_RISING),
        ({"accuracy": np.full(3, 0.52)}, Verdict.NOT_LEARNED),
        ({"majority": 0.79}, Verdict.NOT_LEARNED),
        ({"accuracy": np.full(3, np.nan)}, Verdict.LEARNED),
        ({"accuracy": np.full(3, np.nan), "spread": np.full(3, np.nan)}, Verdict.UNKNOWN),
        ({"h": LABELS * 3}, Verdict.NOT_LEARNED),
        ({"h": LABELS * 3, "labels": None}, Verdict.LEARNED),
    ],
)
def test_the_verdict(changes: dict[str, object], verdict: Verdict) -> None:
    found = judge(evidence(**changes))
    assert found.verdict is verdict and found.sentence.lower().startswith(verdict)


def test_equal_confidences_near_one_mean_memorised_and_near_chance_not_learned() -> None:
    """Probabilities within .13 of each other near 1 are those of a model that memorised them, near .5 of one that learned nothing."""
    assert judge(evidence(**AT_2E4)).runs[2] is Verdict.MEMORISED
    assert judge(evidence(**{**AT_2E4, "confidence": np.full(3, 0.52)})).runs[2] is Verdict.NOT_LEARNED


def test_runs_that_did_not_learn_are_counted_and_most_of_them_decide() -> None:
    one = judge(evidence(accuracy=np.array([0.81, 0.80, 0.504])))
    assert one.runs == (Verdict.LEARNED, Verdict.LEARNED, Verdict.NOT_LEARNED)
    assert one.verdict is Verdict.LEARNED and "1 of 3 runs does not beat the majority class" in one.sentence
    two = judge(evidence(accuracy=np.array([0.9, 0.504, 0.504])))
    assert two.verdict is Verdict.NOT_LEARNED and "2 of 3 runs do not beat the majority class" in two.sentence


def test_accuracy_and_majority_class_stand_side_by_side() -> None:
    assert "evaluation accuracy 0.801, majority class 0.504" in judge(evidence()).sentence
    assert margin_of_error(0.5, 2500) == pytest.approx(0.02)


def test_h_follows_the_label_beyond_what_unequal_classes_explain() -> None:
    """Of 95% and 5%, H = R is 95% the large class in any model; only near 99% does H follow the label."""
    labels = np.arange(1000) % 20 == 0
    h = np.where(np.arange(1000) % 7 == 0, 0, 3)
    assert not follows_label(h, labels.astype(np.int64), 3)
    assert follows_label(np.where(labels, 0, 3), labels.astype(np.int64), 3)


def test_generated_answers_must_become_likelier_by_two_standard_errors() -> None:
    answers = {"labels": None, "training_loss": np.tile([5.58, 5.56, 5.54], (3, 1)), "base_loss": 5.59}
    assert judge(evidence(**answers, fall_error=np.full(3, 0.02))).verdict is Verdict.LEARNED
    unsure = judge(evidence(**answers, fall_error=np.full(3, 0.03)))
    assert unsure.verdict is Verdict.NOT_LEARNED and "a fall of less than two standard errors" in unsure.sentence
    assert judge(evidence(**{**answers, "base_loss": 5.5})).verdict is Verdict.NOT_LEARNED


def test_nothing_is_recommended_from_a_model_that_has_not_learned() -> None:
    points = [FULL, point("a", 500, 0.8, mean=0.0)]
    assert recommend(points).subset == "a"
    refused = recommend(points, refusal=judge(evidence(**AT_2E5)).refusal)
    assert refused.subset is None and refused.more_seeds == 0 and "has not learned" in refused.sentence
    assert judge(evidence()).refusal == judge(evidence(**AT_2E4)).refusal == ""


def test_the_verdict_is_plain_values() -> None:
    found = judge(evidence()).to_dict()
    assert found["verdict"] == "learned" and found["runs"] == ["learned"] * 3 and type(found["verdict"]) is str


@pytest.mark.parametrize(
    ("accuracy", "loss", "epochs"),
    [
        ([0.65, 0.85, 0.92], [0.63, 0.37, 0.23], 3),  # the loss still falls
        ([0.5, 0.5, 0.8, 0.9], [0.693, 0.692, 0.45, 0.3], 4),  # a first epoch without a fall is no plateau
        ([0.6, 0.8, 0.82, 0.82], [0.6, 0.40, 0.39, 0.385], 2),
        ([0.6, 0.9, 0.97, 0.99], [0.6, 0.3, 0.1, 0.02], 3),  # by heart after the third
        ([0.6], [0.6], 1),
    ],
)
def test_a_plateau_is_the_last_epoch_that_taught_something(accuracy: list[float], loss: list[float], epochs: int) -> None:
    assert plateau(np.array(accuracy), np.array(loss)) == epochs
