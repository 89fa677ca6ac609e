"""Pieces of the pages on columns and scores that are awkward to show."""

import json
from pathlib import Path

import numpy as np
import pytest

from pruning.browse import View
from pruning.experiment import Experiment
from pruning.recorder import Recorder
from pruning.ui import widgets
from tests.ui.test_pages import open_page

EXAMPLES = 48


@pytest.fixture
def awkward(tmp_path: Path) -> Experiment:
    """Texts beside a column with many values of which "other" is one, a column of lists, and moments a second apart."""
    rows = [
        {
            "review": f"number {index} is {'good' if index % 2 else 'bad'}",
            "label": "good" if index % 2 else "bad",
            "source": "other" if index % 4 == 0 else f"s{index % 12}",
            "options": ["good", "bad"] if index % 3 else [],
            "when": 1_700_000_000 + index,
        }
        for index in range(EXAMPLES)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recorder = Recorder(tmp_path / "experiments" / "x", tmp_path / "train.jsonl", epochs=1, runs=3)
    random = np.random.default_rng(0)
    for seed in recorder.seeds:
        recorder.run(seed).add(np.arange(len(recorder.labels)), np.eye(2)[recorder.labels] + random.normal(size=(len(recorder.labels), 2)))
    return Experiment(tmp_path / "experiments" / "x")


def test_a_value_called_other_is_among_the_others(awkward: Experiment) -> None:
    view = View(awkward, 0)
    counted, colours = widgets.parts(view, np.ones(len(view.h), dtype=bool), "source")
    assert counted.cat.categories[-1] == "other" and len(counted.cat.categories) == len(colours) <= widgets.MOST_PARTS + 1
    assert (counted == "other").sum() >= (view.slices("source")[1] == "other").sum() > 0


@pytest.mark.parametrize("column", ["source", "options", "when"])
def test_every_column_can_be_chosen(awkward: Experiment, column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("difficulty", awkward.folder.root.parent, monkeypatch)
    app.selectbox(key="stack").set_value(column).run()
    assert not app.exception
