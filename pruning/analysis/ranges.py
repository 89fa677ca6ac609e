"""Ranges of a score: slider ends, axis cells and edge labels that work for any spread. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np
from numpy.typing import NDArray

FLOAT32_DIGITS = 6
"""Significant decimal digits of a float32."""

CELLS = 8
"""Cells along each axis of the map as a table."""


Corners = Sequence[tuple[float, float]]
"""Corners (x, y) of an area: two opposite ones of a box, or three and more of a polygon."""


@dataclass(frozen=True, slots=True)
class Range:
    """Ends and step of a slider over a score; every finite value lies between the ends, and `low < high`."""

    low: float
    high: float
    step: float

    @property
    def decimals(self) -> int:
        """Decimals that tell two steps apart."""
        return max(0, -round(log10(self.step)))

    def nearest(self, value: float) -> float:
        """The step closest to a value, within the ends.

        >>> Range(0.0, 1.0, 0.01).nearest(0.128)
        0.13
        """
        return round(min(max(value, self.low), self.high), self.decimals)


def range_of(values: NDArray[np.floating]) -> Range:
    """Range of the finite values: about a hundred steps, however large or small their spread; 0 to 1 where there are none.

    >>> range_of(np.array([0.123, 0.876]))
    Range(low=0.12, high=0.88, step=0.01)
    >>> range_of(np.array([0.5]))
    Range(low=0.5, high=0.501, step=0.001)
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Range(0.0, 1.0, 0.01)
    low, high = float(finite.min()), float(finite.max())
    largest = max(abs(low), abs(high)) or 1.0
    power = max(floor(log10(high - low)) - 1 if high > low else -3, floor(log10(largest)) - FLOAT32_DIGITS)
    step, decimals = 10.0**power, max(0, -power)
    start, end = round(floor(low / step) * step, decimals), round(ceil(high / step) * step, decimals)
    start, end = (start if start <= low else round(start - step, decimals)), (end if end >= high else round(end + step, decimals))
    return Range(start, end if end > start else round(start + step, decimals), step)


def edge_labels(edges: NDArray[np.floating]) -> list[str]:
    """The edges as text: two decimals, or as many digits as it takes for all to differ.

    >>> edge_labels(np.array([0.5, 0.501, 0.502]))
    ['0.500', '0.501', '0.502']
    """
    for form in (".2f", ".3f", ".4f", ".5f", ".6f", ".6g", ".9g"):
        labels = [format(float(edge), form) for edge in edges]
        if len(set(labels)) == len(labels):
            return labels
    return [repr(float(edge)) for edge in edges]


def cells(x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[NDArray[np.int64], list[str], list[str]]:
    """Examples in each of 8 x 8 cells [y, x], and labels of the lower edges of the cells across and up; finite values only."""
    both = np.isfinite(x) & np.isfinite(y)
    across, up = (values[both].astype(np.float64) for values in (x, y))
    xs, ys = (np.linspace(found.low, found.high, CELLS + 1) for found in (range_of(across), range_of(up)))
    counts, _, _ = np.histogram2d(across, up, bins=[xs, ys])
    return counts.T.astype(np.int64), edge_labels(xs[:-1]), edge_labels(ys[:-1])


def inside(x: NDArray[np.float32], y: NDArray[np.float32], corners: Corners) -> NDArray[np.bool_]:
    """Return [N] True for the points in an area: of a box with its edges, of a polygon by the even-odd rule.

    >>> x, y = np.array([0.1, 0.4, 0.9], dtype=np.float32), np.array([0.1, 0.4, 0.9], dtype=np.float32)
    >>> inside(x, y, [(0.0, 0.0), (0.4, 0.4)]).tolist()
    [True, True, False]
    >>> inside(x, y, [(0.3, 0.3), (0.5, 0.3), (0.4, 0.6)]).tolist()
    [False, True, False]
    """
    if len(corners) == 2:
        (x0, x1), (y0, y1) = (sorted(map(np.float32, ends)) for ends in zip(*corners, strict=True))
        return np.asarray((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))
    found = np.zeros(len(x), dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if ay != by:
            crossed = (y < ay) != (y < by)
            found ^= crossed & (x < ax + (y - ay) * ((bx - ax) / (by - ay)))
    return found


def simpler(corners: Corners, most: int) -> list[tuple[float, float]]:
    """At most so many corners of a polygon drawn by hand, evenly chosen.

    >>> simpler([(0, 0), (1, 0), (2, 0), (2, 2), (0, 2)], 3)
    [(0, 0), (1, 0), (2, 2)]
    """
    count = min(most, len(corners))
    return [corners[place * len(corners) // count] for place in range(count)]
