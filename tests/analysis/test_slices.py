"""Slices of columns and what a subset keeps of them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from pruning.analysis import slices
from pruning.errors import UsageError


def test_shares_by_hand() -> None:
    """80 of a keep 40, 20 of b keep 1: chi-square of [[40, 40], [19, 1]], and b keeps far less than the whole's 41%."""
    kept = np.array([True] * 40 + [False] * 40 + [True] + [False] * 19)
    found = slices.kept_shares("column", ["a"] * 80 + ["b"] * 20, kept)
    assert [(row.value, row.kept_fraction, row.flag) for row in found.rows] == [("a", 0.5, ""), ("b", 0.05, "thin")]
    assert found.p_value == pytest.approx(stats.chi2_contingency([[40, 40], [19, 1]], correction=False).pvalue)
    assert 0 < found.cramers_v < 1


def test_kept_shares_of_a_single_value_have_no_p_value() -> None:
    assert np.isnan(slices.kept_shares("column", ["a"] * 5, np.array([True, False, True, True, False])).p_value)
    with pytest.raises(UsageError, match="no examples"):
        slices.kept_shares("column", [], np.array([], dtype=bool))


def test_what_chance_would_drop_too_is_not_flagged_but_a_lost_class_is() -> None:
    """Three examples of which a random quarter keeps none in two cases of five."""
    values, kept = ["rare"] * 3 + ["frequent"] * 97, np.arange(100) > 75
    assert [row.flag for row in slices.kept_shares("source", values, kept).rows] == ["", ""]
    assert [row.flag for row in slices.kept_shares("label", values, kept, classes=True).rows] == ["", "gone"]
    random = np.random.default_rng(0).random(2000) < 0.24
    assert not slices.kept_shares(*slices.slices("uid", pd.Series([f"r{i:05}" for i in range(2000)])), random).flagged


def test_text_without_a_letter_has_a_name() -> None:
    _, found = slices.slices("source", pd.Series(["web", "", "  ", "web", None, "web"]))
    assert found.value_counts().to_dict() == {"web": 3, "(empty)": 2, "(missing)": 1}


@pytest.mark.parametrize("start", [1_700_000_000.0, 0.12345678, 1e15])
def test_numbers_that_are_close_together_have_slices_of_their_own(start: float) -> None:
    _, found = slices.slices("when", pd.Series(start + np.arange(100) * start * 1e-9))
    assert len(found.cat.categories) == 4 and found.value_counts().tolist() == [25, 25, 25, 25]


def test_nan_and_infinite_values_are_sliced_as_missing() -> None:
    _, found = slices.slices("ratio", pd.Series([*range(40), np.inf, -np.inf, np.nan], dtype=float))
    assert list(found.cat.categories) == ["0 to 9.75", "9.75 to 19.5", "19.5 to 29.25", "29.25 to 39", "(missing)"]
    assert found.tolist()[-3:] == ["(missing)"] * 3
    assert slices._quarters(pd.Series([np.inf, np.nan])).tolist() == ["(missing)"] * 2


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
    name, found = slices.slices("when", pa.concat_arrays([values, pa.nulls(1, values.type)]).to_pandas())
    assert name == "when" and len(found.cat.categories) == 5 and found.cat.categories[0] == first and found.iloc[-1] == "(missing)"


def test_lists_and_structures_are_sliced_by_what_they_hold() -> None:
    kinds = pa.array([{"tags": ["a", "b"]}, {"tags": []}, None] * 10).to_pandas()
    assert slices.slices("kind", kinds)[1].value_counts().to_dict() == {'{"tags": ["a", "b"]}': 10, '{"tags": []}': 10, "(missing)": 10}
    options = pa.array([[f"answer {i}", "none of these"] for i in range(40)]).to_pandas()
    assert slices.slices("options", options)[0] == "words in options"
