"""Every page runs on a real experiment and on none, without a browser."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from pruning.analysis.learning_rate import RateFit
from pruning.errors import ExperimentError
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.export.formats import FORMATS
from pruning.jobs import background
from pruning.records import DecisionKind, JobState, Progress
from pruning.reports import in_progress
from pruning.reports.audit_report import findings
from pruning.settings import FULL_RECIPE, Settings
from pruning.store import lines
from pruning.store.job_status import JobStatus
from pruning.store.lock import own
from pruning.subsets.decisions import Decision
from pruning.ui import charts, escaping, score_form, setting_boxes
from tests.support.pages import MAIN, PAGES, ROOT, open_page, opened, press

pytestmark = pytest.mark.process  # together they take seconds


@pytest.fixture
def audited(scored: Experiment) -> Experiment:
    """A scored experiment whose duplicates and label errors were worked out before any page asks for them."""
    _ = scored.duplicates, scored.label_errors
    return scored


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_a_real_experiment(page: str, scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(page, scored.folder.root.parent, monkeypatch)
    assert not app.exception
    assert app.title[0].value.lower() == page
    assert app.selectbox(key="experiment").value == "reviews"
    assert not [error.value for error in app.error]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_needs_no_room_on_the_disk(page: str, scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    place = scored.folder.cache("any").parent
    shutil.rmtree(place, ignore_errors=True)
    place.write_text("in the way of a folder")
    app = open_page(page, scored.folder.root.parent, monkeypatch)
    assert not app.exception and not app.error


@pytest.mark.parametrize(("page", "button"), [("frontier", "Measure"), ("score", "Resume")])
def test_a_job_that_another_tab_was_faster_with_is_not_said_to_run(
    page: str, button: str, scored: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other tab's job owns the experiment by the time this tab's worker asks for it."""
    scored.log("cancelled", state="cancelled", verb="score", pid=1, message="Cancelled; finished work is kept.")
    scored.folder.epoch(2, 2).unlink()
    app, start = open_page(page, scored.folder.root.parent, monkeypatch), background.start
    with ExitStack() as until_the_end:

        def slower(*arguments: Any) -> background.Worker:
            worker = start(*arguments)
            until_the_end.enter_context(own(scored.folder))
            scored.log("started", state="running", verb="frontier", pid=os.getpid())
            return worker

        monkeypatch.setattr(background, "start", slower)
        press(app, button)
        assert any(f"in use by another job (process {os.getpid()}" in error.value.replace("\\", "") for error in app.error)
        assert scored.status().pid == os.getpid()


def test_a_view_that_cannot_be_saved_is_said(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("inspect", scored.folder.root.parent, monkeypatch)
    app.text_input(key="view-name").input("mine").run()
    press(app, "Save")
    assert "Saved the view mine" in app.toast[0].value
    press(app, "Save")
    assert "Replaced the view mine" in app.toast[0].value

    def refuse(*arguments: object) -> None:
        raise ExperimentError("views.jsonl could not be written: no space left on device.")

    monkeypatch.setattr(lines, "append", refuse)
    press(app, "Save")
    assert not app.exception and "no space left on device" in app.toast[0].value


@pytest.mark.parametrize("page", PAGES)
def test_a_page_without_an_experiment_says_what_to_do(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(page, tmp_path, monkeypatch)
    assert not app.exception
    if page == "overview":
        assert app.button(key="score-sample").label == "Score the sample"
    elif page != "score":
        assert "Score" in app.info[0].value


def test_the_first_screen_starts_the_sample_with_one_click(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Settings, str, int]] = []
    monkeypatch.setattr(score_form, "start", lambda settings, name, limit: asked.append((settings, name, limit)))
    monkeypatch.setenv("WINNOW_EXPERIMENTS", str(tmp_path))
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert app.header[0].value == "Find the part of a fine-tuning set that matters"
    app.button(key="score-sample").click().run()
    [(settings, name, limit)] = asked
    assert (settings.data, settings.model, name, limit) == ("sample", "sample", "sample", 800)


def test_an_error_the_user_can_fix_is_shown_as_a_sentence(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    scored.folder.epoch(0, 0).write_bytes(b"PAR1 but not really")
    app = open_page("difficulty", scored.folder.root.parent, monkeypatch)
    assert not app.exception
    assert any("damaged" in error.value for error in app.error)


def unreadable(root: Path, name: str = "newer") -> Path:
    """The newest experiment there, of a format that is yet to come."""
    (root / name).mkdir(parents=True)
    (root / name / "experiment.json").write_text('{"format": 2}')
    return root / name


@pytest.mark.process
def test_one_experiment_that_cannot_be_read_blocks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Home and Score list it with the reason, a new one can be started, and it can go to the trash; elsewhere the reason is shown."""
    folder = unreadable(tmp_path)
    for page in ("difficulty", "frontier", "inspect", "export"):
        app = open_page(page, tmp_path, monkeypatch)
        assert not app.exception and app.title[0].value.lower() == page
        assert ["update Winnow" in error.value for error in app.error] == [True]
    home = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert home.title[0].value == "Overview" and "update Winnow" in home.error[0].value
    assert "update Winnow" in home.dataframe[0].value["latest job"].item()
    app = open_page("score", tmp_path, monkeypatch)
    assert app.title[0].value == "Score" and not app.exception
    assert "Start scoring" in [button.label for button in app.button] and "update Winnow" in app.error[0].value
    press(app, "Move it to the trash")
    assert not folder.exists() and not app.exception


@pytest.mark.parametrize("page", ["overview", "frontier"])
def test_the_pages_that_measure_say_why_it_was_not_completed(page: str, scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    scored.log("failed", state="failed", verb="frontier", pid=1, message="No space left; use --no-checkpoints.")
    app = open_page(page, scored.folder.root.parent, monkeypatch)
    said = "Measuring failed: No space left; use the setting Checkpoints."
    assert [error.value.replace("\\", "").replace("\u2060", "") for error in app.error] == [said]


def test_after_the_open_experiment_was_deleted_another_one_is_open(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root.parent
    shutil.copytree(scored.folder.root, root / "films")
    app = opened("score?experiment=reviews", root, monkeypatch)
    press(app, "Move it to the trash")
    assert not app.exception and not app.error
    assert app.selectbox(key="experiment").value == "films" and not scored.folder.root.exists()


def test_the_newest_experiment_that_can_be_read_is_shown_first(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot is shown by its reason to whoever asks for it by its address."""
    unreadable(scored.folder.root.parent)
    app = open_page("difficulty", scored.folder.root.parent, monkeypatch)
    assert app.selectbox(key="experiment").options == ["newer", "reviews"] and app.selectbox(key="experiment").value == "reviews"
    assert not app.error and not app.exception
    asked = AppTest.from_file(str(MAIN), default_timeout=60)
    asked.query_params["experiment"] = "newer"
    asked.run().switch_page(str(ROOT / "pages" / "difficulty.py"))
    asked.run()
    assert asked.selectbox(key="experiment").value == "newer" and "update Winnow" in asked.error[0].value
    asked.selectbox(key="experiment").set_value("reviews").run()
    assert not asked.error and not asked.exception


def test_the_score_page_works_with_a_damaged_frontier(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    scored.folder.frontier.write_bytes(b"PAR1 but not really")
    app = open_page("score", scored.folder.root.parent, monkeypatch)
    assert not app.exception and "New experiment" in [button.label for button in app.button]
    app.switch_page(str(ROOT / "pages" / "frontier.py")).run()
    assert "parquet is damaged" in app.error[0].value and not app.exception


def test_dropping_all_that_match_and_undoing(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("inspect", scored.folder.root.parent, monkeypatch)
    app.text_input(key="q").set_value("film").run()
    matching = int(next(line.value for line in app.caption if "match" in line.value).split(" ")[0].replace(",", ""))
    app.segmented_control(key="where").set_value("all").run()
    app.button(key="drop-many").click().run()
    assert len(scored.decided.dropped) == matching > 0
    assert app.button(key="undo").label.startswith("Undo drop")
    app.button(key="undo").click().run()
    assert not scored.decided.dropped


def test_the_export_page_audits_and_says_what_was_not_measured(audited: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("export", audited.folder.root.parent, monkeypatch)
    assert any("never trained on" in warning.value for warning in app.warning)
    app.session_state["audit"] = True
    app.run()
    assert not app.exception
    assert any("to check before you train on it" in warning.value for warning in app.warning)
    numbers = {metric.label: metric.value for metric in app.metric}
    kept = findings(audited, audited.subset("winning-ticket")).suspects_kept
    assert numbers["Suspects kept"] == str(kept)


def test_a_subset_without_examples_offers_one_to_take_instead(audited: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened("export?experiment=reviews&subset=remove-0-1-2-3", audited.folder.root.parent, monkeypatch)
    assert not app.exception and "build" not in [button.key for button in app.button]
    said = next(warning.value for warning in app.warning).replace("\\", "")
    assert "keeps none of the 120 examples, so there is nothing to export. Take Winning ticket, which keeps" in said
    app.button(key="instead").click().run()
    assert app.selectbox(key="subset").value == "winning-ticket" and "build" in [button.key for button in app.button]


def said(app: AppTest, words: str) -> bool:
    return any(words in line.value for line in (*app.success, *app.info, *app.warning))


def test_an_older_export_is_shown_as_out_of_date(audited: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("export", audited.folder.root.parent, monkeypatch)
    app.button(key="build").click().run()
    assert said(app, "verified against the manifest") and not said(app, "is out of date")
    app.number_input(key="burn_in").set_value(1).run()
    assert said(app, "is out of date") and not said(app, "verified against the manifest")
    app.button(key="build").click().run()
    assert said(app, "verified against the manifest") and not said(app, "is out of date")
    ticket = audited.reading(1).subset("winning-ticket")
    for example in ticket.kept[:2].tolist():
        audited.decide(Decision(kind=DecisionKind.RELABEL, ids=(example,), value=other_label(audited, example)))
        app.run()
        assert said(app, "Labels changed by hand") and not said(app, "verified against the manifest")
        if example == ticket.kept[0]:
            app.button(key="build").click().run()
            assert said(app, "verified against the manifest")
    assert said(app, "is out of date")
    assert not app.exception


def other_label(experiment: Experiment, example: int) -> str:
    assert experiment.labels is not None
    return experiment.label_names[1 - experiment.labels[example]]


def test_the_export_page_offers_to_escape_formulas_in_csv(audited: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where there are cells; an export without it is out of date once it is on, and the page names the risk."""
    app = open_page("export", audited.folder.root.parent, monkeypatch)
    assert not [toggle for toggle in app.toggle if toggle.label == "Escape formulas"]
    app.session_state["format"] = "csv"
    app.run()
    app.button(key="build").click().run()
    assert said(app, "verified against the manifest") and said(app, "Cells are written as they are")
    assert said(app, "only after exporting with Escape formulas on")
    app.toggle(key="escape").set_value(True).run()
    assert said(app, "is out of date")
    app.button(key="build").click().run()
    assert said(app, "verified against the manifest") and said(app, "do not train on this file")
    manifest = writer.verify(audited.folder.exports / "winning-ticket-csv" / "data.csv")
    assert manifest["cells"] == {"formulas_escaped": True}
    assert not app.exception


def test_every_format_is_offered_and_folders_come_as_a_zip(audited: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("export", audited.folder.root.parent, monkeypatch)
    assert app.segmented_control(key="format").options == list(FORMATS)
    app.segmented_control(key="format").set_value("hf").run()
    app.button(key="build").click().run()
    assert not app.exception and said(app, "verified against the manifest")
    output = audited.folder.exports / "winning-ticket-hf" / "data"
    assert writer.archived(output) == output.with_name("data.zip")
    assert not any("This export is a folder" in text.value for text in app.text)
    output.with_name("data.zip").unlink()
    app.run()
    assert any("This export is a folder" in text.value for text in app.text)


@pytest.mark.process
def test_pages_do_not_import_torch(scored: Experiment) -> None:
    """Neither the launcher, nor any module of the dashboard, nor any page as it shows a scored experiment."""
    code = f"""
import importlib, pkgutil, sys
from pathlib import Path
from streamlit.testing.v1 import AppTest
from pruning import ui

def check(what):
    assert not {{"torch", "transformers"}} & set(sys.modules), what

for module in ["app", *("pruning.ui." + module.name for module in pkgutil.iter_modules(ui.__path__) if module.name != "main")]:
    importlib.import_module(module)
    check(module)
app = AppTest.from_file({str(MAIN)!r}, default_timeout=60).run()
check("overview")
for page in {PAGES}:
    app.switch_page({str(ROOT / "pages")!r} + "/" + page + ".py").run()
    assert app.selectbox(key="experiment").value == "reviews" and not app.exception, page
    check(page)
"""
    environment = {**os.environ, "WINNOW_EXPERIMENTS": str(scored.folder.root.parent)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def rewrite(experiment: Experiment, **changes: Any) -> Experiment:
    """The experiment as if it had been scored with these settings."""
    info = json.loads((experiment.folder.root / "experiment.json").read_text())
    train = {**info["settings"]["train"], **changes.pop("train", {})}
    info["settings"] = {**info["settings"], **changes, "train": train}
    (experiment.folder.root / "experiment.json").write_text(json.dumps(info))
    return Experiment(experiment.folder.root)


@pytest.fixture
def shortened(scored: Experiment) -> Experiment:
    """An experiment scored with two thirds of its recipe's three epochs; its last run has one epoch more to go."""
    for path in (*scored.folder.root.glob("dynamics/run=*/epoch=2.parquet"), scored.folder.epoch(2, 1)):
        path.unlink()
    return rewrite(scored, approximate="epochs", burn_in=0)


def test_burn_in_stays_below_the_epochs_that_were_scored(shortened: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("difficulty", shortened.folder.root.parent, monkeypatch)
    assert app.number_input(key="burn_in").max == 1
    app.number_input(key="burn_in").set_value(1).run()
    assert not app.exception and not [error.value for error in app.error]


def test_burn_in_is_reset_for_an_experiment_with_fewer_epochs(
    shortened: Experiment, scored_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shortened.folder.root.parent
    shutil.copytree(scored_once, root / "longer")
    app = open_page("difficulty", root, monkeypatch)
    app.selectbox(key="experiment").set_value("longer").run()
    app.number_input(key="burn_in").set_value(2).run()
    app.selectbox(key="experiment").set_value("reviews").run()
    assert (
        not app.exception
        and not [w for w in app.warning if "link" in w.value]
        and (app.number_input(key="burn_in").value, app.number_input(key="burn_in").max) == (0, 1)
    )


def test_the_grid_counts_the_epochs_that_are_scored(shortened: Experiment) -> None:
    half_way = Progress(key="run 2", epoch=1, examples=180, total=240, accuracy=0.5, memory=1)
    status = JobStatus(state=JobState.RUNNING, verb="score", runs={"run 2": half_way})
    assert in_progress.grid(shortened, status).at["run 2", "epoch 2"] == "50%"


def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What the page asks to start."""
    asked: list[Settings] = []
    monkeypatch.setattr(score_form, "start", lambda settings, name, limit, whole=False: asked.append(settings))
    return asked


def test_settings_copied_from_another_experiment_can_be_reset(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"weight_decay": 0.1, "warmup_ratio": 0.2, "max_grad_norm": 2.0, "fixed_order": True, "precision": "fp32", "deterministic": True}
    other = {"limit": 90, "drop_invalid": True, "evaluation_fraction": 0.3, "evaluation_seed": 4}
    last = {"frontier_learning_rate": 1e-4, "stop_when_stable": 0.9, "checkpoints": False}
    taken = rewrite(scored, **other, **last, train=own).settings
    asked = started(monkeypatch)
    app = press(open_page("score", scored.folder.root.parent, monkeypatch), "Use its settings")
    press(app, "Start scoring")
    assert asked.pop() == taken
    app = press(open_page("score", scored.folder.root.parent, monkeypatch), "Use its settings")
    said = next(text.value for text in app.text if text.value.startswith("Not the defaults"))
    assert "burn-in 2" in said and "seeds 11, 22, 33" in said and "fixed order on" in said
    press(press(app, "Back to the defaults"), "Start scoring")
    assert setting_boxes.changed(asked.pop()) == {"tokens per text": "128"} and not app.exception


def test_one_button_starts_the_whole_job(scored: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings file's mechanism, with the output among the experiment's exports."""
    asked: list[tuple[list[str], Path, Settings]] = []
    monkeypatch.setattr(background, "start", lambda words, folder, settings: asked.append((list(words), Path(folder), settings)))
    app = press(open_page("score", scored.folder.root.parent, monkeypatch), "New experiment")
    assert "Score, choose and export" in [button.label for button in app.button] and not app.exception
    background.prune(scored.settings, tmp_path / "x")
    [(words, folder, settings)] = asked
    assert words[:3] == ["prune", "--experiment", str(folder)] and settings == scored.settings
    assert words[3:] == ["--output", str(folder / "exports" / "pruned" / "data.jsonl")]


def test_the_search_for_the_learning_rate_is_drawn(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round's losses by rate, a diverged one left out, the fitted rate marked; folded below the job on Score."""
    losses = [(1e-4, 0.6), (2e-4, 0.5), (1e-3, None)]
    each = {"rows": 200, "steps": 21, "candidates": [{"rate": rate, "loss": loss, "accuracy": 0.7} for rate, loss in losses]}
    fit = RateFit(
        rate=2e-4, sentence="Learning rate 2e-4.", rounds=(each,), rows=900, held_out=90, majority=0.5, few_rows=True, runs=1.5, seconds=2.0
    )
    scored.keep_fit(FULL_RECIPE, fit)
    figure = charts.learning_rate(fit)
    assert list(figure.data[0].x) == [1e-4, 2e-4] and list(figure.data[0].y) == [0.6, 0.5] and figure.layout.xaxis.type == "log"
    assert figure.layout.shapes[0].x0 == 2e-4 and figure.layout.annotations[0].text == "2e-4"
    app = open_page("score", scored.folder.root.parent, monkeypatch)
    assert not app.exception and "Learning rate search" in [each.label for each in app.expander]
    assert "Learning rate 2e-4." in [text.value for text in app.text]


def test_the_log_of_a_failed_job_is_shown(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    scored.folder.job_log("this.log").write_text("ERROR pruning.jobs.progress: score failed\nTraceback: out of memory")
    scored.folder.job_log("other.log").write_text("the log of another job")
    scored.log("failed", state="failed", verb="score", message="out of memory", log="this.log")
    app = open_page("score", scored.folder.root.parent, monkeypatch)
    assert [code.value for code in app.code] == ["ERROR pruning.jobs.progress: score failed\nTraceback: out of memory"]
    scored.log("cancelled", state="cancelled", verb="score", message="", log="this.log")
    assert not app.run().code and not app.exception


def test_rows_that_cannot_be_used_are_left_out_where_that_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"sentence": "a film", "label": "good"}, {"sentence": "a plot", "label": "bad"}, {"sentence": "", "label": "bad"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = started(monkeypatch)
    app = open_page("score", tmp_path / "experiments", monkeypatch)
    app.text_input(key="data").set_value(str(tmp_path / "rows.jsonl")).run()
    assert any("drop" in warning.value for warning in app.warning)
    app.toggle(key="new-drop_invalid").set_value(True).run()
    assert not app.warning and any("1 row dropped" in caption.value for caption in app.caption)
    press(app, "Start scoring")
    assert asked[0].drop_invalid


@pytest.mark.process
def test_the_estimate_runs_from_any_folder_and_has_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    nowhere = Settings(data=str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(ExperimentError, match="no file or folder"):
        background.estimate(nowhere)
    monkeypatch.setattr(background, "ESTIMATE_SECONDS", 0.01)
    with pytest.raises(ExperimentError, match=r"more than 0\.01 seconds and was stopped"):
        background.estimate(nowhere)


def test_score_says_whether_the_model_learned_and_draws_how(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("score", scored.folder.root.parent, monkeypatch)
    verdict, _, advice = scored.learned.sentence.partition(". ")
    assert app.subheader[0].value == escaping.markdown(verdict) and setting_boxes.without_flags(advice) in [text.value for text in app.text]
    (figure,) = (json.loads(chart.proto.spec) for chart in app.get("plotly_chart"))
    lines = {trace["name"]: trace["y"] for trace in figure["data"]}
    assert set(lines) == {"run 0", "run 1", "run 2", "mean"}
