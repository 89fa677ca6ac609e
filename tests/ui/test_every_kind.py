"""Every page opens on every kind of experiment. Pairs, multiple choice and questions are in test_task_pages.py."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pruning.experiment import Experiment
from pruning.store import lock
from tests.support.kinds import ARABIC, all_alike, demo_of, left, many_classes, right_to_left
from tests.support.pages import PAGES, open_page, opened

pytestmark = pytest.mark.process

KINDS: dict[str, Callable[[Path, str], Experiment]] = {
    "the demo's": demo_of,
    "many": lambda folder, model: many_classes(folder),
    "right to left": lambda folder, model: right_to_left(folder),
    "alike": lambda folder, model: all_alike(folder),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return KINDS[request.param](tmp_path_factory.mktemp("kind"), tiny)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_the_kind(page: str, kind: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(page, kind.folder.root.parent, monkeypatch)
    assert not app.exception and not [error.value for error in app.error]
    assert app.title[0].value.lower() == page and app.selectbox(key="experiment").value == kind.name


def test_thirty_long_names_are_four_colours_and_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = many_classes(tmp_path)
    app = opened("difficulty?experiment=made&stack=label", made.folder.root.parent, monkeypatch)
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    names = [trace["name"] for trace in figure["data"]]
    assert len(names) == 5 and names[-1] == "other" and max(map(len, names)) <= 24


def test_text_of_the_data_finds_its_own_direction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = right_to_left(tmp_path)
    app = opened("inspect?experiment=made", made.folder.root.parent, monkeypatch)
    shown = [html.proto.body for html in app.get("html") if ARABIC[0] in html.proto.body]
    assert shown and all('<div dir="auto"' in body for body in shown)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("state", ["running", "cancelled", "failed", "damaged"])
def test_a_page_shows_a_job_that_runs_stopped_or_left_damage(
    state: str, page: str, scored: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(scored, state)
    held = lock.own(scored.folder) if state == "running" else None
    if held is not None:
        held.__enter__()
    try:
        app = open_page(page, scored.folder.root.parent, monkeypatch)
        assert not app.exception and app.title[0].value.lower() == page
        assert bool(app.error) == (state == "damaged")
    finally:
        if held is not None:
            held.__exit__(None, None, None)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_before_the_first_run_says_to_wait(page: str, scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    left(scored, "no-run-yet")
    app = open_page(page, scored.folder.root.parent, monkeypatch)
    assert not app.exception and not app.error
    if page not in ("overview", "score"):
        assert "has no complete run yet" in app.info[0].value.replace("\\", "")
