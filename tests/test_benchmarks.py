"""The benchmarks' own arithmetic, and that the speed benchmark runs: nothing here says how fast anything is."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cells, paper
from benchmarks.generation import rho
from benchmarks.lengths import SHAPES, Lengths, Shape, encoded, shaped
from benchmarks.scoring import OURS, flops, hardware, parameters, ratios, table
from benchmarks.trainers import Block, as_rows, collator
from pruning.records import FrontierPoint
from tests.support.tiny import tiny_data

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[1]


def block(rate: float) -> Block:
    return Block(examples=100, tokens=1000, seconds=100 / rate, memory=2**20)


ROUNDS = [{"paper": block(1), "tuned": block(10), OURS: block(rate)} for rate in (19, 20, 30)]


def test_ratios_are_medians_over_rounds() -> None:
    assert ratios(ROUNDS) == "ratio_vs_paper=20.00 ratio_vs_tuned=2.00"
    assert ratios([{"tuned": block(2), OURS: block(3)}]) == "ratio_vs_tuned=1.50"


def test_the_table_says_how_far_rounds_lie_apart() -> None:
    data = tiny_data([5, 9])
    lines = table(ROUNDS, {"paper": 2, "tuned": 1, OURS: 1}).splitlines()
    assert lines[2] == "| paper | 2 | 1.0 | 10 | 20.00 | 19.00 to 30.00 | 1 MiB |"
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    on_cuda = table(ROUNDS, {"paper": 1, "tuned": 1, OURS: 1}, partial(hardware, Shape.LARGE, data)).splitlines()
    assert "MFU" in on_cuda[0] and on_cuda[0].count("|") == on_cuda[2].count("|")


def test_arithmetic_by_hand() -> None:
    """One token, RoBERTa-large: 302M weights outside the embedding, 3 x 2 FLOPs each, and attention's 3 x 4 L h."""
    assert flops(Shape.LARGE, tiny_data([1])) == pytest.approx(6 * 301_989_888 + 3 * 4 * 24 * 1024)
    assert parameters(Shape.LARGE) == pytest.approx(355e6, rel=0.02)
    assert parameters(Shape.BASE) == pytest.approx(125e6, rel=0.02)


@pytest.mark.parametrize(("lengths", "low", "high"), [("sst2", 11, 15), ("sentences", 22, 30), ("mnli", 34, 44), ("long", 127, 128)])
def test_texts_are_as_long_as_they_say(lengths: str, low: float, high: float) -> None:
    data = encoded(Lengths(lengths), 300)
    assert low <= np.diff(data.offsets).mean() <= high
    assert data.units == 300 and set(data.labels) == {0, 1}


def test_the_references_see_the_same_tokens() -> None:
    data = tiny_data([3, 5])
    rows = as_rows(data)
    assert [row["input_ids"] for row in rows] == [data.tokens[:3].tolist(), data.tokens[3:].tolist()]
    batch = collator(8, padding=1)(rows)
    assert batch["input_ids"].shape == (2, 8) and batch["input_ids"][0, 3:].tolist() == [1] * 5
    assert batch["attention_mask"].sum(dim=1).tolist() == [3, 5]
    assert collator(None, padding=1)(rows)["input_ids"].shape == (2, 5)


def test_shapes_are_models_that_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
    monkeypatch.setitem(SHAPES, Shape.BASE, small)
    path, data = shaped(Shape.BASE, tiny_data([3], token_types=True), tmp_path)
    assert (Path(path) / "model.safetensors").exists() and data.token_types is None


def test_the_paper_s_experiment_refuses_in_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.paper", "--preset", "nope"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=dict(os.environ),
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith(
        "Error: preset must be one of sst2, mnli, snli, race, squad_v2, got 'nope' (--preset)."
    )
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("preset", "model", "limit", "name"),
    [
        ("mnli", None, None, "mnli"),
        ("mnli", "FacebookAI/roberta-large", None, "mnli"),
        ("mnli", "opt-350m", None, "mnli-opt-350m"),
        ("mnli", "/models/mine/", 500, "mnli-mine-500"),
        ("sample", "sample", 4000, "sample-4000"),
        ("sample", "roberta-large", None, "sample-roberta-large"),
    ],
)
def test_each_model_has_a_folder_of_its_own(preset: str, model: str | None, limit: int | None, name: str) -> None:
    assert paper.folder(preset, model, limit) == Path("experiments") / name


def test_the_studys_changes_change_what_they_say() -> None:
    rows = [{"text": f"{i} or {i}", "label": "ab"[i % 2], "true_label": "ab"[i % 2], "raters": ["a", "b"]} for i in range(60)]
    draw = np.random.default_rng(0)
    changed = cells.flipped(0.2)(rows, draw)
    assert sum(row["label"] != row["true_label"] for row in changed) == 12
    assert {row["label"] for row in cells.one_rater(rows, draw)} == {"a", "b"}
    copies = cells.copied(rows, draw)
    assert len({row["text"] for row in copies}) == len(copies) == 60
    assert {row["text"] for row in copies[::3]} == {row["text"] for row in rows[:20]}
    rare = cells.one_rare(rows, draw)
    assert [sum(row["label"] == label for row in rare) for label in "ab"] == [3, 30]


def test_the_paper_s_mnli_is_said_to_be_two_numbers() -> None:
    full = FrontierPoint(
        subset="full",
        method="full",
        kept=10,
        kept_fraction=1.0,
        seeds=3,
        budget="epochs",
        metrics={"accuracy": 0.9},
        ci95={"accuracy": (0.8, 1.0)},
        vs_full=None,
        vs_random=None,
        seconds=1.0,
        seconds_saved=0.0,
        steps=1,
        steps_saved=0,
    )
    points = [full, replace(full, subset="winning-ticket", method="h-score", kept=3, kept_fraction=0.3)]
    assert "matched and mismatched" in paper.beside("mnli", points) and "matched" not in paper.beside("sst2", points)


def test_a_score_of_one_value_correlates_with_nothing() -> None:
    one, other = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    assert (rho(one, one), rho(one, -one), rho(one, other)) == ("1.00", "-1.00", "-")


@pytest.mark.slow
def test_the_speed_benchmark_runs() -> None:
    words = ["--quick", "--without", "paper", "--without", "dprune", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scoring", *words], capture_output=True, text=True, cwd=ROOT, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"ratio_vs_tuned=\d+\.\d\d", done.stdout.splitlines()[-1])
