import tracemalloc
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from pruning.analysis import audit
from pruning.errors import ScoreError, UsageError
from pruning.records import Dynamics
from tests.support.recordings import gold_labels


def test_shares_by_hand() -> None:
    """80 of a keep 40, 20 of b keep 1: chi-square of [[40, 40], [19, 1]], and b keeps far less than the whole's 41%."""
    kept = np.array([True] * 40 + [False] * 40 + [True] + [False] * 19)
    found = audit.kept_shares("column", ["a"] * 80 + ["b"] * 20, kept)
    assert [(row.value, row.kept_fraction, row.flag) for row in found.rows] == [("a", 0.5, ""), ("b", 0.05, "thin")]
    assert found.p_value == pytest.approx(stats.chi2_contingency([[40, 40], [19, 1]], correction=False).pvalue)
    assert 0 < found.cramers_v < 1


def test_kept_shares_of_a_single_value_have_no_p_value() -> None:
    assert np.isnan(audit.kept_shares("column", ["a"] * 5, np.array([True, False, True, True, False])).p_value)
    with pytest.raises(UsageError, match="no examples"):
        audit.kept_shares("column", [], np.array([], dtype=bool))


def test_what_chance_would_drop_too_is_not_flagged_but_a_lost_class_is() -> None:
    """Three examples of which a random quarter keeps none in two cases of five."""
    values, kept = ["rare"] * 3 + ["frequent"] * 97, np.arange(100) > 75
    assert [row.flag for row in audit.kept_shares("source", values, kept).rows] == ["", ""]
    assert [row.flag for row in audit.kept_shares("label", values, kept, classes=True).rows] == ["", "gone"]
    random = np.random.default_rng(0).random(2000) < 0.24
    assert not audit.kept_shares(*audit.slices("uid", pd.Series([f"r{i:05}" for i in range(2000)])), random).flagged


def test_a_model_that_is_very_sure_of_another_class_gives_numbers() -> None:
    """Logits [110, 0, -5] and [40, 0, -5] of an example of the second class: e^-110 is less than 32 bits can say."""
    gold = np.exp(np.array([-110, -40], np.float64)).astype(np.float32)
    found = audit.rebuilt(gold, np.array([-110, -40], np.float32), np.array([0, 0]), np.array([1, 1]), 3)
    assert found[:, 0] == pytest.approx([1, 1]) and np.isfinite(found).all() and found.sum(axis=1) == pytest.approx([1, 1])


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


def test_text_without_a_letter_has_a_name() -> None:
    _, found = audit.slices("source", pd.Series(["web", "", "  ", "web", None, "web"]))
    assert found.value_counts().to_dict() == {"web": 3, "(empty)": 2, "(missing)": 1}


@pytest.mark.parametrize("start", [1_700_000_000.0, 0.12345678, 1e15])
def test_numbers_that_are_close_together_have_slices_of_their_own(start: float) -> None:
    _, found = audit.slices("when", pd.Series(start + np.arange(100) * start * 1e-9))
    assert len(found.cat.categories) == 4 and found.value_counts().tolist() == [25, 25, 25, 25]


def test_nan_and_infinite_values_are_sliced_as_missing() -> None:
    _, found = audit.slices("ratio", pd.Series([*range(40), np.inf, -np.inf, np.nan], dtype=float))
    assert list(found.cat.categories) == ["0 to 9.75", "9.75 to 19.5", "19.5 to 29.25", "29.25 to 39", "(missing)"]
    assert found.tolist()[-3:] == ["(missing)"] * 3
    assert audit._quarters(pd.Series([np.inf, np.nan])).tolist() == ["(missing)"] * 2


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (pa.array([date(2020, 1, 1) + timedelta(days=i) for i in range(40)]), "2020-01-01 to 2020-01-10"),
        (pa.array([datetime(2020, 1, 1, 8, i) for i in range(40)]), "2020-01-01 08:00 to 2020-01-01 08:09"),
        (pa.array([datetime(2020, 1, 1, 8, i, tzinfo=UTC) for i in range(40)]), "2020-01-01 08:00 to 2020-01-01 08:09"),
        (pa.array([datetime(2020, 1, 1 + i, tzinfo=ZoneInfo("Asia/Tokyo")) for i in range(31)]), "2020-01-01 to 2020-01-08"),
        (pa.array([*(date(1, 1, 1) + timedelta(days=i) for i in range(30)), *[date(9999, 12, 31)] * 10]), "0001-01-01 to 0001-01-10"),
        (pa.array([datetime(9999 - i, 1, 1) for i in range(41)], pa.timestamp("us")), "9959-01-01 to 9969-01-01"),
        (pa.array([timedelta(hours=i) for i in range(41)]), "0 to 3.6e+04"),
        (pa.array([Decimal(i) / 4 for i in range(41)]), "0 to 2.5"),
    ],
)
def test_times_and_decimals_become_quarters_as_numbers_do(values: pa.Array, first: str) -> None:
    name, found = audit.slices("when", pa.concat_arrays([values, pa.nulls(1, values.type)]).to_pandas())
    assert name == "when" and len(found.cat.categories) == 5 and found.cat.categories[0] == first and found.iloc[-1] == "(missing)"


def test_lists_and_structures_are_sliced_by_what_they_hold() -> None:
    kinds = pa.array([{"tags": ["a", "b"]}, {"tags": []}, None] * 10).to_pandas()
    assert audit.slices("kind", kinds)[1].value_counts().to_dict() == {'{"tags": ["a", "b"]}': 10, '{"tags": []}': 10, "(missing)": 10}
    options = pa.array([[f"answer {i}", "none of these"] for i in range(40)]).to_pandas()
    assert audit.slices("options", options)[0] == "words in options"


def made(correct: np.ndarray, classes: int) -> Dynamics:
    """A recording in which the class after the label is predicted where the label is not; labels are positions modulo `classes`."""
    examples = correct.shape[-1]
    empty = np.zeros(correct.shape, dtype=np.float32)
    labels = np.arange(examples) % classes
    return Dynamics(
        ids=np.arange(examples),
        seeds=tuple(range(len(correct))),
        correct=correct,
        gold_prob=np.where(correct, 0.6, 0.3).astype(np.float32),
        gold_margin=np.where(correct, 1, -0.5).astype(np.float32),
        error_norm=empty,
        loss=empty,
        predicted=np.where(correct, labels, (labels + 1) % classes),
        position=empty.astype(np.int32),
    )


def test_label_errors_of_100_000_classes_end_in_a_sentence_and_take_no_memory() -> None:
    """The probabilities would be 37 GiB, and be held twice."""
    classes = 100_000
    labels = np.arange(classes)
    dynamics = made(np.ones((2, 1, classes), dtype=bool), classes)
    tracemalloc.start()
    with pytest.raises(ScoreError, match=r"the probabilities of 100,000 examples and 100,000 classes take 37\.3 GiB, more than 1 GiB"):
        audit.label_errors(dynamics, labels, classes)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_probabilities_rebuilt_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    labels, dynamics = np.arange(50) % 5, made(random.random((2, 2, 50)) < 0.7, 5)
    whole = audit.class_probabilities(dynamics, labels, 5, epochs=2)
    monkeypatch.setattr(audit, "BLOCK", 35)
    assert np.array_equal(audit.class_probabilities(dynamics, labels, 5, epochs=2), whole)
