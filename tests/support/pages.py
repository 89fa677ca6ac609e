"""Pages of the dashboard opened without a browser."""

from pathlib import Path
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[2]

MAIN = ROOT / "pruning" / "ui" / "main.py"

PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))


def open_page(page: str, experiments: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page as a first deep link would show it."""
    monkeypatch.setenv("WINNOW_EXPERIMENTS", str(experiments))
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    return app.switch_page(str(ROOT / "pages" / f"{page}.py")).run()


def opened(address: str, experiments: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page as a new tab opens this address, such as "inspect?experiment=reviews&at=7"."""
    monkeypatch.setenv("WINNOW_EXPERIMENTS", str(experiments))
    page, _, query = address.partition("?")
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    app.query_params = {key: values if len(values) > 1 else values[0] for key, values in parse_qs(query).items()}
    return (app if page == "overview" else app.switch_page(str(ROOT / "pages" / f"{page}.py"))).run()


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()
