"""The demo of prompts and answers on a tiny model: what it measures, exports and says, and where its data and model come from."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pruning.data import sample_chats
from pruning.errors import ModelError
from pruning.export import writer
from pruning.jobs import demo, demo_llm
from pruning.jobs.demo import silence
from pruning.training import gguf_weights
from tests.support.chats import rows, settings_of
from tests.support.commands import winnow


@pytest.fixture
def tiny_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's settings with a tiny model and conversations that have ratings."""
    settings = settings_of(tmp_path)
    lines = [json.dumps({**json.loads(line), "rating_mean": place / 8 - 1}) + "\n" for place, line in enumerate(rows(16))]
    (tmp_path / "train.jsonl").write_text("".join(lines))
    monkeypatch.setattr(demo_llm, "_settings", lambda train, evaluation, runs: settings)
    return tmp_path


@pytest.mark.process
def test_it_measures_sometimes_right_and_exports_what_it_says(tiny_sample: Path) -> None:
    titles: list[str] = []
    done = demo_llm.demo(tiny_sample / "demo", seeds=1, listening=lambda title: titles.append(title) or nullcontext(silence))  # type: ignore[func-returns-value]
    measured = {point.subset for point in done.experiment.frontier()}
    assert measured == {"full", "sometimes-right", "random@sometimes-right"} and len(titles) == 2
    assert done.verdict[0] == done.experiment.learned.sentence and done.verdict[1]
    said = demo_llm.people(done.experiment)
    assert said.startswith("How far from neutral some 20 people rated") and "at some " in said
    assert writer.verify(done.output)["output"]["rows"] == done.subset.size and done.manifest.exists()


@pytest.mark.parametrize(("each", "size"), [(1.0, 150), (4.5, 120), (100.0, 90)])
def test_a_slower_machine_takes_fewer_conversations(each: float, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(demo_llm, "_settings", lambda train, evaluation, runs: train)
    monkeypatch.setattr(demo, "seconds_by_size", lambda *given: asked.append(given) or {one: each * one for one in demo_llm.SIZES})
    assert demo_llm.affordable(tmp_path / "demo", 120, runs=2, seeds=3) == (size, pytest.approx(each * 150 + 20))
    assert asked == [(150, demo_llm.SIZES, [1.0] + [0.9] * 6)]


@pytest.mark.process
def test_the_command_says_how_the_looks_spread_under_each_rule_and_what_is_never_right(tiny_sample: Path) -> None:
    done = winnow("demo-llm", "--experiment", tiny_sample / "shown", "--seeds", "1")
    said = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stderr
    assert "The same recording under each success rule" in said and "exact H " in said and "tokens>=" in said and "loss<=" in said
    assert "right at no look; read them before you keep or drop them" in said or "Every example is right at some look." in said
    assert "app --experiments" in said and "conversations to" in said


def test_the_sentences_become_conversations_with_their_ratings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"sentence": "Dull.", "label": "negative", "rating_mean": -2.0, "rating_std": 0.5, "ratings": 20}
    for name in ("train", "evaluation"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setattr(sample_chats, "sample_split", lambda train, evaluation: (tmp_path / "train.jsonl", tmp_path / "evaluation.jsonl"))
    train, evaluation = sample_chats.chat_split(1, 1)
    assert train != evaluation and train.read_text() == evaluation.read_text()
    made = json.loads(train.read_text())
    assert [turn["content"] for turn in made["messages"]] == [sample_chats.QUESTION, "Dull.", "negative"] and made["rating_mean"] == -2.0


def test_the_demo_trains_adapters_at_its_shipped_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_llm, "small_model", lambda: Path("small"))
    monkeypatch.setattr(sample_chats, "chat_split", lambda train, evaluation: (Path(f"{train}"), Path(f"{evaluation}")))
    asked = demo_llm._settings(150, 120, 2)
    assert (asked.train.learning_rate, asked.train.lora_rank) == (demo_llm.LEARNING_RATE, demo_llm.RANK)
    assert (asked.data, asked.evaluation, asked.model, asked.runs, asked.burn_in) == ("150", "120", "small", 2, 1)


def test_a_missing_reader_is_named_before_anything_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path))
    monkeypatch.setattr(gguf_weights, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None)))
    monkeypatch.setattr(sample_chats, "download_chat_model", lambda folder: pytest.fail("downloaded"))
    with pytest.raises(ModelError, match=r"needs the package gguf; install it \(pip install 'winnow-pruning\[gguf\]'\)"):
        demo_llm.small_model()
