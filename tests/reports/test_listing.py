"""The list of experiments: read once, kept on disk, and never a wait."""

import json
import os
from pathlib import Path

import pytest

from pruning.experiment import Experiment, list_experiments
from pruning.records import JobState
from pruning.reports import listing
from pruning.reports.listing import FILE, Listing


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the folders that are read from now on."""
    read: list[str] = []
    row = listing._row
    monkeypatch.setattr(listing, "_row", lambda folder: (read.append(folder.name), row(folder))[1])
    return read


def test_a_row_is_read_again_only_when_its_files_change(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process and in the next one."""
    root, read = scored.folder.root.parent, reads(monkeypatch)
    folders = list_experiments(root)
    first = Listing(root)
    [row] = first.rows(folders)
    assert row["experiment"] == "reviews" and row["runs"] == 1 and sum(row["difficulty"]) == row["examples"] == len(scored.ids)
    assert first.rows(folders) == Listing(root).rows(folders) == [row] and read == ["reviews"]
    scored.log("note", message="something happened")
    assert first.rows(folders) == [row] and read == ["reviews"] * 2
    os.utime(scored.folder.manifest, ns=(1, 1))
    Listing(root).rows(folders)
    assert read == ["reviews"] * 3


def test_experiments_not_read_in_time_are_marked_and_read_next(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root.parent
    for number in range(3):
        (root / f"broken-{number}").mkdir()
        (root / f"broken-{number}" / "experiment.json").write_text("{")
    folders, shown = sorted(list_experiments(root), key=lambda folder: folder.name != "reviews"), Listing(root)
    later = [row["latest job"] for row in shown.rows(folders, seconds=0)]
    assert "not read yet" not in str(later[0]) and all("not read yet" in str(job) for job in later[1:])
    again = [str(row["latest job"]) for row in shown.rows(folders, seconds=60)]
    assert again[0] == later[0] and all("cannot be read" in job for job in again[1:])


@pytest.mark.parametrize("content", ["{", "[]", '{"reviews": 1}', '{"reviews": [["a"], {}]}', "null"])
def test_a_damaged_list_is_made_again(scored: Experiment, content: str) -> None:
    root = scored.folder.root.parent
    (root / FILE).write_text(content)
    [row] = Listing(root).rows(list_experiments(root))
    assert row["experiment"] == "reviews"
    assert json.loads((root / FILE).read_text())["reviews"][1] == row


def test_a_job_under_way_is_read_each_time(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker may die without changing a file."""
    root, read = scored.folder.root.parent, reads(monkeypatch)
    monkeypatch.setattr(JobState, "under_way", property(lambda state: True))
    shown = Listing(root)
    for _ in range(2):
        shown.rows(list_experiments(root))
    assert read == ["reviews"] * 2 and json.loads(Path(root / FILE).read_text()) == {}
