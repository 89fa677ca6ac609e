"""The colours mean one thing each, and can be told apart on light and dark pages and by the colour-blind."""

from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest

from pruning.ui import charts, theme

MEANING = {theme.KEPT, theme.PRUNED}
FREE = {*theme.CATEGORIES, *theme.METHODS.values(), theme.OTHER, theme.RIGHT, theme.WRONG, theme.NEUTRAL}

TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
SEEN = {
    "by most": np.eye(3),
    "without red": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "without green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]),
    "without blue": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]),
}
"""How linear RGB looks to people who lack a kind of cone: Machado, Oliveira and Fernandes (2009)."""


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def rgb(colour: str) -> list[int]:
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


def contrast(one: str, other: str) -> float:
    """WCAG's ratio."""
    low, high = sorted(TO_XYZ[1] @ linear(colour) + 0.05 for colour in (one, other))
    return float(high / low)


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIE Lab of the colour as it is seen."""
    part = TO_XYZ @ np.clip(seen @ linear(colour), 0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(part > 0.008856, np.cbrt(part), 7.787 * part + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_no_other_series_has_the_colours_of_kept_and_pruned() -> None:
    assert len(MEANING) == 2
    assert not (MEANING | {theme.CHOSEN}) & FREE


def test_methods_differ_in_colour_and_in_shape() -> None:
    assert len({*theme.METHODS.values(), theme.OTHER}) == len({*theme.SYMBOLS.values(), "triangle-up"}) == len(theme.METHODS) + 1
    assert theme.METHODS.keys() == theme.SYMBOLS.keys()


@pytest.mark.parametrize("page", ["#FFFFFF", "#12171D"])
def test_colours_stand_out_from_the_page(page: str) -> None:
    assert {colour for colour in FREE | MEANING | {theme.CHOSEN} if contrast(colour, page) < 3} == set()


@pytest.mark.parametrize("page", ["#FFFFFF", "#12171D"])
def test_every_share_on_the_map_stands_out_from_the_page(page: str) -> None:
    for (start, first), (end, last) in pairwise(theme.SCALE):
        between = zip(rgb(first), rgb(last), strict=True)
        parts = [np.linspace(a, b, 20).round().astype(int) for a, b in between]
        assert start < end and min(contrast(f"#{r:02X}{g:02X}{b:02X}", page) for r, g, b in zip(*parts, strict=True)) >= 3


@pytest.mark.parametrize("seen", SEEN)
def test_the_ends_of_the_map_can_be_told_apart(seen: str) -> None:
    assert np.linalg.norm(lab(theme.SCALE[0][1], SEEN[seen]) - lab(theme.SCALE[-1][1], SEEN[seen])) > 25


@pytest.mark.parametrize("seen", SEEN)
def test_colours_can_be_told_apart(seen: str) -> None:
    assert len({*theme.CATEGORIES}) == 8
    for one, other in combinations([*theme.CATEGORIES, *MEANING], 2):
        if {one, other} - MEANING:
            assert np.linalg.norm(lab(one, SEEN[seen]) - lab(other, SEEN[seen])) > 12, (one, other)


def test_the_lines_of_a_chart_differ_in_colour_and_in_shape() -> None:
    table = pd.DataFrame(np.zeros((3, 4)), columns=["a", "b", "c", "d"])
    drawn = charts.lines(table, "epoch", "share").data
    assert len({line.line.color for line in drawn}) == len({line.marker.symbol for line in drawn}) == 4
    assert not MEANING & {line.line.color for line in drawn}
