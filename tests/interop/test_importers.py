"""Recordings of other tools, taken over and given back."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pruning.analysis import scores
from pruning.errors import DataError, UsageError, WinnowError
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.interop import importers
from pruning.interop.logits import from_logits
from pruning.records import QUANTITIES
from pruning.settings import Settings

NAMES = ("neg", "neu", "pos")
ROWS, RUNS, EPOCHS = 12, 6, 3


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [{"sentence": f"text number {i}", "label": NAMES[i % 3], "pair": f"p{i}"} for i in range(ROWS)]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


LOGITS = np.random.default_rng(0).normal(size=(RUNS, EPOCHS, ROWS, 3)).round(4)
LABELS = np.arange(ROWS) % 3


def cartography(folder: Path, order: tuple[int, ...] = (0, 1, 2), guid: Callable[[int], Any] = int, runs: int = RUNS) -> list[Path]:
    """What allenai/cartography writes, rows shuffled anew each epoch; `order` is their number of each of our classes."""
    for run, epoch in np.ndindex(runs, EPOCHS):
        file = folder / str(run) / "training_dynamics" / f"dynamics_epoch_{epoch}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        theirs = np.empty((ROWS, 3))
        theirs[:, order] = LOGITS[run, epoch]
        shuffled = np.random.default_rng([run, epoch]).permutation(ROWS)
        lines = [{"guid": guid(i), f"logits_epoch_{epoch}": theirs[i].tolist(), "gold": int(order[LABELS[i]])} for i in shuffled]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [folder / str(run) for run in range(runs)]


def is_what_was_recorded(experiment: Experiment) -> bool:
    dynamics = experiment.dynamics
    for run, epoch in np.ndindex(RUNS, EPOCHS):
        expected = from_logits("", epoch, LOGITS[run, epoch], LABELS)
        if not all(
            np.allclose(getattr(dynamics, name)[run, epoch], getattr(expected, name), atol=1e-5)
            for name in QUANTITIES.keys() - {"position"}
        ):
            return False
    return True


@pytest.mark.parametrize(("order", "guid"), [((0, 1, 2), None), ((2, 0, 1), None), ((0, 1, 2), "pair")])
def test_cartography_is_taken_over_whatever_its_rows_order_and_numbering(data: Path, order: tuple[int, ...], guid: str | None) -> None:
    paths = cartography(data.parent / "theirs", order, guid=(lambda i: f"p{i}") if guid else int)
    experiment = importers.take_over(paths, data.parent / "ours", Settings(data=str(data)), guid=guid)
    assert is_what_was_recorded(experiment)
    assert set(experiment.scores()) == {
        name for name, score in scores.SCORES.items() if score.epochs <= EPOCHS and score.needs in (*QUANTITIES, "ids", "dynamics")
    }
    assert scores.missing(experiment.dynamics) & {*QUANTITIES, "probe"} == {"position", "probe"}


def test_what_we_export_in_its_format_comes_back_the_same(data: Path) -> None:
    """Gold probability and prediction are kept to six digits of the logits; with three classes the margin of the right ones is not."""
    ours = importers.take_over(cartography(data.parent / "theirs"), data.parent / "ours", Settings(data=str(data)))
    folder = data.parent / "exported"
    writer.build(ours, ours.subset("full"), folder, "cartography")
    assert writer.verify(folder)["output"]["rows"] == ROWS
    again = importers.take_over([folder / f"run={run}" for run in range(RUNS)], data.parent / "again", Settings(data=str(data)))
    for name in ("correct", "predicted"):
        assert np.array_equal(getattr(again.dynamics, name), getattr(ours.dynamics, name)), name
    for name in ("gold_prob", "loss"):
        assert np.allclose(getattr(again.dynamics, name), getattr(ours.dynamics, name), atol=1e-4), name


def test_rewards_of_the_published_code_are_taken_over(data: Path) -> None:
    """[epochs, examples, runs] of 0 and 1: H is the sum over runs of the product over epochs, as in their h_scores."""
    rewards = torch.tensor((LOGITS.argmax(axis=-1) == LABELS).transpose(1, 2, 0).astype(np.int64))
    probabilities = torch.tensor(np.random.default_rng(1).random((EPOCHS, ROWS, RUNS)))
    torch.save(rewards, data.parent / "hscore")
    torch.save(probabilities, data.parent / "ambiguous")
    settings = Settings(data=str(data))
    experiment = importers.take_over([data.parent / "hscore"], data.parent / "ours", settings, probabilities=data.parent / "ambiguous")
    assert experiment.h_score().tolist() == rewards.prod(dim=0).sum(dim=1).tolist()
    variability = probabilities.permute(1, 0, 2).reshape(-1, EPOCHS * RUNS).std(dim=1)
    assert np.allclose(experiment.scores()["pooled-variability"], variability, atol=1e-6)
    bare = importers.take_over([data.parent / "hscore"], data.parent / "bare", settings)
    assert set(bare.scores()) == {"h", "correctness", "forgetting", "random", "expected-success"}
    assert bare.label_errors is None


def outputs(folder: Path, runs: int = RUNS) -> Path:
    """all_outputs.bin (the logits of every step, one order for all epochs) and sampler.bin (that order), a folder for each run."""
    for run in range(runs):
        order = np.random.default_rng(run).permutation(ROWS)
        steps = [torch.tensor(LOGITS[run, epoch, part]) for epoch in range(EPOCHS) for part in np.array_split(order, 5)]
        place = folder / f"TASK:sst2_SEED:{run}"
        place.mkdir(parents=True)
        torch.save(steps, place / "all_outputs.bin")
        torch.save(order.tolist(), place / "sampler.bin")
    return folder


def test_outputs_of_the_published_code_are_taken_over(data: Path) -> None:
    experiment = importers.take_over([outputs(data.parent / "theirs")], data.parent / "ours", Settings(data=str(data)))
    assert is_what_was_recorded(experiment)
    first = np.random.default_rng(0).permutation(ROWS)
    assert (experiment.dynamics.position[0, :, first] == np.arange(ROWS)[:, None]).all()


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1), errors="surrogateescape")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"guid": 7, ', "", "has no guid"),
        ('"guid": 7,', '"guid": 70,', "has guid 70, which the data does not have"),
        ('"guid": 7,', '"guid": 8,', "repeats guid 8"),
        ('"logits_epoch_1"', '"logits"', "has no logits_epoch_1"),
        ('"guid": 7,', '"guid": null,', "has guid None, which the data does not have"),
        ('"guid": 7,', '"guid": [7],', "which the data does not have"),
        ('"gold": 0', '"gold": 3', "gold 3; it must be a whole number from 0 to 2"),
        ('"gold": 0', '"gold": -1', "gold -1; it must be a whole number from 0 to 2"),
        ('"gold": 0', '"gold": "b"', 'gold "b"; it must be a whole number'),
        ('"gold": 0', '"gold": null', "gold null; it must be a whole number"),
        ('"gold": 0', '"gold": true', "gold true; it must be a whole number"),
        ('"gold": 0', '"gold": 1.5', "gold 1.5; it must be a whole number"),
        ('"gold": 0', '"gold": ' + "9" * 30, "gold 9{30}; it must be a whole number"),
        ('"gold": 0', '"gold": 1', "labels or rows in another order than the data: 1 of 12 examples differ"),
        ("]", ", 1.0]", "has 4 numbers in logits_epoch_1 instead of 3, one for each class"),
        ("{", "[", "is not valid JSON"),
        ("{", "[" * 200_000 + "{", "is nested too deeply"),
        ("{", "\udcff{", "is not UTF-8; save the file as UTF-8"),
        ('"guid": 7, "logits_epoch_1": [', '"guid": 7, "logits_epoch_1": [NaN, 1, 2], "old": [', "not a list of finite numbers"),
        *(
            ('"logits_epoch_1": [', f'"logits_epoch_1": {wrong}, "old": [', "not a list of finite numbers")
            for wrong in (
                "[{}, 1.0, 2.0]",
                "null",
                '"abc"',
                "[]",
                '["1", "2", "3"]',
                "[[1], [2], [3]]",
                "[1e39, 0, 0]",
                f"[{'9' * 400}, 0, 0]",
            )
        ),
    ],
)
def test_a_wrong_line_of_cartography_is_one_sentence(data: Path, old: str, new: str, sentence: str) -> None:
    paths = cartography(data.parent / "theirs", runs=2)
    change(paths[1] / "training_dynamics" / "dynamics_epoch_1.jsonl", old, new)
    with pytest.raises(DataError, match=sentence) as error:
        importers.take_over(paths, data.parent / "ours", Settings(data=str(data)))
    assert re.match(r"(Line \d+ of )?/.*dynamics_epoch_1\.jsonl ", str(error.value)) and not (data.parent / "ours").exists()


def test_a_missing_line_epoch_or_run_is_one_sentence(data: Path) -> None:
    paths = cartography(data.parent / "theirs", runs=2)
    settings, ours = Settings(data=str(data)), data.parent / "ours"
    with pytest.raises(DataError, match="holds 2 runs instead of 6; if it is complete, use --runs 2"):
        importers.take_over(paths, ours, settings, runs=6)
    last = paths[0] / "training_dynamics" / "dynamics_epoch_2.jsonl"
    kept = last.read_text()
    last.write_text("".join(kept.splitlines(keepends=True)[:-2]))
    with pytest.raises(DataError, match="lacks 2 of 12 examples, first guid"):
        importers.take_over(paths, ours, settings)
    last.unlink()
    with pytest.raises(DataError, match="The runs have 2, 3 epochs"):
        importers.take_over(paths, ours, settings)
    last.write_text(kept)
    (paths[0] / "training_dynamics" / "dynamics_epoch_1.jsonl").unlink()
    with pytest.raises(DataError, match=r"has no dynamics_epoch_1.jsonl, but dynamics_epoch_2.jsonl"):
        importers.take_over(paths, ours, settings)


def test_a_missing_run_of_the_published_code_is_refused(data: Path) -> None:
    """Their code ignores it silently, so that H never reaches R and "remove R" removes nothing."""
    settings, theirs = Settings(data=str(data)), outputs(data.parent / "theirs", runs=5)
    with pytest.raises(DataError, match="holds 5 runs instead of 6"):
        importers.take_over([theirs], data.parent / "ours", settings)
    assert importers.take_over([theirs], data.parent / "ours", settings, runs=5).dynamics.runs == 5
    (theirs / "TASK:sst2_SEED:3" / "sampler.bin").unlink()
    with pytest.raises(DataError, match=r"SEED:3 has no sampler.bin"):
        importers.take_over([theirs], data.parent / "other", settings, runs=4)


@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        (torch.zeros(3, 11, 6), "has 11 examples, the data has 12"),
        (torch.zeros(12, 6), r"holds \[12, 6\], not one tensor"),
        (torch.full((3, 12, 6), 0.5), "rewards other than 0 and 1"),
        (torch.zeros(3, 12, 5), "holds 5 runs instead of 6"),
        ([1, 2], "holds list, not one tensor"),
        (Settings(data="x"), "more than tensors"),
        (np.zeros((3, 12, 6)), "more than tensors"),
        ({"rewards": torch.zeros(3, 12, 6)}, "holds dict, not one tensor"),
        (torch.zeros(0, 12, 6), r"holds \[0, 12, 6\], not one tensor"),
        (torch.full((3, 12, 6), torch.nan), "rewards other than 0 and 1"),
        (torch.zeros(3, 12, 6).to_sparse(), "holds a sparse_coo tensor of float32, which is not a plain array"),
        (torch.zeros(3, 12, 6, dtype=torch.complex64), "holds a strided tensor of complex64, which is not a plain array"),
        (torch.zeros(1).expand(10**6, 12, 10**6), "not a plain array"),
    ],
)
def test_a_wrong_tensor_is_one_sentence(data: Path, tensor: Any, sentence: str) -> None:
    torch.save(tensor, data.parent / "hscore")
    with pytest.raises(DataError, match=sentence) as error:
        importers.take_over([data.parent / "hscore"], data.parent / "ours", Settings(data=str(data)))
    assert str(error.value).startswith(str(data.parent / "hscore"))


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int32, torch.float16, torch.bfloat16, torch.float64])
def test_rewards_of_any_kind_of_number_are_taken_over(data: Path, kind: torch.dtype) -> None:
    rewards = torch.tensor((LOGITS.argmax(axis=-1) == LABELS).transpose(1, 2, 0))
    torch.save(rewards.to(kind).requires_grad_(kind.is_floating_point), data.parent / "hscore")
    experiment = importers.take_over([data.parent / "hscore"], data.parent / "ours", Settings(data=str(data)))
    assert experiment.h_score().tolist() == rewards.int().prod(dim=0).sum(dim=1).tolist()


def test_a_file_that_runs_code_is_not_run(data: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(data.parent / "run"),)

    for zipped in (True, False):
        torch.save([torch.zeros(3, 12, 6), Code()], data.parent / "hscore", _use_new_zipfile_serialization=zipped)
        with pytest.raises(DataError, match="could run code; save the tensors alone"):
            importers.take_over([data.parent / "hscore"], data.parent / "ours", Settings(data=str(data)))
    assert not (data.parent / "run").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_tensors_are_one_sentence(data: Path, zipped: bool) -> None:
    """Whatever bytes are wrong or missing, never a traceback."""
    file, random = data.parent / "hscore", np.random.default_rng(0)
    torch.save([torch.zeros(3, 12), list(range(12))], file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole[: random.integers(len(whole))] if random.random() < 0.3 else whole)
        for place in random.integers(max(min(len(damaged), 300), 1), size=3):
            damaged[place : place + 1] = random.bytes(1)
        file.write_bytes(damaged)
        with pytest.raises(
            DataError, match=r"cannot be read|is not a file of torch.save|more than tensors|not one tensor|not a plain array"
        ) as error:
            importers.take_over([file], data.parent / "ours", Settings(data=str(data)))
        assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("name", "saved", "sentence"),
    [
        *(
            ("sampler.bin", saved, "is not a permutation of the data's 12 examples")
            for saved in ([0.5 + i for i in range(12)], [[0], [1, 2]], ["a"] * 12, {"order": 1}, None, 5, [10**30] * 12, list(range(11)))
        ),
        ("all_outputs.bin", torch.zeros(36, 3), "not a list of logits"),
        ("all_outputs.bin", [[1.0, 2.0]], "not a list of logits"),
        ("all_outputs.bin", [torch.zeros(36)], "not a list of logits"),
        ("all_outputs.bin", [torch.zeros(12, 3), torch.zeros(12, 4)], "logits of 3 and 4 classes, the data has 3"),
        ("all_outputs.bin", [torch.zeros(36, 2)], "logits of 2 classes, the data has 3"),
        ("all_outputs.bin", [torch.zeros(35, 3)], "not a multiple of 12 examples"),
        ("all_outputs.bin", [torch.zeros(0, 3)], "not a multiple of 12 examples"),
        ("all_outputs.bin", [torch.full((36, 3), torch.nan)], "not finite numbers"),
    ],
)
def test_a_wrong_run_of_the_published_code_is_one_sentence(data: Path, name: str, saved: Any, sentence: str) -> None:
    theirs = outputs(data.parent / "theirs")
    torch.save(saved, theirs / "TASK:sst2_SEED:3" / name)
    with pytest.raises(DataError, match=sentence) as error:
        importers.take_over([theirs], data.parent / "ours", Settings(data=str(data)))
    assert f"SEED:3/{name}" in str(error.value)


def test_probabilities_must_be_of_the_same_runs(data: Path) -> None:
    torch.save(torch.zeros(3, 12, 6), data.parent / "hscore")
    for wrong, sentence in ((torch.zeros(3, 12, 5), "must record the same runs"), (torch.full((3, 12, 6), 2.0), "not probabilities")):
        torch.save(wrong, data.parent / "ambiguous")
        with pytest.raises(DataError, match=sentence):
            importers.take_over(
                [data.parent / "hscore"], data.parent / "ours", Settings(data=str(data)), probabilities=data.parent / "ambiguous"
            )


def test_paths_that_are_no_recording_are_refused(data: Path) -> None:
    for paths, error, sentence in (
        ([data.parent / "nothing"], DataError, "There is no"),
        ([data.parent], DataError, "has neither dynamics_epoch_0.jsonl nor runs"),
        ([data, data], UsageError, "Several paths must be runs"),
        ([data], DataError, "is not a file of torch.save|more than tensors"),
    ):
        with pytest.raises(error, match=sentence) as raised:
            importers.take_over(paths, data.parent / "ours", Settings(data=str(data)))
        assert isinstance(raised.value, WinnowError) and str(raised.value).endswith(".")
