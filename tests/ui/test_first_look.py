"""The first minute on the page: an experiment with a look and no run."""

from __future__ import annotations

from pathlib import Path

import pytest

from pruning.experiment import Experiment
from pruning.jobs import worker
from pruning.reports.first_look import first_look
from pruning.settings import Settings
from tests.support.pages import opened

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture
def looked(folder: Path, settings: Settings) -> Experiment:
    if not (folder / "reviews").exists():
        worker.look(settings, folder / "reviews")
    return Experiment(folder / "reviews")


@pytest.mark.parametrize("page", ["overview", "score"])
def test_the_page_shows_the_look_before_any_run(page: str, looked: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(f"{page}?experiment=reviews", looked.folder.root.parent, monkeypatch)
    assert not app.exception and not [error.value for error in app.error]
    found = first_look(looked)
    numbers = {metric.label: metric.value for metric in app.metric}
    assert numbers["Probe accuracy"] == f"{found.accuracy:.1%}" and numbers["Most frequent label"] == f"{found.majority:.1%}"
    assert numbers["Suspected labels"] == str(found.suspects) and numbers["Duplicates"] == str(found.redundant)
    assert found.verdict in [text.value for text in app.text]
    assert {"**Expected success, before training**", "**Suspected labels, before training**"} <= {mark.value for mark in app.markdown}
    tables = [table.value for table in app.dataframe if "looks like" in table.value]
    assert len(tables) == 1 and (tables[0]["label"] != tables[0]["looks like"]).all()


@pytest.mark.parametrize("looked_at", [True, False])
def test_inspect_shows_the_nearest_examples(looked_at: bool, scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    if not looked_at:
        for path in scored.folder.of_look:
            path.unlink()
    app = opened("inspect?experiment=reviews&example=3", scored.folder.root.parent, monkeypatch)
    assert not app.exception
    title = f"Nearest examples by {'meaning' if looked_at else 'words'}"
    [box] = [box for box in app.expander if box.label == title]
    same, other = (table.value for table in box.dataframe)
    names, labels = scored.label_names, scored.labels
    assert labels is not None and len(same) == len(other) == 5
    mine = names[labels[list(scored.ids).index(3)]]
    assert set(same["label"]) == {mine} and mine not in set(other["label"]) and same["cosine"].is_monotonic_decreasing


def test_a_look_that_cannot_be_used_is_said(looked: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    looked.folder.embeddings.write_bytes(b"nothing")
    looked.folder.look.touch()
    app = opened("overview?experiment=reviews", looked.folder.root.parent, monkeypatch)
    assert not app.exception and any("is damaged" in warning.value for warning in app.warning)
