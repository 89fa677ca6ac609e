"""Whatever bytes a file holds, reading it ends soon: with examples, or with one sentence; never with a traceback, a hang or a changed file.

`WINNOW_FUZZ=20000 python -m pytest tests/test_fuzz.py` tries that many inputs of each kind.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruning.data import readers
from pruning.data.examples import load
from pruning.data.preview import preview
from pruning.data.readers import limits
from pruning.errors import DataError, WinnowError

pytestmark = pytest.mark.process

INPUTS = int(os.environ.get("WINNOW_FUZZ", "60"))
LIMIT = 10.0
"""Seconds that reading one file of the corpus may take, on a busy machine."""

fuzzed = settings(max_examples=INPUTS, deadline=None, suppress_health_check=list(HealthCheck))


def survives(path: Path) -> str:
    """Reads the file in both ways; what came of it. Fails unless it is examples that can be stored, or one sentence."""
    before = path.read_bytes() if path.is_file() else None
    started = time.monotonic()
    said = "examples"
    try:
        examples = load(path)
        pq.write_table(examples.table, pa.BufferOutputStream())
        assert len(examples.fingerprint) == 64 and len(examples.ids) == len(examples.labels) == len(examples)
    except WinnowError as error:
        said = str(error)
        assert "\n" not in said and said.endswith("."), said
    try:
        seen = preview(path, drop_invalid=True)
        assert seen.problem is None or "\n" not in seen.problem
    except DataError as error:
        assert str(error) == said
    assert time.monotonic() - started < LIMIT
    assert before is None or path.read_bytes() == before
    assert said.isprintable()
    return said


# -- a corpus of broken files -----------------------------------------------------------------------------------------

OK = b'{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n'


def line(value: bytes, name: bytes = b"x") -> bytes:
    return b'{"text": "a", "label": 1, "' + name + b'": ' + value + b"}\n" + OK


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.jsonl", "0" * 10_000_000)
    return buffer.getvalue()


CORPUS: dict[str, tuple[str, bytes, str]] = {
    "lists 100,000 deep": ("a.jsonl", line(b"[" * 100_000 + b"]" * 100_000), "nested to more than 32 levels"),
    "objects 900 deep": ("a.jsonl", line(b'{"a":' * 900 + b"1" + b"}" * 900), "nested to more than 32 levels"),
    "deep json": ("a.json", b"[" * 100_000, "nested to more than 32 levels"),
    "30 levels": ("a.jsonl", line(b"[" * 30 + b"]" * 30), "examples"),
    "a line of 10 MB": ("a.jsonl", b'{"text": "' + b"a " * 5_000_000 + b'", "label": 1}\n' + OK, "examples"),
    "a cell of 10 MB": ("a.csv", b"text,label\n" + b"a " * 5_000_000 + b",1\nb,0\n", "examples"),
    "100,000 keys": ("a.jsonl", json.dumps({f"c{i}": i for i in range(100_000)}).encode(), "more than 10000 columns"),
    "100,000 keys over rows": (
        "a.jsonl",
        b"".join(json.dumps({f"c{i}_{j}": i for j in range(1000)}).encode() + b"\n" for i in range(100)),
        "more than 10000 columns",
    ),
    "100,000 headings": ("a.csv", ",".join(f"c{i}" for i in range(100_000)).encode(), "100000 columns"),
    "half a surrogate in a key": ("a.jsonl", line(b"1", b"\\ud800"), "half a surrogate pair in a column's name"),
    "half a surrogate inside": ("a.jsonl", line(b'{"a": ["\\udfff"]}'), "half a surrogate pair"),
    "half a surrogate in json": ("a.json", b'[{"text": "\\ud800", "label": 1}]', "half a surrogate pair"),
    "half a surrogate, mixed": ("a.jsonl", line(b"5") + line(b'"\\udfff"'), "half a surrogate|examples"),
    "two marks of byte order": ("a.jsonl", b"\xef\xbb\xbf\xef\xbb\xbf" + OK, "line 1 is not JSON"),
    "a mark of byte order alone": ("a.jsonl", b"\xef\xbb\xbf", "is not JSON"),
    "a mark of byte order, csv": ("a.csv", b"\xef\xbb\xbftext,label\na,1\nb,0\n", "examples"),
    "utf-16": ("a.jsonl", OK.decode().encode("utf-16"), "is not UTF-8"),
    "zeros": ("a.jsonl", b"\0" * 5000, "is not JSON"),
    "zeros, csv": ("a.csv", b"\0" * 5000, "no rows"),
    "nan": ("a.jsonl", b'{"text": "a", "label": NaN}\n' + OK, "has no label"),
    "infinity": ("a.jsonl", b'{"text": "a", "label": -Infinity}\n' + OK, "has -inf in 'label'"),
    "a huge label": ("a.jsonl", b'{"text": "a", "label": 1e300}\n' + OK, "has 1e\\+300 in 'label'"),
    "a long label": ("a.jsonl", b'{"text": "a", "label": ' + b"9" * 30 + b"}\n" + OK, "mixes numbers"),
    "a number of 5000 digits": ("a.jsonl", line(b"9" * 5000), "is not JSON"),
    "a number of 30 digits": ("a.jsonl", line(b"9" * 30), "examples"),
    "two objects on a line": ("a.jsonl", OK.replace(b"\n", b""), "is not JSON"),
    "carriage returns": ("a.jsonl", OK.replace(b"\n", b"\r"), "is not JSON"),
    "a key twice": ("a.jsonl", line(b"1", b"text") + line(b'"a"', b"text"), "line 1 has 1 in 'text', which holds text elsewhere"),
    "an empty key": ("a.jsonl", line(b"1", b""), "examples"),
    "our own names": ("a.jsonl", line(b"1", b"source.text") + line(b"1", b"row"), "examples"),
    "null": ("a.json", b"null", "holds null"),
    "no objects": ("a.json", b"[]", "has no rows"),
    "empty objects": ("a.json", b"[{}, {}]", "has no rows"),
    "a broken squad": ("a.json", b'{"data": [{"paragraphs": 5}]}', "has no rows"),
    "squad starts as fractions": (
        "a.jsonl",
        b'{"question": "a", "context": "b", "answers": {"text": ["b"], "answer_start": [0.5]}}',
        "no whole answers",
    ),
    "squad starts beyond": (
        "a.jsonl",
        b'{"question": "a", "context": "b", "answers": {"text": ["b"], "answer_start": [9223372036854775807]}}',
        "at character 9223372036854775807",
    ),
    "a superscript answer": (
        "a.jsonl",
        '{"question": "a", "options": ["x", "y"], "answer": "²"}'.encode(),
        "'²' in 'answer', which is none of its 2 options",
    ),
    "a superscript label": ("a.jsonl", '{"text": "a", "label": "²"}\n{"text": "b", "label": "1"}'.encode(), "examples"),
    "an answer that is a list": ("a.jsonl", b'{"question": "a", "options": ["x", "y"], "answer": [1]}', "none of its 2 options"),
    "an open quote": ("a.csv", b'text,label\n"a,1\n' + b"b,0\n" * 1000, "not well-formed"),
    "only a quote": ("a.csv", b'"', "not well-formed"),
    "only semicolons": ("a.csv", b";\n;\n", "Cannot detect"),
    "only tabs": ("a.tsv", b"\t\t\n", "has no rows"),
    "gzip": ("a.csv", gzip.compress(b"text,label\n"), r"is actually a gzip file; rename it to .*a\.csv\.gz\."),
    "a zip bomb": ("a.jsonl", zipped(), "is actually a zip file"),
    "parquet by another name": ("a.json", b"PAR1", "is actually a Parquet file"),
    "json by another name": ("a.parquet", OK, "is not a whole Parquet file"),
    "parquet without its middle": ("a.parquet", b"PAR1PAR1", "is not a whole Parquet file"),
}


@pytest.mark.parametrize("case", CORPUS)
def test_broken_files(tmp_path: Path, case: str) -> None:
    name, content, expected = CORPUS[case]
    (tmp_path / name).write_bytes(content)
    said = survives(tmp_path / name)
    assert re.search(expected, said), said


def test_a_zip_bomb_is_refused_by_its_own_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruning.data.readers.limits.MAX_BYTES", 1_000_000)
    (tmp_path / "a.jsonl.zip").write_bytes(zipped())
    assert "more than 1,000,000 bytes when unpacked" in survives(tmp_path / "a.jsonl.zip")


def test_links_pipes_and_folders_in_place_of_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    (tmp_path / "endless.jsonl").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    for name, expected in (
        ("loop", "no file"),
        ("endless", "neither a file"),
        ("pipe", "neither a file"),
        ("folder", "holds no data"),
    ):
        assert expected in survives(tmp_path / f"{name}.jsonl")


@pytest.mark.parametrize(
    "files",
    [
        {"state.json": "{"},
        {"state.json": "[]", "dataset_info.json": "5"},
        {"state.json": '{"_data_files": [{"filename": "../../../../etc/hostname"}]}', "dataset_info.json": "{}"},
        {"dataset_dict.json": "[]"},
        {"dataset_dict.json": '{"splits": []}'},
        {"dataset_dict.json": '{"splits": ["../elsewhere"]}'},
    ],
)
def test_damaged_folders_of_datasets(tmp_path: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert "damaged" in (said := survives(tmp_path)) or "has no splits" in said


COLUMNS: dict[str, pa.Array] = {
    "dictionary": pa.array(["a", "b"]).dictionary_encode(),
    "large text": pa.array(["a", "b"], pa.large_string()),
    "views": pa.array(["a", "b"], pa.string_view()),
    "bytes": pa.array([b"a", b"\xff"]),
    "times": pa.array([datetime(2020, 1, 1, tzinfo=UTC)] * 2),
    "dates": pa.array([date(2020, 1, 1)] * 2),
    "clock": pa.array([clock(1)] * 2),
    "spans": pa.array([timedelta(1)] * 2),
    "money": pa.array([Decimal("1.5")] * 2),
    "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    "large lists": pa.array([["a"], ["b"]], pa.large_list(pa.large_string())),
    "pairs": pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)),
    "nothing": pa.nulls(2),
    "half floats": pa.array([1.0, 0.0], pa.float16()),
    "objects": pa.array([{"a": 1}, {"a": None}]),
    "unsigned": pa.array([2**64 - 1, 0], pa.uint64()),
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("place", ["text", "label", "id", "question", "options", "answers", "extra"])
def test_columns_of_every_type_in_every_place(tmp_path: Path, kind: str, place: str) -> None:
    columns = {"text": pa.array(["a", "b"]), "label": pa.array([0, 1])}
    if place in ("question", "options", "answers"):
        columns = {
            "question": pa.array(["a", "b"]),
            "context": pa.array(["a", "b"]),
            "options": pa.array([["x", "y"]] * 2),
            "answer": pa.array([0, 1]),
        }
    pq.write_table(pa.table({**columns, place: COLUMNS[kind]}), tmp_path / "a.parquet")
    assert survives(tmp_path / "a.parquet")


@pytest.mark.parametrize("features", [b"{", b'{"info": 5}', b'{"info": {"features": {"text": {"_type": "Nope"}}}}'])
def test_features_that_cannot_be_read_are_passed_over(tmp_path: Path, features: bytes) -> None:
    table = pa.table({"text": ["a", "b"], "label": [0, 1]}).replace_schema_metadata({b"huggingface": features})
    pq.write_table(table, tmp_path / "a.parquet")
    assert survives(tmp_path / "a.parquet") == "examples"
    assert any("are ignored" in note for note in load(tmp_path / "a.parquet").notes)


def test_parquet_that_unpacks_to_too_many_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows share one text of 10,000 letters: 10 GB in a small file."""
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000, pa.int32()), pa.array(["a" * 10_000]))
    pq.write_table(pa.table({"text": shared, "label": pa.array([0, 1] * 500_000)}), tmp_path / "shared.parquet")
    assert (tmp_path / "shared.parquet").stat().st_size < 1_000_000
    monkeypatch.setattr(limits, "MAX_BYTES", 1 << 30)
    assert "bytes when unpacked" in survives(tmp_path / "shared.parquet")
    pq.write_table(
        pa.table({"text": ["a" * 1000] * 1000, "label": [0, 1] * 500}), tmp_path / "plain.parquet", compression="zstd", use_dictionary=False
    )
    monkeypatch.setattr(limits, "MAX_BYTES", 100_000)
    assert "bytes when unpacked" in survives(tmp_path / "plain.parquet")
    monkeypatch.setattr(limits, "MAX_ROWS", 100)
    assert "1,000 rows" in survives(tmp_path / "plain.parquet")


# -- made by chance -----------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=()), max_size=20) | st.sampled_from(
    ["", " ", "A", "B", "0", "1", "-1", "_", "²", "a\0", "=1+1", "<script>"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    "text",
    "label",
    "id",
    "premise",
    "hypothesis",
    "question",
    "context",
    "options",
    "choices",
    "answer",
    "answers",
    "ending0",
    "ending1",
)
ANSWERS = st.fixed_dictionaries({"text": st.lists(TEXTS, max_size=2), "answer_start": st.lists(st.integers(-5, 30), max_size=2)})
LIKELY = {"options": st.lists(TEXTS, max_size=4), "answers": ANSWERS | st.lists(ANSWERS, max_size=2), "label": st.integers(-1, 3) | TEXTS}
ROWS = st.lists(
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)
    | st.fixed_dictionaries({name: LIKELY.get(name, TEXTS) for name in ("text", "label")})
    | st.fixed_dictionaries({name: LIKELY.get(name, TEXTS) for name in ("question", "context", "answers")})
    | st.fixed_dictionaries({name: LIKELY.get(name, TEXTS) for name in ("question", "options", "answer")}),
    max_size=6,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@fuzzed
@given(rows=ROWS)
def test_any_rows_as_json_lines(folder: Path, rows: list[dict[str, Any]]) -> None:
    path = folder / "a.jsonl"
    path.write_bytes("".join(json.dumps(row) + "\n" for row in rows).encode())
    assert survives(path)


@fuzzed
@given(value=VALUES | ROWS | st.fixed_dictionaries({"data": ROWS}))
def test_any_json(folder: Path, value: Any) -> None:
    path = folder / "a.json"
    path.write_text(json.dumps(value))
    assert survives(path)


@fuzzed
@given(suffix=st.sampled_from(sorted(readers.FILES)), content=st.binary(max_size=300))
def test_any_bytes(folder: Path, suffix: str, content: bytes) -> None:
    path = folder / f"b{suffix}"
    path.write_bytes(content)
    assert survives(path)


@fuzzed
@given(suffix=st.sampled_from([".csv", ".tsv"]), content=st.text(st.sampled_from('ab1,;\t\n\r" \0é'), max_size=60))
def test_any_delimited_text(folder: Path, suffix: str, content: str) -> None:
    path = folder / f"c{suffix}"
    path.write_bytes(("text,label\n" if suffix == ".csv" else "text\tlabel\n").encode() + content.encode())
    assert survives(path)


def _whole_files(folder: Path) -> dict[str, bytes]:
    rows = [{"text": f"text {i}", "label": i % 2, "more": {"a": [i]}} for i in range(50)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "whole.parquet")
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    table = b"text,label\n" + b"".join(b'"text %d",%d\n' % (i, i % 2) for i in range(50))
    return {".parquet": (folder / "whole.parquet").read_bytes(), ".jsonl": lines, ".json": json.dumps(rows).encode(), ".csv": table}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json", ".csv"])
@pytest.mark.parametrize("damage", ["cut", "flip", "swap"])
def test_whole_files_damaged(folder: Path, suffix: str, damage: str) -> None:
    whole = _whole_files(folder)[suffix]
    damages: dict[str, Callable[[random.Random, bytearray], bytearray]] = {"cut": _cut, "flip": _flip, "swap": _swap}
    for seed in range(max(20, INPUTS // 4)):
        path = folder / f"d{suffix}"
        path.write_bytes(damages[damage](random.Random(seed), bytearray(whole)))
        assert survives(path)


def _cut(draw: random.Random, content: bytearray) -> bytearray:
    return content[: draw.randrange(len(content))]


def _flip(draw: random.Random, content: bytearray) -> bytearray:
    for _ in range(draw.choice([1, 3, 20])):
        content[draw.randrange(len(content))] = draw.randrange(256)
    return content


def _swap(draw: random.Random, content: bytearray) -> bytearray:
    start, end = sorted(draw.sample(range(len(content)), 2))
    return content[:start] + content[end:] + content[start:end]
