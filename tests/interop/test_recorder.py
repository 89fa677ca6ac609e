"""The recorder in a plain loop and in a real Trainer: each row's own numbers, whatever the order they came in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pruning
from pruning.errors import DataError, ExperimentError, TrainingError, UsageError
from pruning.experiment import Experiment
from pruning.interop.recorder import Recorder
from pruning.jobs import worker
from pruning.records import QUANTITIES
from pruning.settings import TrainSettings
from pruning.training.objective import choice

ROWS = 23
"""Neither a multiple of the batches nor of what they accumulate to."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sentences of growing length, so that grouping by length reorders them."""
    path = tmp_path / "data.jsonl"
    rows = [{"sentence": " ".join(["good" if i % 3 else "bad", *["film"] * (i % 7)]), "label": ("neg", "pos")[i % 2]} for i in range(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recorder_of(data: Path, **changes: Any) -> Recorder:
    return Recorder(data.parent / "mine", data, **{"epochs": 2, "seeds": (5, 6), **changes})


def test_a_loop_is_recorded_row_by_row(data: Path) -> None:
    recorder = recorder_of(data)
    logits = np.random.default_rng(0).normal(size=(2, 2, ROWS, 2)).astype(np.float32)
    for index, seed in enumerate(recorder.unfinished):
        run = recorder.run(seed)
        for epoch in range(2):
            for rows in np.array_split(np.random.default_rng([seed, epoch]).permutation(ROWS), 5):
                run.add(torch.tensor(rows), torch.tensor(logits[index, epoch, rows], dtype=torch.bfloat16).requires_grad_())
    experiment = Experiment(data.parent / "mine")
    dynamics, order = experiment.dynamics, np.random.default_rng([5, 0]).permutation(ROWS)
    rounded = torch.tensor(logits).to(torch.bfloat16).float().numpy()
    assert (dynamics.predicted == rounded.argmax(axis=-1)).all()
    assert (dynamics.position[0, 0, order] == np.arange(ROWS)).all()
    assert recorder.unfinished == [] and experiment.status().state == "done"
    experiment.folder.epoch(1, 0).write_bytes(b"damaged")
    assert recorder_of(data).unfinished == [6]


def test_a_run_recorded_again_is_never_a_mixture(data: Path) -> None:
    """The seed of a whole run is refused; of a damaged one nothing old is left once its first new epoch is there."""
    recorder, random = recorder_of(data), np.random.default_rng(0)
    for seed in recorder.seeds:
        run = recorder.run(seed)
        for _ in range(2):
            run.add(np.arange(ROWS), random.normal(size=(ROWS, 2)))
    with pytest.raises(UsageError, match="seed 5 is recorded already"):
        recorder.run(5)
    folder = recorder.experiment.folder
    folder.epoch(1, 0).write_bytes(b"damaged")
    again = recorder_of(data).run(6)
    assert folder.epoch(1, 1).exists()
    again.add(np.arange(ROWS), random.normal(size=(ROWS, 2)))
    assert recorder_of(data).unfinished == [6] and not folder.epoch(1, 1).exists()
    again.add(np.arange(ROWS), random.normal(size=(ROWS, 2)))
    assert recorder_of(data).unfinished == []


def test_quantities_are_those_of_the_engine() -> None:
    from pruning.interop.logits import from_logits

    random = np.random.default_rng(1)
    logits, labels = random.normal(size=(50, 4)).astype(np.float32) * 5, random.integers(0, 4, 50)
    ours = from_logits("run 0", 0, logits, labels)
    theirs = choice(torch.tensor(logits), torch.tensor(labels))
    for name in QUANTITIES.keys() - {"position"}:
        assert np.allclose(getattr(ours, name), getattr(theirs, name).numpy(), atol=1e-5), name


def test_labels_may_be_numbered_otherwise_but_not_be_others(data: Path) -> None:
    recorder = recorder_of(data)
    labels = recorder.labels
    logits = np.eye(2)[1 - labels] * 3  # right, by a model for which pos is class 0
    first = recorder.run(5)
    for _ in range(2):
        first.add(np.arange(ROWS), logits, labels=1 - labels)
    read = pruning.Experiment(data.parent / "mine")
    assert read.epoch_accuracy()[0, 0] == 1
    with pytest.raises(DataError, match=r"another order than the data: 2 of 23 examples differ, first row 0"):
        recorder.run(6).add(np.arange(ROWS), logits, labels=labels[[1, 0, *range(2, ROWS)]])


@pytest.mark.parametrize(
    ("rows", "logits", "sentence"),
    [
        ([0, 0], np.zeros((2, 2)), "Row 0 came twice in epoch 1 of run 0"),
        ([1], np.zeros((1, 2)), "Row 1 came twice in epoch 1 of run 0, while 20 rows are missing"),
        ([23], np.zeros((1, 2)), "There is no row 23; the data has 23"),
        ([4], np.zeros((1, 3)), r"shape \[1, 3\] instead of \[1, 2\]"),
        ([4], np.zeros((2, 2)), r"shape \[2, 2\] instead of \[1, 2\]"),
        ([4], np.full((1, 2), np.nan), "not all finite"),
        ([4.0], np.zeros((1, 2)), "rows are float64 of shape"),
        ([[4]], np.zeros((1, 2)), "one whole number per example"),
    ],
)
def test_impossible_rows_and_logits_are_refused(data: Path, rows: list[int], logits: np.ndarray, sentence: str) -> None:
    run = recorder_of(data).run(5)
    run.add([1, 2, 3], np.zeros((3, 2)))
    with pytest.raises(TrainingError, match=sentence):
        run.add(rows, logits)


def test_an_epoch_too_many_and_a_seed_of_no_run_are_refused(data: Path) -> None:
    recorder = recorder_of(data, epochs=1)
    run = recorder.run(5)
    run.add(np.arange(ROWS), np.zeros((ROWS, 2)))
    with pytest.raises(TrainingError, match=r"has all of its 1 epoch, but training continues with another; .*Recorder\(epochs"):
        run.add([0], np.zeros((1, 2)))
    with pytest.raises(UsageError, match="Seed 7 is not one"):
        recorder.run(7)


def test_a_recording_is_neither_gone_on_with_nor_measured_without_a_model(data: Path, tiny: str) -> None:
    recorder = recorder_of(data, model=tiny)
    assert worker.resume(recorder.experiment.folder.root).finished_runs() == []
    for seed in recorder.seeds:
        run = recorder.run(seed)
        for _ in range(2):
            run.add(np.arange(ROWS), np.random.default_rng(seed).normal(size=(ROWS, 2)))
    with pytest.raises(ExperimentError, match="lacks evaluation data to measure"):
        worker.frontier(recorder.experiment.folder.root)


@pytest.mark.process
def test_its_frontier_is_measured_like_any_other_and_it_is_not_scored_over(data: Path, tiny: str) -> None:
    recorder = recorder_of(data, model=tiny, evaluation=data, epochs=1, train=TrainSettings(learning_rate=2e-5))
    for seed in recorder.seeds:
        recorder.run(seed).add(np.arange(ROWS), np.random.default_rng(seed).normal(size=(ROWS, 2)))
    folder = recorder.experiment.folder.root
    with pytest.raises(ExperimentError, match="made with recorded_by = recorder, not winnow"):
        worker.score(replace(recorder.experiment.settings, recorded_by="winnow"), folder)
    measured = worker.frontier(folder, ["random@0.5"], [], seeds=1)
    assert [(point.subset, point.kept) for point in measured.frontier()] == [("full", ROWS), ("random@0.5", 12)]


def test_options_are_recorded_too(tmp_path: Path) -> None:
    """Multiple choice: logits are one per option, the label is the option's index, and there are no classes to put in order."""
    rows = [{"article": "a", "question": "q", "options": ["x", "y", "z"], "answer": "ABC"[i % 3]} for i in range(6)]
    (tmp_path / "race.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recorder = Recorder(tmp_path / "x", tmp_path / "race.jsonl", epochs=1, runs=1)
    logits = np.eye(3)[[0, 1, 2, 0, 0, 0]]
    recorder.run(recorder.seeds[0]).add(np.arange(6), logits)
    assert Experiment(tmp_path / "x").h_score().tolist() == [1, 1, 1, 1, 0, 0]


def test_a_run_that_ends_early_counts_what_is_missing(data: Path) -> None:
    """Fewer epochs than announced, or a batch left out, used to leave an unfinished run without any message."""
    recorder = recorder_of(data)
    counted = r"recorded 1 of 2 epochs and 20 of 23 examples of the next, so 3 predictions are missing"
    with pytest.raises(TrainingError, match=counted), recorder.run(5) as run:
        run.add(np.arange(ROWS), np.zeros((ROWS, 2)))
        run.add(np.arange(20), np.zeros((20, 2)))
    with pytest.warns(RuntimeWarning, match="Run 0 of .* recorded 1 of 2 epochs"):
        other = recorder.run(6)
    with pytest.raises(TrainingError, match="recorded 0 of 2 epochs, so 46 predictions are missing"):
        other.finish()
    with recorder.run(6) as again:  # the same seed from the start, after a crash
        for _ in range(2):
            again.add(np.arange(ROWS), np.zeros((ROWS, 2)))
    assert recorder.unfinished == [5]


def test_an_error_inside_a_run_is_not_replaced_by_its_count(data: Path) -> None:
    with pytest.raises(MemoryError), recorder_of(data).run(5):
        raise MemoryError


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [(np.full((4, 2), 0.5), r"soft labels \(shape \[4, 2\]\)"), (np.full(4, 0.9), r"soft labels \(values such as 0.9\)")],
)
def test_soft_labels_are_refused(data: Path, labels: np.ndarray, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        recorder_of(data).run(5).add(np.arange(4), np.zeros((4, 2)), labels=labels)


def test_another_number_of_labels_than_rows_is_refused(data: Path) -> None:
    with pytest.raises(TrainingError, match="1 labels for 4 rows"):
        recorder_of(data).run(5).add(np.arange(4), np.zeros((4, 2)), labels=[0])
