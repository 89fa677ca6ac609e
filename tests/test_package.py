"""What `pip install` and `import pruning` promise."""

import json
import re
import tomllib
from inspect import getmembers, isclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import pruning
from pruning import errors, paths
from pruning.errors import WinnowError
from pruning.experiment import Experiment
from pruning.export import writer

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(name: str = "requirements.txt") -> dict[str, str]:
    return dict(line.split("==") for line in (ROOT / name).read_text().splitlines() if "==" in line)


def test_every_dependency_is_pinned_at_a_version_of_its_range() -> None:
    ranges = {requirement.name: requirement.specifier for requirement in map(Requirement, PROJECT["project"]["dependencies"])}
    assert set(ranges) == set(pins())
    assert not {name: version for name, version in pins().items() if version not in ranges[name]}


def test_contributing_says_why_each_package_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Dependencies")[2].partition("\n## ")[0]
    named = set(re.findall(r"[\w-]+", text))
    assert not {name for file in ("requirements.txt", "requirements-dev.txt") for name in pins(file) if name not in named}


def test_the_version_stands_in_one_place_and_in_every_manifest(scored: Experiment, tmp_path: Path) -> None:
    assert PROJECT["project"]["dynamic"] == ["version"] and PROJECT["tool"]["hatch"]["version"]["path"] == "pruning/__init__.py"
    scored.export("full", tmp_path / "all.jsonl")
    manifest = json.loads(writer.manifest_path(tmp_path / "all.jsonl").read_text())
    assert scored.info["versions"]["winnow"] == manifest["winnow"] == pruning.__version__


def test_every_public_name_can_be_imported_and_every_error_is_one() -> None:
    assert pruning.__all__ == sorted(pruning.__all__) and set(pruning.__all__) <= set(dir(pruning))
    for name in pruning.__all__:
        assert getattr(pruning, name).__name__ in (name, "frontier")
    assert {name for name, _ in getmembers(errors, lambda kind: isclass(kind) and issubclass(kind, WinnowError))} <= set(pruning.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pruning.nothing


def test_the_cache_is_the_user_s_unless_one_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WINNOW_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert paths.cache_folder() == tmp_path / "winnow", "where it has been on Linux: what was fetched is found again"
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "named"))
    assert paths.cache_folder() == tmp_path / "named"
