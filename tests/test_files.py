"""Files appear whole or not at all, whatever goes wrong in between."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pruning import files
from pruning.errors import ExperimentError
from pruning.files import append_line, atomic_write, sha256, write_json, write_text


def test_a_failed_block_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        raise ZeroDivisionError
    assert [file.name for file in tmp_path.iterdir()] == ["kept.txt"]
    assert path.read_text() == "old"


def test_parents_are_made_and_text_is_utf8_with_plain_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_text(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with atomic_write(tmp_path / "folder") as temporary:
            write_text(temporary / content, content)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["folder", "folder/two"]


def test_json_is_readable_and_keeps_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "né", "list": [1]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "name": "né",\n  "list": [\n    1\n  ]\n}\n'


@pytest.mark.parametrize("step", ["_sync_tree", "_replace"])
def test_a_failure_at_any_step_leaves_the_old_file(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.txt"
    write_text(path, "old")

    def fail(*paths: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, step, fail)
    with pytest.raises(ExperimentError, match=r"kept\.txt could not be written: input/output error"):
        write_text(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["kept.txt"]
    assert path.read_text() == "old"


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    write_text(path, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(ExperimentError, match=r"kept\.txt could not be written: file too large"):
            write_text(path, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["kept.txt"]


def test_a_parent_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    with pytest.raises(ExperimentError, match="could not be written"):
        write_text(tmp_path / "file" / "below.txt", "")
    with pytest.raises(ExperimentError, match="could not be written"):
        append_line(tmp_path / "file" / "below.txt", "")


def test_lines_of_many_writers_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: append_line(path, str(number) * 500), range(40)))
    assert sorted(path.read_text().splitlines()) == sorted(str(number) * 500 for number in range(40))


def test_a_line_cut_short_by_a_crash_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"a": 1}\n{"b"')
    append_line(path, '{"c": 3}')
    assert path.read_text() == '{"a": 1}\n{"b"\n{"c": 3}\n'


def test_a_line_with_a_break_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one line"):
        append_line(tmp_path / "events.jsonl", "a\nb")


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_relative_path_with_a_colon_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pyarrow takes a relative path such as "a:b/c" for the address of a file system."""
    monkeypatch.chdir(tmp_path)
    with atomic_write(Path("a:b") / "c.parquet") as temporary:
        pq.write_table(pa.table({"id": [1, 2]}), temporary)
    assert pq.ParquetFile(Path("a:b") / "c.parquet").read()["id"].to_pylist() == [1, 2]
