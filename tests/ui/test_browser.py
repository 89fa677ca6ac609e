"""The dashboard as a person uses it: a real server, a real Chromium, a real scoring run."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from pruning import export
from pruning.experiment import Experiment
from pruning.files import sha256
from pruning.records import JobState
from tests.browser_setup import find

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--no-first-run",
]

pytestmark = [pytest.mark.browser, pytest.mark.skipif(find() is None, reason="no Chromium: apt-get install chromium")]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a dashboard of the test's own, and its folder of experiments."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    experiments = tmp_path / "experiments"
    command = [sys.executable, "-m", "pruning", "app", "--experiments", str(experiments), "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", "WINNOW_ROOTS": str(tmp_path.parent)}, stdout=subprocess.DEVNULL
    )
    address = f"http://localhost:{port}"
    try:
        wait_until(lambda: answers(address), 60)
        yield address, experiments
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a fresh browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_until(condition, seconds: float) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.2)


def settled(page: Page) -> None:
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=60_000)


def fill(page: Page, label: str, value: str) -> None:
    box = page.get_by_label(label, exact=True)
    box.fill(value)
    box.press("Tab")
    settled(page)


def test_from_a_file_to_a_verified_download(
    server: tuple[str, Path], page: Page, reviews: tuple[Path, Path], tiny: str, tmp_path: Path
) -> None:
    address, experiments = server
    page.goto(address)
    expect(page.get_by_text("Find the part of a fine-tuning set that matters.")).to_be_visible()
    page.get_by_role("link", name="Start with the sample").click()
    settled(page)
    fill(page, "Data", str(reviews[0]))
    expect(page.get_by_placeholder("train")).to_be_visible()
    fill(page, "Name", "mine")
    fill(page, "Model", tiny)
    fill(page, "Evaluation data", str(reviews[1]))
    page.get_by_role("button", name="Start scoring").click()
    wait_until(lambda: (experiments / "mine" / "experiment.json").exists(), 60)
    wait_until(lambda: Experiment(experiments / "mine").status().state in (JobState.DONE, JobState.FAILED), 120)
    assert Experiment(experiments / "mine").status().state is JobState.DONE
    expect(page.get_by_text("score done").first).to_be_visible()

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
    expect(page.get_by_text("The model said:")).to_be_visible()

    page.goto(f"{address}/export?experiment=mine&subset=full")
    settled(page)
    page.get_by_role("button", name="Build").click()
    expect(page.get_by_text("verified against the manifest")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    got = tmp_path / "got.jsonl"
    download.value.save_as(got)
    experiment = Experiment(experiments / "mine")
    manifest = export.verify(export.default_output(experiment, experiment.subset("full"), "jsonl"))
    assert sha256(got) == manifest["output"]["sha256"]
    assert got.read_bytes() == reviews[0].read_bytes()


@pytest.mark.parametrize("name", ["score", "difficulty", "frontier", "inspect", "export"])
def test_a_cold_deep_link_has_its_shell(server: tuple[str, Path], page: Page, name: str) -> None:
    """The very first request to a server is a page of its own: navigation and sidebar are there."""
    page.goto(f"{server[0]}/{name}")
    settled(page)
    expect(page.get_by_role("heading", name=name.capitalize(), exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Frontier")).to_be_visible()
    expect(page.get_by_text("Page not found")).to_have_count(0)
