"""Whole stories of a person at the dashboard, in a real browser: what is clicked, drawn, typed and decided arrives on disk."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks import big
from pruning.experiment import Experiment
from pruning.jobs import background
from pruning.records import JobState
from pruning.settings import Settings
from pruning.store import saved_filters
from tests.support.browsing import NO_BROWSER, fill, settled, visit, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.skipif(NO_BROWSER, reason="no Chromium: apt-get install chromium")]

EXAMPLES = 300


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic experiment in the real format."""
    return big.make(tmp_path_factory.mktemp("made") / "topics", EXAMPLES).folder.root


@pytest.fixture
def topics(served: tuple[str, Path], made: Path, request: pytest.FixtureRequest) -> tuple[str, Experiment]:
    """The address, and an experiment of the test's own."""
    address, experiments = served
    return address, Experiment(shutil.copytree(made, experiments / request.node.name.replace("_", "-")[:60]))


def test_a_box_drawn_on_the_map_lists_its_examples(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    visit(page, f"{address}/difficulty?experiment={experiment.name}")
    chart = page.locator(".st-key-map")
    chart.scroll_into_view_if_needed()
    area = chart.locator(".nsewdrag").first.bounding_box()
    assert area is not None
    page.mouse.move(area["x"] + area["width"] * 0.1, area["y"] + area["height"] * 0.1)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.6, area["y"] + area["height"] * 0.6, steps=8)
    page.mouse.up()
    told = page.get_by_text(re.compile(r"\d+ examples in the box"))
    expect(told).to_be_visible()
    assert 0 < int(told.inner_text().split()[0]) < EXAMPLES
    expect(page).to_have_url(re.compile("x-variability"))
    link = page.url
    sentence = told.inner_text()
    page.goto(link)
    expect(page.get_by_text(sentence)).to_be_visible()


def test_a_line_drawn_around_examples_opens_them_in_inspect(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    visit(page, f"{address}/difficulty?experiment={experiment.name}")
    page.get_by_text("Draw around", exact=True).click()
    settled(page)
    chart = page.locator(".st-key-map")
    chart.scroll_into_view_if_needed()
    area = chart.locator(".nsewdrag").first.bounding_box()
    assert area is not None
    corners = [(0.1, 0.1), (0.7, 0.1), (0.7, 0.7), (0.4, 0.9), (0.1, 0.7)]
    places = [(area["x"] + area["width"] * x, area["y"] + area["height"] * y) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()
    told = page.get_by_text(re.compile(r"\d+ examples in the area"))
    expect(told).to_be_visible()
    count = told.inner_text().split()[0]
    assert 0 < int(count) < EXAMPLES
    page.get_by_role("button", name="Open them in Inspect").click()
    page.wait_for_url(re.compile("/inspect.*area=variability&area=confidence"))
    expect(page.get_by_text(f"{count} examples match of {EXAMPLES}.")).to_be_visible()


def test_a_click_on_the_frontier_chooses_the_subset_for_every_page(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    visit(page, f"{address}/frontier?experiment={experiment.name}&subset=full")
    points = page.locator(".scatterlayer .trace:has(.point)").nth(1).locator(".point")
    expect(points.first).to_be_attached()
    points.nth(2).click(force=True)
    page.wait_for_url(re.compile("subset=(remove|winning|random|ambiguous)"))
    chosen = re.search("subset=([a-z0-9%-]+)", page.url)
    assert chosen is not None
    page.get_by_role("link", name="Inspect").click()
    expect(page.get_by_role("combobox", name="Subset")).to_be_visible()
    page.wait_for_url(re.compile(f"/inspect.*subset={chosen[1]}"))


def test_a_table_is_searched_but_not_saved_with_formulas_alive(topics: tuple[str, Experiment], page: Page) -> None:
    """Streamlit's own CSV leaves =HYPERLINK(...) as it is; ours, below each chart, does not."""
    address, experiment = topics
    visit(page, f"{address}/inspect?experiment={experiment.name}&show=all")
    table = page.get_by_test_id("stElementContainer").filter(has=page.get_by_test_id("stDataFrame")).first
    table.get_by_test_id("stDataFrame").hover()
    expect(table.get_by_role("button", name="Search")).to_be_visible()
    expect(table.get_by_role("button", name=re.compile("CSV|Download"))).to_have_count(0)


def test_any_rule_can_be_typed_as_the_subset_and_a_wrong_one_is_said(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    visit(page, f"{address}/inspect?experiment={experiment.name}&subset=ccs@0.3")
    expect(page.get_by_text("keeps 30%").first).to_be_visible()
    for rule, says in (("random@60", "keeps 20%"), ("luckiest", "There is no subset 'luckiest'")):
        box = page.get_by_role("combobox", name="Subset")
        box.click()
        box.fill(rule)
        box.press("Enter")
        expect(page.get_by_text(says).first).to_be_visible()


def test_a_bar_of_the_histogram_lists_its_examples(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    count = int((experiment.h_score() == 6).sum())
    visit(page, f"{address}/difficulty?experiment={experiment.name}")
    page.locator(".barlayer .bars").first.locator(".point path").last.click(force=True)
    expect(page.get_by_text(f"{count} examples with H = 6")).to_be_visible()


def test_searching_dropping_all_that_match_and_undoing(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    texts = experiment.examples(["text"])["text"].to_pylist()
    matching = experiment.ids[np.array(["ba" in text for text in texts])]
    visit(page, f"{address}/inspect?experiment={experiment.name}&subset=full&show=all")
    fill(page, "Search the text", "ba")
    expect(page.get_by_text(f"{len(matching)} examples match")).to_be_visible()
    page.get_by_text(f"all {len(matching)} that match").click()
    page.get_by_role("button", name=f"Drop {len(matching)}").click()
    left = f"keeps {(EXAMPLES - len(matching)) / EXAMPLES:.0%}, as decided"
    expect(page.get_by_text(left).first).to_be_visible()
    assert experiment.decided.dropped == frozenset(matching.tolist())
    page.get_by_role("button", name=re.compile("^Undo drop")).click()
    expect(page.get_by_text("keeps 100%").first).to_be_visible()
    assert not experiment.decided.dropped
    settled(page)  # the list is closed when its count changes
    page.get_by_text(re.compile("^Decisions")).click()
    page.get_by_role("button", name=re.compile("^Redo")).click()
    expect(page.get_by_text(left).first).to_be_visible()


def test_keys_go_through_the_examples_and_decide(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    visit(page, f"{address}/inspect?experiment={experiment.name}&subset=full&show=all")
    expect(page.get_by_role("heading", name=f"Example {experiment.ids[0]}", exact=True)).to_be_visible()
    page.keyboard.press("j")
    expect(page.get_by_role("heading", name=f"Example {experiment.ids[1]}", exact=True)).to_be_visible()
    page.keyboard.press("x")
    expect(page.get_by_role("heading", name=f"Example {experiment.ids[2]}", exact=True)).to_be_visible()
    assert experiment.decided.dropped == {int(experiment.ids[1])}
    page.keyboard.press("k")
    expect(page.get_by_role("heading", name=f"Example {experiment.ids[1]}", exact=True)).to_be_visible()


def test_a_view_is_saved_and_is_a_link(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    visit(page, f"{address}/inspect?experiment={experiment.name}&show=all&h=0&label=neutral")
    told = page.get_by_text(re.compile(r"^\d+ examples match")).inner_text()
    labels = np.array(experiment.label_names)[experiment.labels]
    assert int(told.split()[0]) == ((experiment.h_score() == 0) & (labels == "neutral")).sum()
    page.get_by_text("Filter and sort").click()
    fill(page, "Name of this view", "hard and neutral")
    page.get_by_role("button", name="Save").click()
    wait_until(lambda: saved_filters.saved(experiment.folder), 10)
    assert saved_filters.saved(experiment.folder)["hard and neutral"] == {"h": [0], "label": ["neutral"]}


def test_two_tabs_decide_at_once_and_nothing_is_lost(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    other = page.context.new_page()
    labels = np.array(experiment.label_names)[experiment.labels]
    for tab, label in ((page, "neutral"), (other, "entailment")):
        visit(tab, f"{address}/inspect?experiment={experiment.name}&subset=full&show=all&label={label}")
        tab.get_by_text(f"all {(labels == label).sum()} that match").click()
        settled(tab)
    for tab in (page, other):
        tab.get_by_role("button", name=re.compile(r"^Drop \d+")).click(no_wait_after=True)
    wait_until(lambda: len(experiment.decisions()) == 2, 10)
    assert experiment.decided.dropped == set(experiment.ids[labels != "contradiction"].tolist())
    stays = (labels == "contradiction").sum()
    for tab in (page, other):
        tab.reload()
        expect(tab.get_by_text(f"keeps {stays / EXAMPLES:.0%}, as decided").first).to_be_visible()


@pytest.mark.slow
def test_scoring_goes_on_without_its_tab_and_is_cancelled_and_resumed(
    served: tuple[str, Path], browser: Browser, settings: Settings
) -> None:
    address, experiments = served
    long = settings.with_changes(seeds=tuple(range(12)), train=replace(settings.train, epochs=40, learning_rate=1e-3))
    background.score(long, experiments / "long")
    context = browser.new_context(viewport={"width": 1400, "height": 1800})
    page = context.new_page()
    wait_until((experiments / "long" / "experiment.json").exists, 120)
    wait_until(lambda: np.isfinite(Experiment(experiments / "long").epoch_accuracy()).any(), 120)
    visit(page, f"{address}/score?experiment=long")
    expect(page.get_by_text(re.compile("score running", re.I)).first).to_be_visible()
    context.close()

    done = Experiment(experiments / "long").status().done
    wait_until(lambda: Experiment(experiments / "long").status().done > done, 120)
    page = browser.new_page(viewport={"width": 1400, "height": 1800})
    visit(page, f"{address}/score?experiment=long")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Yes, stop it").click()
    expect(page.get_by_text(re.compile("score cancelled", re.I)).first).to_be_visible()
    kept = np.isfinite(Experiment(experiments / "long").epoch_accuracy()).sum()
    assert 0 < kept < 12 * 40
    page.get_by_role("button", name="Resume").click()
    wait_until(lambda: np.isfinite(Experiment(experiments / "long").epoch_accuracy()).sum() > kept, 120)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Yes, stop it").click()
    expect(page.get_by_text(re.compile("score cancelled", re.I)).first).to_be_visible()
    assert Experiment(experiments / "long").status().state is JobState.CANCELLED
    page.close()


def test_an_uploaded_file_fills_the_form_and_what_comes_later_takes_its_place(served: tuple[str, Path], page: Page, tmp_path: Path) -> None:
    address, experiments = served
    data, other = tmp_path / "my reviews.csv", tmp_path / "other.csv"
    data.write_text("text,label\na good film,good\na bad film,bad\n")
    other.write_text("text,label\nuploaded no more,good\nfine,bad\n")
    visit(page, f"{address}/score?new=true")
    page.locator('input[type="file"]').set_input_files(data)
    box = page.get_by_label("Data", exact=True)
    expect(box).to_have_value(re.compile(r"uploads/my-reviews-[0-9a-f]{64}\.csv$"))
    expect(page.get_by_text("2 rows. Labels: bad (1 row, 50%), good (1 row, 50%)")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_attribute("placeholder", "my-reviews")
    assert [path.read_bytes() for path in (experiments / "uploads").iterdir()] == [data.read_bytes()]
    shutil.copy(other, experiments / "other.csv")
    fill(page, "Data", str(experiments / "other.csv"))
    expect(box).to_have_value(str(experiments / "other.csv"))
    expect(page.get_by_label("Name", exact=True)).to_have_attribute("placeholder", "other")


def test_an_experiment_is_renamed_and_deleted_to_the_trash(topics: tuple[str, Experiment], page: Page) -> None:
    address, experiment = topics
    visit(page, f"{address}/score?experiment={experiment.name}")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("New name").fill("renamed")
    page.get_by_role("button", name="Rename it").click()
    root = experiment.folder.root.parent
    wait_until(lambda: (root / "renamed" / "experiment.json").exists(), 10)
    assert not experiment.folder.root.exists()
    expect(page.get_by_text("renamed").first).to_be_attached()
    shutil.rmtree(root / "renamed")
