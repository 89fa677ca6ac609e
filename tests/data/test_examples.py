"""Any source becomes the same examples; what cannot is refused in one sentence that says where."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import httpx2
import numpy as np
import pyarrow.parquet as pq
import pytest

from pruning.data.examples import load, load_pair, split_off
from pruning.data.preview import preview
from pruning.errors import DataError, UsageError
from pruning.settings import SAMPLE, Settings
from tests.support.sources import ROWS, _csv, _json, _parquet, write_jsonl


def _saved(path: Path, rows: list[dict[str, Any]]) -> Path:
    datasets.Dataset.from_list(rows).save_to_disk(path)
    return path


WRITERS: Mapping[str, Callable[[Path, list[dict[str, Any]]], Path]] = {
    "a.jsonl": write_jsonl,
    "a.json": _json,
    "a.csv": _csv,
    "a.parquet": _parquet,
    "saved": _saved,
}


@pytest.fixture(params=WRITERS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same rows in every format but TSV, which cannot hold their line breaks."""
    return WRITERS[request.param](tmp_path / request.param, ROWS)


def test_every_format_gives_the_same_examples(source: Path, tmp_path: Path) -> None:
    examples = load(source)
    assert examples.ids.tolist() == [0, 1, 2, 3] and examples.labels.tolist() == [1, 0, 1, 0]
    assert examples.table["text"].to_pylist() == [row["sentence"] for row in ROWS]
    assert examples.columns == {"text": "sentence", "label": "label"} and examples.label_names == ("0", "1")
    assert examples.table["source.year"].to_pylist() == [row["year"] for row in ROWS]
    assert examples.table["source.score"].to_pylist() == [row["score"] for row in ROWS]
    assert examples.fingerprint == load(write_jsonl(tmp_path / "other.jsonl", ROWS)).fingerprint
    assert "by its name" in examples.notes[0]


def test_no_source_is_changed(source: Path) -> None:
    def state() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in [source, *source.rglob("*")] if path.is_file()}

    before = state()
    load(source)
    preview(source)
    assert state() == before


def test_the_fingerprint_tells_contents_apart_but_not_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ROWS)
    whole = load(path)
    monkeypatch.setattr("pruning.data.readers.limits.CHUNK", 3)
    assert load(path).fingerprint == whole.fingerprint == whole.select(np.arange(4)).fingerprint
    others = [ROWS[::-1], [{**ROWS[0], "label": 0}, *ROWS[1:]], [{**ROWS[0], "sentence": "a fine  film"}, *ROWS[1:]], ROWS[:3]]
    prints = {load(write_jsonl(path, rows)).fingerprint for rows in others}
    assert len(prints) == 4 and whole.fingerprint not in prints
    assert load(write_jsonl(path, [{**row, "year": 0} for row in ROWS])).fingerprint == whole.fingerprint


def test_rows_are_lines_that_are_not_blank(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a", "label": 1}\r\n\r\n  \n{"text": "b", "label": 0}')
    examples = load(path)
    assert examples.table["row"].to_pylist() == [0, 1] and examples.table["text"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "names", "indices"),
    [
        ([10, 9, 10, 2], ("2", "9", "10"), [2, 1, 2, 0]),
        ([-1, 1, -1, 1], ("-1", "1"), [0, 1, 0, 1]),
        ([True, False, True, True], ("false", "true"), [1, 0, 1, 1]),
        (["pos", "neg", "pos", "neg"], ("neg", "pos"), [1, 0, 1, 0]),
        (["10", "9", "10", "2"], ("2", "9", "10"), [2, 1, 2, 0]),
        ([1.0, 0.0, 1.0, 2.0], ("0", "1", "2"), [1, 0, 1, 2]),
    ],
)
def test_labels_of_every_kind_get_names_in_order(tmp_path: Path, values: list[Any], names: tuple[str, ...], indices: list[int]) -> None:
    examples = load(write_jsonl(tmp_path / "a.jsonl", [{"text": f"t{i}", "label": value} for i, value in enumerate(values)]))
    assert examples.label_names == names and examples.labels.tolist() == indices
    assert sum(examples.label_counts().values()) == 4


def test_a_class_label_keeps_its_names_and_drops_rows_without_one(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "topic": datasets.ClassLabel(names=["world", "sports", "business"])})
    dataset = datasets.Dataset.from_dict({"text": list("abcd"), "topic": [2, -1, 0, 2]}, features=features)
    dataset.save_to_disk(tmp_path / "saved")
    dataset.to_parquet(tmp_path / "a.parquet")
    for path in (tmp_path / "saved", tmp_path / "a.parquet"):
        examples = load(path)
        assert examples.label_names == ("world", "sports", "business") and examples.labels.tolist() == [2, 0, 2]
        assert examples.columns["label"] == "topic" and examples.dropped == 1
        assert examples.table["row"].to_pylist() == [0, 2, 3] == examples.ids.tolist()
        assert any("1 row" in note and "-1" in note for note in examples.notes)


@pytest.mark.parametrize(
    ("labels", "missing"),
    [
        ([0, 1, -1, 2], "-1"),
        (["entailment", "neutral", "-", "contradiction"], None),
        (["Entailment", "neutral", "-1", "contradiction"], None),
    ],
)
def test_pairs_whose_annotators_disagreed_are_dropped(tmp_path: Path, labels: list[Any], missing: str | None) -> None:
    rows = [{"premise": "a man", "hypothesis": f"h{i}", "label": label} for i, label in enumerate(labels)]
    examples = load(write_jsonl(tmp_path / "a.jsonl", rows), missing_label=missing)
    assert examples.dropped == 1 and len(examples.label_names) == 3
    assert examples.columns == {"text": "premise", "text_pair": "hypothesis", "label": "label"}


def test_columns_can_be_named_in_part(tmp_path: Path) -> None:
    rows = [{"title": "a", "body": "long text", "label": i % 2, "stars": i} for i in range(4)]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    assert load(path).columns == {"text": "body", "label": "label"}
    assert load(path, columns={"text": "title", "label": "stars"}).columns == {"text": "title", "label": "stars"}
    assert load(path, columns={"text": "title", "text_pair": "body"}).columns["text_pair"] == "body"


def test_unnamed_columns_are_detected_when_only_one_pair_fits(tmp_path: Path) -> None:
    examples = load(write_jsonl(tmp_path / "a.jsonl", [{"foo": "words", "bar": i % 2} for i in range(4)]))
    assert examples.columns == {"text": "foo", "label": "bar"}


def test_ids_come_from_a_column_of_integers(tmp_path: Path) -> None:
    rows = [{"id": 30 - i, "key": i * 7, "text": "t", "label": i % 2} for i in range(3)]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    assert load(path).ids.tolist() == [30, 29, 28]
    assert load(path, id_column="key").ids.tolist() == [0, 7, 14]
    named = write_jsonl(tmp_path / "b.jsonl", [{**row, "id": f"q{row['id']}"} for row in rows])
    assert load(named).ids.tolist() == [0, 1, 2]


def test_csv_types_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label,zip,version,price,empty,count\na,1,007,1.1,2.50,,1\nb,0,100,1.10,3.00,,\n")
    table = load(path).table
    columns = {name: table[f"source.{name}"].to_pylist() for name in ("zip", "version", "price", "empty", "count")}
    assert columns == {"zip": ["007", "100"], "version": ["1.1", "1.10"], "price": [2.5, 3.0], "empty": ["", ""], "count": [1, None]}


def test_csv_with_semicolons_line_breaks_and_doubled_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'text;label\r\n"two\r\nlines; ""quoted""";1\r\n\r\nplain;0\r\n')
    assert load(path).table["text"].to_pylist() == ['two\r\nlines; "quoted"', "plain"]


def test_tab_separated_values(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('sentence\tlabel\n"half a quote\t1\nit\'s "fine"\t0\n')
    assert load(path).table["text"].to_pylist() == ['"half a quote', 'it\'s "fine"']
    path.write_text('sentence\tlabel\n"a ""quoted"" word"\t1\nplain\t0\n')
    assert load(path).table["text"].to_pylist() == ['a "quoted" word', "plain"]


def test_other_shapes_of_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    expected = load(write_jsonl(tmp_path / "a.jsonl", ROWS)).fingerprint
    for shape in ({"version": "1", "data": ROWS}, {name: [row[name] for row in ROWS] for name in ROWS[0]}):
        path.write_text(json.dumps(shape))
        assert load(path).fingerprint == expected
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert load(path).fingerprint == expected


def test_columns_without_a_common_type_are_kept_as_json_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruning.data.readers.limits.CHUNK", 2)
    extras: list[Any] = ["x", "y", 1, {"a": [1]}, None, True]
    rows = [{"text": "t", "label": i % 2, "extra": extra, "object": {}} for i, extra in enumerate(extras)]
    rows[3]["late"] = 5
    table = load(write_jsonl(tmp_path / "a.jsonl", rows)).table
    assert table["source.extra"].to_pylist() == ['"x"', '"y"', "1", '{"a": [1]}', None, "true"]
    assert table["source.late"].to_pylist() == [None, None, None, 5, None, None]
    pq.write_table(table, tmp_path / "a.parquet")


BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "empty file": ("a.jsonl", b"", "is empty"),
    "blank lines only": ("a.jsonl", b"\n \n", "has no rows"),
    "header only": ("a.csv", b"text,label\n", "has no rows"),
    "malformed line": ("a.jsonl", b'{"text": "a", "label": 1}\n\n{"text": "b", "label"\n', "line 3 is not JSON"),
    "a list for a row": ("a.jsonl", b'{"text": "a", "label": 1}\n[1]\n', "line 2 holds lists"),
    "not UTF-8": ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "caf\xe9", "label": 0}\n', "line 2, byte 14 is 0xe9"),
    "not UTF-8 csv": ("a.csv", b"text,label\na,1\ncaf\xe9,0\n", "line 3, byte 4 is 0xe9"),
    "half a surrogate": ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "\\ud800", "label": 0}\n', "line 2 has half a surrogate pair"),
    "a ragged row": ("a.csv", b'text,label\n"a\nb",1\nc,0,9\n', "line 4 has 3 values; the header names 2"),
    "an open quote": ("a.csv", b'text,label\na,1\n"b,0\nc,1\n', "line 4 is not well-formed"),
    "a column twice": ("a.csv", b"text,text,label\na,b,1\n", "two columns named 'text'"),
    "JSON cut short": ("a.json", b'[{"text": "a", "label": 1}', "is not JSON"),
    "JSON that is no table": ("a.json", b'{"text": "a"}', "must be a list of objects"),
    "Parquet cut short": ("a.parquet", b"PAR1" + b"\0" * 20, "not a whole Parquet file"),
    "gzip by another name": ("a.jsonl", b"\x1f\x8b\x08\x00", r"is actually a gzip file; rename it to .*a\.jsonl\.gz"),
    "Parquet by another name": ("a.csv", b"PAR1aaaaPAR1", r"is actually a Parquet file; rename it to .*a\.parquet"),
    "unknown ending": ("a.txt", b"a", "has an unsupported file type"),
    "mixed text": ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": 7, "label": 0}\n', r"mixes text \(.*line 1\) and numbers \(.*line 2\)"),
    "mixed labels": ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label": "x"}\n', r"mixes numbers \(.*line 1\) and text"),
    "fractions for labels": (
        "a.jsonl",
        b'{"text": "a", "label": 1}\n{"text": "b", "label": 0.5}\n',
        "line 2 has 0.5 in 'label'; a label is a class",
    ),
    "text of numbers": ("a.jsonl", b'{"text": 1, "label": 1}\n{"text": 2, "label": 0}\n', "'text' of .* holds int64; it must hold text"),
    "lists for labels": ("a.jsonl", b'{"text": "a", "label": [1]}\n', "a label is text, a whole number"),
    "missing text": (
        "a.jsonl",
        b'{"text": "a", "label": 1}\n{"text": " ", "label": 0}\n{"label": 0}\n',
        r"line 2 has no text in 'text' \(2 rows",
    ),
    "missing label": ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "b"}\n', "line 2 has no label in 'label'"),
    "nothing that fits": ("a.jsonl", b'{"x": 1, "y": 2, "z": 3}\n', "columns of .*: 'x', 'y', 'z'. Name those of one task"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    name, content, message = BAD_FILES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".") and name in str(caught.value)


def test_a_label_with_a_value_for_almost_every_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="30 different values in 40 rows"):
        load(write_jsonl(tmp_path / "a.jsonl", [{"text": "t", "label": i % 30} for i in range(40)]))


def test_invalid_rows_are_dropped_and_counted_when_asked(tmp_path: Path) -> None:
    rows = [
        *ROWS,
        {"sentence": " ", "label": 1},
        {"sentence": None, "label": 0},
        {"sentence": "x", "label": None},
        {"sentence": "last", "label": 0},
    ]
    examples = load(write_jsonl(tmp_path / "a.jsonl", rows), drop_invalid=True)
    assert examples.ids.tolist() == [0, 1, 2, 3, 7] and examples.dropped == 3
    assert any("2 rows dropped" in note and "line 5" in note for note in examples.notes)
    assert any("1 row dropped" in note and "no label" in note for note in examples.notes)


@pytest.mark.parametrize("name", ["no/such.jsonl", "missing.csv", "~nobody/x", "a\0b", "https://example.org/x.jsonl"])
def test_a_missing_file_is_reported(name: str) -> None:
    with pytest.raises(DataError, match="There is no file"):
        load(name)


def test_a_hub_name_without_a_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="There is no file or folder stanfordnlp/sst2, and the hub cannot be reached"):
        load("stanfordnlp/sst2")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (httpx2.ConnectError("refused"), "the hub cannot be reached"),
        (TimeoutError(), "the hub cannot be reached"),
        (datasets.exceptions.DatasetNotFoundError("gone"), "the hub has no dataset of that name"),
        (
            RuntimeError("Scripts are no longer supported\nfound x.py"),
            "cannot be read: Scripts are no longer supported.",
        ),
    ],
)
def test_errors_of_the_hub_become_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", fail)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(DataError, match=f"There is no file or folder some/name, and .*{message}"):
        load("some/name")


def test_a_hub_dataset_is_loaded_by_name_configuration_and_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*arguments: Any, **named: Any) -> datasets.DatasetDict:
        asked.append((arguments, named))
        return datasets.DatasetDict({split: datasets.Dataset.from_list(ROWS) for split in ("train", "validation")})

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *arguments, **named: None)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *arguments, **named: ["train", "validation", "test"])
    assert len(load("nyu-mll/glue:sst2@abc123")) == 4
    assert asked == [(("nyu-mll/glue", "sst2"), {"revision": "abc123"})]
    train, evaluation = load_pair(Settings(data="nyu-mll/glue:sst2"))
    assert evaluation.source == "nyu-mll/glue:sst2#validation" and len(train) == 4
    with pytest.raises(DataError, match="has the splits train, validation; there is no 'test'"):
        load("nyu-mll/glue:sst2#test")


def test_a_folder_of_files_of_several_kinds_names_them(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "reviews.jsonl", ROWS)
    _csv(tmp_path / "reviews.csv", ROWS)
    with pytest.raises(DataError, match=r"several kinds \(.csv, .jsonl\); name one of them: reviews.csv, reviews.jsonl"):
        load(tmp_path)


def test_the_splits_of_a_saved_dictionary(tmp_path: Path) -> None:
    parts = {"train": ROWS, "validation": ROWS[:2], "test": ROWS[2:]}
    datasets.DatasetDict({name: datasets.Dataset.from_list(rows) for name, rows in parts.items()}).save_to_disk(tmp_path / "saved")
    assert len(load(tmp_path / "saved")) == 4
    assert len(load(tmp_path / "saved", split="test")) == 2 == len(load(f"{tmp_path}/saved#test"))
    train, evaluation = load_pair(Settings(data=f"{tmp_path}/saved"))
    assert len(train) == 4 and len(evaluation) == 2 and "comes with the training data" in evaluation.notes[-1]


def test_columns_and_tasks_that_do_not_exist_are_named(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ROWS)
    with pytest.raises(DataError, match="no column 'txt' for text; its columns are sentence, label, year, score"):
        load(path, columns={"text": "txt"})
    with pytest.raises(DataError, match="no column 'key' for ids"):
        load(path, id_column="key")
    with pytest.raises(DataError, match=r"'score' of .* holds double; ids must be whole numbers"):
        load(path, id_column="score")
    with pytest.raises(UsageError, match="no field 'premise'"):
        load(path, columns={"premise": "sentence"})
    with pytest.raises(UsageError, match=r"task must be auto or one of .*, got 'tagging'"):
        load(path, task="tagging")


# -- pairs of training and evaluation data --------------------------------------------------------------------------


def _reviews(path: Path, labels: list[Any]) -> str:
    return str(write_jsonl(path, [{"text": f"t{i}", "label": label} for i, label in enumerate(labels)]))


def test_evaluation_gets_the_classes_of_training(tmp_path: Path) -> None:
    train, evaluation = load_pair(
        Settings(data=_reviews(tmp_path / "t.jsonl", ["b", "c", "a"]), evaluation=_reviews(tmp_path / "e.jsonl", ["c"]))
    )
    assert evaluation.label_names == train.label_names == ("a", "b", "c") and evaluation.labels.tolist() == [2]


def test_a_label_unseen_in_training_is_named(tmp_path: Path) -> None:
    settings = Settings(data=_reviews(tmp_path / "t.jsonl", ["a", "b"]), evaluation=_reviews(tmp_path / "e.jsonl", ["a", "x", "x"]))
    with pytest.raises(DataError, match=r"e\.jsonl has the label x \(2 rows\), which the training data does not have; it has a, b"):
        load_pair(settings)


def test_a_declared_class_that_training_never_uses_is_named(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b", "c"])})
    for name, labels in (("t", [0, 1]), ("e", [2, 0])):
        datasets.Dataset.from_dict({"text": ["x", "y"], "label": labels}, features=features).save_to_disk(tmp_path / name)
    with pytest.raises(DataError, match="has the label 'c'"):
        load_pair(Settings(data=str(tmp_path / "t"), evaluation=str(tmp_path / "e")))


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    path = _reviews(tmp_path / "t.jsonl", ["a"] * 5)
    with pytest.raises(DataError, match="Every row has the label 'a'; training needs at least two classes"):
        load_pair(Settings(data=path))
    assert "at least two classes" in str(preview(path).problem)


def test_a_split_is_stratified_seeded_and_said(tmp_path: Path) -> None:
    examples = load(_reviews(tmp_path / "t.jsonl", ["a"] * 40 + ["b"] * 10 + ["c"]))
    train, evaluation = split_off(examples, 0.2, seed=3)
    assert evaluation.label_counts() == {"a": 8, "b": 2, "c": 0} and train.label_counts() == {"a": 32, "b": 8, "c": 1}
    assert sorted([*train.ids, *evaluation.ids]) == list(range(51))
    assert train.ids.tolist() == sorted(train.ids) and train.origin == examples.origin
    assert "10 of 51 examples were split off" in train.notes[-1] and train.fingerprint != evaluation.fingerprint
    assert split_off(examples, 0.2, seed=3)[1].ids.tolist() == evaluation.ids.tolist() != split_off(examples, 0.2, seed=4)[1].ids.tolist()


def test_a_limit_takes_some_of_each_class_and_leaves_the_evaluation_alone(tmp_path: Path) -> None:
    path = _reviews(tmp_path / "t.jsonl", ["a"] * 80 + ["b"] * 20)
    (train, evaluation), (all_of_it, same) = (load_pair(Settings(data=path, limit=limit)) for limit in (20, None))
    assert train.label_counts() == {"a": 16, "b": 4}
    assert set(train.ids) < set(all_of_it.ids) and evaluation.ids.tolist() == same.ids.tolist()
    assert "20 of 80 examples are used" in train.notes[-1]
    assert len(load_pair(Settings(data=path, limit=1000))[0]) == 80
    rare = _reviews(tmp_path / "rare.jsonl", ["a"] * 990 + ["b"] * 10)
    assert load_pair(Settings(data=rare, limit=20))[0].label_counts() == {"a": 19, "b": 1}
    many = _reviews(tmp_path / "many.jsonl", [f"c{i % 77}" for i in range(770)])
    assert len(load_pair(Settings(data=many, limit=100))[0]) == 100
    with pytest.raises(DataError, match="has 77 classes, more than --limit 30 can hold; use 77 or more"):
        load_pair(Settings(data=many, limit=30))
    with pytest.raises(UsageError, match="limit must be at least 2, got 1"):
        Settings(data=path, limit=1)


def test_too_few_examples_to_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few to split 20% off"):
        load_pair(Settings(data=_reviews(tmp_path / "t.jsonl", ["a", "b"])))


# -- the first look ---------------------------------------------------------------------------------------------------


def test_a_preview_says_what_each_column_was_taken_for(tmp_path: Path) -> None:
    seen = preview(write_jsonl(tmp_path / "a.jsonl", [*ROWS, {"sentence": "x", "label": 0, "year": None, "score": 1.0}]), rows=2)
    types = {column.name: column.type for column in seen.columns}
    assert types == {"sentence": "text", "label": "whole number", "year": "whole number", "score": "decimal"}
    assert seen.mapping == {"text": "sentence", "label": "label"}
    assert seen.total == 5 and [row["sentence"] for row in seen.rows] == [row["sentence"] for row in ROWS[:2]]
    assert seen.label_counts == {"0": 3, "1": 2} and seen.problem is None and seen.task == "classification"


def test_a_preview_of_readable_data_says_what_keeps_it_from_being_scored(tmp_path: Path) -> None:
    seen = preview(write_jsonl(tmp_path / "a.jsonl", [{"x": 1, "y": 2, "z": 3}]))
    assert seen.task is None and seen.total == 1 and "a.jsonl: 'x', 'y', 'z'. Name those of one task" in str(seen.problem)
    seen = preview(write_jsonl(tmp_path / "b.jsonl", [{"text": "a", "label": 1}, {"text": "", "label": 0}]))
    assert seen.mapping == {"text": "text", "label": "label"} and "has no text" in str(seen.problem)
    assert preview(tmp_path / "b.jsonl", drop_invalid=True, columns={"label": "label"}).label_counts == {"0": 0, "1": 1}
    with pytest.raises(DataError, match="There is no file"):
        preview(tmp_path / "c.jsonl")


def test_sample_is_a_name_for_the_sample_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruning.data.sample.sample_data", lambda: write_jsonl(tmp_path / "a.jsonl", ROWS))
    assert load(SAMPLE).source == "sample" and len(load_pair(Settings(data="sample", evaluation_fraction=0.5))[1]) == 2


def test_the_preview_reads_as_scoring_would(tmp_path: Path) -> None:
    """With the column of ids, the value that means no label, and no header."""
    (tmp_path / "a.csv").write_text("a film,1,7\na plot,0,8\na cast,-1,7\n")
    named = {"text": "column 1", "label": "column 2"}
    seen = preview(tmp_path / "a.csv", task="classification", columns=named, header=False, missing_label="-1", id_column="column 3")
    assert seen.problem is None and seen.label_counts == {"0": 1, "1": 1} and seen.total == 3
    twice = preview(tmp_path / "a.csv", task="classification", columns=named, header=False, id_column="column 3")
    assert twice.problem is not None and "gives the id 7 twice" in twice.problem
