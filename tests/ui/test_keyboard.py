"""Inspect without a mouse: keys, the order in which Tab leads on, undo where an act was made; a tick redraws no chart."""

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks import big
from pruning.experiment import Experiment
from pruning.ui import reading
from tests.support.browsing import NO_BROWSER, settled, visit, wait_until
from tests.support.kinds import mislabelled

pytestmark = [pytest.mark.browser, pytest.mark.skipif(NO_BROWSER, reason="no Chromium: apt-get install chromium")]

FOCUSED = "document.activeElement.closest('[class*=st-key-]')?.className.match(/st-key-([\\w-]+)/)?.[1] ?? ''"
"""Key of the widget that has the focus."""

COUNT = """
window.redrawn = 0;
const seen = new MutationObserver(records => { window.redrawn += records.length; });
for (const chart of document.querySelectorAll('.js-plotly-plot'))
    seen.observe(chart, {childList: true, subtree: true, attributes: true, characterData: true});
"""
"""Counts from now on every change inside a chart."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return big.make(tmp_path_factory.mktemp("made") / "keys", 60).folder.root


@pytest.fixture
def topics(served: tuple[str, Path], made: Path, request: pytest.FixtureRequest) -> tuple[str, Experiment]:
    """The address, and an experiment of the test's own."""
    address, experiments = served
    return address, Experiment(shutil.copytree(made, experiments / request.node.name.replace("_", "-")[:60]))


def test_the_question_mark_shows_the_keys_but_not_in_a_box(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    dialog = page.get_by_role("dialog")
    for where in ("", "export"):
        visit(page, f"{address}/{where}?experiment={experiment.name}")
        page.keyboard.press("?")
        expect(dialog.get_by_text("show this help, on every page")).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
    page.get_by_role("combobox", name="Subset").click()
    page.keyboard.press("?")
    settled(page)
    expect(page.get_by_text("Keys and words")).to_have_count(0)


def test_number_keys_relabel_and_h_shows_the_keys(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    assert experiment.labels is not None
    visit(page, f"{address}/inspect?experiment={experiment.name}&subset=full")
    page.keyboard.press("h")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("undo the latest decision")).to_be_visible()
    expect(dialog.get_by_text("1 to 3")).to_be_visible()
    expect(dialog.get_by_text("first epochs that H ignores")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    new = (int(experiment.labels[0]) + 1) % 3
    page.keyboard.press(str(new + 1))
    wait_until(lambda: experiment.decided.labels == {0: experiment.label_names[new]}, 20)
    expect(page.get_by_role("heading", name=f"Example {experiment.ids[1]}", exact=True)).to_be_visible()
    page.keyboard.press("u")
    wait_until(lambda: not experiment.decided.labels, 20)


def test_tab_leads_from_the_list_to_the_example_and_then_to_its_acts(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    visit(page, f"{address}/inspect?experiment={experiment.name}&subset=full")
    order: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        order.append(page.evaluate(FOCUSED))
        if order[-1] == "drop-this":
            break
    places = [order.index(key) for key in ("queue", "q", "rows", "step-on", "keep-this", "drop-this")]
    assert places == sorted(places)


def test_what_was_done_to_many_is_undone_where_it_was_done(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    visit(page, f"{address}/inspect?experiment={experiment.name}&subset=full")
    page.get_by_text("all 60 that match").click()
    page.get_by_role("button", name="Drop 60").click()
    expect(page.get_by_text("Dropped 60 examples.", exact=True)).to_be_visible()
    assert len(experiment.decided.dropped) == 60
    page.locator(".st-key-undo-many button").click()
    expect(page.get_by_text("Dropped 60 examples.", exact=True)).to_have_count(0)
    assert not experiment.decided.dropped


def tick(page: Page, row: int) -> None:
    area = page.locator(".st-key-rows [data-testid='stDataFrame']").bounding_box()
    assert area is not None
    page.mouse.click(area["x"] + 15, area["y"] + reading.HEADER + reading.ROW * (row + 0.5))


def test_a_tick_in_the_list_redraws_no_chart(topics: tuple[str, Experiment], page: Page) -> None:
    """But the chart of the example that it opens."""
    address, experiment = topics
    visit(page, f"{address}/inspect?experiment={experiment.name}&subset=full")
    expect(page.locator(".st-key-lines .js-plotly-plot .scatterlayer")).to_be_attached()
    page.wait_for_timeout(500)
    page.evaluate(COUNT)
    tick(page, 0)  # the one that is open
    expect(page.get_by_text("1 ticked")).to_be_visible()
    settled(page)
    assert page.evaluate("window.redrawn") == 0
    tick(page, 1)
    expect(page.get_by_role("heading", name=re.compile(f"Example {experiment.ids[1]}$"))).to_be_visible()
    settled(page)
    page.wait_for_function("window.redrawn > 0")


IN_SIGHT = """key => {
  const box = document.querySelector(`.st-key-${key}`).getBoundingClientRect();
  return box.top >= 0 && box.bottom <= innerHeight;
}"""
SCROLLED = "[...document.querySelectorAll('[data-testid=stMain], html')].reduce((sum, e) => sum + e.scrollTop, 0)"


@pytest.mark.slow
def test_twenty_suspected_labels_take_twenty_keys_and_no_scrolling(served: tuple[str, Path], browser: Browser, tmp_path: Path) -> None:
    address, experiments = served
    made = mislabelled(tmp_path).folder.root
    experiment = Experiment(shutil.copytree(made, experiments / "twenty-suspects"))
    errors = experiment.label_errors
    assert errors is not None and len(errors.ranked) >= 20
    page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    visit(page, f"{address}/inspect?experiment=twenty-suspects&subset=full&queue=suspected")
    for number, position in enumerate(errors.ranked[:20], 1):
        expect(page.get_by_role("heading", name=f"Example {experiment.ids[position]}", exact=True)).to_be_visible()
        for key in ("rows", "relabel-suggested", "keep-this", "drop-this", "undo"):
            assert page.evaluate(IN_SIGHT, key), (key, number)
        page.keyboard.press("ayx"[number % 3])
        wait_until(lambda number=number: len(experiment.decided.touched) == number, 30)
        assert page.evaluate(SCROLLED) == 0
    decided, twenty = experiment.decided, {int(experiment.ids[position]) for position in errors.ranked[:20]}
    assert decided.touched == twenty and len(decided.labels) == 6 and len(decided.dropped) == 7
    page.context.close()
