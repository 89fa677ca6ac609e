"""A click on a mark of a chart, or a cell of a coloured table, opens the examples behind it in Inspect."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from benchmarks import big
from pruning.experiment import Experiment
from pruning.reports import comparison
from pruning.store.layout import Folder
from tests.support.browsing import NO_BROWSER, settled, visit

pytestmark = [pytest.mark.browser, pytest.mark.skipif(NO_BROWSER, reason="no Chromium: apt-get install chromium")]

EXAMPLES = 300


@pytest.fixture(scope="session")
def marked(served: tuple[str, Path]) -> tuple[str, Path]:
    """A dashboard with two experiments on the same data."""
    experiments = served[1]
    big.make(experiments / "topics", EXAMPLES)
    shutil.copytree(experiments / "topics", experiments / "again")
    return served


def cell(page: Page, key: str, row: int, column: int, columns: int) -> None:
    """Click a cell of a table whose first column is its index; places count from 0."""
    table = page.locator(f".st-key-{key} [data-testid='stDataFrame']")
    table.scroll_into_view_if_needed()
    area = table.bounding_box()
    assert area is not None
    page.mouse.click(area["x"] + area["width"] * (column + 1.6) / (columns + 1), area["y"] + 35 * (row + 1.5))


def test_a_cell_of_the_confusion_opens_its_examples(marked: tuple[str, Path], page: Page) -> None:
    address, experiments = marked
    experiment = Experiment(experiments / "topics")
    visit(page, f"{address}/difficulty?experiment=topics")
    cell(page, "confusion", 1, 2, 3)
    page.wait_for_url(re.compile("/inspect.*label=entailment.*answered=neutral|/inspect.*answered=neutral.*label=entailment"))
    labels, last = np.asarray(experiment.labels), experiment.dynamics.predicted[:, -1]
    count = int(((labels == 1) & (last == 2).any(axis=0)).sum())
    expect(page.get_by_text(f"{count} examples match of {EXAMPLES}.")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^a run predicted.* neutral"))).to_be_visible()


def test_a_cell_and_a_row_of_a_comparison_open_their_examples(marked: tuple[str, Path], page: Page) -> None:
    address, experiments = marked
    folder = experiments / "again"
    for epoch in range(big.EPOCHS):
        Folder(folder).epoch(big.RUNS - 1, epoch).unlink(missing_ok=True)
    found = comparison.compare(Experiment(experiments / "topics"), Experiment(folder))
    visit(page, f"{address}/?experiment=topics&with=again")
    cell(page, "against", 3, 2, big.RUNS)
    page.wait_for_url(re.compile("/inspect.*beside=again"))
    expect(page.get_by_text(f"{found.counts[3, 2]} examples match of {EXAMPLES}.")).to_be_visible()
    visit(page, f"{address}/?experiment=topics&with=again")
    row = page.locator(".st-key-changed [data-testid='stDataFrame']")
    row.scroll_into_view_if_needed()
    area = row.bounding_box()
    assert area is not None
    page.mouse.click(area["x"] + 15, area["y"] + 35 * 2.5)
    page.wait_for_url(re.compile("/inspect.*example="))
    second = comparison.changed(Experiment(experiments / "topics"), found)[1]["id"]
    expect(page.get_by_role("heading", name=f"Example {second}", exact=True)).to_be_visible()


def chart(page: Page, key: str) -> Locator:
    found = page.locator(f".st-key-{key} .js-plotly-plot")
    found.scroll_into_view_if_needed()
    return found


def test_a_point_of_the_map_shows_its_text_and_opens_its_example(marked: tuple[str, Path], page: Page) -> None:
    address, experiments = marked
    experiment = Experiment(experiments / "topics")
    visit(page, f"{address}/difficulty?experiment=topics")
    page.get_by_text("Click to open", exact=True).click()
    settled(page)
    expect(chart(page, "map").locator(".scatterlayer .point")).to_have_count(EXAMPLES)
    area = chart(page, "map").locator(".scatterlayer .point").nth(7).bounding_box()
    assert area is not None
    place = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(*place)
    shown = page.locator(".st-key-map .hoverlayer")
    expect(shown).to_contain_text(re.compile(r"example \d+"))
    [opened] = re.findall(r"example (\d+)", shown.text_content() or "")
    text = experiment.examples(["text"])["text"].to_pylist()[int(opened)]
    assert text.split()[0] in (shown.text_content() or "")
    page.mouse.click(*place)
    page.wait_for_url(re.compile(f"/inspect.*example={opened}(&|$)"))
    expect(page.get_by_role("heading", name=f"Example {opened}", exact=True)).to_be_visible()


@pytest.mark.parametrize("path", ["frontier", ""])
def test_a_bar_of_kept_and_pruned_opens_its_examples(marked: tuple[str, Path], page: Page, path: str) -> None:
    address, experiments = marked
    never = int((Experiment(experiments / "topics").h_score() == 0).sum())
    visit(page, f"{address}/{path}?experiment=topics")
    bar = chart(page, "pruned-by-h" if path else "bars").locator(".barlayer .trace").first.locator(".point path")
    bar.first.click(force=True)
    page.wait_for_url(re.compile("/inspect.*h=0"))
    expect(page.get_by_text(f"{never} examples match of {EXAMPLES}.")).to_be_visible()


def test_a_point_of_the_small_frontier_opens_its_subset(marked: tuple[str, Path], page: Page) -> None:
    visit(page, f"{marked[0]}/?experiment=topics&subset=full")
    points = chart(page, "small-frontier").locator(".scatterlayer .trace:has(.point)").nth(1).locator(".point")
    expect(points.first).to_be_attached()
    points.nth(2).click(force=True)
    page.wait_for_url(re.compile("/frontier.*subset=(remove|winning|random)"))
