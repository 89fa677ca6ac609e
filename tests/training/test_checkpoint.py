"""An interrupted run goes on as if nothing had happened, or starts again where its checkpoint cannot be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pruning.records import EpochRecord, Progress, RunPlan, RunResult
from pruning.settings import TrainSettings
from pruning.training import checkpoint, loop, train
from tests.support.tiny import tiny_data, tiny_model
from tests.support.trainings import LENGTHS, recipe, same

EPOCHS = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_model(tmp_path_factory.mktemp("models") / "bert")


def plan(checkpoint: Path | None, seed: int = 5, rows: int = len(LENGTHS)) -> RunPlan:
    return RunPlan(key="run 0", seed=seed, rows=np.arange(rows), epochs=EPOCHS, checkpoint=checkpoint and str(checkpoint))


def reports(model: str, made: RunPlan, settings: TrainSettings | None = None) -> Iterator[EpochRecord | RunResult]:
    data = tiny_data(LENGTHS)
    for item in train([made], data, data, model, settings or recipe(), workers=0):
        if isinstance(item, EpochRecord | RunResult):
            yield item


def interrupted(model: str, path: Path, after: int) -> list[EpochRecord]:
    """The records of a run that its reader leaves after some epochs."""
    running = reports(model, plan(path))
    records = [next(running) for _ in range(after)]
    running.close()  # type: ignore[attr-defined]
    return records  # type: ignore[return-value]


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_run_resumed_from_a_checkpoint_is_bit_identical(model: str, tmp_path: Path, after: int) -> None:
    """Finished records come again, the others equal those of an uninterrupted run, and so do the final outputs."""
    path = tmp_path / "runs" / "run 0.pt"
    *expected, end = reports(model, plan(None))
    before = interrupted(model, path, after)
    assert path.is_file()
    *records, result = reports(model, plan(path))
    assert [record.epoch for record in records] == list(range(EPOCHS))
    assert all(same(a, b) for a, b in zip([*before, *records], [*expected[:after], *expected], strict=True))
    assert np.array_equal(result.outputs, end.outputs) and result.steps == end.steps
    assert result.seconds > 0


@pytest.mark.parametrize("steps", [1, 5, 8])
def test_a_run_stopped_within_a_long_epoch_goes_on_at_the_next_step(
    steps: int, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the epoch had recorded comes back with it: the same bits as without a stop."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    *expected, end = reports(model, plan(None))
    path, data = tmp_path / "runs" / "run 0.pt", tiny_data(LENGTHS)
    stopped = loop.train_run(plan(path), data, data, model, recipe())
    of_steps = (item for item in stopped if not isinstance(item, EpochRecord))
    for _ in range(steps):
        next(of_steps)
    stopped.close()  # type: ignore[attr-defined]
    items = list(loop.train_run(plan(path), data, data, model, recipe()))
    *records, result = (item for item in items if isinstance(item, EpochRecord | RunResult))
    assert all(same(a, b) for a, b in zip(records, expected, strict=True)) and np.array_equal(result.outputs, end.outputs)
    assert sum(item is None or isinstance(item, Progress) for item in items) == end.steps - steps


def test_every_flipped_bit_of_a_checkpoint_is_noticed(model: str, tmp_path: Path) -> None:
    """Also in the digits at its end, and when it was cut: the run starts again, and its numbers are those of a whole one."""
    path, random = tmp_path / "c.pt", np.random.default_rng(0)
    interrupted(model, path, 2)
    content = path.read_bytes()
    assert checkpoint.whole(path) and checkpoint.discard_damaged(path) == ""
    places = [*random.integers(0, len(content), 60).tolist(), len(content) - 1, len(content) - checkpoint.DIGITS]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        assert not checkpoint.whole(path), place
        assert checkpoint.load(str(path), "any") is None
    for cut in (content[:-1], content[: -checkpoint.DIGITS], content[:10], b"", content + b"0"):
        path.write_bytes(cut)
        assert not checkpoint.whole(path)
    assert "is damaged and was removed" in checkpoint.discard_damaged(path) and not path.exists()
    path.write_bytes(damaged)
    assert [record.epoch for record in list(reports(model, plan(path)))[:-1]] == list(range(EPOCHS))


def test_finished_epochs_are_not_trained_again(model: str, tmp_path: Path) -> None:
    interrupted(model, tmp_path / "c.pt", 2)
    items = list(train([plan(tmp_path / "c.pt")], tiny_data(LENGTHS), None, model, recipe(), workers=0))
    assert [type(item).__name__ for item in items] == ["RunStarted", "EpochRecord", "EpochRecord", "Progress", "EpochRecord", "RunResult"]


def test_a_checkpoint_is_kept_until_the_result_was_read(model: str, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    assert all(path.is_file() for _ in reports(model, plan(path)))
    assert list(tmp_path.iterdir()) == []


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(b""), lambda path: path.write_bytes(path.read_bytes()[:5000]), lambda path: spoil(path)]
)
def test_a_damaged_checkpoint_is_ignored(model: str, tmp_path: Path, damage: object) -> None:
    interrupted(model, tmp_path / "c.pt", 2)
    damage(tmp_path / "c.pt")  # type: ignore[operator]
    assert_starts_again(model, plan(tmp_path / "c.pt"), recipe())


@pytest.mark.parametrize("change", [{"seed": 6}, {"rows": len(LENGTHS) - 1}])
def test_the_checkpoint_of_another_run_is_ignored(model: str, tmp_path: Path, change: dict[str, int]) -> None:
    interrupted(model, tmp_path / "c.pt", 2)
    assert_starts_again(model, plan(tmp_path / "c.pt", **change), recipe())


def test_a_checkpoint_of_other_settings_is_ignored(model: str, tmp_path: Path) -> None:
    interrupted(model, tmp_path / "c.pt", 2)
    assert_starts_again(model, plan(tmp_path / "c.pt"), recipe(learning_rate=2e-3))


def test_a_checkpoint_of_another_model_is_ignored(model: str, tmp_path: Path) -> None:
    interrupted(model, tmp_path / "c.pt", 2)
    assert_starts_again(tiny_model(tmp_path / "other", seed=9), plan(tmp_path / "c.pt"), recipe())


def assert_starts_again(model: str, made: RunPlan, settings: TrainSettings) -> None:
    """Every epoch is trained, with the numbers of a run without a checkpoint."""
    items = list(train([made], tiny_data(LENGTHS), None, model, settings, workers=0))
    assert [type(item).__name__ for item in items] == ["RunStarted", *["Progress", "EpochRecord"] * EPOCHS, "RunResult"]
    fresh = RunPlan(key=made.key, seed=made.seed, rows=made.rows, epochs=EPOCHS)
    records = [item for item in train([fresh], tiny_data(LENGTHS), None, model, settings, workers=0) if isinstance(item, EpochRecord)]
    assert all(same(a, b) for a, b in zip([item for item in items if isinstance(item, EpochRecord)], records, strict=True))
