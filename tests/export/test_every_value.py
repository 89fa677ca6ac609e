"""Every source format x every export format x awkward values: each value equals the source's, or its column is named and refused."""

import csv
import datetime
import io
import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pruning.errors import ExportError
from pruning.experiment import Experiment
from pruning.interop.recorder import Recorder

pytestmark = pytest.mark.process

NAN, INF = math.nan, math.inf
CHAT = [
    [{"role": "user", "content": "=hi"}],
    [{"role": "user", "content": "weather?"}, {"role": "assistant", "content": None, "tool_calls": [{"name": "look"}]}],
    [],
    [{"role": "user", "content": "bye"}],
]
JSON_VALUES: dict[str, list[Any]] = {
    "decimals": [1.5, 2.0, 1e-7, -0.0],
    "integers": [1, 2**63 - 1, -(2**63), None],
    "big integers": [2**70, 1, -(2**80), 3],
    "rounded": [2**53 + 1, 0.5, 1, 2],
    "exact": [1, 0.5, None, 2],
    "truths": [True, False, None, True],
    "mixed": [1, "two", True, None],
    "ambiguous": [1, "1", 2, "2"],
    "mixed lists": [[1], "a", ["x", {"y": 1}], 2.5],
    "chat": CHAT,
    "same keys": [[{"role": "user", "content": text}] for text in "abcd"],
    "no keys": [{}, {}, {}, {}],
    "lists": [[1, 2], [], None, [3]],
    "nan": [NAN, INF, -INF, 0.5],
    "nested nan": [[NAN], [1.0], [2.0], [3.0]],
    "formulas": ["=1+1", "@user", "- item", "-1"],
    "breaks": ["a\r\nb", 'say "x", y', "\u2028\x1b", "a;=1\tb"],
    "empty": ["", None, " ", "x"],
    "like numbers": ["007", "1.10", "1e5", "nan"],
    "like json": ["[1]", "{}", "null", "true"],
}
TYPED_VALUES: dict[str, tuple[list[Any], pa.DataType | None]] = {
    "decimals": (JSON_VALUES["decimals"], pa.float64()),
    "floats": ([1.5, 0.25, None, 3.0], pa.float32()),
    "integers": (JSON_VALUES["integers"], pa.int64()),
    "unsigned": ([2**64 - 1, 0, 1, 2], pa.uint64()),
    "truths": (JSON_VALUES["truths"], pa.bool_()),
    "nan": (JSON_VALUES["nan"], pa.float64()),
    "bytes": ([b"\xff", b"a", None, b"="], pa.binary()),
    "nested bytes": ([{"b": b"a"}] * 4, pa.struct([("b", pa.binary())])),
    "times": ([datetime.datetime(2024, 2, 29, 1, 2, 3, 4), None] * 2, pa.timestamp("us")),
    "dates": ([datetime.date(2024, 2, 29)] * 4, pa.date32()),
    "durations": ([datetime.timedelta(seconds=1)] * 4, pa.duration("us")),
    "exact decimals": ([Decimal("1.50"), Decimal("0.10"), None, Decimal("2.00")], pa.decimal128(10, 2)),
    "lists": (JSON_VALUES["lists"], pa.list_(pa.int32())),
    "fixed lists": ([[1, 2], [3, 4], [5, 6], [7, 8]], pa.list_(pa.int64(), 2)),
    "categories": (["a", "b", "a", None], pa.dictionary(pa.int32(), pa.string())),
    "large texts": (["=1+1", "", None, "x"], pa.large_string()),
    "same keys": (JSON_VALUES["same keys"], None),
    "null keys": ([[{"role": "user", "tool_calls": None}]] * 3 + [[{"role": "user", "tool_calls": ["x"]}]], None),
}
CELLS: dict[str, list[str]] = {
    "decimals": ["1.50", "2.00", "0.25", "-1.00"],
    "uneven": ["1.5", "1.50", "2", "007"],
    "integers": ["1", "9223372036854775807", "99999999999999999999", "-0"],
    "plain": ["1", "2", "", "-3"],
    "formulas": JSON_VALUES["formulas"],
    "breaks": ['say "x", y', "a\nb", " x ", "\u2028"],
    "empty": ["", "a", "", "b"],
    "words": ["nan", "None", "true", "1e5"],
}
CLASSES = datasets.ClassLabel(names=["no", "yes"])
FORMATS = ("jsonl", "csv", "parquet", "hf")

REFUSED = {
    ("json", "big integers"): {"parquet", "hf"},
    ("json", "rounded"): {"parquet", "hf"},
    ("json", "mixed"): {"parquet", "hf"},
    ("json", "ambiguous"): {"csv", "parquet", "hf"},
    ("json", "mixed lists"): {"parquet", "hf"},
    ("json", "chat"): {"parquet", "hf"},
    ("json", "no keys"): {"parquet", "hf"},
    ("json", "nested nan"): {"csv"},
    ("typed", "nan"): {"jsonl"},
    ("typed", "bytes"): {"jsonl", "csv"},
    ("typed", "nested bytes"): {"jsonl", "csv"},
    ("typed", "durations"): {"jsonl", "csv"},
}
"""(kind of source, values) -> the formats that cannot hold them; every other pair is written."""

CASES = [
    *((source, values) for source in ("jsonl", "json") for values in JSON_VALUES),
    *((source, values) for source in ("parquet", "hf") for values in (*TYPED_VALUES, "classes")),
    *((source, values) for source in ("csv", "tsv") for values in CELLS),
]
KIND = {"jsonl": "json", "json": "json", "parquet": "typed", "hf": "typed", "csv": "cells", "tsv": "cells"}


def table(values: str) -> datasets.Dataset | pa.Table:
    given, kind = ([0, 1, 1, 0], None) if values == "classes" else TYPED_VALUES[values]
    columns = {"text": pa.array([f"film {word}" for word in "abcd"]), "label": pa.array(["no", "yes"] * 2), "odd": pa.array(given, kind)}
    return pa.table(columns)


def written_source(folder: Path, source: str, values: str) -> tuple[Path, list[Any]]:
    """Return a source of four rows in which the column `odd` has the values, and those values."""
    path = folder / f"data.{source}"
    if KIND[source] == "json":
        rows = [{"text": f"film {word}", "label": "ab"[place % 2], "odd": JSON_VALUES[values][place]} for place, word in enumerate("abcd")]
        path.write_text(json.dumps(rows) if source == "json" else "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path, JSON_VALUES[values]
    if KIND[source] == "cells":
        cells = [cell.replace("\t", " ").replace("\n", " " if source == "tsv" else "\n") for cell in CELLS[values]]
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="," if source == "csv" else "\t")
            writer.writerows([["text", "label", "odd"], *([f"film {word}", "ab"[i % 2], cells[i]] for i, word in enumerate("abcd"))])
        return path, cells
    rows_table = table(values)
    if source == "hf" or values == "classes":
        dataset = datasets.Dataset(rows_table)
        dataset = dataset.cast_column("odd", CLASSES) if values == "classes" else dataset
        if source == "hf":
            dataset.save_to_disk(str(folder / "hf"))
            return folder / "hf", rows_table["odd"].to_pylist()
        dataset.to_parquet(str(path))
    else:
        pq.write_table(rows_table, path)
    return path, rows_table["odd"].to_pylist()


def recorded(folder: Path, data: Path) -> Experiment:
    recorder = Recorder(folder / "x", data, evaluation=data, epochs=1, runs=2)
    for seed in recorder.seeds:
        recorder.run(seed).add(np.arange(len(recorder.labels)), 4 * np.eye(2)[recorder.labels])
    return Experiment(folder / "x")


def cells_of(content: str) -> list[str | None]:
    """Return the last column of a CSV text of one-line records, an empty cell without quotes as None."""
    rows = list(csv.reader(io.StringIO(content, newline=""), strict=True))
    assert rows[0] == ["text", "label", "odd"]
    found: list[str | None] = [row[2] for row in rows[1:]]
    if all(cell is None or not set("\r\n") & set(cell) for cell in found):
        for place, line in enumerate(content.split("\r\n")[1:-1]):
            if line.endswith(","):
                found[place] = None
    return found


def same(expected: Any, found: Any) -> bool:
    """Equal in type and value; NaN equals NaN, and a whole number the decimal of the same value."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and expected.keys() == found.keys() and all(same(expected[key], found[key]) for key in expected)
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) == len(found) and all(map(same, expected, found))
    if isinstance(expected, float) and math.isnan(expected):
        return isinstance(found, float) and math.isnan(found)
    return isinstance(expected, bool) == isinstance(found, bool) and expected == found


def as_json(value: Any) -> Any:
    """Return a value as JSON has it."""
    return value.isoformat() if isinstance(value, datetime.date) else str(value) if isinstance(value, Decimal) else value


def as_cell(value: Any) -> Callable[[str | None], bool]:
    """Return the test of a cell for a value."""
    if value is None:
        return lambda cell: cell is None
    if isinstance(value, str | datetime.date | Decimal):
        return lambda cell: cell == as_json(value)
    if isinstance(value, float):
        return lambda cell: cell is not None and same(value, float(cell)) and math.copysign(1, value) == math.copysign(1, float(cell))
    return lambda cell: cell is not None and same(value, json.loads(cell))


def number(cell: str, kind: str) -> Any:
    """Return the value that a typed format has for a cell of CSV: a number only where its digits can be reproduced from it."""
    if kind == "decimals":
        return float(cell)
    return (int(cell) if cell else None) if kind == "plain" else cell


@pytest.mark.parametrize(("source", "values"), CASES)
def test_every_value_is_the_sources_or_its_column_is_refused(tmp_path: Path, source: str, values: str) -> None:
    data, expected = written_source(tmp_path, source, values)
    experiment = recorded(tmp_path, data)
    refused = REFUSED.get((KIND[source], values), set())
    as_typed = [number(cell, values) for cell in expected] if KIND[source] == "cells" else expected
    for format in FORMATS:
        output = tmp_path / f"out-{format}"
        if format in refused:
            with pytest.raises(ExportError, match=r"Column 'odd'.* cannot be written as") as caught:
                experiment.export("full", output, format)
            assert "export it as" in str(caught.value)
            assert not output.exists()
            continue
        experiment.export("full", output, format)
        if format == "jsonl":
            lines = output.read_text(encoding="utf-8").split("\n")[:-1]
            assert same([as_json(value) for value in as_typed], [json.loads(line)["odd"] for line in lines])
        elif format == "csv":
            cells = cells_of(output.read_bytes().decode())
            if KIND[source] == "cells":
                assert [cell or "" for cell in cells] == expected
            else:
                assert [test(cell) for test, cell in zip(map(as_cell, expected), cells, strict=True)] == [True] * 4, cells
        elif format == "parquet":
            assert same(as_typed, pq.read_table(output)["odd"].to_pylist())
        else:
            loaded = datasets.load_from_disk(str(output))
            assert same(as_typed, loaded.with_format("arrow")[:]["odd"].to_pylist())


@pytest.mark.parametrize("source", ["parquet", "hf"])
def test_declared_classes_survive(tmp_path: Path, source: str) -> None:
    data, _ = written_source(tmp_path, source, "classes")
    experiment = recorded(tmp_path, data)
    experiment.export("full", tmp_path / "out.parquet")
    experiment.export("full", tmp_path / "folder", "hf")
    assert datasets.load_from_disk(str(tmp_path / "folder")).features["odd"] == CLASSES
    assert datasets.Dataset.from_parquet(str(tmp_path / "out.parquet"), cache_dir=str(tmp_path / "cache")).features["odd"] == CLASSES


def test_the_digits_of_a_number_are_kept_from_json_to_csv(tmp_path: Path) -> None:
    """1.50 is 1.50, and what no float holds is neither rounded nor lost; Parquet, which would lose it, names the column."""
    digits = ["1.50", "0.10000000000000000001", "1e999", "NaN"]
    rows = [f'{{"text": "film {word}", "label": "{"ab"[i % 2]}", "odd": {digits[i]}}}\n' for i, word in enumerate("abcd")]
    (tmp_path / "data.jsonl").write_text("".join(rows))
    experiment = recorded(tmp_path, tmp_path / "data.jsonl")
    experiment.export("full", tmp_path / "out.csv")
    cells = cells_of((tmp_path / "out.csv").read_bytes().decode())
    assert [None if cell is None else Decimal(cell) for cell in cells[:3]] == [Decimal(text) for text in digits[:3]]
    assert cells[0] == "1.50" and cells[3] == "NaN"
    with pytest.raises(ExportError, match=r"Column 'odd' \(example 2\) cannot be written as parquet: 1E\+999 would become inf"):
        experiment.export("full", tmp_path / "out.parquet")


def test_the_refusal_of_new_keys_names_the_key(tmp_path: Path) -> None:
    data, _ = written_source(tmp_path, "jsonl", "chat")
    with pytest.raises(ExportError, match=r"Column 'odd' \(example 0\) .* objects without 'tool_calls' would get it as null"):
        recorded(tmp_path, data).export("full", tmp_path / "out.parquet")
