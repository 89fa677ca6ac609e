"""Every task in the dashboard: each page opens it, and an example of it looks as its task shows it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.support.kinds import of_task
from tests.support.pages import PAGES, open_page, opened
from tests.support.tasks import CASES

pytestmark = pytest.mark.process


@pytest.fixture(scope="module", params=CASES)
def asked(request: pytest.FixtureRequest, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]], Path]:
    """A task's short name, its rows (what is hostile in HTML among them), and the folder of an experiment of them."""
    case, folder = str(request.param), tmp_path_factory.mktemp("asked")
    of_task(case, tiny, folder)
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return case, rows, folder / "experiments"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_every_task(page: str, asked: tuple[str, list[dict[str, Any]], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    case, _, experiments = asked
    app = open_page(page, experiments, monkeypatch)
    assert not app.exception and not [error.value for error in app.error]
    assert app.title[0].value.lower() == page and app.selectbox(key="experiment").value == case


def drawn(block: Any) -> list[tuple[str, str, bool]]:
    """Each part of the example shown: its name, its text as HTML, and whether it is marked as the right one."""
    found = []
    for element in block.get("html"):
        if match := re.fullmatch(
            r'<div><small [^>]*>(.*?)</small><div dir="auto" style="border-inline-start:4px solid ([^;]+);[^>]*>(.*)</div></div>',
            element.proto.body,
            re.S,
        ):
            found.append((match[1], match[3], match[2] != "transparent"))
    return found


def inspect(experiments: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page with the example of this id open."""
    [name] = [path.name for path in experiments.iterdir() if path.is_dir()]
    app = opened(f"inspect?experiment={name}&example={number}", experiments, monkeypatch)
    assert f"Example {number}" in [heading.value for heading in app.subheader]
    return app


def test_an_example_looks_as_its_task_shows_it(asked: tuple[str, list[dict[str, Any]], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair's texts side by side, options with the right one marked, the answer highlighted in its context; no letter is markup."""
    case, rows, experiments = asked
    number = next(index for index, row in enumerate(rows) if case != "question" or row["answers"]["text"])
    row, app = rows[number], inspect(experiments, number, monkeypatch)
    if case == "pair":
        sides = [drawn(column) for column in app.columns]
        texts = [("text 1", row["premise"], False)], [("text 2", row["hypothesis"].replace(" <b>&", " &lt;b&gt;&amp;"), False)]
        assert list(texts) == [side for side in sides if side][-2:]
    elif case == "choice":
        right = "ABC".index(row["answer"])
        options = [
            (f"option {'ABC'[place]}{' (right)' if place == right else ''}", option, place == right)
            for place, option in enumerate(row["options"])
        ]
        assert drawn(app.main)[-3:] == options
    else:
        [word], [start] = row["answers"]["text"], row["answers"]["answer_start"]
        context = {name: text for name, text, _ in drawn(app.main)}["context"]
        marked = f"{row['context'][:start]}<mark>{word}</mark>{row['context'][start + len(word) :]}"
        assert context == marked.replace(" <b>&", " &lt;b&gt;&amp;")
