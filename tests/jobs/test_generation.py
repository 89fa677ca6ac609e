"""Fine-tuning data from a file to an export, with a tiny Llama made in code."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pruning.analysis import learning_rate as search
from pruning.analysis.frontier import headline_of
from pruning.errors import TrainingError
from pruning.experiment import Experiment
from pruning.jobs import worker
from pruning.settings import FULL_RECIPE
from tests.support.chats import NUMBERS, rows, settings_of
from tests.support.commands import winnow
from tests.support.conversations import pretrain

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def scored(chats_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return Experiment(shutil.copytree(chats_once / "experiments" / "chats", tmp_path_factory.mktemp("generation") / "experiment"))


def test_scoring_records_wrong_tokens_and_says_what_is_learned(scored: Experiment) -> None:
    assert scored.settings.task == "generation" and scored.dynamics.correct.shape == (2, 3, 16)
    table = pq.read_table(scored.folder.epoch(0, 2))
    assert table["wrong"].type == "int32" and (np.asarray(table["correct"]) == (np.asarray(table["wrong"]) == 0)).all()
    notes = " ".join(scored.notes())
    assert "The chat template has no generation tags" in notes and "tokens are learned." in notes
    losses = scored.dynamics.loss.mean(axis=(0, 2))
    assert losses[2] < losses[0], "it learns"


def test_a_subset_is_measured_and_exported_byte_for_byte(scored: Experiment, tmp_path: Path) -> None:
    experiment = worker.frontier(scored.folder.root, ["random@0.5"], seeds=1)
    points = {point.subset: point.metrics for point in experiment.frontier()}
    assert list(points["full"]) == ["token_accuracy", "exact_match", "loss", "perplexity"]
    assert 0 < points["random@0.5"]["token_accuracy"] < 1
    exact = experiment.reading(success="exact").frontier()
    assert all(next(iter(point.metrics)) == headline_of(point.metrics) == "exact_match" for point in exact)
    manifest = experiment.export("random@0.5", tmp_path / "out.jsonl")
    lines = rows(16)
    assert (tmp_path / "out.jsonl").read_text() == "".join(lines[index] for index in manifest["ids"]), "their own format"


def test_the_base_is_measured_before_training_with_the_prompt_and_without(scored: Experiment) -> None:
    """Against transformers' own losses of the untouched model, the answer alone after the head of an assistant's turn."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(scored.settings.model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(scored.settings.model)
    extras = scored.dynamics.extras
    for place in (0, 5):
        number = int(scored.ids[place])
        answer = NUMBERS[number % 6] * (1 + number % 3) + "<|im_end|>"
        prompt = f"<|im_start|>user\n{number} mod 6?<|im_end|>\n<|im_start|>assistant\n"
        wanted = tokenizer(answer, add_special_tokens=False)["input_ids"]
        assert extras["answer_length"][place] == len(wanted)
        for column, ahead in (("loss0", prompt), ("loss0_alone", "<|im_start|>assistant\n")):
            ids = torch.tensor([tokenizer(ahead, add_special_tokens=False)["input_ids"] + wanted])
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0, -len(wanted) - 1 : -1]
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(wanted))
            assert extras[column][place] == pytest.approx(float(loss), abs=1e-4)
    assert worker.base_losses.lacks(scored) is False


def test_the_success_rule_changes_h_and_no_file(scored: Experiment) -> None:
    before = {path: path.stat().st_mtime_ns for path in scored.folder.root.rglob("*.parquet")}
    length, wrong = scored.dynamics.extras["answer_length"], scored.recorded.wrong
    assert wrong is not None
    for name, right in (
        ("exact", wrong == 0),
        ("tokens>=2/3", 3 * (length - wrong) >= 2 * length),
        ("loss<=1.5", scored.recorded.loss <= 1.5),
    ):
        read = scored.reading(success=name)
        assert read.success is not None and read.success.name == name
        assert np.array_equal(read.dynamics.correct, right)
        assert np.array_equal(read.h_score(), right.all(axis=1).sum(axis=0))
    assert scored.reading(success="exact").h_score().tolist() != scored.reading(success="tokens>=0.01").h_score().tolist()
    share = scored.success
    assert share is not None and share.name.startswith("tokens>=") and 0.4 <= scored.dynamics.correct.mean() <= 0.75, "the median look"
    assert before == {path: path.stat().st_mtime_ns for path in scored.folder.root.rglob("*.parquet")}


def test_a_lost_base_is_measured_again_by_resume(scored: Experiment, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(scored.folder.root, copied)
    (copied / "base.parquet").unlink()
    assert Experiment(copied).success is None and "base.parquet is missing" in str(Experiment(copied).damaged([copied / "base.parquet"]))
    resumed = worker.resume(copied)
    assert resumed.success is not None and np.array_equal(resumed.dynamics.extras["loss0"], scored.dynamics.extras["loss0"])


def test_the_command_line_says_the_rule_and_changes_it(scored: Experiment, tmp_path: Path) -> None:
    root = scored.folder.root
    assert scored.success is not None
    shown = " ".join(winnow("show", root).stdout.split())
    assert shown.startswith("Learned (mean loss")
    assert "Success rule tokens>=" in shown and "of the looks are exact, so the median look sets the bar" in shown
    assert "right at no look" in shown and "Nothing is recommended here that was not measured" in shown
    exact = json.loads(winnow("show", root, "--json", "--success", "exact").stdout)
    assert exact["success"] == "exact" and sum(exact["right_looks_histogram"]) == 16 and len(exact["right_looks_histogram"]) == 7
    loose = json.loads(winnow("show", root, "--json", "--success", "tokens>=0.01").stdout)
    assert loose["h_histogram"] != exact["h_histogram"]
    assert "success must be exact" in winnow("show", root, "--success", "mostly").stderr
    output = tmp_path / "some.jsonl"
    done = winnow("export", root, "--subset", "sometimes-right", "--output", output)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "some.jsonl.manifest.json").read_text())
    assert manifest["subset"]["success"] == scored.success.name and "--success" in manifest["command"]
    assert "of the answer's tokens" in manifest["subset"]["success_words"]
    assert "matches its manifest" in winnow("verify", output).stdout
    assert winnow("audit", root, "--subset", "sometimes-right", "--success", "exact").stdout


@pytest.mark.parametrize("rank", [0, 4])
def test_a_rate_is_fitted_to_answers_and_scored_with(rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CANDIDATES", (1e-30, 1e-2) if rank == 0 else (1e-30, 3e-3))
    monkeypatch.setattr(search, "LADDERS", ((inf, (0.5, 0.8)),))
    settings = settings_of(tmp_path)
    (tmp_path / "train.jsonl").write_text("".join(rows(120)))
    if rank:  # adapters change a model that knows something already
        pretrain(tmp_path / "train.jsonl", settings.model, 40)
    recipe = replace(settings.train, learning_rate=None, lora_rank=rank, epochs=6)
    scored = worker.score(settings.with_changes(train=recipe), tmp_path / "fitted")
    fit = scored.learning_rates[FULL_RECIPE]
    assert fit.best == search.candidates(rank)[1] and fit.rate == scored.settings.scoring.learning_rate, "the one that learns"
    first, second = fit.rounds[-1]["candidates"]
    assert second["loss"] < first["loss"] and fit.sentence in scored.notes()
    losses = scored.dynamics.loss.mean(axis=(0, 2))
    assert losses[-1] < losses[0] - 0.1


def test_where_no_rate_writes_answers_the_sentence_is_about_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CANDIDATES", (1e-30, 2e-30))
    monkeypatch.setattr(search, "LADDERS", ((inf, (0.5, 0.8)),))
    settings = settings_of(tmp_path)
    recipe = replace(settings.train, learning_rate=None, epochs=1)
    with pytest.raises(TrainingError, match=r"predicts 3 held-out answers better than the frequencies of their tokens do \(loss 5\.\d+,"):
        worker.score(settings.with_changes(train=recipe), tmp_path / "fitted")
