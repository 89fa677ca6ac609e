"""An export replaces what an earlier export wrote, and nothing else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from pruning.errors import ExportError, UsageError
from pruning.experiment import Experiment
from pruning.export import target, writer
from tests.support.subsets import some


def everything(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def assert_refused(experiment: Experiment, output: Path, says: str, format: str = "jsonl", watched: Path | None = None) -> None:
    """Assert that exporting there is refused, with --force too, and changes no file."""
    before = everything(watched or output.parent)
    for force in (True, False):
        with pytest.raises((ExportError, UsageError), match=says):
            writer.build(experiment, some(experiment), output, format, force=force)
    assert everything(watched or output.parent) == before


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet", "hf", "cartography"])
def test_a_file_or_folder_of_somebody_else_is_never_replaced(scored: Experiment, tmp_path: Path, format: str) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    for name in ("folder", "file", "link", "gone", "empty"):
        assert_refused(
            scored, tmp_path / name, "not written by an export|exists; choose another|is a folder; name a file", format, tmp_path
        )
    assert (tmp_path / "gone").is_symlink() and (tmp_path / "empty").is_dir()


@pytest.mark.parametrize("format", ["jsonl", "hf"])
def test_an_export_that_was_changed_is_not_replaced(scored: Experiment, tmp_path: Path, format: str) -> None:
    output = tmp_path / "out"
    writer.build(scored, some(scored), output, format)
    if format == "hf":
        (output / "notes.txt").write_text("mine")
        assert_refused(scored, output, "holds notes.txt, which no export wrote|exists", format)
        (output / "notes.txt").unlink()
        (output / "kept").mkdir()
        assert_refused(scored, output, "holds kept, which no export wrote|exists", format)
        (output / "kept").rmdir()
    else:
        content = output.read_bytes()
        output.write_bytes(content + b"{}")
        assert_refused(scored, output, "was changed since it was exported|exists", format)
        output.write_bytes(content)
    writer.build(scored, some(scored, slice(0, None, 4)), output, format, force=True)
    assert writer.verify(output)["output"]["rows"] == 30


def test_an_export_never_overwrites_a_file_of_an_experiment(scored: Experiment, tmp_path: Path) -> None:
    root = scored.folder.root
    (tmp_path / "way").symlink_to(root)
    for name in ("", "views.jsonl", "source.jsonl", "new.jsonl", "dynamics", "exports", "exports/../events.jsonl", "dynamics/run=0/x"):
        for format in ("jsonl", "hf"):
            assert_refused(scored, root / name, "part of the experiment|exists|names jsonl by its ending", format, root)
    assert_refused(scored, tmp_path / "way" / "views.jsonl", "part of the experiment", watched=root)
    writer.build(scored, some(scored), root / "exports" / "mine.jsonl")
    assert writer.verify(root / "exports" / "mine.jsonl") and scored.verify()


def test_the_data_is_never_written_over_by_any_of_its_names(scored: Experiment, tmp_path: Path, reviews: tuple[Path, Path]) -> None:
    (tmp_path / "soft.jsonl").symlink_to(reviews[0])
    os.link(reviews[1], tmp_path / "hard.jsonl")
    (tmp_path / "way").symlink_to(reviews[0].parent)
    try:
        for output in (*reviews, tmp_path / "soft.jsonl", tmp_path / "hard.jsonl", tmp_path / "way" / reviews[0].name):
            assert_refused(scored, output, "is the data itself", watched=reviews[0].parent)
    finally:
        (tmp_path / "hard.jsonl").unlink()


def test_a_strange_manifest_is_never_written_over(scored: Experiment, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.manifest.json").write_text('{"name": "my app"}')
    assert_refused(scored, tmp_path / "out.jsonl", "is not the manifest of an earlier export")
    for name in ("manifest.json", "x.manifest.json"):
        assert_refused(scored, tmp_path / name, "a name for manifests")


def test_exports_beside_each_other_are_verified_each_by_its_own_manifest(scored: Experiment, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "exports" / "day", scored.folder.exports / "day"):
        folder.mkdir(parents=True, exist_ok=True)
        names = ("data.jsonl", "data.csv", "other.jsonl")
        for size, name in enumerate(names, 2):
            writer.build(scored, some(scored, slice(0, None, size)), folder / name, "csv" if name.endswith("csv") else "jsonl")
        assert [writer.verify(folder / name)["output"]["rows"] for name in names] == [60, 40, 30]
        assert len(list(folder.glob("*manifest.json"))) == 3
    assert (scored.folder.exports / "day" / "manifest.json").exists() and not (tmp_path / "exports" / "day" / "manifest.json").exists()
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "manifest.json").write_text("{}")
    writer.build(scored, some(scored), tmp_path / "web" / "out.jsonl")
    assert (tmp_path / "web" / "manifest.json").read_text() == "{}"


@pytest.mark.process
def test_what_a_killed_export_left_is_removed_by_the_next_one(scored: Experiment, tmp_path: Path) -> None:
    """Only Winnow's own, and only of a process that is dead: one that is alive keeps its file, and so does any other file."""
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        with target.staged(tmp_path / "out.jsonl") as temporary:
            temporary.write_text("half")
            os.write(done, b"x")
            time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    (left,) = tmp_path.glob(".out.jsonl.*")
    others = [tmp_path / name for name in (".out.jsonl.0123abcd.tmp", ".notes.tmp", f".out.jsonl.{'0' * 8}-1-1.export.tmp")]
    for path in others:
        path.write_text("not ours")
    writer.build(scored, some(scored), tmp_path / "out.jsonl")
    assert left.exists(), "its writer is alive"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    writer.build(scored, some(scored), tmp_path / "out.jsonl", force=True)
    assert not left.exists() and all(path.exists() for path in others)


def test_a_zip_of_somebody_else_is_kept(scored: Experiment, tmp_path: Path) -> None:
    writer.build(scored, some(scored), tmp_path / "data", "hf")
    (tmp_path / "data.zip").write_text("mine")
    with pytest.raises(ExportError, match="not a zip of an export"):
        writer.archive(tmp_path / "data")
    assert (tmp_path / "data.zip").read_text() == "mine"
