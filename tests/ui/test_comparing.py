"""Two experiments compared on the Overview and by command."""

import json
import shutil

import pytest

from pruning.experiment import Experiment
from pruning.reports import comparison
from pruning.ui import address
from tests.support.commands import winnow
from tests.support.pages import open_page, opened


@pytest.fixture
def shorter(scored: Experiment) -> Experiment:
    """The same data beside it, with a run less."""
    copy = Experiment(shutil.copytree(scored.folder.root, scored.folder.root.parent / "shorter"))
    copy.folder.epoch(2, 1).unlink()
    return Experiment(copy.folder.root)


def test_the_overview_compares_with_another_experiment(scored: Experiment, shorter: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root.parent
    app = opened("overview?experiment=reviews", root, monkeypatch)
    assert app.selectbox(key=address.OTHER).options == ["shorter"] and not app.exception
    app.selectbox(key=address.OTHER).set_value("shorter").run()
    found = comparison.compare(scored, shorter)
    told = {metric.label: metric.value for metric in app.metric}
    assert not app.exception
    assert told["Examples in both"] == "120" and told["Rank agreement (Spearman)"] == f"{found.rank_agreement:.2f}"
    assert told["Winning-ticket overlap (Jaccard)"] == f"{found.overlap:.0%}"
    [cells] = [table.value for table in app.dataframe if table.proto.id.endswith(f"-{address.AGAINST}")]
    assert cells.to_numpy().tolist() == found.counts.tolist()
    [changed] = [table.value for table in app.dataframe if table.proto.id.endswith(f"-{address.CHANGED}")]
    assert changed["id"].tolist() == [row["id"] for row in comparison.changed(scored, found)] != []
    assert app.query_params["with"] == "shorter"


def test_a_link_to_a_cell_shows_its_examples_and_one_to_what_is_gone_says_so(
    scored: Experiment, shorter: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, root = comparison.compare(scored, shorter), scored.folder.root.parent
    h, there = next((int(a), int(b)) for a in range(4) for b in range(3) if found.counts[a, b])
    app = opened(f"inspect?experiment=reviews&h={h}&beside=shorter&beside_h={there}", root, monkeypatch)
    assert not app.exception and any(caption.value.startswith(f"{found.counts[h, there]} example") for caption in app.caption)
    assert any(button.label.startswith("H in shorter") for button in app.button)
    app = opened("inspect?experiment=reviews&beside=nosuch&beside_h=1", root, monkeypatch)
    assert any("nosuch" in warning.value for warning in app.warning) and not app.exception


def test_one_experiment_alone_is_compared_with_nothing(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("overview", scored.folder.root.parent, monkeypatch)
    assert address.OTHER not in [box.key for box in app.selectbox]


def test_the_command_prints_what_the_page_shows(scored: Experiment, shorter: Experiment) -> None:
    found = comparison.compare(scored, shorter)
    done = winnow("compare", scored.folder.root, shorter.folder.root)
    assert done.returncode == 0, done.stderr
    for sentence in found.sentences:
        assert sentence in done.stdout
    data = json.loads(winnow("compare", scored.folder.root, shorter.folder.root, "--json").stdout)
    assert data["h_against_h"] == found.counts.tolist() and data["common"] == 120 and data["runs"] == [3, 2]
    assert data["most_changed"] == comparison.changed(scored, found)
    assert winnow("compare", scored.folder.root, scored.folder.root.parent / "nosuch").returncode == 1
