"""Walk through the dashboard's twelve stories in Chromium, and open every page on every kind of experiment; each view becomes pictures.

    python assets/walk.py EXPERIMENT FOLDER [--stories 1,5,8] [--no-kinds]

EXPERIMENT is one that `make demo` made; it is copied, and so are the experiments beside it, such as that of `make demo-llm`. The main views
of the stories and the pages of every kind are taken at four widths, light and dark, others at a phone's and a laptop's width. What is wider
than its window, or cut without an ellipsis, is printed. Needs Chromium.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import big  # noqa: E402
from pruning.experiment import Experiment  # noqa: E402
from pruning.store import lock  # noqa: E402
from tests.support import tiny  # noqa: E402
from tests.support.browser_setup import find  # noqa: E402
from tests.support.browsing import DRAWING, dashboard, settled, visit  # noqa: E402
from tests.support.kinds import answered, left, many_classes, of_task, right_to_left  # noqa: E402
from tests.support.pages import PAGES  # noqa: E402

VIEWS = {390: 2400, 768: 1800, 1400: 1200, 2560: 1400}
"""Width -> height of the window, high enough to see most of a page."""
FEW = {390: 2400, 1400: 1200}

TOO_WIDE = """() => {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth + 1) found.push(`page ${document.documentElement.scrollWidth} > ${innerWidth}`);
  for (const e of document.querySelectorAll('p, h1, h2, h3, button, label, [data-testid="stMetricValue"], [data-testid="stMetricDelta"]')) {
    const style = getComputedStyle(e);
    const meant = style.overflow === 'visible' || (style.textOverflow === 'ellipsis' && !e.closest('[data-testid="stMetric"]'));
    if (e.offsetWidth && e.scrollWidth > e.clientWidth + 2 && !meant)
      found.push(`${e.tagName} ${e.textContent.slice(0, 50)}`);
  }
  return found;
}"""


class Walk:
    """A browser's page, and the pictures that are taken of it."""

    def __init__(self, page: Page, address: str, folder: Path, data: Path) -> None:
        self.page, self.address, self.folder, self.data = page, address, folder, data

    def open(self, link: str) -> None:
        """Open an address and wait until the page stands."""
        visit(self.page, f"{self.address}/{link}")

    def picture(self, name: str, views: dict[int, int] | None = None) -> None:
        """Take the view at every width, light and dark."""
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            for width, height in (views or VIEWS).items():
                self.page.set_viewport_size({"width": width, "height": height})
                settled(self.page)
                self.page.wait_for_timeout(400)
                self.page.screenshot(path=self.folder / f"{name}-{width}-{scheme}.png")
                for found in self.page.evaluate(TOO_WIDE):
                    print(f"{name} at {width}: {found}", flush=True)
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size({"width": 1400, "height": 1200})
        settled(self.page)
        print(name, flush=True)

    def press(self, name: str, exact: bool = True) -> None:
        """Press the first button of this name."""
        self.page.get_by_role("button", name=name, exact=exact).first.click()
        settled(self.page)

    def keys(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)
            settled(self.page)


def first_visit(walk: Walk) -> None:
    """1 and 3: an empty folder; the sample is scored, watched, cancelled."""
    root = Path(tempfile.mkdtemp(prefix="walk-")) / "a" / "experiments"
    with dashboard(root) as walk.address:
        walk.open("")
        walk.picture("01-first-visit")
        walk.press("Score the sample")
        walk.picture("01-started", FEW)
        walk.page.get_by_text(re.compile("score running", re.I)).first.wait_for(timeout=180_000)
        walk.page.get_by_text(re.compile(r"^[\d,]+/s$")).first.wait_for(timeout=180_000)
        walk.picture("03-watching")
        walk.open("?experiment=sample")
        walk.picture("03-overview-while-running", FEW)
        walk.open("score?experiment=sample")
        walk.press("Cancel")
        walk.press("Yes, stop it")
        walk.page.get_by_text(re.compile("score cancelled", re.I)).first.wait_for(timeout=60_000)
        walk.picture("03-cancelled", FEW)


def own_file(walk: Walk) -> None:
    """2: odd column names, a wrong guess, the settings."""
    rows = ["kommentar,quelle,urteil", *(f'"ein {word} film",{"ab"[n % 2]},{n % 3}' for n, word in enumerate(["guter", "schlechter"] * 15))]
    data = walk.data / "odd.csv"
    data.write_text("\n".join(rows))
    walk.open(f"score?experiment=demo&new=true&data={data}")
    walk.picture("02-as-detected")
    for box, choice in (("Task", "classification"), ("Text column", "kommentar"), ("Label column", "urteil")):
        walk.page.get_by_role("combobox", name=box).click()
        walk.page.get_by_role("option", name=choice).click()
        settled(walk.page)
    walk.picture("02-columns-chosen", FEW)
    walk.page.get_by_text("More settings", exact=True).click()
    walk.picture("02-more-settings", FEW)
    walk.page.get_by_role("tab", name="Recipe").click()
    walk.picture("02-recipe", FEW)


def by_difficulty(walk: Walk) -> None:
    """4: a bar, then its examples."""
    walk.open("difficulty?experiment=demo")
    walk.picture("04-difficulty")
    walk.open("difficulty?experiment=demo&level=0&stack=label")
    walk.picture("04-a-bar-chosen", FEW)
    walk.open("difficulty?experiment=demo&x-variability=0.1&x-variability=0.3")
    walk.picture("04-a-box-on-the-map", FEW)


def frontier(walk: Walk) -> None:
    """5 and 6: a point, its cost, its pruned examples; more seeds."""
    walk.open("frontier?experiment=demo")
    walk.picture("05-frontier")
    walk.open("frontier?experiment=topics&subset=random@winning-ticket")
    walk.picture("05-a-point-chosen")
    walk.page.get_by_text("Measure more subsets").click()
    walk.picture("06-measure-more", FEW)
    walk.open("frontier?experiment=demo")
    walk.press("Inspect pruned examples")
    walk.picture("05-its-pruned-examples", FEW)


def overruling(walk: Walk) -> None:
    """7: kept beside pruned, one kept, one dropped, then all that match, undone."""
    walk.open("inspect?experiment=demo")
    walk.picture("07-inspect")
    walk.keys("y", "x")
    walk.picture("07-two-decided", FEW)
    walk.open("inspect?experiment=demo&q=film&label=positive")
    walk.page.get_by_text(re.compile("^all [0-9,]+ that match")).click()
    settled(walk.page)
    walk.press("Drop ", exact=False)
    walk.picture("07-all-that-match", FEW)
    walk.page.locator(".st-key-undo-many button").click()
    walk.page.get_by_text("Kept and pruned, side by side").click()
    walk.picture("07-side-by-side", FEW)
    walk.page.get_by_text("Filter and sort").click()
    walk.picture("07-filters", FEW)
    walk.open("inspect?experiment=demo&q=zzzz&h=0")
    walk.picture("07-nothing-matches", FEW)


def suspects(walk: Walk) -> None:
    """8: suspected labels by keyboard."""
    walk.open("inspect?experiment=demo&queue=suspected")
    walk.picture("08-suspected")
    walk.keys("a", "y", "x", "j", "u")
    walk.picture("08-after-five-keys", FEW)
    walk.keys("h")
    walk.picture("08-keys", FEW)


def duplicates(walk: Walk) -> None:
    """9: duplicates and leaks."""
    walk.open("inspect?experiment=topics&queue=duplicates")
    walk.picture("09-duplicates", FEW)


def links(walk: Walk) -> None:
    """10: a link opened cold, and one to what is gone."""
    walk.open("inspect?experiment=demo&subset=drop-easy&h=0&h=1&sort=confidence&desc=true&size=100&page=2")
    walk.picture("10-a-link", FEW)
    walk.open("difficulty?experiment=gone&subset=winning-ticket")
    walk.picture("10-gone", FEW)
    walk.open("inspect?experiment=demo&label=nosuch&burn_in=9")
    walk.picture("10-a-label-that-is-gone", FEW)


def compared(walk: Walk) -> None:
    """11: two experiments."""
    walk.open("?experiment=demo")
    walk.picture("00-overview")
    walk.open("?experiment=topics&with=topics-2")
    walk.picture("11-compared", FEW)


def exported(walk: Walk) -> None:
    """12: the audit, the file, the command."""
    walk.open("export?experiment=demo")
    walk.picture("12-export")
    walk.press("Export")
    walk.page.get_by_text("verified against the manifest").wait_for(timeout=120_000)
    walk.page.get_by_text("Full audit").click()
    settled(walk.page)
    walk.picture("12-exported-and-audited")


STORIES: dict[int, Callable[[Walk], None]] = {
    2: own_file,
    4: by_difficulty,
    5: frontier,
    7: overruling,
    8: suspects,
    9: duplicates,
    10: links,
    11: compared,
    12: exported,
    1: first_visit,
}
"""By their first number: 3 is walked with 1, and 6 with 5."""


def kinds(folder: Path) -> list[str]:
    """Make a small experiment of every other kind beside the demo."""
    model = folder.parent / "model"
    if not model.exists():
        tiny.tiny_model(model)
    makers: dict[str, Callable[[Path], Experiment]] = {
        **{case: lambda there, case=case: of_task(case, str(model), there) for case in ("pair", "choice", "question")},
        "thirty-classes": many_classes,
        "right-to-left": right_to_left,
        "answers": answered,
    }
    for name, make in makers.items():
        with tempfile.TemporaryDirectory(dir=folder.parent) as there:
            made = make(Path(there)).folder.root
            shutil.move(made, folder / name)
    states = ("cancelled", "failed", "damaged", "no-run-yet", "running")
    for name in states:
        shutil.copytree(folder / "topics", folder / name)
        left(Experiment(folder / name), name, "out of memory" if name == "failed" else "")
    return [*makers, *states]


def main(experiment: Path, pictures: Path, stories: list[int], with_kinds: bool) -> None:
    """Copy the experiment, walk, and leave the pictures in a folder."""
    pictures.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="walk-"))) / "data" / "experiments"
        shutil.copytree(experiment, folder / "demo")
        big.make(folder / "topics", 300)
        big.make(folder / "topics-2", 300)
        beside = [path for path in experiment.parent.iterdir() if path != experiment and (path / "experiment.json").exists()]
        for path in beside:
            shutil.copytree(path, folder / path.name)
        others = [*(path.name for path in beside), *kinds(folder)] if with_kinds else []
        held = lock.own(Experiment(folder / "running").folder) if with_kinds else None
        if held is not None:
            stack.enter_context(held)
        address = stack.enter_context(dashboard(folder))
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=find(), args=DRAWING)
        for number, story in STORIES.items():
            if number in stories:
                page = browser.new_context(viewport={"width": 1400, "height": 1200}).new_page()
                walk = Walk(page, address, pictures, folder)
                try:
                    story(walk)
                except Exception as error:  # the next story may still be walked
                    print(f"story {number} stopped: {str(error)[:500]}", flush=True)
                page.context.close()
        page = browser.new_context(viewport={"width": 1400, "height": 1200}).new_page()
        for name in others:
            for where in PAGES:
                walk = Walk(page, address, pictures, folder)
                walk.open(f"{'' if where == 'overview' else where}?experiment={name}")
                walk.picture(f"kind-{name}-{where}")
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("experiment", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stories", default=",".join(map(str, STORIES)))
    parser.add_argument("--no-kinds", action="store_true")
    given = parser.parse_args()
    main(given.experiment.resolve(), given.folder, [int(number) for number in given.stories.split(",") if number], not given.no_kinds)
