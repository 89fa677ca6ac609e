"""The dashboard on 20,000 and on a million examples: time on the server of what a person does, and the server's memory.

    python -m benchmarks.dashboard [--examples 20000 --examples 1000000] [--output benchmarks/results/dashboard.md]

A synthetic experiment (see benchmarks/big.py) is written to a temporary folder. Times are those of the real main script in a
process of its own, without network and browser: the median of five, after the page was opened once. CPU seconds are those of that
process, and say on a busy machine what an act costs. Memory is that of a real server, resident, after a browser visited every page;
and while three tenths of the rows are built and downloaded.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from playwright.sync_api import Page, sync_playwright

from benchmarks import big
from benchmarks.machine import heading
from pruning.data import sample
from pruning.experiment import Experiment
from pruning.jobs import background
from pruning.settings import Settings, default_seeds
from pruning.store.layout import Folder
from tests.support.browser_setup import find

ROOT = Path(__file__).resolve().parents[1]
MB = 1 << 20
REPEATS = 5
FIRST_ROW = """[...document.querySelectorAll("[id^=glide-cell-][id$='-0']")].map(cell => cell.textContent).join("|")"""
"""Text of the table's first row: another page shows another example in it."""
SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"]'


def main(
    examples: Annotated[list[int], typer.Option()] = [20_000, 1_000_000],  # noqa: B006  (typer copies it)
    output: Annotated[Path | None, typer.Option()] = None,
    experiment: Annotated[Path | None, typer.Option(help="An experiment made before by benchmarks.big.")] = None,
) -> None:
    """Measure, print the tables, and write them to `output`."""
    texts = [measured(number, experiment) for number in examples]
    text = "\n".join([_introduction(), *texts]) + responses(responsive())
    print(text)
    if output is not None:
        output.write_text(text, encoding="utf-8")


def measured(examples: int, experiment: Path | None = None) -> str:
    """Return the tables of an experiment of that size."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = experiment or Path(scratch) / "experiments" / "big"
        if experiment is None:
            directory.parent.mkdir()
            big.make(directory, examples)
        shutil.rmtree(Folder(directory).cache("").parent, ignore_errors=True)
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "pruning.jobs.precompute", str(directory)], check=True)
        audit = time.perf_counter() - begun
        timed = json.loads(
            subprocess.run(
                [sys.executable, "-c", f"from benchmarks.dashboard import actions; actions({str(directory)!r})"],
                check=True,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env={**os.environ, "WINNOW_EXPERIMENTS": str(directory.parent)},
            ).stdout.splitlines()[-1]
        )
        memory = served(directory)
    return report(examples, audit, timed, memory)


def actions(directory: str) -> None:
    """Do what a person does, in this process; prints name -> (seconds, CPU seconds) as JSON."""
    from streamlit.testing.v1 import AppTest

    found: dict[str, tuple[float, float]] = {}
    app = AppTest.from_file(str(ROOT / "pruning" / "ui" / "main.py"), default_timeout=300)
    app.query_params["experiment"] = Path(directory).name
    app.run()

    def timed(name: str, *steps: Callable[[], object]) -> None:
        """The median time of a run of the script after each of the steps."""
        times = []
        for step in steps:
            step()
            begun, used = time.perf_counter(), time.process_time()
            app.run()
            times.append((time.perf_counter() - begun, time.process_time() - used))
            assert not app.exception and not app.error, (name, app.exception, app.error)
        found[name] = median(wall for wall, _ in times), median(cpu for _, cpu in times)

    def opened(page: str) -> None:
        app.switch_page(str(ROOT / "pages" / f"{page}.py"))

    timed("opening the experiment, nothing read yet (Inspect)", lambda: opened("inspect"))
    timed("first table page", *[lambda: opened("export"), lambda: opened("inspect")] * 3)
    words = ["the", "ba", "er na", "st", '"a b"']
    timed("search", *[lambda word=word: app.text_input(key="q").set_value(word) for word in words])
    app.text_input(key="q").set_value("").run()
    timed("filter by H", *[lambda h=h: app.multiselect(key="h").set_value([h]) for h in range(REPEATS)])
    app.multiselect(key="h").set_value([]).run()
    timed("filter by label", *[lambda n=n: app.multiselect(key="label").set_value([n]) for n in big.LABELS])
    app.multiselect(key="label").set_value([]).run()
    timed("only suspected label errors, duplicates", *[lambda o=o: app.selectbox(key="only").set_value(o) for o in _ONLY])
    app.selectbox(key="only").set_value(None).run()
    timed("sort by a score", *[lambda s=s: app.selectbox(key="sort").set_value(s) for s in ("loss", "aum", "confidence")])
    timed("page change", *[lambda n=n: app.session_state.__setitem__("page", n) for n in (2, 3, 4000, 5, 6)])
    timed("next example", *[lambda n=n: app.session_state.__setitem__("at", n) for n in (2, 3, 4000, 5, 6)])
    opened("difficulty")
    app.run()
    stacks = ["label", "topic", "kept or pruned", "label", "topic"]
    timed("histogram", *[lambda s=s: app.selectbox(key="stack").set_value(s) for s in stacks])
    boxes = [(0.1, 0.2 + step / 100) for step in range(REPEATS)]
    timed("map selection", *[lambda b=b: app.slider(key="x-variability").set_value(b) for b in boxes])
    timed("another subset", *[lambda s=s: app.selectbox(key="subset").set_value(s) for s in ("drop-easy", "drop-hard", "winning-ticket")])
    opened("frontier")
    timed("frontier, first time", lambda: None)
    timed("frontier", *[lambda: None] * REPEATS)
    opened("export")
    timed("export page", *[lambda: None] * REPEATS)
    print(json.dumps(found))


_ONLY = ("suspected label errors", "duplicates", "suspected label errors")


def served(directory: Path) -> dict[str, float]:
    """A real server's memory in MB: idle, after every page, and how far an export of three tenths of the rows raises it."""
    experiment = Experiment(directory)
    total = len(experiment.ids)
    subset = f"random@{round(total * 0.3)}"
    with server(directory.parent) as (process, address), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(120_000)
        found = {"idle": _resident(process)}
        with peak(process) as highest:
            for name in ("inspect", "difficulty", "frontier", "export", "inspect?q=the&sort=loss&only=duplicates"):
                visit(page, f"{address}/{name}{'&' if '?' in name else '?'}experiment={directory.name}")
        found["after every page"], found["at most"] = _resident(process), highest[0]
        experiment.add_finished({**experiment.finished().iloc[-1].to_dict(), "subset": subset, "seed": 1})  # so that it can be chosen
        visit(page, f"{address}/export?experiment={directory.name}&subset={subset}")
        before = _resident(process)
        with peak(process) as highest:
            begun = time.perf_counter()
            page.get_by_role("button", name="Export", exact=True).click()
            page.get_by_text("verified against the manifest").wait_for()
            found["seconds to build"] = time.perf_counter() - begun
            link = page.get_by_role("link", name="Download", exact=True).get_attribute("href") or ""
            begun = time.perf_counter()
            with urllib.request.urlopen(f"{address}{link}") as answer:
                size = sum(len(part) for part in iter(lambda: answer.read(1 << 16), b""))
            found["seconds to download"] = time.perf_counter() - begun
        found["MB downloaded"], found["growth"] = size / MB, highest[0] - before
        browser.close()
    return found


def responsive(examples: int = 20_000, repeats: int = 30) -> dict[str, float]:
    """Median seconds from a click on the next page to the page standing: idle, and while a worker scores on every core."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "experiments"
        big.make(root / "small", examples)
        train, evaluation = sample.sample_split(2000, 1000)
        settings = Settings(data=str(train), evaluation=str(evaluation), seeds=default_seeds(20))
        with server(root) as (_, address), sync_playwright() as playwright:
            page = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox"]).new_page()
            visit(page, f"{address}/inspect?experiment=small&show=all")
            found["idle"] = _clicks(page, repeats)
            background.score(settings, root / "busy")
            while not ((root / "busy" / "experiment.json").exists() and Experiment(root / "busy").status().done > 200):
                time.sleep(1)
            found["while a worker scores"] = _clicks(page, repeats)
            background.cancel(root / "busy")
    return found


def _clicks(page: Page, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        shown = page.evaluate(FIRST_ROW)
        begun = time.perf_counter()
        page.get_by_test_id("stPaginationNext").click()
        page.wait_for_function(f"shown => {FIRST_ROW} !== shown", arg=shown)
        page.wait_for_selector(SETTLED)
        times.append(time.perf_counter() - begun)
    return median(times)


def visit(page: Page, address: str) -> None:
    """Open an address and wait until the page stands."""
    page.goto(address)
    page.wait_for_selector(SETTLED, timeout=120_000)
    page.wait_for_timeout(500)


@contextmanager
def server(experiments: Path) -> Iterator[tuple[int, str]]:
    """A dashboard on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pruning", "app", "--experiments", str(experiments), "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        address = f"http://localhost:{port}"
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{address}/_stcore/health", timeout=2)
                    break
                except OSError:
                    time.sleep(0.2)
            yield process.pid, address
        finally:
            process.terminate()


@contextmanager
def peak(process: int) -> Iterator[list[float]]:
    """The highest memory seen while the block runs, sampled every 20 ms."""
    highest, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            highest[0] = max(highest[0], _resident(process))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield highest
    finally:
        stop.set()
        thread.join()


def _resident(process: int) -> float:
    """Resident memory in MB, as Linux tells it."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def _introduction() -> str:
    title = f"The dashboard on experiments of {big.RUNS} runs x {big.EPOCHS} epochs"
    return (
        "\n".join([heading(title, "python -m benchmarks.dashboard"), (__doc__ or "").split("\n\n")[2].replace("\n", " "), _load()]) + "\n"
    )


def _load() -> str:
    """Say how busy the machine was; times on a busy one say little."""
    return f"\nLoad of the machine over the last 15 minutes, this command included: {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores."


def report(examples: int, audit: float, timed: dict[str, list[float]], memory: dict[str, float]) -> str:
    """The tables."""
    limit, first = (0.3 if examples <= 20_000 else 1.0), ("opening the experiment, nothing read yet (Inspect)", "frontier, first time")
    rows = [f"## {examples:,} examples", "", "| on the server | seconds | CPU seconds | limit |", "|---|---:|---:|---:|"]
    rows += [f"| {name} | {wall:.2f} | {cpu:.2f} | {'' if name in first else limit} |" for name, (wall, cpu) in timed.items()]
    rows += ["", "| memory of the server | MB | limit |", "|---|---:|---:|"]
    rows += [f"| {name} | {memory[name]:.0f} | 2000 |" for name in ("idle", "after every page", "at most")]
    rows += [f"| more, while three tenths of the rows are built and downloaded | {memory['growth']:.0f} | 100 |", ""]
    rows += [f"The export took {memory['seconds to build']:.1f} s to build and verify, {memory['seconds to download']:.1f} s to download "]
    rows[-1] += f"({memory['MB downloaded']:.0f} MB). Duplicates and label errors, once, in a process of their own: {audit:.0f} s."
    return "\n".join(rows) + "\n"


def responses(clicked: dict[str, float]) -> str:
    """The table of responsiveness."""
    idle, busy = clicked.values()
    rows = ["", "| from a click on the next page to the page standing, in the browser (20,000 examples) | median seconds |", "|---|---:|"]
    rows += [
        f"| {name} on all cores | {seconds:.2f} |" if name != "idle" else f"| idle | {seconds:.2f} |" for name, seconds in clicked.items()
    ]
    return "\n".join([*rows, "", f"{busy / idle:.1f} times idle; the limit is 2. The browser shares the cores with both."]) + "\n"


if __name__ == "__main__":
    typer.run(main)
