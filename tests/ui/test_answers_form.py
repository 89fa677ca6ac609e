"""A log of sampled answers is recognised in the form of a new experiment, and imported from there."""

import json
from pathlib import Path

import pytest

from pruning.data import access
from pruning.errors import DataError
from pruning.experiment import Experiment
from pruning.interop.answers.importing import Options
from pruning.interop.answers.log import Wanted
from pruning.interop.answers.reading import read_log, recognised
from pruning.ui import answers_form
from tests.support.pages import opened, press


def log(path: Path, **changes: object) -> Path:
    """A dump in verl's shape: 6 prompts, 4 answers each, of which as many are right as the prompt's number, at most 4."""
    rows = [
        {"input": f"What is {prompt} + 1?", "output": str(prompt + 1), "gts": str(prompt + 1), "score": float(sample < prompt), **changes}
        for prompt in range(6)
        for sample in range(4)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_log_is_recognised_and_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = log(tmp_path / "1.jsonl")
    app = opened(f"score?data={dump}&new=true", tmp_path / "experiments", monkeypatch)
    assert app.selectbox(key="task").value == "rollouts" and "A log of verl" in " ".join(caption.value for caption in app.caption)
    app.text_input(key="name").set_value("sampled")
    press(app, "Import")
    assert not app.exception and not app.error
    imported = Experiment(tmp_path / "experiments" / "sampled")
    assert imported.dynamics.correct.sum(axis=(0, 1)).tolist() == [0, 1, 2, 3, 4, 4]
    assert app.query_params["experiment"] == "sampled"


def test_partial_credit_needs_a_threshold_and_nothing_is_left_of_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = log(tmp_path / "1.jsonl", score=0.4)
    app = opened(f"score?data={dump}&new=true", tmp_path / "experiments", monkeypatch)
    press(app, "Import")
    assert [error.value for error in app.error if "threshold" in error.value]
    assert not (tmp_path / "experiments" / "1" / "experiment.json").exists()
    app.number_input(key="log-threshold").set_value(0.3)
    assert not press(app, "Import").error


def test_any_table_can_be_called_sampled_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"prompt": f"What is {n}?", "completion": str(n), "correct": n % 2} for n in range(8)]
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    app = opened(f"score?data={tmp_path / 'table.jsonl'}&new=true", tmp_path / "experiments", monkeypatch)
    assert app.selectbox(key="task").value != "rollouts"
    app.selectbox(key="task").set_value("rollouts").run()
    app.text_input(key="log-reward").set_value("correct")
    press(app, "Import")
    assert not app.error and (tmp_path / "experiments" / "table" / "experiment.json").exists()


def test_a_log_outside_the_folders_that_may_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = log(tmp_path / "1.jsonl")
    monkeypatch.setenv(access.ROOTS, str(tmp_path / "experiments"))
    app = opened(f"score?data={dump}&new=true", tmp_path / "experiments", monkeypatch)
    assert any("outside the folders" in error.value for error in app.error)
    with pytest.raises(DataError, match="outside the folders"):
        answers_form.make(str(dump), "taken", Options())
    assert not (tmp_path / "experiments" / "taken").exists()


def test_a_folder_with_a_link_that_leads_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a log is read, not only in the form."""
    inside = tmp_path / "logs"
    inside.mkdir()
    (inside / "1.jsonl").symlink_to(log(tmp_path / "secret.jsonl"))
    monkeypatch.setenv(access.ROOTS, str(inside))
    with pytest.raises(DataError, match="outside the folders"):
        read_log([inside], "auto", Wanted())
    assert recognised(inside) == ""
