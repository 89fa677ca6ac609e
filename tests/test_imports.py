"""Recordings of other tools, taken over and given back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pruning import export, imports, scores
from pruning.errors import DataError, UsageError, WinnowError
from pruning.experiment import Experiment
from pruning.logits import from_logits
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
        if not all(np.allclose(getattr(dynamics, name)[run, epoch], getattr(expected, name), atol=1e-5) for name in QUANTITIES):
            return False
    return True


@pytest.mark.parametrize(("order", "guid"), [((0, 1, 2), None), ((2, 0, 1), None), ((0, 1, 2), "pair")])
def test_cartography_is_taken_over_whatever_its_rows_order_and_numbering(data: Path, order: tuple[int, ...], guid: str | None) -> None:
    paths = cartography(data.parent / "theirs", order, guid=(lambda i: f"p{i}") if guid else int)
    experiment = imports.take_over(paths, data.parent / "ours", Settings(data=str(data)), guid=guid)
    assert is_what_was_recorded(experiment)
    assert set(experiment.scores()) == {name for name, score in scores.SCORES.items() if score.epochs <= EPOCHS}
    assert scores.missing(experiment.dynamics) == {"position"}


def test_what_we_export_in_its_format_comes_back_the_same(data: Path) -> None:
    """Gold probability and prediction are kept to six digits of the logits; with three classes the margin of the right ones is not."""
    ours = imports.take_over(cartography(data.parent / "theirs"), data.parent / "ours", Settings(data=str(data)))
    folder = data.parent / "exported"
    export.build(ours, ours.subset("full"), folder, "cartography")
    assert export.verify(folder)["output"]["rows"] == ROWS
    again = imports.take_over([folder / f"run={run}" for run in range(RUNS)], data.parent / "again", Settings(data=str(data)))
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
    experiment = imports.take_over([data.parent / "hscore"], data.parent / "ours", settings, probabilities=data.parent / "ambiguous")
    assert experiment.h_score().tolist() == rewards.prod(dim=0).sum(dim=1).tolist()
    variability = probabilities.permute(1, 0, 2).reshape(-1, EPOCHS * RUNS).std(dim=1)
    assert np.allclose(experiment.scores()["pooled-variability"], variability, atol=1e-6)
    bare = imports.take_over([data.parent / "hscore"], data.parent / "bare", settings)
    assert set(bare.scores()) == {"h", "correctness", "forgetting", "random"}
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
    experiment = imports.take_over([outputs(data.parent / "theirs")], data.parent / "ours", Settings(data=str(data)))
    assert is_what_was_recorded(experiment)
    first = np.random.default_rng(0).permutation(ROWS)
    assert (experiment.dynamics.position[0, :, first] == np.arange(ROWS)[:, None]).all()


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"guid": 7, ', "", "has no guid"),
        ('"guid": 7,', '"guid": 70,', "is of guid 70, which the data does not have"),
        ('"guid": 7,', '"guid": 8,', "of guid 8 a second time"),
        ('"logits_epoch_1"', '"logits"', "has no logits_epoch_1"),
        ('"gold": 0', '"gold": 3', "numbered 0 to 3, where the data has 3 classes"),
        ('"gold": 0', '"gold": 1', "other labels than the data, or another order: for 1 of 12"),
        ("]", ", 1.0]", "does not have equally many numbers"),
        ("{", "[", "is no JSON"),
        ('"guid": 7, "logits_epoch_1": [', '"guid": 7, "logits_epoch_1": [NaN, 1, 2], "old": [', "no list of finite numbers"),
    ],
)
def test_a_wrong_line_of_cartography_is_one_sentence(data: Path, old: str, new: str, sentence: str) -> None:
    paths = cartography(data.parent / "theirs", runs=2)
    change(paths[1] / "training_dynamics" / "dynamics_epoch_1.jsonl", old, new)
    with pytest.raises(DataError, match=sentence) as error:
        imports.take_over(paths, data.parent / "ours", Settings(data=str(data)))
    assert "dynamics_epoch_1.jsonl" in str(error.value) and not (data.parent / "ours").exists()


def test_a_missing_line_epoch_or_run_is_one_sentence(data: Path) -> None:
    paths = cartography(data.parent / "theirs", runs=2)
    settings, ours = Settings(data=str(data)), data.parent / "ours"
    with pytest.raises(DataError, match="holds 2 runs instead of 6; if that is all there are, say so with --runs 2"):
        imports.take_over(paths, ours, settings, runs=6)
    last = paths[0] / "training_dynamics" / "dynamics_epoch_2.jsonl"
    kept = last.read_text()
    last.write_text("".join(kept.splitlines(keepends=True)[:-2]))
    with pytest.raises(DataError, match="lacks 2 of 12 examples, the first being guid"):
        imports.take_over(paths, ours, settings)
    last.unlink()
    with pytest.raises(DataError, match="The runs have 2, 3 epochs"):
        imports.take_over(paths, ours, settings)
    last.write_text(kept)
    (paths[0] / "training_dynamics" / "dynamics_epoch_1.jsonl").unlink()
    with pytest.raises(DataError, match=r"has no dynamics_epoch_1.jsonl, but dynamics_epoch_2.jsonl"):
        imports.take_over(paths, ours, settings)


def test_a_missing_run_of_the_published_code_is_refused(data: Path) -> None:
    """Theirs passes over it in silence, so that H never reaches R and "remove R" removes nothing."""
    settings, theirs = Settings(data=str(data)), outputs(data.parent / "theirs", runs=5)
    with pytest.raises(DataError, match="holds 5 runs instead of 6"):
        imports.take_over([theirs], data.parent / "ours", settings)
    assert imports.take_over([theirs], data.parent / "ours", settings, runs=5).dynamics.runs == 5
    (theirs / "TASK:sst2_SEED:3" / "sampler.bin").unlink()
    with pytest.raises(DataError, match=r"SEED:3 has no sampler.bin"):
        imports.take_over([theirs], data.parent / "other", settings, runs=4)


@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        (torch.zeros(3, 11, 6), "has 11 examples, the data has 12"),
        (torch.zeros(12, 6), r"holds \[12, 6\], not one tensor"),
        (torch.full((3, 12, 6), 0.5), "rewards other than 0 and 1"),
        (torch.zeros(3, 12, 5), "holds 5 runs instead of 6"),
        ([1, 2], "holds list, not one tensor"),
        (Settings(data="x"), "more than tensors"),
    ],
)
def test_a_wrong_tensor_is_one_sentence(data: Path, tensor: Any, sentence: str) -> None:
    torch.save(tensor, data.parent / "hscore")
    with pytest.raises(DataError, match=sentence):
        imports.take_over([data.parent / "hscore"], data.parent / "ours", Settings(data=str(data)))


def test_probabilities_must_be_of_the_same_runs(data: Path) -> None:
    torch.save(torch.zeros(3, 12, 6), data.parent / "hscore")
    for wrong, sentence in ((torch.zeros(3, 12, 5), "must be of the same runs"), (torch.full((3, 12, 6), 2.0), "no probabilities")):
        torch.save(wrong, data.parent / "ambiguous")
        with pytest.raises(DataError, match=sentence):
            imports.take_over(
                [data.parent / "hscore"], data.parent / "ours", Settings(data=str(data)), probabilities=data.parent / "ambiguous"
            )


def test_paths_that_are_no_recording_are_refused(data: Path) -> None:
    for paths, error, sentence in (
        ([data.parent / "nothing"], DataError, "There is no"),
        ([data.parent], DataError, "has neither dynamics_epoch_0.jsonl nor runs"),
        ([data, data], UsageError, "Several paths are several runs"),
        ([data], DataError, "cannot be read as a file of torch.save|more than tensors"),
    ):
        with pytest.raises(error, match=sentence) as raised:
            imports.take_over(paths, data.parent / "ours", Settings(data=str(data)))
        assert isinstance(raised.value, WinnowError) and str(raised.value).endswith(".")
