"""The wheel, installed into an empty environment and used from another folder. Slow: `make wheel-test`."""

import json
import os
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import pruning
from tests.conftest import write_reviews
from tests.support.browser_setup import find
from tests.support.processes import answers, free_port, wait_until
from tests.support.tiny import tiny_model

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command that knows nothing of this checkout; its output."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that `pip install .` makes."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with the wheel and the pinned versions of what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-c", ROOT / "requirements.txt", wheel)
    return folder / "bin"


@pytest.fixture(scope="module")
def elsewhere(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside of the checkout with an experiment that the installed command scored."""
    folder = tmp_path_factory.mktemp("elsewhere")
    train, evaluation = write_reviews(folder / "train.jsonl", 40), write_reviews(folder / "eval.jsonl", 16, seed=1)
    recipe = ["--model", tiny_model(folder / "model"), "--epochs", "2", "--runs", "2", "--device", "cpu", "--learning-rate", "1e-3"]
    run(installed / "winnow", "score", train.name, "--eval", evaluation.name, "--experiment", "experiments/reviews", *recipe, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def address(installed: Path, elsewhere: Path) -> Iterator[str]:
    """The installed dashboard, started from another folder."""
    port = free_port()
    process = subprocess.Popen([installed / "winnow", "app", "--port", str(port)], cwd=elsewhere, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(f"http://localhost:{port}"), 90, "the dashboard's start")
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(20)


def test_the_wheel_holds_the_dashboard_s_files_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert {name for name in names if not name.endswith(".py")} == {
        "pruning/py.typed",
        "pruning/dashboard/.streamlit/config.toml",
        "pruning/dashboard/assets/icon.png",
        "pruning/dashboard/assets/wordmark.svg",
    }
    pages = {f"pruning/dashboard/pages/{path.name}" for path in (ROOT / "pages").glob("*.py")}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "pruning").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == {*pages, *modules, "pruning/dashboard/app.py"}


def test_the_command_works_from_another_folder(installed: Path, elsewhere: Path) -> None:
    where = run(installed / "python", "-c", "import pruning; print(pruning.__file__)", cwd=elsewhere)
    assert "site-packages" in where and str(installed.parent) in where
    assert "demo" in run(installed / "winnow", "--help", cwd=elsewhere)
    assert "--experiment" in run(installed / "winnow", "demo", "--help", cwd=elsewhere)
    run(installed / "winnow", "export", "experiments/reviews", "--subset", "remove-0", "--output", "kept.jsonl", cwd=elsewhere)
    run(installed / "winnow", "verify", "kept.jsonl", cwd=elsewhere)
    experiment = json.loads((elsewhere / "experiments" / "reviews" / "experiment.json").read_text())
    manifest = json.loads((elsewhere / "kept.jsonl.manifest.json").read_text())
    assert experiment["versions"]["winnow"] == manifest["winnow"] == pruning.__version__
    assert json.loads(run(installed / "python", "-m", "pruning", "show", "experiments/reviews", "--json", cwd=elsewhere))["runs"] == 2


def test_the_dashboard_answers_from_another_folder(address: str) -> None:
    with urllib.request.urlopen(f"{address}/score", timeout=20) as answer:
        assert answer.status == 200 and b"<title>" in answer.read()
        assert "frame-ancestors" in answer.headers["Content-Security-Policy"], "the guard of app.py stands before it"


@pytest.mark.browser
@pytest.mark.skipif(find() is None, reason="no Chromium: apt-get install chromium")
def test_a_page_of_the_wheel_shows_the_experiment_in_winnow_s_colours(address: str) -> None:
    from playwright.sync_api import sync_playwright

    from tests.support.browsing import FLAGS, visit

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=FLAGS)
        page = browser.new_page(color_scheme="light")
        visit(page, f"{address}/difficulty?experiment=reviews")
        assert page.get_by_role("heading", name="Difficulty").first.is_visible()
        colour = page.get_by_test_id("stApp").evaluate("element => getComputedStyle(element).color")
        assert colour == "rgb(10, 16, 22)", "textColor of .streamlit/config.toml"
        browser.close()
