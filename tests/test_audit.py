import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from pruning import audit
from pruning.errors import UsageError
from pruning.records import Dynamics
from tests.recordings import gold_labels


def test_shares_by_hand() -> None:
    """80 of a keep 40, 20 of b keep 1: chi-square of [[40, 40], [19, 1]], and b keeps far less than the whole's 41%."""
    kept = np.array([True] * 40 + [False] * 40 + [True] + [False] * 19)
    found = audit.kept_shares("column", ["a"] * 80 + ["b"] * 20, kept)
    assert [(row.value, row.kept_fraction, row.flag) for row in found.rows] == [("a", 0.5, ""), ("b", 0.05, "thin")]
    assert found.p_value == pytest.approx(stats.chi2_contingency([[40, 40], [19, 1]], correction=False).pvalue)
    assert 0 < found.cramers_v < 1


def test_one_value_or_nothing_pruned_has_no_test() -> None:
    assert np.isnan(audit.kept_shares("column", ["a"] * 5, np.array([True, False, True, True, False])).p_value)
    with pytest.raises(UsageError, match="no examples"):
        audit.kept_shares("column", [], np.array([], dtype=bool))


@pytest.mark.parametrize("classes", [2, 4])
def test_flipped_labels_are_found_from_epoch_zero(classes: int) -> None:
    """A tenth of the labels flipped in a recording whose model is right about the true class: precision far above the base rate."""
    examples, random = 1000, np.random.default_rng(0)
    truth = gold_labels(examples, classes, 0)
    flipped = random.random(examples) < 0.1
    labels = np.where(flipped, (truth + 1) % classes, truth)
    logits = random.normal(0, 1, (6, 1, examples, classes))
    logits[..., np.arange(examples), truth] += 2
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    empty = np.zeros((6, 1, examples), dtype=np.float32)
    rows = np.arange(examples)
    others = logits.copy()
    others[..., rows, labels] = -np.inf
    dynamics = Dynamics(
        ids=np.arange(examples),
        seeds=tuple(range(6)),
        correct=logits.argmax(-1) == labels,
        gold_prob=probs[..., rows, labels].astype(np.float32),
        gold_margin=(logits[..., rows, labels] - others.max(axis=-1)).astype(np.float32),
        error_norm=empty,
        loss=empty,
        predicted=logits.argmax(-1),
        position=empty.astype(np.int32),
    )
    assert np.allclose(audit.class_probabilities(dynamics, labels, classes).sum(axis=1), 1, atol=1e-5)
    found = audit.label_errors(dynamics, labels, classes)
    positions = np.flatnonzero(found.suspect)
    assert flipped[positions].mean() > 0.5
    assert flipped[positions].sum() / flipped.sum() > 0.6
    hits = positions[flipped[positions]]
    assert (found.suggested[hits] == truth[hits]).mean() > 0.8


@pytest.mark.parametrize("start", [1_700_000_000.0, 0.12345678, 1e15])
def test_numbers_that_are_close_together_have_slices_of_their_own(start: float) -> None:
    _, found = audit.slices("when", pd.Series(start + np.arange(100) * start * 1e-9))
    assert len(found.cat.categories) == 4 and found.value_counts().tolist() == [25, 25, 25, 25]


def test_what_is_no_finite_number_is_missing() -> None:
    _, found = audit.slices("ratio", pd.Series([*range(40), np.inf, -np.inf, np.nan], dtype=float))
    assert list(found.cat.categories) == ["0 to 9.75", "9.75 to 19.5", "19.5 to 29.25", "29.25 to 39", "(missing)"]
    assert found.tolist()[-3:] == ["(missing)"] * 3
    assert audit._quarters(pd.Series([np.inf, np.nan])).tolist() == ["(missing)"] * 2


def test_lists_and_structures_are_sliced_by_what_they_hold() -> None:
    kinds = pa.array([{"tags": ["a", "b"]}, {"tags": []}, None] * 10).to_pandas()
    assert audit.slices("kind", kinds)[1].value_counts().to_dict() == {'{"tags": ["a", "b"]}': 10, '{"tags": []}': 10, "(missing)": 10}
    options = pa.array([[f"answer {i}", "none of these"] for i in range(40)]).to_pandas()
    assert audit.slices("options", options)[0] == "words in options"
