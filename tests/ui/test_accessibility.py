"""axe-core finds nothing serious on any page, light or dark; every chart says in words what it shows, and has a table."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks import big
from tests.support.browsing import NO_BROWSER, settled, visit
from tests.support.kinds import answered

axe = pytest.importorskip("axe_playwright_python", reason="no axe-core: pip install axe-playwright-python")
AXE = Path(axe.__file__).with_name("axe.min.js")

Scheme = Literal["light", "dark"]
BOTH: Mapping[Scheme, str] = {"light": "", "dark": ", runOnly: ['color-contrast']"}
"""Everything in light; in dark only colours, where all else is the same."""
LIGHT: Mapping[Scheme, str] = {"light": ""}
BACKGROUND = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 23, 29)"}

pytestmark = [pytest.mark.browser, pytest.mark.skipif(NO_BROWSER, reason="no Chromium: apt-get install chromium")]

PAGES = {
    "": "Overview",
    "score?": "Score",
    "difficulty?level=6&": "Difficulty",
    "frontier?": "Frontier",
    "inspect?show=all&h=0&": "Inspect",
    "export?": "Export",
}


@pytest.fixture(scope="session")
def address(served: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dashboard with two experiments of classes, and one of sampled answers."""
    big.make(served[1] / "accessible", 300)
    big.make(served[1] / "accessible-too", 60)
    shutil.move(answered(tmp_path_factory.mktemp("answered")).folder.root, served[1] / "answered")
    return served[0]


def serious(page: Page, schemes: Mapping[Scheme, str]) -> list[str]:
    """What axe-core calls serious or critical on the page, by scheme and further options of axe."""
    assert page.locator('[data-testid="stException"]').count() == 0
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = []
    for scheme, rules in schemes.items():
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(400)
        settled(page)
        expect(page.get_by_test_id("stApp")).to_have_css("background-color", BACKGROUND[scheme])
        page.get_by_test_id("stHeading").first.wait_for()
        result = page.evaluate(f"axe.run({{resultTypes: ['violations']{rules}}})")
        judged = [*result["passes"], *result["incomplete"], *result["violations"]]
        assert len(judged) > (0 if rules else 10), {kind: [one["id"] for one in result[kind]] for kind in ("passes", "inapplicable")}
        bad = [violation for violation in result["violations"] if violation["impact"] in ("serious", "critical")]
        found += [f"{scheme} {violation['id']}: {node['html'][:160]}" for violation in bad for node in violation["nodes"]]
    return found


@pytest.fixture
def wide(browser: Browser) -> Iterator[Page]:
    """A page of some height, into which axe may be loaded."""
    context = browser.new_context(viewport={"width": 1400, "height": 4000}, bypass_csp=True)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize(("path", "title"), PAGES.items(), ids=PAGES.values())
def test_no_page_has_a_serious_violation(address: str, wide: Page, path: str, title: str) -> None:
    """Everything that is folded is opened first."""
    found = []
    for experiment, schemes in (("accessible", BOTH), ("answered", LIGHT)):
        wide.emulate_media(color_scheme="light")
        visit(wide, f"{address}/{path}{'' if path else '?'}experiment={experiment}")
        wide.get_by_role("heading", name=title, exact=True).wait_for()
        for folded in wide.get_by_test_id("stExpander").locator("summary").all():
            folded.click()
        settled(wide)
        found += [f"{path}{experiment} {one}" for one in serious(wide, schemes)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_neither_dialog_nor_comparison_has_a_serious_violation(address: str, wide: Page, scheme: Scheme) -> None:
    wide.emulate_media(color_scheme=scheme)
    visit(wide, f"{address}/score?experiment=accessible&new=true")
    wide.get_by_text("More settings", exact=True).click()
    settled(wide)
    found = [f"new experiment {one}" for one in serious(wide, {scheme: ""})]
    visit(wide, f"{address}/inspect?experiment=accessible")
    wide.keyboard.press("?")
    wide.get_by_role("dialog").get_by_text("Keys and words").wait_for()
    found += [f"help {one}" for one in serious(wide, {scheme: ""})]
    visit(wide, f"{address}/?experiment=accessible&with=accessible-too")
    wide.get_by_text("Changed most").wait_for()
    found += [f"compared {one}" for one in serious(wide, {scheme: ""})]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("path", "charts"), [("difficulty?", 3), ("frontier?", 2), ("inspect?show=all&", 1)])
def test_every_chart_has_words_and_a_table(address: str, browser: Browser, path: str, charts: int) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 3000})
    visit(page, f"{address}/{path}experiment=accessible")
    page.locator('[data-testid="stPlotlyChart"]').nth(charts - 1).wait_for(state="attached")
    shown = page.locator('[data-testid="stPlotlyChart"]')
    assert shown.count() == charts
    for index in range(charts):
        words = shown.nth(index).evaluate("e => (e.closest('[aria-label]') || e.querySelector('[aria-label]')).getAttribute('aria-label')")
        assert len(words) > 40
    tables = page.get_by_text("As a table, and to download").count() + page.get_by_test_id("stDataFrame").count()
    assert tables >= charts
    page.close()
