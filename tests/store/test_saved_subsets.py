import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pruning.errors import ExperimentError, SubsetError, UsageError
from pruning.experiment import Experiment
from pruning.export.writer import build, is_current
from pruning.jobs import worker
from pruning.records import DecisionKind, Subset
from pruning.reports.browse import View
from pruning.store import library
from pruning.store.layout import read_notes
from pruning.subsets.decisions import Decision
from tests.conftest import EPOCHS, EXAMPLES, LOOK_FILES, SEEDS
from tests.support.recordings import flip


def saved(experiment: Experiment, name: str = "mine", of: str = "drop-hard") -> Subset:
    experiment.save(name, experiment.subset(of))
    return experiment.subset(name)


def test_a_saved_subset_is_a_file_of_ids_that_says_what_it_was(scored: Experiment) -> None:
    made = scored.reading(1).subset("random@0.5", seed=5)
    path = scored.reading(1).save("half", made, seed=5)
    table = pq.read_table(path)
    assert path == scored.folder.root / "subsets" / "half.parquet"
    assert table.schema.names == ["id"] and table.schema.field("id").type == pa.int64()
    assert table["id"].to_pylist() == made.kept.tolist() == sorted(made.kept.tolist())
    said = json.loads(read_notes(path)["subset"])
    assert said.pop("created").endswith("Z")
    words = {"rule": "random@0.5", "words": made.rule}
    assert said == {**words, "burn_in": 1, "seed": 5, "runs": len(SEEDS), "total": EXAMPLES}
    read = scored.saved["half"]
    assert (read.name, read.method, read.rule, read.total) == ("half", "saved", f"the saved subset half: {made.rule}", EXAMPLES)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        *(
            (name, "is not a valid name for a subset; use 1 to 60")
            for name in ("", "Mine", "my own", "1st", "-a", "a/b", "../a", "a@b", "a+b", "ä")
        ),
        ("a" * 61, "is not a valid name for a subset; use 1 to 60"),
        *((name, "is the name of a rule") for name in ("full", "winning-ticket", "drop-easy", "drop-hard", "remove-0", "remove-0-12")),
        *((name, "is the name of a rule") for name in ("random", "ccs", "ccs-0.3", "random-mine", "floor", "floor-0.2", "aum-high")),
        *((name, "is the name of a rule") for name in ("or", "and", "minus", "auto")),
    ],
)
def test_names_that_cannot_be_one_are_refused(scored: Experiment, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        scored.save(name, scored.subset("full"))
    assert not scored.folder.subsets.exists()


@pytest.mark.parametrize("name", ["a", "mine", "remove-duplicates", "v1.2_b-c", "randomly", "a" * 60])
def test_saved_names_can_be_used_in_expressions(scored: Experiment, name: str) -> None:
    assert saved(scored, name).kept.tolist() == scored.subset("drop-hard").kept.tolist()
    assert scored.subset(f"random@{name}").size == scored.subset("drop-hard").size


def test_a_name_stands_for_the_same_rows_for_ever(scored: Experiment) -> None:
    mine, path = saved(scored), scored.folder.saved("mine")
    before = path.read_bytes()
    scored.save("mine", scored.subset("drop-hard"))
    with pytest.raises(SubsetError, match=f"^mine already exists and keeps {mine.size} other examples .*; choose another name.$"):
        scored.save("mine", scored.subset("full"))
    assert path.read_bytes() == before
    with pytest.raises(SubsetError, match="nothing to save"):
        scored.save("none", scored.subset("full minus full"))


def test_what_was_saved_stays_whatever_its_rule_keeps_later(scored: Experiment) -> None:
    mine, rule = saved(scored), scored.subset("drop-hard")
    for run in (1, 2):
        scored.folder.epoch(run, 1).unlink()
    later = Experiment(scored.folder.root)
    for burn_in in range(EPOCHS):
        assert later.reading(burn_in).subset("mine", seed=9).kept.tolist() == mine.kept.tolist() == rule.kept.tolist()
        assert View(later, burn_in).rule("mine").kept.tolist() == mine.kept.tolist()
    assert later.reading(0).subset("drop-hard").size != rule.size


def test_a_saved_name_works_wherever_a_subset_is_named(scored: Experiment, tmp_path: Path) -> None:
    mine, hard = saved(scored, of="random@40"), scored.subset("drop-hard")
    assert scored.subset("random@mine").size == 40
    assert scored.subset("mine or drop-hard").kept.tolist() == np.union1d(mine.kept, hard.kept).tolist()
    assert np.isin(scored.subset("mine@0.1").kept, mine.kept).all()
    scored.decide(Decision(kind=DecisionKind.DROP, ids=(int(mine.kept[0]),)))
    assert scored.subset("mine+decisions").kept.tolist() == mine.kept[1:].tolist()
    assert (scored.audit("mine").kept, scored.reading(decisions=False).audit("mine").kept) == (39, 40)
    manifest = build(scored, mine, tmp_path / "mine.jsonl")
    assert manifest["subset"]["rule"].startswith("the saved subset mine: 40 at random") and "--subset mine" in manifest["command"]
    assert is_current(manifest, scored, scored.reading(0).named("mine"))
    saved(scored, "decided", of="mine+decisions")
    assert list(scored.saved) == ["decided", "mine"]
    assert scored.subset("decided+decisions").name == "decided", "the decisions are in it already"
    with pytest.raises(
        SubsetError, match=r"There is no subset 'nine'; use full, .*, decided, mine, sometimes-right, drop-suspects, distinct"
    ):
        scored.subset("nine")


@pytest.mark.process
def test_a_saved_subset_is_measured_once_and_its_point_stands_with_any_burn_in(scored: Experiment) -> None:
    saved(scored)
    measured = worker.frontier(scored.folder.root, ["mine", "drop-hard"], [], seeds=2)
    rows = measured.finished().set_index(["subset", "seed"])
    for seed in SEEDS[:2]:
        assert rows.loc[("mine", seed), "rows_sha256"] == rows.loc[("drop-hard", seed), "rows_sha256"]
        assert rows.loc[("mine", seed), "seconds"] == rows.loc[("drop-hard", seed), "seconds"], "trained once, under two names"
    assert "mine" in [point.subset for point in measured.reading(0).frontier()]
    assert "drop-hard" not in [point.subset for point in measured.reading(0).frontier()]


@pytest.mark.parametrize(("damage", "says"), [(flip, "damaged"), (Path.unlink, "missing")])
def test_a_changed_saved_subset_is_detected_and_does_not_block_the_others(
    scored: Experiment, damage: Callable[[Path], None], says: str
) -> None:
    mine, path = saved(scored), scored.folder.saved("mine")
    assert scored.verify() == 3 + LOOK_FILES + len(SEEDS) * EPOCHS + 2
    whole = path.read_bytes()
    damage(path)
    again = Experiment(scored.folder.root)
    with pytest.raises(ExperimentError, match=rf"mine\.parquet is {says}.*; restore it from a copy, or remove it with"):
        again.verify()
    with pytest.raises(SubsetError, match=r"mine\.parquet is damaged|no subset 'mine'"):
        again.subset("random@mine")
    assert again.subset("drop-hard").size == mine.size and again.frontier()
    path.write_bytes(whole)
    assert again.verify() and again.subset("mine").kept.tolist() == mine.kept.tolist()


def test_a_forgotten_name_can_be_saved_again_for_other_rows(scored: Experiment) -> None:
    mine, path = saved(scored), scored.folder.saved("mine")
    old = path.read_bytes()
    path.unlink()
    scored.log("cancelled", state="cancelled", verb="score")
    with pytest.raises(ExperimentError, match=r"mine\.parquet is missing"):
        Experiment(scored.folder.root).verify()
    scored.forget("mine")
    assert Experiment(scored.folder.root).verify() and list(scored.saved) == []
    with pytest.raises(SubsetError, match="No subset is saved under 'mine'; saved: none"):
        scored.forget("mine")
    other = saved(Experiment(scored.folder.root), of="drop-easy")
    assert other.kept.tolist() != mine.kept.tolist() and Experiment(scored.folder.root).verify()
    path.write_bytes(old)
    with pytest.raises(ExperimentError, match=r"mine\.parquet is damaged"):
        Experiment(scored.folder.root).verify()
    scored.forget("mine")
    assert not path.exists()


@pytest.mark.parametrize(
    ("ids", "notes"),
    [
        ([1, 0], {"words": "w", "total": EXAMPLES}),
        ([0, 0], {"words": "w", "total": EXAMPLES}),
        ([0, EXAMPLES], {"words": "w", "total": EXAMPLES}),
        ([0.0, 1.0], {"words": "w", "total": EXAMPLES}),
        ([0, 1], {"words": "w", "total": EXAMPLES + 1}),
        ([0, 1], {"total": EXAMPLES}),
        ([0, 1], ["words"]),
        ([0, 1], None),
    ],
    ids=["order", "twice", "unknown", "type", "total", "words", "list", "nothing"],
)
def test_a_file_of_elsewhere_is_refused_in_words(scored: Experiment, ids: list[float], notes: object) -> None:
    scored.folder.subsets.mkdir()
    table = pa.table({"id": ids}).replace_schema_metadata(None if notes is None else {"subset": json.dumps(notes)})
    pq.write_table(table, scored.folder.saved("mine"))
    with pytest.raises(SubsetError, match=r"mine\.parquet (is not a saved subset|does not hold examples)"):
        scored.subset("mine")
    scored.folder.saved("mine").write_bytes(b"PAR1 but not really")
    with pytest.raises(SubsetError, match=r"mine\.parquet is not a saved subset"):
        scored.subset("mine")


def test_files_with_invalid_names_are_not_saved_subsets(scored: Experiment) -> None:
    """Neither a file that would be a rule's, nor one that is reached by a path."""
    saved(scored)
    for name in ("full", "Mine"):
        scored.folder.saved("mine").rename(scored.folder.saved(name))
        assert list(scored.saved) == [] and scored.subset("full").method == "full"
        scored.folder.saved(name).rename(scored.folder.saved("mine"))
    with pytest.raises(SubsetError, match=r"There is no subset '\.\./subsets/mine'"):
        scored.subset("../subsets/mine")


def test_a_copy_of_an_experiment_has_what_was_saved(scored: Experiment) -> None:
    mine = saved(scored)
    copy = Experiment(library.duplicate(scored.folder.root.parent, "reviews", "films"))
    assert copy.subset("mine").kept.tolist() == mine.kept.tolist() and copy.verify() == scored.verify()
