"""Which label the model takes for which, on the pages."""

import pandas as pd
import pytest

from pruning.experiment import Experiment
from pruning.reports.browse import View
from pruning.ui import address
from tests.support.frontiers import measure
from tests.support.pages import open_page


def test_difficulty_shows_the_confusion_in_percent_of_each_label(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("difficulty", scored.folder.root.parent, monkeypatch)
    counts = View(scored, scored.settings.burn_in).confusion
    assert counts is not None and not app.exception
    [shown] = [table.value for table in app.dataframe if table.proto.id.endswith(f"-{address.CONFUSION}")]
    pd.testing.assert_frame_equal(pd.DataFrame(shown), 100 * counts.div(counts.sum(axis=1), axis=0), check_names=False)
    assert any(caption.value.startswith("Most confused") for caption in app.caption)


def test_frontier_shows_the_accuracy_of_each_class_before_and_after(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    made = measure(scored, ours=0.02)
    app = open_page("frontier", made.folder.root.parent, monkeypatch)
    assert not [table for table in app.dataframe if "this subset" in table.value.columns], "the winning ticket is not measured"
    app.selectbox(key="subset").set_value("remove-0").run()
    [table] = [table.value for table in app.dataframe if "this subset" in table.value.columns]
    assert not app.exception
    assert table.set_index("class")["full data"].to_dict() == pytest.approx({"negative": 0.7, "positive": 0.9})
    assert table.set_index("class")["this subset"].to_dict() == pytest.approx({"negative": 0.68, "positive": 0.88})
    assert table["pp"].tolist() == [-2.0, -2.0]


def test_the_accuracy_of_a_class_is_no_metric_of_the_frontier(scored: Experiment) -> None:
    made = measure(scored, ours=0.02)
    assert all(list(point.metrics) == ["accuracy"] for point in made.frontier())
    assert made.summary()["frontier"][0]["class_accuracy"] == pytest.approx({"negative": 0.7, "positive": 0.9})
