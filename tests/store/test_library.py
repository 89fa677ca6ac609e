import errno
import hashlib
import io
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from pruning.errors import BusyError, DataError, ExperimentError, UsageError
from pruning.experiment import Experiment, list_experiments
from pruning.export.writer import verify
from pruning.records import DecisionKind
from pruning.store import library
from pruning.store.lock import own
from pruning.subsets.decisions import Decision
from tests.support.frontiers import measure


def test_a_renamed_experiment_keeps_its_scores(scored: Experiment) -> None:
    root, before = scored.folder.root.parent, scored.h_score()
    library.rename(root, "reviews", "films")
    assert [path.name for path in list_experiments(root)] == ["films"]
    assert (Experiment(root / "films").h_score() == before).all()


def test_a_copy_has_everything_except_the_files_of_a_worker(scored: Experiment) -> None:
    root, folder = scored.folder.root.parent, scored.folder
    scored.decide(drop := Decision(kind=DecisionKind.DROP, ids=(3, 7)))
    scored.export("full", folder.exports / "all" / "data.jsonl")
    measure(scored)
    folder.checkpoint("run 0").parent.mkdir(exist_ok=True)
    for path in (folder.checkpoint("run 0"), folder.job_log("a.log"), folder.lock, folder.root / ".experiment.json.0a1b2c3d.tmp"):
        path.write_bytes(b"of a worker")
    made = Experiment(library.duplicate(root, "reviews", "films"))
    assert made.verify() == scored.verify() > 10
    assert (made.h_score() == scored.h_score()).all() and made.settings == scored.settings
    assert [act.key for act in made.decisions()] == [drop.key]
    assert [point.subset for point in made.frontier()] == [point.subset for point in scored.frontier()] != []
    assert made.status() == scored.status()
    assert verify(made.folder.exports / "all" / "data.jsonl")
    assert not any(path.exists() for path in (made.folder.checkpoints, made.folder.jobs, made.folder.lock))
    assert not list(made.folder.root.glob(".*")) and not list(root.glob(".*"))
    made.decide(Decision(kind=DecisionKind.UNDO, value=drop.key))
    assert scored.decided.dropped == {3, 7}
    with pytest.raises(ExperimentError, match="already"):
        library.duplicate(root, "reviews", "films")


@pytest.mark.process
def test_a_copy_that_a_worker_disturbs_or_that_fails_leaves_nothing(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    root = scored.folder.root.parent
    with own(scored.folder), pytest.raises(BusyError, match="cancel it first"):
        library.duplicate(root, "reviews", "films")
    copy = shutil.copytree
    with ExitStack() as later, monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", lambda *args, **options: (copy(*args, **options), later.enter_context(own(scored.folder))))
        with pytest.raises(BusyError):
            library.duplicate(root, "reviews", "films")
    (scored.folder.root / "gone").symlink_to(root / "nowhere")
    with pytest.raises(ExperimentError, match="reviews could not be copied"):
        library.duplicate(root, "reviews", "films")
    assert [path.name for path in root.iterdir()] == ["reviews"]


def test_the_trash_keeps_what_was_deleted(scored: Experiment) -> None:
    root = scored.folder.root.parent
    gone = library.discard(root, "reviews")
    assert list_experiments(root) == []
    assert Experiment(gone).settings == scored.settings


def test_a_folder_that_cannot_be_written_is_said_and_nothing_is_lost(scored: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(scored.folder.root))

    root, seen = scored.folder.root.parent, sorted(scored.folder.root.rglob("*"))
    monkeypatch.setattr(Path, "rename", refuse)
    for act in (lambda: library.rename(root, "reviews", "films"), lambda: library.discard(root, "reviews")):
        with pytest.raises(ExperimentError, match="could not be written: read-only file system"):
            act()
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ExperimentError, match="could not be written: read-only file system"):
        library.discard(root, "reviews")
    assert sorted(scored.folder.root.rglob("*")) == seen


def test_a_worker_is_not_disturbed(scored: Experiment) -> None:
    root = scored.folder.root.parent
    with own(scored.folder), pytest.raises(BusyError, match="cancel it first"):
        library.discard(root, "reviews")
    with own(scored.folder), pytest.raises(BusyError):
        library.rename(root, "reviews", "films")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a" * 65, "a b", "a\n"])
def test_unsafe_experiment_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be an experiment's name"):
        library.free(tmp_path, name)


def test_a_name_that_is_taken(scored: Experiment) -> None:
    (scored.folder.root.parent / "notes").write_text("a file")
    for name in ("reviews", "notes"):
        with pytest.raises(ExperimentError, match="already"):
            library.free(scored.folder.root.parent, name)
    with pytest.raises(ExperimentError, match="The experiment nothing does not exist"):
        library.rename(scored.folder.root.parent, "nothing", "films")


def test_uploads_keep_their_bytes_and_never_replace_each_other(tmp_path: Path) -> None:
    first = library.keep_upload(tmp_path, "../../my reviews.jsonl", io.BytesIO(b'{"a": 1}\n'))
    second = library.keep_upload(tmp_path, "my reviews.jsonl", io.BytesIO(b'{"a": 2}\n'))
    assert first.parent == second.parent == tmp_path / "uploads"
    assert first.name.startswith("my-reviews-") and first != second
    assert first.read_bytes() == b'{"a": 1}\n'
    assert library.keep_upload(tmp_path, "my reviews.jsonl", io.BytesIO(b'{"a": 1}\n')) == first


def test_an_upload_is_named_by_its_whole_sha256_and_stored_beside_a_file_that_was_changed(tmp_path: Path) -> None:
    """Eight digits of it met for two files among 65,000; the second one was never stored, and the first one scored in its place."""
    content = b'{"a": 1}\n'
    first = library.keep_upload(tmp_path, "reviews.jsonl", io.BytesIO(content))
    assert first.name == f"reviews-{hashlib.sha256(content).hexdigest()}.jsonl"
    first.write_bytes(b'{"a": 3}\n')
    second = library.keep_upload(tmp_path, "reviews.jsonl", io.BytesIO(content))
    assert second != first and second.read_bytes() == content and first.read_bytes() == b'{"a": 3}\n'
    assert library.keep_upload(tmp_path, "reviews.jsonl", io.BytesIO(content)) == second
    assert library.title(str(first)) == library.title(str(second)) == library.title("x/uploads/reviews-0a1b2c3d.jsonl") == "reviews"


@pytest.mark.parametrize(("name", "content"), [("x.exe", b"MZ"), ("x.jsonl", b""), ("jsonl", b"{}"), ("x.py.", b"import")])
def test_uploads_that_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        library.keep_upload(tmp_path, name, io.BytesIO(content))
    assert not list(tmp_path.iterdir())


def test_an_upload_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LARGEST", 10)
    with pytest.raises(DataError, match="larger than"):
        library.keep_upload(tmp_path, "x.csv", io.BytesIO(b"a" * 11))


@pytest.mark.parametrize("kind", library.KINDS)
def test_every_kind_that_is_read_can_be_uploaded(tmp_path: Path, kind: str) -> None:
    """Its whole ending is kept, so that it is read as what it is, and its name without it names the experiment."""
    path = library.keep_upload(tmp_path, f"My reviews{kind.upper()}", io.BytesIO(b"content"))
    assert path.name.endswith(kind) and library.title(str(path)) == "My-reviews"


def test_names_of_data_give_titles() -> None:
    titles = {"a/reviews.jsonl.gz": "reviews", "data/*.jsonl": "data", "a/x.csv,a/y.csv": "x", "a/v1.2": "v1", "data/": "data", "-": ""}
    assert {name: library.title(name) for name in titles} == titles


def test_half_an_export_is_not_copied(scored: Experiment) -> None:
    """An export that a process was killed in leaves a file, or an old folder that it was about to replace."""
    folder = scored.folder.exports / "full"
    folder.mkdir(parents=True)
    for ending in ("tmp", "old"):
        (folder / f".data.jsonl.0123abcd-99-123.export.{ending}").write_bytes(b"half")
    (folder / ".mine").write_bytes(b"kept")
    made = library.duplicate(scored.folder.root.parent, "reviews", "films")
    assert [path.name for path in (made / "exports" / "full").iterdir()] == [".mine"]
