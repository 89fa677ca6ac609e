"""Every page shows an experiment of sampled answers: equal numbers of answers as H, unequal ones as rates; answers can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kinds import answered
from tests.support.pages import PAGES, open_page, opened, press


@pytest.fixture(scope="module", params=["equal", "unequal"])
def experiments(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return answered(tmp_path_factory.mktemp(request.param), request.param == "equal").folder.root.parent


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_sampled_answers(page: str, experiments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(page, experiments, monkeypatch)
    assert not app.exception
    assert not [error.value for error in app.error]


def test_the_histogram_is_of_right_answers_and_says_what_few_samples_mean(experiments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("difficulty", experiments, monkeypatch)
    heading = "Right answers of 8" if experiments.parent.name.startswith("equal") else "Expected pass rate, in 8ths"
    assert heading in [shown.value for shown in app.subheader]
    said = " ".join(caption.value for caption in app.caption)
    assert "3 of 24 prompts were never right." in said and "0 of 8: under 31% with 95% confidence" in said
    assert "keys are doubted" in said


def test_a_queue_opens_the_doubted_keys_and_an_example_its_answers(experiments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened("inspect?experiment=sampled&queue=doubted&example=1", experiments, monkeypatch)
    assert not app.exception
    texts = " ".join(text.value for text in app.text)
    assert "0 of 8 answers right; pass rate 0%, 95% interval 0% to 26% (Jeffreys)." in texts
    assert "Final answers: 99 8x" in texts
    html = " ".join(element.proto.body for element in app.get("html"))
    assert "sample 1, wrong" in html and "&lt;b&gt;So&lt;/b&gt;" in html and "<b>So</b>" not in html


def test_the_overview_counts_the_queues_of_sampled_answers(experiments: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("overview", experiments, monkeypatch)
    labels = [button.label for button in app.button]
    assert "Never right: 3" in labels and any(label.startswith("Doubted keys: ") for label in labels)
    assert not press(app, "Never right: 3").exception
