"""The Score page tells how long the texts are."""

from pathlib import Path

import pytest

from tests.support.pages import open_page
from tests.support.texts import pairs


def test_the_score_page_says_how_long_the_texts_are(tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page("score", tmp_path / "experiments", monkeypatch)
    app.text_input(key="data").set_value(str(pairs(tmp_path))).run()
    app.text_input(key="model").set_value(tiny).run()
    app.number_input(key="new-max_length").set_value(16).run()
    [told] = [caption.value.replace("\\", "") for caption in app.caption if "at the median" in caption.value]
    assert "first 300 rows" in told and "longer than 16 tokens" in told and "is not on this machine" not in told
    assert len(app.dataframe[0].value) == 3 and not app.exception
