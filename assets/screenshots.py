"""Pictures of every page, light, dark and narrow, from the running dashboard: `make screenshots`.

    python assets/screenshots.py [EXPERIMENT]      default: experiments/demo, made by `make demo`

Needs Chromium (Debian: apt-get install chromium). Writes assets/<page>-light.png, -dark.png and -narrow.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.browser_setup import find  # noqa: E402
from tests.support.browsing import DRAWING, dashboard, visit  # noqa: E402
from tests.support.pages import PAGES  # noqa: E402

VIEWS = {"light": (1400, 1200, "light"), "dark": (1400, 1200, "dark"), "narrow": (390, 844, "light")}


def main(experiment: Path) -> None:
    """Start the dashboard, visit every page in every view, save what it shows."""
    if not (experiment / "experiment.json").exists():
        sys.exit(f"{experiment} is no experiment; run `make demo` first.")
    with dashboard(experiment.parent) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=DRAWING)
        for view, (width, height, scheme) in VIEWS.items():
            shoot(browser, address, experiment.name, view, width, height, scheme)
        browser.close()


def shoot(browser: Browser, address: str, experiment: str, view: str, width: int, height: int, scheme: str) -> None:
    """Save every page as one view shows it."""
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    for name in PAGES:
        visit(page, f"{address}/{'' if name == 'overview' else name}?experiment={experiment}")
        page.wait_for_timeout(2500)
        target = ROOT / "assets" / f"{name}-{view}.png"
        page.screenshot(path=target)
        print(target.relative_to(ROOT), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "experiments/demo").resolve())
