"""Runs on the machines of a Ray cluster: an actor for each run that trains or waits, all of them ended with the caller.

The machines get the data, the model and the plans from the object store, and send back what a process of `process_pool` would. Only the
caller writes into the experiment's folder.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pruning.errors import ClusterError
from pruning.formatting import counted
from pruning.records import Encoded, Notice, RunPlan
from pruning.settings import TrainSettings
from pruning.training import cluster_worker
from pruning.training.cluster_store import bytes_of, check_store, files_to_send, put_model
from pruning.training.dispatch import SlotLost, discarding_checkpoints, dispatch
from pruning.training.loop import Report
from pruning.training.process_pool import Given

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""Seconds between two calls of `stop` while no worker answers."""

NEWS_SECONDS = 1.0
"""Seconds between two reports about the machines, so that the caller can say that the job is alive."""

UNANSWERED = 3.0
"""Seconds without an answer after which a machine is called silent; a worker answers every second."""

GIVE_UP = 90.0
"""Seconds without an answer after which a worker counts as lost. Ray needs some 65 to notice a machine that hangs, and is asked first: a
worker that only answers late would lose its work."""

DOUBT_SECONDS = 5.0
"""Seconds after the loss of a worker in which its machine may turn out to be lost too: Ray itself takes some 13 to notice."""

HEAD_SECONDS = 30.0
"""Seconds without the head of the cluster after which the job ends, in words: Ray ends this process without any after 60."""

MOST_UNSTARTED = 50
"""Workers in a row that were lost before they started, after which the job ends: more than a machine with many GPUs loses at once."""

REST_SECONDS = 30.0
"""Seconds that a worker without a run is kept for the next part of the job, since each start takes seconds of imports."""


def train_on_cluster(
    pool: Pool,
    plans: Sequence[RunPlan],
    data: Encoded,
    evaluation: Encoded | None,
    model: str,
    settings: TrainSettings,
    stop: Callable[[], bool],
    enough: Callable[[], bool] = lambda: False,
) -> Generator[Report, None, None]:
    """Train `plans` on the machines of the cluster; yield what they report as it arrives, runs interleaved. None starts after `enough()`.

    Raises what `dispatch` raises, and `ClusterError` if no machine can train.
    """
    pool.set_up(model, settings, [data, evaluation])
    reports = dispatch(plans, pool.open, min(len(plans), pool.most), pool.ready, stop, enough)
    yield from discarding_checkpoints(plans, reports)


@dataclass(eq=False)
class Pool:
    """The workers of one job; a connection to the cluster must be open."""

    gpu: bool
    """True to train on GPUs, one for each worker; else on cores."""
    most: int
    """Most workers at once."""
    witness: tuple[str, str] | None = None
    """A file in the folder that every machine must see, and what it holds."""
    accept_open: bool = False
    """True to accept a machine where Ray runs without token authentication."""
    facts: dict[str, str] = field(default_factory=dict)
    """Versions, processor and precision of the first machine that answered: they decide a run's numbers."""
    refused: dict[str, str] = field(default_factory=dict)
    """Machines that cannot train, by Ray's name: a sentence each."""
    lost: set[str] = field(default_factory=set)
    """Machines that were lost, by Ray's name; one that comes back has another."""

    def __post_init__(self) -> None:
        import ray

        ray.cloudpickle.register_pickle_by_value(cluster_worker)
        self.ray = ray
        self.actor = ray.remote(max_restarts=0, num_cpus=1, num_gpus=int(self.gpu))(cluster_worker.Worker)
        self.resting: list[tuple[float, Worker]] = []
        self.workers: list[Worker] = []
        self.unstarted = 0
        self.said: set[str] = set()
        self.notes: list[Notice] = []
        self._told = self._polled = self._head_seen = time.monotonic()
        self.headless = 0.0
        """Seconds for which the head of the cluster could not be reached; whatever asks it then does not return."""
        self._models: dict[str, cluster_worker.Model] = {}

    def set_up(self, model: str, settings: TrainSettings, parts: Sequence[Encoded | None]) -> None:
        """Put what all runs share into the object store, from where each machine fetches it once."""
        self.settings = settings
        given = [part for part in parts if part is not None]
        if model not in self._models:
            self._models = {}
        files = [] if self._models else files_to_send(Path(model), self.witness and Path(self.witness[0]).parents[1])
        self.size = sum(path.stat().st_size for path in files) + sum(map(bytes_of, given))
        check_store(self.ray, self.size)
        if not self._models:
            self._models = {model: put_model(self.ray, Path(model), files)}
        self.setup = (self._models[model], settings, [self.ray.put(part) for part in given])

    def open(self) -> Worker:
        """Return a worker that waits for its machine, or one that rests."""
        self.let_go(0.0 if self.resting and self.resting[0][1].precision != self.settings.precision else REST_SECONDS)
        worker = self.resting.pop()[1] if self.resting else Worker(self)
        worker.set_up()
        self.workers.append(worker)
        return worker

    def start_actor(self) -> Any:
        """Start an actor on a machine that was neither refused nor lost."""
        but = sorted(self.lost.union(self.refused))
        labels = {"ray.io/node-id": f"!in({','.join(but)})"} if but else None
        return self.actor.options(label_selector=labels).remote()

    def rest(self, worker: Worker) -> None:
        """Keep a worker for the next part of the job."""
        self.resting.append((time.monotonic(), worker))

    def let_go(self, seconds: float = 0.0) -> None:
        """End the workers that have rested for so long."""
        now = time.monotonic()
        for since, worker in list(self.resting):
            if now - since >= seconds:
                self.resting.remove((since, worker))
                worker.kill()

    def ready(self, workers: Sequence[Worker]) -> list[Worker]:
        """Return the workers that have answered, after a moment at most, and those that have not for too long."""
        lost = [worker for worker in workers if worker.error is not None]
        answers = {worker.asked(): worker for worker in workers if worker.error is None}
        done = self._answered(list(answers))
        now = time.monotonic()
        waited, self._polled = min(now - self._polled, 2 * POLL_SECONDS), now
        for answer, worker in answers.items():
            worker.answered = answer in done
            worker.silent = 0.0 if worker.answered else worker.silent + waited
        self.let_go(REST_SECONDS)
        if now - self._told >= NEWS_SECONDS:
            self._told = now
            self._look_for_head()
            self.notes.append(Notice(sentence=self.sentence(workers)))
        heard = [worker for worker in answers.values() if worker.answered or (worker.keys and worker.silent > GIVE_UP)]
        return [*heard, *lost] or (list(workers[:1]) if self.notes else [])

    def _look_for_head(self) -> None:
        """Raise ClusterError if the head of the cluster is gone."""
        address = self.ray.get_runtime_context().gcs_address
        self.headless = 0.0 if _reached(*address.rsplit(":", 1)) else time.monotonic() - self._head_seen
        if not self.headless:
            self._head_seen = time.monotonic()
        if self.headless > HEAD_SECONDS:
            raise ClusterError(f"The head of the cluster, {address}, is gone; start the cluster again, then continue this job with resume.")

    def _answered(self, answers: list[Any]) -> list[Any]:
        """Return the answers that have arrived; wait a moment for the first one."""
        if not answers:
            time.sleep(POLL_SECONDS)
            return []
        done, _ = self.ray.wait(answers, num_returns=1, timeout=POLL_SECONDS)
        return self.ray.wait(answers, num_returns=len(answers), timeout=0)[0] if done else []

    def sentence(self, workers: Sequence[Worker]) -> str:
        """Return which machines do not answer and what is waited for; empty if all is well."""
        silent = {worker.machine: worker.silent for worker in workers if worker.keys and worker.silent > UNANSWERED}
        waiting = sum(not worker.machine for worker in workers)
        at_work = [worker.machine for worker in workers if worker.machine]
        words = [f"the head of the cluster has not answered for {self.headless:.0f} s"] if self.headless else []
        words += [f"machine {machine} has not answered for {seconds:.0f} s" for machine, seconds in silent.items()]
        if waiting:
            what = "GPU" if self.gpu else "core"
            have = f"{counted(len(at_work), 'worker')} on {counted(len(set(at_work)), 'machine')}, " if at_work else ""
            words.append(f"{have}{waiting} more {'waits' if waiting == 1 else 'wait'} for a free {what}")
        return "; ".join(words)

    def note(self, sentence: str) -> None:
        """Report a fact once."""
        if self.once(sentence):
            self.notes.append(Notice(sentence=sentence, lasting=True))

    def once(self, sentence: str) -> str:
        """Return the sentence; an empty one if it was said before."""
        if sentence in self.said:
            return ""
        self.said.add(sentence)
        return sentence

    def admit(self, worker: Worker, found: dict[str, str] | str) -> None:
        """Take the first machine's facts as those of all. Raises `SlotLost` for a machine that differs or cannot train."""
        if isinstance(found, dict):
            self.facts = self.facts or found
            other = {name: value for name, value in found.items() if value != self.facts[name]}
            if not other:
                return
            differs = ", ".join(f"{name} {value} instead of {self.facts[name]}" for name, value in other.items())
            found = f"it has {differs}, which would change the numbers of its runs"
        sentence = f"Machine {worker.machine} is left out: {found}."
        self.refused[worker.node] = sentence
        left = [node for node in self._nodes() if node not in self.refused]
        if not left and not any(other.admitted for other in self.workers):
            raise ClusterError(f"No machine of the cluster can train. {' '.join(dict.fromkeys(self.refused.values()))}")
        raise SlotLost(self.once(sentence), replace=True)

    def _nodes(self) -> list[str]:
        """Names of the machines that are alive and have a core or GPU for a worker."""
        kind = "GPU" if self.gpu else "CPU"
        return [node["NodeID"] for node in self.ray.nodes() if node["Alive"] and node["Resources"].get(kind)]

    def alive(self, node: str) -> bool:
        """Return True if Ray counts the machine as alive, and its part of Ray can be reached."""
        return any(
            _reached(found["NodeManagerAddress"], found["NodeManagerPort"])
            for found in self.ray.nodes()
            if found["NodeID"] == node and found["Alive"]
        )

    def close(self) -> None:
        """End all workers."""
        for worker in [*self.workers, *(worker for _, worker in self.resting)]:
            worker.kill()


class Worker(Given):
    """A slot on a machine of the cluster, seen from the caller; until it has one, it waits for a core or a GPU."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool, self.ray = pool, pool.ray
        self.node = self.machine = self.where = ""
        self.admitted = self.answered = False
        self.precision = pool.settings.precision
        self.silent = 0.0
        self.error: Exception | None = None
        """The error of Ray from which it is not certain yet what was lost."""
        self.actor = pool.start_actor()
        self.answer = self.actor.place.remote()

    def asked(self) -> Any:
        """Return the answer that is due; ask for one only now, since a plan given meanwhile would wait behind the question."""
        if self.answer is None:
            self.answer = self.actor.take.remote()
        return self.answer

    def set_up(self) -> None:
        """Send what the next plans share, once there is a machine."""
        self._room = True
        if self.admitted:
            self._started = self.actor.start.remote(*self.pool.setup)

    def room(self) -> bool:
        """Return True if the worker has a machine and asked for a plan."""
        return self.admitted and self._room

    def give(self, plan: RunPlan) -> None:
        """Send the next plan to train."""
        self.silent = 0.0
        self.actor.give.remote(self._to_send(plan))

    def take(self) -> Iterator[Report]:
        """Yield what the worker answered, if it did. Raises `SlotLost`, its run's error, or `ClusterError`."""
        notes, self.pool.notes = self.pool.notes, []
        yield from notes
        if self.error is not None:
            self._lose(self.error)
            return
        if not self.answered:
            if self.keys and self.silent > GIVE_UP:
                raise SlotLost(f"machine {self.machine} did not answer for {GIVE_UP:.0f} s.", replace=True)
            return
        self.answered = False
        try:
            answer = self.ray.get(self.answer)
            if self.admitted:
                self.ray.get(self._started)
        except self.ray.exceptions.RayError as error:
            self.error, self._since, self._at = error, time.monotonic(), time.strftime("%H:%M")
            logger.info("worker on %s: %s", self.machine or "no machine yet", error)
            self._lose(error)
            return
        if not self.machine:
            self._placed(answer)
        elif not self.admitted:
            self.pool.admit(self, answer)
            self.admitted = True
            self.set_up()
            self.answer = None
        else:
            self.answer = None
            for item in answer:
                yield from self._heard(item)

    def _placed(self, found: dict[str, Any]) -> None:
        """Note the machine, and ask it for its facts."""
        self.node, self.machine, self.pool.unstarted = found["node"], found["machine"], 0
        self.where = ", ".join([self.machine, *(f"cuda:{gpu}" for gpu in found["gpus"])])
        if found["niceness"] > 0:
            self.pool.note(
                f"Ray started its workers on {self.machine} at niceness {found['niceness']}, so other work there comes first; "
                "RAY_worker_niceness=0 at ray start changes that."
            )
        if found["open"] and not self.pool.accept_open:
            raise ClusterError(
                f"Ray runs on {self.machine} without token authentication; start it there with RAY_AUTH_MODE=token (docs/cluster.md)."
            )
        if found["shm"] < self.pool.size:
            self.pool.note(
                f"/dev/shm of {self.machine} has {found['shm'] / 1e6:,.0f} MB; the model and the data take {self.pool.size / 1e6:,.0f}, so "
                "they are read from its disk instead. A container gets more with --shm-size."
            )
        self.answer = self.actor.facts.remote(self.precision, self.pool.gpu, self.pool.witness)

    def _lose(self, error: Exception) -> None:
        """Raise what an error of Ray means, `SlotLost` or `ClusterError`; return while it is uncertain whether the machine is lost."""
        text, kinds = " ".join(str(error).split()), self.ray.exceptions
        if isinstance(error, kinds.RayTaskError | kinds.RuntimeEnvSetupError):
            raise ClusterError(f"A worker on {self.machine or 'the cluster'} could not be set up: {text[-500:]}")
        if isinstance(error, kinds.OutOfMemoryError) or "running low on memory" in text:
            raise SlotLost(
                f"Ray ended it at {self._at}, as {self.machine} ran out of memory; use fewer --workers or a smaller --batch-size."
            )
        if self.pool.headless:
            return
        if not self.machine:
            self.pool.unstarted += 1
            if self.pool.unstarted >= MOST_UNSTARTED:
                raise ClusterError(f"No worker starts on the cluster; does Ray have RAY_AUTH_MODE=token on every machine? {text[-500:]}")
            raise SlotLost(self.pool.once("A machine of the cluster was lost before its worker started."), replace=True)
        if not self.pool.alive(self.node):
            self.pool.lost.add(self.node)
            raise SlotLost(f"machine {self.machine} was lost at {self._at}.", replace=True)
        if time.monotonic() - self._since < DOUBT_SECONDS:
            return
        if isinstance(error, kinds.ActorUnavailableError):
            raise SlotLost(f"the connection to machine {self.machine} broke at {self._at}.", replace=True)
        raise SlotLost(f"its process on {self.machine} was killed at {self._at}, usually for lack of memory.")

    def end(self) -> None:
        """Stop its runs, or let it rest for the next part of the job if it has none."""
        self.pool.workers.remove(self)
        if self.keys or not self.admitted or self.node in self.pool.refused:
            self.kill()
        else:
            self.pool.rest(self)

    def kill(self) -> None:
        """End the actor."""
        if not self.pool.headless:
            with suppress(self.ray.exceptions.RayError):  # it never started
                self.ray.kill(self.actor)


def _reached(host: str, port: str | int) -> bool:
    with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=1):
        return True
    return False
