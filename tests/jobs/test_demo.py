"""The demo on a tiny model: what it measures, exports and says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pruning.experiment import Experiment
from pruning.export import writer
from pruning.jobs import demo
from pruning.settings import Settings


@pytest.mark.process
def test_the_demo_measures_its_choice_and_exports_what_it_says(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_settings", lambda train, evaluation, runs: replace(settings, burn_in=0, checkpoints=False))
    titles: list[str] = []
    done = demo.demo(tmp_path / "demo", seeds=2, listening=lambda title: titles.append(title) or demo.nullcontext(demo.silence))
    measured = {point.subset for point in done.experiment.frontier()}
    assert measured == {"full", "choice", "random@choice"}
    assert len(titles) == 2 and "choice" in titles[1]
    assert done.subset.name in {"full", "choice"}
    assert done.verdict[0] == done.experiment.learned.sentence and done.verdict[1]
    assert done.manifest.exists() and writer.verify(done.output)["output"]["rows"] == done.subset.size
    assert done.experiment.burn_in == 0 and done.suspected >= 0


@pytest.mark.parametrize(("each", "size"), [(0.01, 1800), (0.18, 1500), (0.22, 1200), (0.28, 1000), (10.0, 900)])
def test_a_slower_machine_takes_fewer_sentences(each: float, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(demo, "_settings", lambda train, evaluation, runs: train)
    monkeypatch.setattr(demo, "seconds_by_size", lambda *given: asked.append(given) or {one: each * one for one in demo.SIZES})
    assert demo.affordable(tmp_path / "demo", 1000, runs=6, seeds=3) == (size, pytest.approx(each * 1800 + 20))
    assert asked == [(1800, demo.SIZES, [0.8] * 6)]


def test_a_demo_that_is_there_keeps_its_sentences(scored: Experiment) -> None:
    assert demo.affordable(scored.folder.root, 1000, 4, 3) == (len(scored.ids), None)


def test_the_demo_trains_at_its_shipped_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruning.data.sample.sample_split", lambda train, evaluation: (Path(f"{train}"), Path(f"{evaluation}")))
    asked = demo._settings(2000, 1000, 4)
    rates = [demo._settings(train, 1000, 4).train.learning_rate for train in (900, 1000, 2000)]
    assert rates == [1.5e-4, 1.5e-4, 1.2e-4]
    assert (asked.data, asked.evaluation, asked.runs) == ("2000", "1000", 4)
