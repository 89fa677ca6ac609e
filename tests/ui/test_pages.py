"""Every page runs on a real experiment and on none, without a browser."""

import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pruning.experiment import Experiment

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "pruning" / "ui" / "main.py"
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))


def open_page(page: str, experiments: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page as a first deep link would show it."""
    monkeypatch.setenv("WINNOW_EXPERIMENTS", str(experiments))
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.run()
    app.switch_page(str(ROOT / "pages" / f"{page}.py"))
    return app.run()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_a_real_experiment(page: str, scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(page, scored.folder.root.parent, monkeypatch)
    assert not app.exception
    assert app.title[0].value.lower() == page
    assert app.sidebar.selectbox[0].value == "reviews"
    assert not [error.value for error in app.error]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_without_an_experiment_says_what_to_do(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(page, tmp_path, monkeypatch)
    assert not app.exception
    if page != "score":
        assert "Score" in app.info[0].value


def test_the_first_screen_says_what_this_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_EXPERIMENTS", str(tmp_path))
    app = AppTest.from_file(str(MAIN), default_timeout=60).run()
    assert app.title[0].value == "Winnow"
    assert "sample" in app.info[0].value


def test_an_error_a_person_can_mend_is_a_sentence(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    scored.folder.epoch(0, 0).write_bytes(b"PAR1 but not really")
    app = open_page("difficulty", scored.folder.root.parent, monkeypatch)
    assert not app.exception
    assert any("damaged" in error.value for error in app.error)


def test_dropping_all_that_match_and_undoing(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("inspect", scored.folder.root.parent, monkeypatch)
    app.text_input(key="q").set_value("film").run()
    matching = int(next(line.value for line in app.main.text if "match" in line.value).split(" ")[0].replace(",", ""))
    app.segmented_control(key="where").set_value("all").run()
    next(button for button in app.button if button.label == "Drop").click().run()
    assert len(scored.decided.dropped) == matching > 0
    next(button for button in app.button if button.label == "Undo").click().run()
    assert not scored.decided.dropped


def test_the_export_page_audits_and_says_what_was_not_measured(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scored.audited or (scored.duplicates and scored.label_errors)
    app = open_page("export", scored.folder.root.parent, monkeypatch)
    assert any("never trained on" in warning.value for warning in app.warning)
    app.button(key="audit").click().run()
    assert not app.exception
    assert any("labels look wrong" in text.value and "By source" in text.value for text in app.text)


def test_pages_bring_no_torch() -> None:
    code = """
import runpy, sys
sys.argv = ["main"]
from streamlit.testing.v1 import AppTest
AppTest.from_file({main!r}, default_timeout=60).run()
sys.exit("torch" in sys.modules or "transformers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code.format(main=str(MAIN))], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
