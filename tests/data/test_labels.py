"""No label is guessed away, and none is multiplied without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from pruning.data.examples import load, load_pair
from pruning.settings import Settings
from tests.support.sources import write_jsonl


def labelled(folder: Path, labels: list[Any], pair: bool = False) -> Path:
    rows = [{"text": f"t{i}", "label": label} for i, label in enumerate(labels)]
    return write_jsonl(folder / "a.jsonl", [{**row, "text_pair": "u"} for row in rows] if pair else rows)


def test_minus_one_is_a_class_of_pairs_until_the_user_says_otherwise(tmp_path: Path) -> None:
    path = labelled(tmp_path, [-1, 0, 1, 1, 0, -1], pair=True)
    examples = load(path)
    assert examples.label_names == ("-1", "0", "1") and examples.dropped == 0 and examples.labels.tolist() == [0, 1, 2, 2, 1, 0]
    assert any("Label '-1' in 'label' (2 rows) counts as a class" in note and "--missing-label -1" in note for note in examples.notes)
    without = load(path, missing_label="-1")
    assert without.label_names == ("0", "1") and without.dropped == 2
    assert any("2 rows dropped as having no label (-1)" in note for note in without.notes)


def test_the_missing_label_is_a_setting_of_the_evaluation_too(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    train, held_out = labelled(tmp_path, [-1, 0, 1, 1], pair=True), labelled(tmp_path / "e", [0, -1], pair=True)
    used, evaluation = load_pair(Settings(data=str(train), evaluation=str(held_out), missing_label="-1"))
    assert used.label_names == evaluation.label_names == ("0", "1") and evaluation.dropped == 1


def test_minus_one_stands_for_no_label_where_classes_are_declared(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "premise": datasets.Value("string"),
            "hypothesis": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["-", "neutral", "contradiction"]),
        }
    )
    rows = {"premise": list("abcd"), "hypothesis": list("abcd"), "label": [0, -1, 2, 1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    examples = load(tmp_path / "saved")
    assert examples.label_names == ("-", "neutral", "contradiction") and examples.labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize("odd", ["nan", "None", "N/A", "null", "?"])
def test_a_label_that_looks_missing_is_named_with_its_count(tmp_path: Path, odd: str) -> None:
    path = labelled(tmp_path, ["good", "bad", odd, odd, "good"])
    examples = load(path)
    assert odd in examples.label_names
    assert any(f"Label {odd!r} in 'label' (2 rows) counts as a class" in note for note in examples.notes)
    without = load(path, missing_label=odd)
    assert without.label_names == ("bad", "good") and without.dropped == 2
    assert not any("counts as a class" in note for note in without.notes)


def test_labels_that_differ_only_in_how_they_are_written_are_named_with_counts(tmp_path: Path) -> None:
    examples = load(labelled(tmp_path, ["positive", "Positive", " positive ", "negative", "negative", "po\u017fitive"]))
    found = [note for note in examples.notes if "differ only in" in note]
    assert len(found) == 1 and "count as 4 classes" in found[0] and "write them alike" in found[0]
    assert "' positive ' (1 rows), 'Positive' (1 rows), 'positive' (1 rows)" in found[0]
    assert not any("differ only" in note for note in load(labelled(tmp_path, ["a", "b", "ab", "a b"])).notes)


def test_usual_labels_get_no_note(tmp_path: Path) -> None:
    for labels, pair in (([-1, 1, -1, 1], True), ([-1, 0, 1], False), (["none of it", "all"], False), ([0, 1, 2], True)):
        assert not any("counts as a class" in note for note in load(labelled(tmp_path, labels, pair)).notes)
