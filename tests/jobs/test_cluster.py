"""What is said about a cluster that was asked for and cannot be used, without Ray."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pruning.errors import ClusterError, UsageError
from pruning.experiment import Experiment
from pruning.jobs import cluster as clusters
from pruning.jobs.cluster import OPEN, Cluster, cluster, connected, remembered
from pruning.jobs.progress import job
from tests.support.commands import entry_point


class FakeRay:
    """A connection to a cluster with these resources."""

    def __init__(self, **resources: float) -> None:
        self.resources, self.open = resources, True

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def shutdown(self) -> None:
        self.open = False


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Ray counts as installed, and its token is there."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(name=name))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv(OPEN, raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_NUM_REDIS_GET_RETRIES", clusters.RETRIES)
    (tmp_path / "token").write_text("a" * 64)
    return tmp_path / "token"


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch, installed: Path) -> FakeRay:
    fake = FakeRay(CPU=8.0)
    monkeypatch.setattr(clusters, "_address", lambda asked: "10.0.0.1:6379")
    monkeypatch.setattr(clusters, "_connect", lambda address: fake)
    return fake


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ray://head:10001",), "over Ray's client protocol a job ends when the connection breaks"),
        (("head",), "on must be here, ray or HOST:PORT, got 'head'"),
        (("ray", "0"), "workers must be auto or at least 1, got '0'"),
        (("ray", "many"), "workers must be auto or at least 1, got 'many'"),
        ((None, "4"), "workers needs --on ray or --on HOST:PORT"),
        (("here", None, "/tmp"), "shared needs --on ray or --on HOST:PORT"),
        (("ray", None, "/nowhere"), "shared is '/nowhere', which is not a folder"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_connected(words: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        cluster(*words)


def test_the_command_line_says_it_in_one_sentence(tmp_path: Path) -> None:
    done = entry_point("score", "sample", "--experiment", tmp_path / "reviews", "--on", "ray://head:10001")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Run winnow on a machine of the cluster" in done.stderr
    assert not (tmp_path / "reviews").exists()


def refused(asked: Cluster, device: str = "auto") -> str:
    with pytest.raises((ClusterError, UsageError)) as error, connected(asked, device):
        pass
    return str(error.value)


ASKED = Cluster(on="ray")


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'winnow-pruning[cluster]'" in refused(ASKED)


def test_a_cluster_without_token_authentication_is_refused(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed.unlink()
    assert refused(ASKED) == f"There is no token at {installed}; RAY_AUTH_TOKEN_PATH must name the file that the cluster was started with."
    monkeypatch.delenv("RAY_AUTH_MODE")
    assert "everyone who reaches the cluster may run code on it" in refused(ASKED)


def test_more_than_the_cluster_has_is_refused_and_the_connection_closed(ray: FakeRay) -> None:
    assert refused(Cluster(on="ray", workers=9)) == "workers is 9, but the cluster has 8 cores; auto uses all."
    assert refused(ASKED, "cuda") == "The cluster at 10.0.0.1:6379 has no GPU for a worker; start a machine that has one."
    assert not ray.open
    assert "device must be auto, cpu or cuda on a cluster" in refused(ASKED, "cuda:1")
    ray.resources = {}
    assert "has no core for a worker" in refused(ASKED)


def test_gpus_are_taken_before_cores(ray: FakeRay) -> None:
    ray.resources = {"CPU": 64.0, "GPU": 2.0}
    for device, found in (("auto", (True, 2)), ("cuda", (True, 2)), ("cpu", (False, 64))):
        with connected(ASKED, device) as connection:
            assert connection is not None and (connection.gpu, connection.total) == found


@pytest.mark.parametrize(
    ("error", "printed", "message"),
    [
        ("Version mismatch: The cluster was started with: Ray: 2.60.0", "", "Ray or Python here differ from those of the cluster at h:1"),
        ("Failed to connect", "Unauthenticated: RPC error: InvalidAuthToken", "The cluster at h:1 refused the token"),
        ("no route", "", "The cluster at h:1 could not be joined: no route"),
    ],
)
def test_what_ray_raises_becomes_a_sentence(error: str, printed: str, message: str, installed: Path) -> None:
    assert str(clusters._in_words("h:1", RuntimeError(error), printed)).startswith(message)


def test_resume_goes_back_to_the_cluster_of_the_latest_job(scored: Experiment, ray: FakeRay, tmp_path: Path) -> None:
    assert remembered(scored) is None
    asked = Cluster(on="10.0.0.1:6379", workers=3, shared=str(tmp_path))
    with connected(asked) as connection, job(scored.folder, "score", None, connection):
        pass
    assert remembered(Experiment(scored.folder.root)) == asked
