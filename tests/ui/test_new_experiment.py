"""The form of a new experiment: in a dialog where one is shown, with a box for every setting, folded by theme."""

import json
import os
import re
from pathlib import Path
from urllib.parse import unquote_plus

import pytest

from pruning.data import access
from pruning.data.tasks.generation import GENERATION
from pruning.errors import UsageError
from pruning.experiment import Experiment
from pruning.options import settings_of
from pruning.settings import GROUPS, Settings, TrainSettings
from pruning.ui import score_form, setting_boxes
from pruning.ui.server import launch
from tests.support.pages import open_page, opened, press


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What the page asks to start."""
    found: list[Settings] = []
    monkeypatch.setattr(score_form, "start", lambda settings, name, limit, whole=False: found.append(settings))
    return found


def test_the_page_leads_with_the_run_and_a_button_opens_the_form(
    scored: Experiment, asked: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page("score", scored.folder.root.parent, monkeypatch)
    assert [metric.label for metric in app.metric] == ["Runs", "Evaluation accuracy", "Examples", "Learning rate"]
    assert app.metric[0].value == "3 of 3" and not app.text_input(key="rename").value
    assert "data" not in {box.key for box in app.text_input} and "new" not in app.query_params
    press(app, "New experiment")
    assert app.text_input(key="data").value == "sample" and app.query_params["new"] == "true"
    press(app, "Start scoring")
    assert len(asked) == 1 and "data" not in {box.key for box in app.text_input} and "new" not in app.query_params


def test_every_setting_of_the_command_line_has_a_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {setting.name for group in GROUPS for setting in setting_boxes.themes(GENERATION)[group]}
    settable = {name for kind in (Settings, TrainSettings) for name, setting in settings_of(kind).items() if setting.flag}
    assert shown | {*setting_boxes.ELSEWHERE, *setting_boxes.OF_CLASSES} == settable | {"data"}
    app = open_page("score", tmp_path, monkeypatch)
    labels = {one.label for kind in ("text_input", "number_input", "selectbox", "toggle") for one in app.get(kind)}
    missing = {setting_boxes.FORM[name].label for name in shown - set(setting_boxes.OF_GENERATION)} - labels
    assert not missing and len({tab.label for tab in app.tabs} - labels) == len(GROUPS)


def test_how_the_file_is_read_is_said_in_its_boxes(tmp_path: Path, asked: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """The preview follows: the first line is a row, -1 is no label, and the third column has the ids."""
    (tmp_path / "rows.csv").write_text("a film,good,7\na plot,bad,3\nno idea,-1,9\nfine,good,4\nbad,bad,5\n")
    app = opened(f"score?data={tmp_path / 'rows.csv'}", tmp_path / "experiments", monkeypatch)
    app.selectbox(key="new-header").set_value(False).run()
    app.selectbox(key="task").set_value("classification").run()
    names = list(app.dataframe[0].value.columns)
    app.selectbox(key="column-classification-text").set_value(names[0])
    app.selectbox(key="column-classification-label").set_value(names[1])
    app.text_input(key="new-id_column").set_value(names[2])
    app.text_input(key="new-missing_label").set_value("-1").run()
    assert any("Labels: bad (2 rows, 50%), good (2 rows, 50%)" in text.value for text in app.text) and not app.warning and not app.exception
    press(app, "Start scoring")
    assert (asked[0].header, asked[0].missing_label, asked[0].id_column) == (False, "-1", names[2])


def test_other_data_bring_their_own_task_and_columns(tmp_path: Path, asked: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the data before stays in the boxes, and what a person changed by hand stays while the data do."""
    turns = [{"role": "user", "content": "Say yes."}, {"role": "assistant", "content": "Yes."}]
    (tmp_path / "chats.jsonl").write_text(f"{json.dumps({'messages': turns})}\n" * 3)
    (tmp_path / "rows.csv").write_text("text,label\n" + "a film,good\na plot,bad\n" * 3)
    app = opened(f"score?data={tmp_path / 'rows.csv'}", tmp_path / "experiments", monkeypatch)
    assert app.selectbox(key="task").value == "classification" and app.selectbox(key="column-classification-text").value == "text"
    app.text_input(key="data").set_value(str(tmp_path / "chats.jsonl")).run()
    assert app.selectbox(key="task").value == GENERATION and not app.warning and not app.error
    app.text_input(key="data").set_value("sample").run()
    assert app.selectbox(key="task").value == "classification" and app.selectbox(key="column-classification-text").value == "sentence"
    app.selectbox(key="column-classification-label").set_value("rating_mean").run()
    app.text_input(key="name").set_value("mine").run()
    assert app.selectbox(key="column-classification-label").value == "rating_mean"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("learning_rate", "fast", "Learning rate"), ("warmup_ratio", "2", "Warmup ratio"), ("seeds", "1, x", "Seeds")],
)
def test_a_wrong_value_is_said_with_the_name_of_its_box(
    name: str, value: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page("score", tmp_path, monkeypatch)
    app.text_input(key=f"new-{name}").set_value(value).run()
    [error] = [error.value.replace("\\", "") for error in app.error]
    assert f"See {says} under More settings." in error and not app.exception
    assert "Start scoring" not in [button.label for button in app.button]
    app.text_input(key=f"new-{name}").set_value("").run()
    assert not app.error and "Start scoring" in [button.label for button in app.button]


def test_the_dashboard_opens_on_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The printed link fills the form, and the file's folder may be read."""
    (tmp_path / "own data").mkdir()
    (tmp_path / "own data" / "rows.csv").write_text("text,label\na film,good\na plot,bad\n")
    monkeypatch.setenv(access.ROOTS, str(tmp_path / "experiments"))
    monkeypatch.setenv(launch.EXPERIMENTS, "")
    monkeypatch.setattr(os, "execv", lambda *words: None)
    monkeypatch.chdir(tmp_path)
    launch.main(tmp_path / "experiments", 8501, data="own data/rows.csv")
    link = re.search(r"http://localhost:8501/(score\?\S+)", capsys.readouterr().out)
    assert link is not None and unquote_plus(link[1]).endswith(f"data={tmp_path / 'own data' / 'rows.csv'}")
    app = opened(link[1], tmp_path / "experiments", monkeypatch)
    assert app.text_input(key="data").value == str(tmp_path / "own data" / "rows.csv") and not app.error
    assert any("2 rows." in text.value for text in app.text)


def test_a_file_that_is_not_there_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execv", lambda *words: None)
    with pytest.raises(UsageError, match=r"nosuch\.csv does not exist; check the path\."):
        launch.main(tmp_path / "experiments", 8501, data="nosuch.csv")
    assert not (tmp_path / "experiments").exists()
