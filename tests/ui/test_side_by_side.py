"""Kept and pruned side by side on Inspect, and the texts of the data map."""

import re

import numpy as np
import pytest

from pruning.experiment import Experiment
from pruning.reports.browse import View
from pruning.ui import difficulty_selection, map_chart
from tests.support.pages import open_page


def test_samples_of_both_sides_are_among_what_matches_and_open(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    view = View(scored, scored.settings.burn_in)
    kept, good = view.kept(view.subset("drop-hard")), scored.labels == 1
    app = open_page("inspect", scored.folder.root.parent, monkeypatch)
    app.selectbox(key="subset").set_value("drop-hard").run()
    app.multiselect(key="label").set_value([scored.label_names[1]]).run()
    titles = [line.value for line in app.markdown if re.match(r"\*\*(Kept|Pruned)", line.value)]
    assert titles == [f"**Kept: {(kept & good).sum()} examples**", f"**Pruned: {(~kept & good).sum()} examples**"]
    buttons = [button for button in app.button if (button.key or "").startswith("open-")]
    offered = [int(str(button.key).removeprefix("open-")) for button in buttons]
    assert len(offered) == min(4, (kept & good).sum()) + min(4, (~kept & good).sum()) > 4
    assert all(good[scored.ids == example] for example in offered)
    buttons[-1].click().run()
    assert not app.exception and f"Example {offered[-1]}" in [heading.value for heading in app.subheader]


def test_the_map_shows_texts_and_markup_in_them_is_text(scored: Experiment) -> None:
    view = View(scored, scored.settings.burn_in)
    texts = scored.examples(["text"])["text"].to_pylist()
    assert scored.labels is not None
    [hover] = difficulty_selection.hover(view, np.array([7]))
    assert hover == f"{texts[7]}<br>{scored.label_names[scored.labels[7]]}, H {view.h[7]}, example 7"
    assert difficulty_selection._lines("a <b> b") == ["a <b> b"] and difficulty_selection._lines("") == [""]


def test_each_cell_of_a_large_map_names_an_example_that_is_in_it() -> None:
    random = np.random.default_rng(0)
    x, y = (random.random(map_chart.MAP_POINTS + 500).astype(np.float32) for _ in range(2))
    colour, names = map_chart.Scale(x, (0, 1), "share"), map_chart.Axes("x", "y")
    figure = map_chart.plane(x, y, colour, names, None, lambda positions: [f"text {place}" for place in positions])
    [cells] = figure.data
    axes = [map_chart.axis(x), map_chart.axis(y)]
    total = 0
    for across, up, [place], words in zip(cells.x, cells.y, cells.customdata, cells.text, strict=True):
        left, right, bottom, top = map_chart.cell_around(across, up, axes)
        assert left <= x[place] <= right and bottom <= y[place] <= top
        count, _, example = words.partition(", such as<br>")
        assert example == f"text {place}"
        total += int(count.split(" ")[0].replace(",", ""))
    assert total == len(x)
