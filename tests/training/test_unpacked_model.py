"""A model on a machine of a cluster: unpacked once, kept while a process uses it, removed afterwards."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pruning.errors import ModelError
from pruning.files import package_environment
from pruning.training import unpacked_model as unpacked
from pruning.training.unpacked_model import unpacked_model

USE = f"""
import importlib.util, sys
found = importlib.util.spec_from_file_location("unpacked_model", {unpacked.__file__!r})  # its package imports torch
module = importlib.util.module_from_spec(found)
found.loader.exec_module(module)
unpacked_model = module.unpacked_model
print(unpacked_model(sys.argv[1], [("config.json", lambda: sys.argv[2].encode())]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def user(fingerprint: str, content: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", USE, fingerprint, content]
    return subprocess.Popen(words, env=package_environment(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def folder(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("")


@pytest.mark.process
def test_a_model_is_written_once_and_removed_by_the_first_that_needs_another_after_its_last_use(temporary: Path) -> None:
    first, second = user("a", "of a"), None
    mine = folder(first)
    second = user("a", "never written")
    assert folder(second) == mine and (mine / "config.json").read_text() == "of a"
    end(first)
    third = user("b", "of b")
    theirs = folder(third)
    assert theirs != mine and mine.is_dir(), "the second process still uses it"
    end(second)
    end(third)
    fourth = user("c", "of c")
    folder(fourth)
    assert not mine.exists() and not theirs.exists()
    end(fourth)


def test_a_folder_that_others_can_write_to_is_refused(temporary: Path) -> None:
    def unpack(name: str) -> str:
        return unpacked_model(name, [("config.json", lambda: b"{}")])

    found = Path(unpack("a"))
    found.parent.chmod(0o777)
    with pytest.raises(ModelError, match="others can write to it"):
        unpack("b")
