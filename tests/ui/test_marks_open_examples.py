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
