"""The map by meaning on the Difficulty page: made at first use, coloured, and an area of it opened in Inspect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pruning.experiment import Experiment
from pruning.jobs import mapping, precompute
from pruning.reports.browse import View
from pruning.reports.conditions import MEANING, Area, Filter
from pruning.ui import map_chart, theme
from tests.support.pages import opened

pytestmark = pytest.mark.process

HALF = Area(*MEANING, ((-2.0, -2.0), (0.0, -2.0), (0.0, 2.0), (-2.0, 2.0)))


@pytest.fixture
def mapped(scored: Experiment) -> Experiment:
    """The scored experiment with its map."""
    return mapping.ensure(scored)


def test_a_line_around_half_of_the_map_lists_its_examples_and_opens_them(mapped: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = mapped.folder.root.parent
    query = "&".join(f"drawn={word}" for word in HALF.words())
    app = opened(f"difficulty?experiment=reviews&kind=by+meaning&{query}", root, monkeypatch)
    assert not app.exception
    assert mapped.map is not None
    wanted = np.flatnonzero(mapped.map.places[:, 0] < 0)
    assert 0 < len(wanted) < len(mapped.ids)
    assert any(text.value.startswith(f"{len(wanted)} examples in the area") for text in app.text)
    view = View(mapped, mapped.settings.burn_in)
    everything = np.ones(len(mapped.ids), dtype=bool)
    assert view.matching(Filter(area=HALF), everything).tolist() == wanted.tolist()
    query = "&".join(f"area={word}" for word in HALF.words())
    inspect = opened(f"inspect?experiment=reviews&show=all&{query}", root, monkeypatch)
    assert inspect.dataframe[0].value["id"].tolist() == mapped.ids[wanted][:50].tolist()
    assert "area of the map" in [button.label for button in inspect.button]
    app.button(key="clear-area").click().run()
    assert "drawn" not in app.query_params and not any("in the area" in text.value for text in app.text)


def test_an_area_of_a_map_that_is_not_there_is_said(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "&".join(f"area={word}" for word in HALF.words())
    app = opened(f"inspect?experiment=reviews&{query}", scored.folder.root.parent, monkeypatch)
    assert not app.exception and any("over meaning-across" in warning.value.replace("\\", "") for warning in app.warning)
    app = opened("inspect?experiment=reviews&area=aum&area=loss&area=x", scored.folder.root.parent, monkeypatch)
    assert not app.exception and any("is not an area" in warning.value.replace("\\", "") for warning in app.warning)


def test_the_map_is_made_at_its_first_use(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[Path, str]] = []
    monkeypatch.setattr(precompute, "begin", lambda directory, what="": begun.append((directory, what)))
    monkeypatch.setattr(precompute, "steps", lambda directory, what: (150, 1000))
    app = opened("difficulty?experiment=reviews&kind=by+meaning", scored.folder.root.parent, monkeypatch)
    assert not app.exception and [(path.name, what) for path, what in begun] == [("reviews", "map")]
    assert any("on the map; this takes seconds, once" in info.value for info in app.info)
    assert "Step 150 of 1,000" in str(app.get("progress")[0].proto)


def test_without_embeddings_the_command_is_shown(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in scored.folder.of_look:
        path.unlink()
    app = opened("difficulty?experiment=reviews&kind=by+meaning", scored.folder.root.parent, monkeypatch)
    assert not app.exception and any("python -m pruning look" in code.value for code in app.code)


@pytest.mark.parametrize("many", [False, True])
def test_each_part_has_its_colour_and_every_example_a_mark(many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    if many:
        monkeypatch.setattr(map_chart, "MAP_POINTS", 10)
    random = np.random.default_rng(0)
    x, y = random.random((2, 400)).astype(np.float32)
    left = pd.Series(pd.Categorical(np.where(x < 0.5, "kept", "pruned"), ["kept", "pruned"]))
    colour = map_chart.Parts(left, {"kept": theme.KEPT, "pruned": theme.PRUNED})
    figure = map_chart.plane(x, y, colour, map_chart.Axes("", "", named=False), None, lambda positions: [str(p) for p in positions])
    assert [trace.name for trace in figure.data] == ["kept", "pruned"] and figure.layout.showlegend
    assert [trace.marker.color for trace in figure.data] == [theme.KEPT, theme.PRUNED]
    assert max(figure.data[0].x) < 0.53 and min(figure.data[1].x) > 0.47
    assert many or sum(len(trace.x) for trace in figure.data) == 400
