"""Against the code published with the paper: the same H and kept rows, and none of its faults.

The published rule is written out here as it stands there: success is a product over epochs, H its sum over runs, and the
examples whose H is in a set are removed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pruning.analysis import scores
from pruning.analysis.frontier import rows_sha256
from pruning.errors import SubsetError
from pruning.experiment import Experiment
from pruning.jobs import worker
from pruning.presets import PRESETS
from pruning.records import Encoded
from pruning.settings import Settings
from pruning.subsets import rules
from pruning.subsets.trainable import check_trainable
from pruning.training.batches import make_batch
from pruning.training.loop import Run
from pruning.training.objective import outcome
from pruning.training.order import epoch_batches, rate
from tests.support.recordings import gold_labels, recording
from tests.support.tiny import tiny_data, tiny_model, tiny_questions
from tests.support.trainings import plan, recipe


def published_h(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """`prod` over epochs, `sum` over runs."""
    return correct.astype(np.int64).prod(axis=1).sum(axis=0)


def published_rows(h: NDArray[np.int64], removes: set[int]) -> list[int]:
    """Places that stay."""
    return [place for place, value in enumerate(h.tolist()) if value not in removes]


@given(runs=st.integers(1, 12), epochs=st.integers(1, 10), examples=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_h_and_kept_rows_are_the_published_rules(runs: int, epochs: int, examples: int, seed: int) -> None:
    """The winning ticket's among them: it is the ladder's first."""
    dynamics = recording(runs, epochs, examples, 4, seed)
    h = scores.h_score(dynamics.correct)
    assert np.array_equal(h, published_h(dynamics.correct))
    for removes in rules.ladder(runs):
        expected = dynamics.ids[published_rows(h, set(removes))]
        kept = rules.resolve(rules.subset_name(removes, runs), dynamics, None).kept
        assert np.array_equal(kept, expected)


def test_success_of_each_task_is_the_published_one(tmp_path: Path) -> None:
    """Argmax over classes; argmax over a question's options; start and end exact in every window of a question."""
    rng = np.random.default_rng(0)
    cases: list[tuple[Encoded, tuple[int, ...]]] = [
        (tiny_data([4, 7, 5], classes=3), (3, 3)),
        (tiny_questions("multiple_choice", [[4, 6, 5], [7, 4]]), (5,)),
        (tiny_questions("span", [[6, 6, 6], [5]]), (4, 6, 2)),
    ]
    for data, shape in cases:
        rows = np.arange(data.units)
        batch = make_batch(data, rows, rows, torch.device("cpu"), packed=False)
        for _ in range(50):
            logits = rng.normal(size=shape).astype(np.float32)
            if data.kind == "span":
                logits[3, 5:] = -np.inf
            found = outcome(data.kind, torch.from_numpy(logits), batch).correct.numpy()
            assert found.tolist() == [published_success(data, logits, unit) for unit in rows]


def published_success(data: Encoded, logits: NDArray[np.float32], unit: int) -> bool:
    sequences = range(data.unit_offsets[unit], data.unit_offsets[unit + 1])
    if data.kind == "classification":
        return bool(logits[unit].argmax() == data.labels[unit])
    if data.kind == "multiple_choice":
        return bool(logits[list(sequences)].argmax() == data.labels[unit])
    return all((logits[s].argmax(axis=0) == data.labels[s]).all() for s in sequences)


# -- the faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_missing_run_is_never_counted_as_failed(scored: Experiment) -> None:
    """There: a missing run is skipped, H never reaches R, and removing R removes nothing. Here R is the runs that are complete."""
    runs = scored.dynamics.runs
    always = int((scored.h_score() == runs).sum())
    scored.folder.epoch(runs - 1, 0).unlink()
    left = Experiment(scored.folder.root)
    assert left.dynamics.runs == runs - 1
    assert (left.h_score() == runs - 1).sum() >= always
    assert not left.subset("winning-ticket").mask(left.ids[left.h_score() == runs - 1]).any()


def test_h_values_are_numbers_not_digits() -> None:
    """There: digits of a string, so that 10 would be 1 and 0."""
    dynamics = recording(12, 2, 200, 2, seed=1)
    kept = rules.resolve("remove-10", dynamics, gold_labels(200, 2, 1)).kept
    assert np.array_equal(kept, dynamics.ids[scores.h_score(dynamics.correct) != 10])


def test_nothing_is_trained_on_no_rows_or_one_class() -> None:
    dynamics, labels = recording(2, 1, 20, 2, seed=1), gold_labels(20, 2, 1)
    for kept in (dynamics.ids[:0], dynamics.ids[labels == 0]):
        with pytest.raises(SubsetError):
            check_trainable(rules.Subset(name="x", method="", rule="", kept=kept, total=20), labels, dynamics.ids)


def test_each_epoch_has_an_order_of_its_own_unless_asked_otherwise() -> None:
    """There: one order for all epochs of a run."""
    first, second = (np.concatenate(epoch_batches(7, epoch, 100, 8)) for epoch in (0, 1))
    assert not np.array_equal(first, second)
    fixed = [np.concatenate(epoch_batches(7, epoch, 100, 8, fixed=True)) for epoch in (0, 1)]
    assert np.array_equal(*fixed)


def test_a_subset_has_a_schedule_of_its_own_and_every_row_is_trained(tmp_path: Path) -> None:
    """There, for RACE: the full set's steps, so that subsets stop with the rate still high; the last rows are never trained."""
    data = tiny_data([5] * 11)
    run = Run(plan(rows=range(0, 11, 2), epochs=3), data, None, tiny_model(tmp_path / "m"), recipe(batch_size=4))
    assert run.total_steps == 3 * 2
    assert rate(run.total_steps - 1, run.total_steps) == pytest.approx(1 / 6)
    assert sorted(np.concatenate(epoch_batches(1, 0, 6, 4)).tolist()) == list(range(6))


def test_a_question_is_kept_or_pruned_whole() -> None:
    """There: windows are scored one by one. Here one wrong window makes the question wrong."""
    data = tiny_questions("span", [[6, 6, 6]])
    rows = np.arange(1)
    batch = make_batch(data, rows, rows, torch.device("cpu"), packed=False)
    logits = np.zeros((3, 6, 2), np.float32)
    for window in range(3):
        logits[window, data.labels[window, 0], 0] = logits[window, data.labels[window, 1], 1] = 5
    assert outcome("span", torch.from_numpy(logits), batch).correct.tolist() == [True]
    logits[1, data.labels[1, 0], 0] = -5
    assert outcome("span", torch.from_numpy(logits), batch).correct.tolist() == [False]


@pytest.mark.process
def test_which_rows_were_kept_is_written_down(scored: Experiment) -> None:
    """There: the permutation saved with a pruned run is the unpruned one."""
    name = f"random@{len(scored.ids) // 2}"
    measured = worker.frontier(scored.folder.root, [name], [], seeds=1)
    row = measured.finished().query("subset == @name").iloc[0]
    kept = measured.subset(name, seed=int(row["seed"])).kept
    assert row["kept"] == len(kept) and rows_sha256(kept) == row["rows_sha256"]


def test_no_preset_evaluates_on_a_test_split() -> None:
    """There: SNLI is evaluated on its test split in each epoch."""
    assert all("#validation" in preset.evaluation and "test" not in preset.evaluation for preset in PRESETS.values())


def test_the_frontier_repeats_seeds_and_shows_an_interval(scored: Experiment, settings: Settings) -> None:
    """There: one seed, no interval."""
    full = {point.subset: point for point in scored.frontier()}["full"]
    assert full.seeds == settings.runs
    low, high = full.ci95["accuracy"]
    assert low <= full.metrics["accuracy"] <= high
