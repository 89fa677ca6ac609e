"""Generation in the dashboard: every page opens, the rule has a slider, turns are a chat, the mask is shown before training."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest
from streamlit.testing.v1 import AppTest

from pruning.experiment import Experiment
from pruning.ui import address
from tests.support.pages import PAGES, opened

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def experiments(chats_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(chats_once, tmp_path_factory.mktemp("pages") / "chats")) / "experiments"


def shown(app: AppTest) -> str:
    """All texts of a page."""
    return " ".join(str(element.value) for kind in ("text", "caption", "markdown", "html") for element in app.get(kind))


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_it(page: str, experiments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(f"{page}?experiment=chats&success=exact", experiments, monkeypatch)
    assert not app.exception and not app.error, [error.value for error in app.error]


@pytest.mark.parametrize(("link", "subset"), [("", "sometimes-right"), ("&subset=winning-ticket", "winning-ticket")])
def test_the_subset_shown_first_is_the_sometimes_right(link: str, subset: str, experiments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(f"export?experiment=chats&success=exact{link}", experiments, monkeypatch)
    assert app.selectbox(key=address.SUBSET).value == subset and not app.exception


def test_the_rule_is_chosen_with_a_slider_and_said_in_words(experiments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened("difficulty?experiment=chats&success=tokens>=1/2", experiments, monkeypatch)
    assert "at least 50% of the answer's tokens" in shown(app)
    slider = next(one for one in app.slider if "share of the answer's tokens" in one.label)
    slider.set_value(1).run()
    assert "at least 1% of the answer's tokens" in shown(app) and "tokens>=1/100" in app.query_params["success"]
    read = Experiment(experiments / "chats").reading(success="tokens>=1/100")
    assert read.success is not None and read.dynamics.correct.mean() > 0.5
    again = opened(f"difficulty?{urlencode(app.query_params, doseq=True)}", experiments, monkeypatch)
    assert shown(again) == shown(app) and again.query_params == app.query_params
    strange = opened("difficulty?experiment=chats&success=mostly", experiments, monkeypatch)
    assert not strange.exception and "success must be exact" in " ".join(str(one.value) for one in (*strange.warning, *strange.info))


def test_an_example_is_a_chat_and_the_mask_is_shown_before_training(experiments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened("inspect?experiment=chats&example=3", experiments, monkeypatch)
    text = shown(app)
    assert text.index("3 mod 6?") < text.index("assistant (learned)")
    reached = re.findall(r"right up to here in (\d) of 6 looks", text)
    assert len(reached) == len("three") + 1 and reached == sorted(reached, reverse=True), "a token a letter, and the end of the turn"
    assert ">t</mark>" in text and "the answer was right up to and including this token" in text
    data = experiments.parent / "train.jsonl"
    monkeypatch.setenv("WINNOW_DATA", str(experiments.parent))
    score = opened(f"score?new=true&data={data}", experiments, monkeypatch)
    next(one for one in score.text_input if one.label == "Model").set_value(str(experiments.parent / "model")).run()
    assert not score.exception, score.exception
    assert "tokens are learned of" in shown(score) and "<mark" in shown(score)
    assert next(one for one in score.number_input if one.label == "Runs").value == 2
