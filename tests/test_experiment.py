import json
from pathlib import Path

import pytest

from pruning.data import examples
from pruning.errors import BusyError, ExperimentError, SubsetError, UsageError
from pruning.experiment import Experiment, list_experiments
from pruning.jobs import worker
from pruning.records import DecisionKind, JobState
from pruning.settings import Settings
from pruning.store.layout import Folder
from pruning.store.lock import own, owned
from pruning.store.manifest import FORMAT
from pruning.subsets.decisions import Decision
from tests.conftest import BURN_IN, SEEDS


def test_an_incomplete_run_is_left_out_not_counted_as_failure(scored: Experiment) -> None:
    whole = scored.dynamics.correct
    scored.folder.epoch(1, 1).unlink()
    again = Experiment(scored.folder.root)
    assert again.finished_runs() == [0, 2]
    assert again.dynamics.seeds == (SEEDS[0], SEEDS[2])
    assert (again.h_score() == whole[[0, 2], BURN_IN:].all(axis=1).sum(axis=0)).all()


def test_other_settings_are_refused_and_nothing_changes(scored: Experiment, settings: Settings) -> None:
    before = scored.folder.manifest.read_bytes()
    with pytest.raises(ExperimentError, match="max_length = 32, not 16"):
        worker.score(settings.with_changes(max_length=16), scored.folder.root)
    assert scored.folder.manifest.read_bytes() == before


def test_more_seeds_at_the_end_are_welcome(scored: Experiment, settings: Settings) -> None:
    train, evaluation = examples.load_pair(settings)
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
        ({"format": True}, "has no format version"),
        ({"format": "1"}, "has no format version"),
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
        assert owned(scored.folder)
        with pytest.raises(BusyError, match="in use by another job"), own(Folder(scored.folder.root), wait=0.1):
            pass
    assert not owned(scored.folder)


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


def test_a_subset_is_drawn_by_its_seed_and_decided_by_hand_unless_decisions_are_left_out(scored: Experiment) -> None:
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(1,)))
    undecided = scored.reading(decisions=False)
    assert 1 not in scored.subset("full").kept and 1 in undecided.subset("full").kept
    assert scored.subset("full+decisions").kept.tolist() == scored.subset("full").kept.tolist()
    with pytest.raises(UsageError, match=r"'full\+decisions' asks for .* --without-decisions leaves out; use one of the two\.$"):
        undecided.subset("full+decisions")
    for name in ("full+decisions@0.2", "full+decisions or full", "full+decisions!"):
        with pytest.raises(SubsetError):
            scored.subset(name)
    first, again, other = (scored.subset("random@0.5", seed=seed).kept.tolist() for seed in (None, SEEDS[0], SEEDS[1]))
    assert first == again != other


def test_experiments_are_listed_latest_first(scored: Experiment) -> None:
    assert list_experiments(scored.folder.root.parent) == [scored.folder.root]
    assert list_experiments(scored.folder.root) == []
