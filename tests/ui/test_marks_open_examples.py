"""A click on a mark of a chart, or a cell of a coloured table, opens the examples behind it in Inspect."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from benchmarks import big
from pruning.experiment import Experiment
from pruning.reports import comparison
from pruning.store.layout import Folder
from tests.support.browsing import NO_BROWSER, dashboard, visit

pytestmark = [pytest.mark.browser, pytest.mark.skipif(NO_BROWSER, reason="no Chromium: apt-get install chromium")]

EXAMPLES = 300


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A dashboard with two experiments on the same data."""
    experiments = tmp_path_factory.mktemp("served") / "experiments"
    big.make(experiments / "topics", EXAMPLES)
    shutil.copytree(experiments / "topics", experiments / "again")
    with dashboard(experiments) as address:
        yield address, experiments


def cell(page: Page, key: str, row: int, column: int, columns: int) -> None:
    """Click a cell of a table whose first column is its index; places count from 0."""
    table = page.locator(f".st-key-{key} [data-testid='stDataFrame']")
    table.scroll_into_view_if_needed()
    area = table.bounding_box()
    assert area is not None
    page.mouse.click(area["x"] + area["width"] * (column + 1.6) / (columns + 1), area["y"] + 35 * (row + 1.5))


def test_a_cell_of_the_confusion_opens_its_examples(served: tuple[str, Path], page: Page) -> None:
    address, experiments = served
    experiment = Experiment(experiments / "topics")
    visit(page, f"{address}/difficulty?experiment=topics")
    cell(page, "confusion", 1, 2, 3)
    page.wait_for_url(re.compile("/inspect.*label=entailment.*answered=neutral|/inspect.*answered=neutral.*label=entailment"))
    labels, last = np.asarray(experiment.labels), experiment.dynamics.predicted[:, -1]
    count = int(((labels == 1) & (last == 2).any(axis=0)).sum())
    expect(page.get_by_text(f"{count} examples match of {EXAMPLES}.")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^a run predicted.* neutral"))).to_be_visible()


def test_a_cell_and_a_row_of_a_comparison_open_their_examples(served: tuple[str, Path], page: Page) -> None:
    address, experiments = served
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
