"""The first minute on the page: an experiment with a look and no run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pruning.analysis import neighbours
from pruning.errors import ExperimentError
from pruning.experiment import Experiment
from pruning.export.writer import verify
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
    numbers, below = ({metric.label: getattr(metric, part) for metric in app.metric} for part in ("value", "delta"))
    assert numbers["Probe accuracy"] == f"{found.accuracy:.1%}" and below["Probe accuracy"] == f"most frequent label {found.majority:.1%}"
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


def test_many_copies_are_said_and_one_of_each_can_be_scored_instead(
    looked: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any run; what needs runs is refused, and so is a frontier."""
    root = Path(shutil.copytree(looked.folder.root, tmp_path / "pairs" / "reviews"))
    monkeypatch.setattr(neighbours, "same_meaning", lambda embeddings: np.arange(len(embeddings)) // 3)
    experiment = Experiment(root)
    experiment.folder.cache("same-meaning").unlink(missing_ok=True)  # another test may have opened a page before
    kept = experiment.subset("distinct")
    assert len(experiment.ids) / 3 <= kept.size < len(experiment.ids) * 0.95, "up to two labels in each group of three"
    words = first_look(experiment).copies
    assert words.endswith(f"Score the subset distinct instead: {kept.size} of {len(experiment.ids)}.")
    app = opened("overview?experiment=reviews", root.parent, monkeypatch)
    assert words in [text.value for text in app.text]
    app.button(key="score-distinct").click().run()
    assert not app.exception and not [error.value for error in app.error]
    [written] = root.glob("exports/**/*.jsonl")
    assert app.session_state["data"] == str(written) and app.session_state["name"] == "reviews-distinct"
    manifest = verify(written)
    assert manifest["ids"] == kept.kept.tolist() and "Chosen before any training." in manifest["warnings"]
    lines = Path(experiment.settings.data).read_text().splitlines(keepends=True)
    assert written.read_text() == "".join(lines[index] for index in kept.kept), "rows byte for byte"
    for name in ("winning-ticket", "remove-0", "ccs@0.5"):
        with pytest.raises(ExperimentError, match="has no complete run yet"):
            experiment.subset(name)
    with pytest.raises(ExperimentError, match="has no complete run yet"):
        worker.frontier(root, ["distinct"], [], seeds=1)


def test_a_look_that_cannot_be_used_is_said(looked: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    looked.folder.embeddings.write_bytes(b"nothing")
    looked.folder.look.touch()
    app = opened("overview?experiment=reviews", looked.folder.root.parent, monkeypatch)
    assert not app.exception and any("is damaged" in warning.value for warning in app.warning)
