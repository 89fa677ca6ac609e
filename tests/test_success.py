"""Success rules: parsed exactly, said in words, and the default of a recording."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from pruning import success
from pruning.errors import UsageError


def test_thresholds_are_exact_fractions_and_never_rounded() -> None:
    """Two of three right tokens are 2/3 of them, but less than 67%."""
    wrong, length = np.asarray([1]), np.asarray([3])
    assert success.parse("tokens>=2/3").right(wrong, np.zeros(1), length).tolist() == [True]
    assert success.parse("tokens>=0.67").right(wrong, np.zeros(1), length).tolist() == [False]
    assert success.parse(" Tokens >= 66% ").right(wrong, np.zeros(1), length).tolist() == [True]
    assert success.parse("loss<=0.5").right(wrong, np.asarray([0.5]), length).tolist() == [True]


@pytest.mark.parametrize(
    "name", ["", "exactly", "tokens>=0", "tokens>=1.1", "tokens>=1/0", "loss<=-1", "loss<=x", "tokens>=", "tokens>=101%"]
)
def test_other_names_are_refused_with_the_choices(name: str) -> None:
    with pytest.raises(UsageError, match="success must be exact"):
        success.parse(name)


def test_the_default_is_exact_where_that_tells_examples_apart_else_the_median_look() -> None:
    length = np.asarray([4, 5, 10, 3])
    rule, why = success.usual(np.asarray([[[0, 2, 3, 1]]]), length)
    assert rule.name == "exact" and "25% of the looks are exact" in why
    rule, why = success.usual(np.asarray([[[1, 2, 5, 1]]]), length)
    assert rule.share == Fraction(2, 3) and why.startswith("Only 0.0% of the looks are exact")
    assert rule.right(np.asarray([1, 2, 5, 1]), np.zeros(4), length).sum() == 2, "half of the looks"
    rule, why = success.usual(np.zeros((1, 1, 4), dtype=int), length)
    assert rule.share == 1 and "the model has learned this set, and H tells little" in why
    rule, _ = success.usual(np.asarray([[[4, 5, 10, 3]]]), length)
    assert rule.share is not None and rule.share > 0, "never a rule that everything passes"


def test_words_say_what_right_means() -> None:
    assert success.parse("tokens>=0.74").words == "Right = at least 74% of the answer's tokens are the most likely ones."
    assert success.parse("tokens>=20/27").words == "Right = at least 74% of the answer's tokens are the most likely ones (exactly 20/27)."
    assert success.parse("loss<=0").words == "Right = a mean loss of at most 0 nats a token (perplexity 1)."


def test_right_looks_are_counted_over_runs_and_epochs() -> None:
    right = np.zeros((2, 3, 4), dtype=bool)
    right[:, :, 1], right[0, 0, 2] = True, True
    assert success.right_looks_histogram(right).tolist() == [2, 1, 0, 0, 0, 0, 1]
