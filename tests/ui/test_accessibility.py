"""axe-core finds nothing serious on any page, light or dark; every chart says in words what it shows, and has a table."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from benchmarks import big
from tests.support.browsing import NO_BROWSER, visit

axe = pytest.importorskip("axe_playwright_python", reason="no axe-core: pip install axe-playwright-python")
AXE = Path(axe.__file__).with_name("axe.min.js")

pytestmark = [pytest.mark.browser, pytest.mark.skipif(NO_BROWSER, reason="no Chromium: apt-get install chromium")]

PAGES = {
    "": "Overview",
    "score?": "Score",
    "difficulty?level=6&": "Difficulty",
    "frontier?": "Frontier",
    "inspect?show=all&h=0&": "Inspect",
    "export?": "Export",
}


@pytest.fixture(scope="module")
def address(served: tuple[str, Path]) -> str:
    """A dashboard with an experiment called accessible."""
    big.make(served[1] / "accessible", 300)
    return served[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_violation(address: str, browser: Browser, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 4000}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    found = []
    for path, title in PAGES.items():
        visit(page, f"{address}/{path}{'' if path else '?'}experiment=accessible")
        page.get_by_role("heading", name=title, exact=True).wait_for()
        page.wait_for_timeout(500)
        assert page.locator('[data-testid="stException"]').count() == 0, path
        page.evaluate(AXE.read_text(encoding="utf-8"))
        result = page.evaluate("axe.run({resultTypes: ['violations']})")
        assert len(result["passes"]) > 10, path
        serious = [violation for violation in result["violations"] if violation["impact"] in ("serious", "critical")]
        found += [f"{path} {violation['id']}: {node['html'][:120]}" for violation in serious for node in violation["nodes"]]
    context.close()
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
