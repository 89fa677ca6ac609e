"""What a lost worker of a cluster is called, and whether another one takes its place, without Ray."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from pruning.errors import ClusterError
from pruning.training.cluster import DOUBT_SECONDS, MOST_UNSTARTED, Worker
from pruning.training.dispatch import SlotLost


class RayError(Exception):
    pass


KINDS = ("RayTaskError", "RuntimeEnvSetupError", "OutOfMemoryError", "ActorUnavailableError", "ActorDiedError")
exceptions = SimpleNamespace(RayError=RayError, **{name: type(name, (RayError,), {}) for name in KINDS})


@pytest.fixture
def worker() -> Worker:
    """A worker on 10.0.0.7, lost at 14:02, whose machine is alive."""
    actor = SimpleNamespace(place=SimpleNamespace(remote=lambda: "answer"))
    pool: Any = SimpleNamespace(
        ray=SimpleNamespace(exceptions=exceptions),
        settings=SimpleNamespace(precision="fp32"),
        start_actor=lambda: actor,
        alive=lambda node: True,
        once=lambda sentence: sentence,
        lost=set(),
        headless=0.0,
        unstarted=0,
    )
    worker = Worker(pool)
    worker.node, worker.machine = "node 7", "10.0.0.7"
    worker._at, worker._since = "14:02", time.monotonic()
    return worker


def lost(worker: Worker, kind: str = "ActorDiedError", text: str = "") -> SlotLost:
    with pytest.raises(SlotLost) as error:
        worker._lose(getattr(exceptions, kind)(text))
    return error.value


def test_a_lost_machine_is_named_replaced_and_not_used_again(worker: Worker) -> None:
    worker.pool.alive = lambda node: False  # type: ignore[method-assign]
    found = lost(worker)
    assert str(found) == "machine 10.0.0.7 was lost at 14:02." and found.replace
    assert worker.pool.lost == {"node 7"}


def test_what_was_lost_is_said_only_when_it_is_certain(worker: Worker) -> None:
    error = exceptions.ActorDiedError()
    worker._lose(error)
    worker._since -= DOUBT_SECONDS
    found = lost(worker)
    assert str(found) == "its process on 10.0.0.7 was killed at 14:02, usually for lack of memory." and not found.replace
    found = lost(worker, "ActorUnavailableError")
    assert str(found) == "the connection to machine 10.0.0.7 broke at 14:02." and found.replace
    worker.pool.headless = 3.0
    worker._lose(error)


@pytest.mark.parametrize(("kind", "text"), [("OutOfMemoryError", ""), ("ActorDiedError", "the node was running low on memory")])
def test_a_worker_that_ray_ended_for_its_memory_is_not_replaced(worker: Worker, kind: str, text: str) -> None:
    found = lost(worker, kind, text)
    assert "Ray ended it at 14:02, as 10.0.0.7 ran out of memory" in str(found) and not found.replace


@pytest.mark.parametrize("kind", ["RayTaskError", "RuntimeEnvSetupError"])
def test_a_worker_that_cannot_be_set_up_ends_the_job(worker: Worker, kind: str) -> None:
    with pytest.raises(ClusterError, match=r"A worker on 10\.0\.0\.7 could not be set up: no package"):
        worker._lose(getattr(exceptions, kind)("no package"))


def test_workers_that_never_start_end_the_job_at_last(worker: Worker) -> None:
    worker.machine = ""
    for _ in range(MOST_UNSTARTED - 1):
        assert lost(worker).replace
    with pytest.raises(ClusterError, match="No worker starts on the cluster"):
        worker._lose(exceptions.ActorDiedError("The actor never ran"))
