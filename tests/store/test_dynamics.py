from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pruning.errors import ExperimentError
from pruning.experiment import Experiment
from pruning.store.layout import read_notes
from tests.conftest import BURN_IN, EPOCHS, EXAMPLES, SEEDS
from tests.support.recordings import record_of


def test_h_from_the_files_alone_equals_the_products(scored: Experiment) -> None:
    """The public format suffices: a few lines of pandas give the same H."""
    recording = pd.read_parquet(scored.folder.dynamics)
    right_throughout = recording[recording["epoch"] >= BURN_IN].groupby(["id", "run"], observed=True)["correct"].all()
    h = right_throughout.groupby("id").sum().loc[scored.ids]
    assert h.tolist() == scored.h_score().tolist()


def test_the_recording_has_every_example_once_per_epoch(scored: Experiment) -> None:
    dynamics = scored.dynamics
    assert dynamics.correct.shape == (len(SEEDS), EPOCHS, EXAMPLES)
    assert (np.sort(dynamics.position, axis=2) == np.arange(EXAMPLES)).all()
    assert dynamics.seeds == SEEDS


def test_recorded_quantities_agree_with_each_other(scored: Experiment) -> None:
    dynamics = scored.dynamics
    assert np.allclose(dynamics.loss, -np.log(dynamics.gold_prob), atol=1e-4)
    assert ((dynamics.gold_margin > 0) == dynamics.correct).all()
    assert np.allclose(dynamics.error_norm, np.sqrt(2) * (1 - dynamics.gold_prob), atol=1e-4)
    assert ((dynamics.predicted == scored.labels) == dynamics.correct).all()


def test_epoch_accuracy_is_that_of_the_recording(scored: Experiment) -> None:
    assert np.allclose(scored.epoch_accuracy(), scored.dynamics.correct.mean(axis=2))
    scored.folder.epoch(2, 2).unlink()
    assert np.argwhere(np.isnan(scored.epoch_accuracy())).tolist() == [[2, 2]]


def test_epochs_of_batches_in_parts_say_so_in_their_file(scored: Experiment) -> None:
    """Others are as they always were, to the byte."""
    path, record = scored.folder.epoch(1, 1), record_of(scored, 1, 1)
    whole = path.read_bytes()
    scored.write_epoch(1, replace(record, micro_batch=2))
    again = Experiment(scored.folder.root)
    assert read_notes(path)["micro_batch"] == "2"
    assert np.array_equal(again.dynamics.gold_prob, scored.dynamics.gold_prob) and again.verify()
    assert np.array_equal(again.epoch_accuracy(), scored.epoch_accuracy())
    scored.write_epoch(1, record)
    assert path.read_bytes() == whole
    assert not any("micro_batch" in read_notes(each) for each in scored.folder.dynamics.rglob("*.parquet"))


def test_files_of_other_examples_are_refused(scored: Experiment) -> None:
    path = scored.folder.epoch(0, 0)
    table = pd.read_parquet(path)
    table["id"] = table["id"] + 1
    table.to_parquet(path)
    scored.folder.checksums.unlink()
    with pytest.raises(ExperimentError, match="does not hold the examples"):
        _ = Experiment(scored.folder.root).dynamics


def test_a_damaged_file_is_named(scored: Experiment) -> None:
    scored.folder.epoch(0, 0).write_bytes(b"PAR1 but not really")
    with pytest.raises(ExperimentError, match=r"epoch=0\.parquet is damaged"):
        _ = Experiment(scored.folder.root).dynamics
