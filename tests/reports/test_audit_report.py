"""The audit of a whole experiment: what it counts is counted here by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pruning.analysis import audit
from pruning.errors import UsageError
from pruning.experiment import Experiment
from pruning.export import writer
from pruning.files import write_json
from pruning.records import DecisionKind, Subset
from pruning.reports.audit_report import findings, settlement
from pruning.subsets.decisions import Decision, apply
from tests.support.recordings import recording
from tests.support.repeating import experiment


def keeping(*ids: int) -> Subset:
    return Subset(name="some", method="m", rule="r", kept=np.array(ids), total=6)


def test_everything_is_counted(tmp_path: Path) -> None:
    found = findings(experiment(tmp_path), keeping(0, 2, 3))
    assert {shares.column: [row.kept for row in shares.rows] for shares in found.shares} == {
        "label": [1, 2],
        "words in review": [2, 0, 1],
        "source": [2, 1],
    }
    assert (found.groups, found.redundant, found.contradicting, found.split, found.leaking) == (1, 2, 3, 1, 1)
    assert found.hard is not None and sum(found.hard.values()) == 1
    assert found.suspects is not None
    assert "3 examples share a text, but not the label." in found.remarks and found.suspects_kept <= len(found.suspects)
    assert found.remarks[-1] == "1 kept example is also in the evaluation data."
    text = "\n".join(found.sentences())
    assert "keeps 3 of 6" in text and "1 group of identical" in text and "1 kept example is also in the evaluation data" in text


def test_groups_kept_or_dropped_whole_are_not_split(tmp_path: Path) -> None:
    made = experiment(tmp_path)
    assert findings(made, keeping(0, 1, 4)).split == findings(made, keeping(2, 3)).split == 0
    assert json.loads(json.dumps(findings(made, keeping(0, 1, 2, 3, 4, 5)).to_dict(), allow_nan=False))["shares"][0]["p_value"] is None


def test_one_class_and_unmeasured_are_said_on_export(tmp_path: Path) -> None:
    warnings = writer.warnings(experiment(tmp_path), keeping(0, 1))
    assert any("have one class" in sentence for sentence in warnings)
    assert any("never trained on" in sentence for sentence in warnings)


def test_never_right_examples_are_mislabelled_rare_or_contested() -> None:
    """Of four that are never right, one is in the list of label errors, one is made of words of its own, two are neither."""
    right = np.zeros((3, 1, 6), dtype=np.bool_)
    right[:, :, :2] = True
    errors = audit.LabelErrors(suspect=np.arange(6) == 5, quality=np.zeros(6), suggested=np.zeros(6, dtype=np.int64), sentence="")
    rarity = np.array([0, 0, 0, 1.0, 0, 0])
    kinds = audit.hard_kinds(replace(recording(3, 1, 6, 2, 0), correct=right), errors, rarity)
    assert [kind and str(kind) for kind in kinds] == [None, None, "contested", "rare", "contested", "probably mislabelled"]


@pytest.mark.parametrize(
    ("how", "ids", "kind", "left"),
    [
        ("keep-one", (0, 4), "drop", (1, 3)),
        ("keep-whole", (0, 4), "keep", (0, 1, 3, 4)),
        ("drop-whole", (1,), "drop", (3,)),
        ("drop-leaks", (2,), "drop", (1, 3)),
    ],
)
def test_duplicates_are_settled_as_groups(tmp_path: Path, how: str, ids: tuple[int, ...], kind: str, left: tuple[int, ...]) -> None:
    """Three texts (0, 1, 4) are nearly the same, of which the subset keeps one; the evaluation data has 2 too."""
    made, subset = experiment(tmp_path), keeping(1, 3)
    decision = settlement(made, subset, how)
    assert (decision.ids, decision.kind) == (ids, kind)
    made.decide(decision)
    assert tuple(apply(subset, made.decided, made.ids).kept) == left
    made.decide(Decision(kind=DecisionKind.UNDO, value=decision.key))
    assert tuple(apply(subset, made.decided, made.ids).kept) == (1, 3)


def test_settling_duplicates_leaves_what_was_decided_by_hand(tmp_path: Path) -> None:
    made = experiment(tmp_path)
    made.decide(Decision(kind=DecisionKind.KEEP, ids=(4,)))
    made.decide(Decision(kind=DecisionKind.DROP, ids=(0,)))
    assert settlement(made, keeping(2, 3), "keep-one").ids == (1,)
    assert settlement(made, keeping(2, 3), "keep-whole").ids == (1,)
    with pytest.raises(UsageError, match="must be one of keep-one, keep-whole"):
        settlement(made, keeping(2, 3), "keep-none")


def test_an_example_dropped_by_hand_is_not_the_one_kept_of_its_group(tmp_path: Path) -> None:
    made = experiment(tmp_path)
    made.decide(Decision(kind=DecisionKind.DROP, ids=(0,)))
    assert settlement(made, keeping(2, 3), "keep-one").ids == (4,)


def test_what_is_approximate_is_said(tmp_path: Path) -> None:
    made = experiment(tmp_path)
    write_json(made.folder.manifest, {**made.info, "settings": {**made.info["settings"], "approximate": "epochs", "burn_in": 0}})
    found = findings(Experiment(made.folder.root), keeping(0, 2, 3))
    assert next(found.sentences()) == found.to_dict()["caveat"] == Experiment(made.folder.root).settings.caveat != ""
