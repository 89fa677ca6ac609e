"""Ranges and cells of scores of any spread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pruning.analysis import ranges

SPREADS = [
    [0.5, 0.5, 0.5],
    [0.4999, 0.5001, 0.5],
    [0.50000006, 0.5, 0.5],
    [0.0, 1.0, 0.25],
    [1e-20, 3e-20, 2e-20],
    [-3e8, 4e8, 0.0],
    [1e30, 1e30, 1e30],
    [16_777_216.0, 16_777_218.0, 16_777_217.0],
    [np.nan, np.nan, np.nan],
    [np.nan, 0.2, np.inf],
    [-np.inf, -0.0, 0.0],
]


@pytest.mark.parametrize("values", SPREADS)
def test_ranges_enclose_the_finite_values_and_their_cells_have_distinct_names(values: list[float]) -> None:
    check(np.array(values, dtype=np.float32))


@given(arrays(np.float32, st.integers(1, 20), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)))
def test_ranges_of_arbitrary_values_enclose_them(values: np.ndarray) -> None:
    check(values)


def check(values: np.ndarray) -> None:
    found, finite = ranges.range_of(values), values[np.isfinite(values)].astype(np.float64)
    assert found.low < found.high and (found.low <= finite).all() and (finite <= found.high).all()
    counts, across, up = ranges.cells(values, values[::-1].copy())
    assert len(set(across)) == len(set(up)) == ranges.CELLS
    assert counts.sum() == (np.isfinite(values) & np.isfinite(values[::-1])).sum()


def test_a_small_spread_has_a_hundred_steps_not_one() -> None:
    found = ranges.range_of(np.array([0.4960, 0.5041], dtype=np.float32))
    assert (found.low, found.high, found.step) == (0.4959, 0.5042, 0.0001)  # the float32 of 0.496 lies below it


def test_cells_count_what_lies_in_them() -> None:
    counts, across, up = ranges.cells(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 0.5]))
    assert (across[0], up[0]) == ("0.00", "0.00")
    assert counts[0, 0] == 2 and counts[-1, -1] == 1 and counts.sum() == 3
