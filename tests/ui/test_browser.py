"""The dashboard as a person uses it: a real server, a real Chromium, a real scoring run."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pruning.data.sample import sample_split
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.files import sha256
from pruning.records import JobState
from tests.support.browsing import NO_BROWSER, dashboard, fill, settled, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.skipif(NO_BROWSER, reason="no Chromium: apt-get install chromium")]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a dashboard of the test's own, and its folder of experiments."""
    with dashboard(tmp_path / "experiments") as address:
        yield address, tmp_path / "experiments"


def test_from_a_file_to_a_verified_download(
    server: tuple[str, Path], page: Page, reviews: tuple[Path, Path], tiny: str, tmp_path: Path
) -> None:
    address, experiments = server
    experiments.mkdir(exist_ok=True)
    data, evaluation = (Path(shutil.copy(path, experiments)) for path in reviews)
    page.goto(address)
    expect(page.get_by_text("Find the part of a fine-tuning set that matters")).to_be_visible()
    page.get_by_role("link", name="Or give a path or a hub name").click()
    settled(page)
    fill(page, "Data", str(data))
    expect(page.get_by_placeholder("train")).to_be_visible()
    fill(page, "Name", "mine")
    fill(page, "Model", tiny)
    page.get_by_text("More settings", exact=True).click()
    fill(page, "Evaluation data", str(evaluation))
    page.get_by_role("tab", name="Recipe").click()
    fill(page, "Learning rate", "1e-3")  # on so few examples none may beat the commonest label
    page.get_by_role("button", name="Start scoring").click()
    wait_until(lambda: (experiments / "mine" / "experiment.json").exists(), 60)
    wait_until(lambda: Experiment(experiments / "mine").status().state in (JobState.DONE, JobState.FAILED), 120)
    assert Experiment(experiments / "mine").status().state is JobState.DONE
    expect(page.get_by_text("scored, ").first).to_be_visible()

    page.goto(f"{address}/difficulty?experiment=mine")
    settled(page)
    expect(page.get_by_role("heading", name="How many runs got it right")).to_be_visible()
    expect(page.locator('[data-testid="stPlotlyChart"] .bars path').first).to_be_attached()

    page.goto(f"{address}/frontier?experiment=mine")
    settled(page)
    expect(page.locator(".scatterlayer .point").first).to_be_attached()
    expect(page).to_have_title(re.compile("Frontier"))

    page.goto(f"{address}/inspect?experiment=mine&subset=full&show=all&q=film")
    settled(page)
    expect(page.get_by_text(re.compile(r"\d+ examples match"))).to_be_visible()
    expect(page.get_by_text("Why it is kept")).to_be_visible()

    page.goto(f"{address}/export?experiment=mine&subset=full")
    settled(page)
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.get_by_text("verified against the manifest")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    got = tmp_path / "got.jsonl"
    download.value.save_as(got)
    experiment = Experiment(experiments / "mine")
    manifest = writer.verify(writer.default_output(experiment, experiment.subset("full"), "jsonl"))
    assert sha256(got) == manifest["output"]["sha256"]
    assert got.read_bytes() == data.read_bytes()


@pytest.mark.parametrize(
    "name", ["inspect", *(pytest.param(name, marks=pytest.mark.slow) for name in ("score", "difficulty", "frontier", "export"))]
)
def test_a_cold_deep_link_has_its_shell(server: tuple[str, Path], page: Page, name: str) -> None:
    """The very first request to a server is a page of its own: navigation and context bar are there."""
    page.goto(f"{server[0]}/{name}")
    settled(page)
    expect(page.get_by_role("heading", name=name.capitalize(), exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Frontier")).to_be_visible()
    expect(page.get_by_text("Page not found")).to_have_count(0)


@pytest.mark.slow
def test_the_first_picture_of_a_dropped_file(server: tuple[str, Path], page: Page) -> None:
    """The seconds are printed (pytest -s), not judged: a machine may be busy."""
    address, experiments = server
    data, _ = sample_split(1000, 1000)
    page.goto(address)
    start = time.monotonic()
    page.locator('input[type="file"]').first.set_input_files(data)
    page.get_by_role("button", name="Start scoring").click(timeout=60_000)
    pressed = time.monotonic()
    expect(page.get_by_text("Expected success, before training")).to_be_visible(timeout=300_000)
    expect(page.locator('[data-testid="stPlotlyChart"] .bars path').first).to_be_attached(timeout=60_000)
    print(f"\nfirst picture {time.monotonic() - start:.0f} s after the drop, {time.monotonic() - pressed:.0f} s after the start")
    expect(page.get_by_text("Probe accuracy")).to_be_visible()
    [folder] = [path.parent for path in experiments.glob("*/experiment.json")]
    assert not Experiment(folder).finished_runs()
    page.get_by_role("link", name="Score", exact=True).click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Yes, stop it").click()
    wait_until(lambda: Experiment(folder).status().state is JobState.CANCELLED, 120)


@pytest.mark.slow
def test_the_sample_is_scored_pruned_and_exported_in_few_clicks(server: tuple[str, Path], page: Page) -> None:
    """From an empty folder; the browser counts the clicks."""
    address, experiments = server
    page.add_init_script(
        "addEventListener('click', event => { if (event.isTrusted) sessionStorage.clicks = +(sessionStorage.clicks || 0) + 1 }, true)"
    )
    page.goto(address)
    page.get_by_role("button", name="Score the sample").click()
    wait_until(lambda: (experiments / "sample" / "experiment.json").exists(), 120)
    wait_until(lambda: Experiment(experiments / "sample").status().state in (JobState.DONE, JobState.FAILED), 1800)
    page.get_by_role("link", name="Export").click()
    page.get_by_role("button", name="Export", exact=True).click()
    expect(page.get_by_text("verified against the manifest")).to_be_visible(timeout=60_000)
    assert 0 < int(page.evaluate("sessionStorage.clicks")) <= 6
    experiment = Experiment(experiments / "sample")
    subset = experiment.subset("winning-ticket")
    manifest = writer.verify(writer.default_output(experiment, subset, "jsonl"))
    assert 0 < manifest["output"]["rows"] == subset.size < len(experiment.ids)
