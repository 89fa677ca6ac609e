"""Every way to name data, and files that are not what their names say."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pruning.data import readers
from pruning.data.examples import load, load_pair
from pruning.errors import DataError, ExperimentError
from pruning.experiment import Experiment
from pruning.files import sha256
from pruning.settings import Settings
from pruning.store import checksums
from tests.support.sources import ROWS, _csv, _json, _parquet, write_jsonl

Pack = Callable[[bytes], bytes]


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.jsonl", content)
    return packed.getvalue()


def zstandard(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


PACKED: dict[str, Pack] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard, ".zip": zipped}


@pytest.mark.parametrize("ending", PACKED)
def test_compressed_files_are_read_and_their_lines_copied(tmp_path: Path, ending: str) -> None:
    plain = write_jsonl(tmp_path / "a.jsonl", ROWS)
    packed = tmp_path / f"b.jsonl{ending}"
    packed.write_bytes(PACKED[ending](plain.read_bytes()))
    examples = load(packed)
    assert examples.fingerprint == load(plain).fingerprint and examples.origin is not None
    examples.origin.write_lines(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == plain.read_bytes()
    assert examples.origin.sha256 == sha256(packed)
    packed.write_bytes(PACKED[ending](plain.read_bytes())[:-9])
    with pytest.raises(DataError, match=r"b\.jsonl\.\w+ cannot be unpacked"):
        load(packed)


def test_what_a_compressed_file_unpacks_to_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b" " * 3_000_000))
    monkeypatch.setattr("pruning.data.readers.limits.MAX_BYTES", 1_000_000)
    with pytest.raises(DataError, match="more than 1,000,000 bytes when unpacked"):
        load(path)


@pytest.mark.parametrize("name", ["part.jsonl", "part.ndjson", "part.json", "part.csv", "part.parquet", "part.jsonl.gz"])
def test_shards_are_one_source_whichever_way_they_are_named(tmp_path: Path, name: str) -> None:
    stem, _, ending = name.partition(".")
    folder = tmp_path / "shards"
    folder.mkdir()
    for place, rows in enumerate((ROWS[:2], ROWS[2:])):
        path = folder / f"{stem}-{place}.{ending}"
        if ending == "csv":
            _csv(path, rows)
        elif ending == "parquet":
            _parquet(path, rows)
        elif ending == "json":
            _json(path, rows)
        else:
            write_jsonl(path, rows)
        if ending.endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
    both = ",".join(str(path) for path in sorted(folder.iterdir()))
    expected = load(write_jsonl(tmp_path / "all.jsonl", ROWS)).fingerprint
    for data in (folder, f"{folder}/*", f"{folder}/part-?.{ending}", both):
        examples = load(data)
        assert examples.fingerprint == expected and len(examples) == 4
    if not ending.startswith(("csv", "parquet")):
        assert examples.origin is not None
        examples.origin.write_lines(tmp_path / "copy")
        assert [json.loads(line) for line in (tmp_path / "copy").read_text().splitlines()] == ROWS


def test_shards_without_a_last_line_break_do_not_run_together(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a", "label": 1}')
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "b", "label": 0}\n\n{"text": "c", "label": "x"}')
    with pytest.raises(DataError, match=r"b\.jsonl line 3\) and|b\.jsonl line 3"):
        load(f"{tmp_path}/*.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "b", "label": 0}\n')
    examples = load(f"{tmp_path}/*.jsonl")
    assert examples.origin is not None
    examples.origin.write_lines(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b'\xef\xbb\xbf{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n'


def test_a_folder_as_the_hub_has_them_brings_its_validation_split(tmp_path: Path) -> None:
    for name, rows in (("train-00000-of-00002", ROWS[:2]), ("train-00001-of-00002", ROWS[2:]), ("validation-00000-of-00001", ROWS[:2])):
        (tmp_path / "data").mkdir(exist_ok=True)
        _parquet(tmp_path / "data" / f"{name}.parquet", rows)
    (tmp_path / "README.md").write_text("# A data set")
    train, evaluation = load_pair(Settings(data=str(tmp_path)))
    assert len(train) == 4 and len(evaluation) == 2 and "comes with the training data" in evaluation.notes[-1]
    assert len(load(f"{tmp_path}#validation")) == 2


def test_standard_input_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (write_jsonl(tmp_path / "a.jsonl", ROWS), _csv(tmp_path / "a.csv", ROWS), _parquet(tmp_path / "a.parquet", ROWS)):
        for content in (path.read_bytes(), gzip.compress(path.read_bytes())):
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
            examples = load("-")
            assert examples.fingerprint == load(path).fingerprint and examples.source == "-"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(DataError, match="Standard input is empty"):
        load("-")
    monkeypatch.setenv("WINNOW_ROOTS", str(tmp_path))
    with pytest.raises(DataError, match="does not read standard input"):
        load("-")


def test_json_of_other_layouts_in_a_jsonl_file_is_read(tmp_path: Path) -> None:
    expected = load(write_jsonl(tmp_path / "a.jsonl", ROWS)).fingerprint
    for text in (json.dumps(ROWS, indent=1), json.dumps(ROWS), "".join(json.dumps(row, indent=2) + "\n" for row in ROWS)):
        (tmp_path / "b.jsonl").write_text(text)
        examples = load(tmp_path / "b.jsonl")
        assert examples.fingerprint == expected and any("is one JSON document, not JSON lines" in note for note in examples.notes)
        assert examples.origin is not None
        examples.origin.write_lines(tmp_path / "copy")
        assert [json.loads(line) for line in (tmp_path / "copy").read_text().splitlines()] == ROWS


@pytest.mark.parametrize(("delimiter", "words"), [("\t", "tabs"), ("|", "vertical bars"), (";", "semicolons")])
def test_another_delimiter_in_a_csv_file_is_found_and_reported(tmp_path: Path, delimiter: str, words: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"text{delimiter}label\na, b, c{delimiter}1\nd{delimiter}0\n")
    examples = load(path)
    assert examples.table["text"].to_pylist() == ["a, b, c", "d"]
    assert any(f"separated by {words}" in note for note in examples.notes)


HEADERLESS = [
    "a great film,1\na dull film,0\nslow,0\n",
    "fine,positive\n" + "".join(f"good {i},positive\nbad {i},negative\n" for i in range(3)),
]


@pytest.mark.parametrize("content", HEADERLESS)
def test_a_csv_without_a_header_loses_no_row(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=r"first line of .*a\.csv looks like data.*--no-header.*--header"):
        load(path)
    examples = load(path, header=False, columns={"text": "column 1", "label": "column 2"})
    assert len(examples) == content.count("\n") and examples.columns == {"text": "column 1", "label": "column 2"}
    names = content.splitlines()[0].split(",")
    assert len(load(path, header=True, columns={"text": names[0], "label": names[1]})) == len(examples) - 1


@pytest.mark.parametrize("header", ["text,label", "0,1", "sentence,2024 label", ",text,label"])
def test_a_csv_header_is_not_read_as_a_row(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.csv"
    rows = ["x,1", "y,0", "z,1", "w,0"]
    path.write_text("\n".join([header, *(f"{i},{row}" if header.startswith(",") else row for i, row in enumerate(rows))]) + "\n")
    names = header.split(",")
    assert len(load(path, columns={"text": names[-2], "label": names[-1]})) == 4


def test_one_number_among_texts_is_named_and_can_be_dropped(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": f"t{i}", "label": i % 2} for i in range(6)]
    path = write_jsonl(tmp_path / "a.jsonl", [*rows[:3], {"text": 7, "label": 0}, *rows[3:]])
    with pytest.raises(
        DataError, match=r"a\.jsonl line 4 has 7 in 'text', which holds text elsewhere; fix the row, or skip.*--drop-invalid"
    ):
        load(path)
    examples = load(path, drop_invalid=True)
    assert examples.dropped == 1 and examples.table["text"].to_pylist() == [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("ids", "why", "ending"),
    [
        (ids, why, ending)
        for ids, why in (([5, 5, 6, 7], "gives the id 5 twice"), ([2**63, 1, 2, 3], "2^63"), ([2**70, 1, 2, 3], "2^63"))
        for ending in (".jsonl", ".json", ".parquet")
        if ending != ".parquet" or ids[0] < 2**64  # Parquet has no larger integers
    ],
)
def test_ids_that_cannot_be_used_give_way_to_row_numbers_with_a_note(tmp_path: Path, ids: list[int], why: str, ending: str) -> None:
    rows = [{**row, "id": number, "key": 10 * i} for i, (row, number) in enumerate(zip(ROWS, ids, strict=True))]
    path = tmp_path / f"a{ending}"
    if ending == ".parquet":
        kind = pa.uint64() if ids[0] >= 2**63 else pa.int64()
        pq.write_table(pa.table({**{name: [row[name] for row in rows] for name in ROWS[0]}, "id": pa.array(ids, kind)}), path)
    elif ending == ".json":
        _json(path, rows)
    else:
        write_jsonl(path, rows)
    examples = load(path)
    assert examples.ids.tolist() == [0, 1, 2, 3]
    assert any("Ids are row numbers from 0" in note and why in note and "--id COLUMN" in note for note in examples.notes)
    if ending != ".parquet":
        assert load_pair(Settings(data=str(path), evaluation=str(path), id_column="key"))[0].ids.tolist() == [0, 10, 20, 30]
    with pytest.raises(DataError, match=r"twice|2\^63"):
        load(path, id_column="id")


# -- the data file replaced meanwhile ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
def test_a_file_replaced_while_it_is_read_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    write = {"a.jsonl": write_jsonl, "a.json": _json, "a.csv": _csv, "a.parquet": _parquet}[ending]
    path, other = write(tmp_path / ending, ROWS), write(tmp_path / f"b{ending}", ROWS[::-1])
    real = readers.FILES[path.suffix]

    def slow(found: Any, header: Any) -> Any:
        source = real(found, header)
        other.replace(path)
        return source

    monkeypatch.setitem(readers.FILES, path.suffix, slow)
    with pytest.raises(DataError, match="changed while it was read"):
        load(path)


@pytest.mark.parametrize("ending", ["a.jsonl", "a.json"])
def test_a_file_replaced_between_reading_and_copying_is_noticed(tmp_path: Path, ending: str) -> None:
    write = write_jsonl if ending == "a.jsonl" else _json
    settings = Settings(data=str(write(tmp_path / ending, ROWS)), evaluation=str(write(tmp_path / "e.jsonl", ROWS)), model="")
    train, evaluation = load_pair(settings)
    write(tmp_path / ending, [{**row, "year": 1} for row in ROWS])
    with pytest.raises(DataError, match="changed while it was read"):
        Experiment.create(tmp_path / "x", settings, train, evaluation, "")
    assert not (tmp_path / "x" / "source.jsonl").exists()


@pytest.mark.parametrize("name", ["source.jsonl", "examples.parquet", "evaluation.parquet"])
def test_lost_data_is_restored_from_the_very_same_file_only(tmp_path: Path, name: str) -> None:
    """The fingerprint leaves columns out that no training sees, so that the file's own checksum decides."""
    settings = Settings(
        data=str(write_jsonl(tmp_path / "a.jsonl", ROWS)), evaluation=str(write_jsonl(tmp_path / "e.jsonl", ROWS)), model=""
    )
    experiment = Experiment.create(tmp_path / "x", settings, *load_pair(settings), "")
    (tmp_path / "x" / name).unlink()
    changed = tmp_path / ("e.jsonl" if name.startswith("evaluation") else "a.jsonl")
    write_jsonl(changed, [{**row, "year": 1} for row in ROWS])
    with pytest.raises(ExperimentError, match=rf"{changed.name} is not the file that .*x was made from .*restore the original"):
        Experiment.create(tmp_path / "x", settings, *load_pair(settings), "")
    assert not (tmp_path / "x" / name).exists()
    write_jsonl(changed, ROWS)
    Experiment.create(tmp_path / "x", settings, *load_pair(settings), "")
    assert not checksums.damaged(experiment.folder, experiment.folder.of_data)


@pytest.mark.parametrize("stream", [True, False])
def test_an_arrow_file_is_read_with_its_classes(tmp_path: Path, stream: bool) -> None:
    """In the format that `datasets` writes and in Feather's, alone, from standard input or as shards; a cut-off one is refused."""
    import datasets

    data = datasets.Dataset.from_dict({"text": ["a good film", "dull"] * 3, "label": [1, 0] * 3})
    table = data.cast_column("label", datasets.ClassLabel(names=["no", "yes"])).with_format("arrow")[:]
    for part in ("a", "b"):
        path = str(tmp_path / f"{part}.arrow")
        with pa.OSFile(path, "wb") as file, (pa.ipc.new_stream if stream else pa.ipc.new_file)(file, table.schema) as writer:
            writer.write_table(table)
    assert load(tmp_path / "a.arrow").label_counts() == {"no": 3, "yes": 3}
    assert len(load(tmp_path)) == 12
    whole = (tmp_path / "a.arrow").read_bytes()
    (tmp_path / "a.arrow").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.arrow is not a whole Arrow file"):
        load(tmp_path / "a.arrow")
    if not stream:
        (tmp_path / "b.arrow").rename(tmp_path / "b.csv")
        with pytest.raises(DataError, match=r"b\.csv is actually an Arrow file; rename it to .*b\.arrow"):
            load(tmp_path / "b.csv")
