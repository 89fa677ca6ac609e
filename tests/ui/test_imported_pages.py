"""Every page shows a recording that says only what was right: no probabilities, predictions, places, model or evaluation data."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pruning.interop import importers
from pruning.settings import Settings
from tests.support.pages import PAGES, open_page


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported")
    rows = [{"sentence": f"text number {i}", "label": ("neg", "pos")[i % 2]} for i in range(40)]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    random = np.random.default_rng(0)
    torch.save(torch.tensor(random.random((3, 40, 6)) < random.random((1, 40, 1))), folder / "hscore")
    importers.take_over([folder / "hscore"], folder / "experiments" / "theirs", Settings(data=str(folder / "data.jsonl")))
    return folder / "experiments"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_there_is(page: str, imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(page, imported, monkeypatch)
    assert not app.exception
    assert app.title[0].value.lower() == page
    assert not [error.value for error in app.error]


def test_no_page_offers_to_measure_what_cannot_be_measured(imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for page in ("frontier", "overview"):
        app = open_page(page, imported, monkeypatch)
        assert any("lacks evaluation data to measure subsets with" in str(one.value) for one in (*app.info, *app.text))
        assert not [button.label for button in app.button if button.label.startswith("Measure")]
