import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pruning import data, worker
from pruning.decisions import Decision
from pruning.errors import BusyError, ExperimentError
from pruning.experiment import Experiment, list_experiments
from pruning.folder import Folder, read_notes
from pruning.manifest import FORMAT
from pruning.ownership import own
from pruning.records import DecisionKind, JobState
from pruning.settings import Settings
from tests.conftest import BURN_IN, EPOCHS, EXAMPLES, SEEDS
from tests.test_faults import record_of


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


def test_epochs_of_batches_in_parts_say_so_in_their_file(scored: Experiment) -> None:
    """Others are as they always were, to the byte."""
    assert (scored.micro_batches() == 0).all()
    path, record = scored.folder.epoch(1, 1), record_of(scored, 1, 1)
    whole = path.read_bytes()
    scored.write_epoch(1, replace(record, micro_batch=2))
    again = Experiment(scored.folder.root)
    assert again.micro_batches()[1].tolist() == [0, 2, 0] and read_notes(path)["micro_batch"] == "2"
    assert np.array_equal(again.dynamics.gold_prob, scored.dynamics.gold_prob) and again.verify()
    assert np.array_equal(again.epoch_accuracy(), scored.epoch_accuracy())
    scored.write_epoch(1, record)
    assert path.read_bytes() == whole and "micro_batch" not in read_notes(path)
    scored.folder.epoch(2, 2).unlink()
    assert np.isnan(again.micro_batches()[2, 2])


def test_an_incomplete_run_is_left_out_not_counted_as_failure(scored: Experiment) -> None:
    whole = scored.dynamics.correct
    scored.folder.epoch(1, 1).unlink()
    again = Experiment(scored.folder.root)
    assert again.finished_runs() == [0, 2]
    assert again.dynamics.seeds == (SEEDS[0], SEEDS[2])
    assert (again.h_score() == whole[[0, 2], BURN_IN:].all(axis=1).sum(axis=0)).all()


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


def test_other_settings_are_refused_and_nothing_changes(scored: Experiment, settings: Settings) -> None:
    before = scored.folder.manifest.read_bytes()
    with pytest.raises(ExperimentError, match="max_length = 32, not 16"):
        worker.score(settings.with_changes(max_length=16), scored.folder.root)
    assert scored.folder.manifest.read_bytes() == before


def test_more_seeds_at_the_end_are_welcome(scored: Experiment, settings: Settings) -> None:
    train, evaluation = data.load_pair(settings)
    longer = settings.with_changes(seeds=(*SEEDS, 44))
    again = Experiment.create(scored.folder.root, longer, train, evaluation, scored.info["model"]["fingerprint"])
    assert again.settings.seeds == (*SEEDS, 44)
    assert again.finished_runs() == [0, 1, 2]


def test_a_newer_format_is_refused_in_words(scored: Experiment) -> None:
    info = json.loads(scored.folder.manifest.read_text())
    scored.folder.manifest.write_text(json.dumps({**info, "format": FORMAT + 1}))
    with pytest.raises(ExperimentError, match="update Winnow"):
        Experiment(scored.folder.root)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 0}, "this Winnow reads 1 to 1: score the data again"),
        ({"format": True}, "names no format version"),
        ({"format": "1"}, "names no format version"),
        ({"settings": 5}, "is damaged"),
        ({"settings": {}}, "is damaged"),
        ({"data": {}}, "is damaged"),
        ({"model": []}, "is damaged"),
    ],
)
def test_older_and_damaged_manifests_are_refused_in_words(scored: Experiment, change: dict[str, object], says: str) -> None:
    info = json.loads(scored.folder.manifest.read_text())
    scored.folder.manifest.write_text(json.dumps({**info, **change}))
    with pytest.raises(ExperimentError, match=says):
        Experiment(scored.folder.root)


def test_a_folder_of_before_checksums_and_checkpoints_opens(scored: Experiment) -> None:
    info = json.loads(scored.folder.manifest.read_text())
    del info["settings"]["checkpoints"]
    scored.folder.manifest.write_text(json.dumps(info))
    scored.folder.checksums.unlink()
    again = Experiment(scored.folder.root)
    assert again.settings.checkpoints and again.dynamics.runs == len(SEEDS)


def test_a_folder_without_an_experiment_is_said(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"no experiment\.json"):
        Experiment(tmp_path)


def test_one_owner_at_a_time(scored: Experiment) -> None:
    with own(scored.folder):
        assert scored.owned()
        with pytest.raises(BusyError, match="Another worker"), own(Folder(scored.folder.root), wait=0.1):
            pass
    assert not scored.owned()


def test_running_without_an_owner_is_interrupted(scored: Experiment) -> None:
    assert scored.status().state is JobState.DONE
    scored.log("progress", state="running", verb="score", pid=1, done=5, total=10)
    assert scored.status().state is JobState.INTERRUPTED
    with own(scored.folder):
        assert scored.status().state is JobState.RUNNING


def test_a_line_cut_short_is_passed_over(scored: Experiment) -> None:
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(1,)))
    with scored.folder.decisions.open("a") as file:
        file.write('{"key": "abc", "ti')
    assert scored.decided.dropped == {1}


def test_a_decision_after_a_cut_line_is_not_lost(scored: Experiment) -> None:
    with scored.folder.decisions.open("a") as file:
        file.write('{"key": "abc", "ti')
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(1,)))
    assert scored.decided.dropped == {1}


def test_experiments_are_listed_latest_first(scored: Experiment) -> None:
    assert list_experiments(scored.folder.root.parent) == [scored.folder.root]
    assert list_experiments(scored.folder.root) == []
