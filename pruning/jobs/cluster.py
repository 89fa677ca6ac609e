"""The Ray cluster that a job trains on: as asked on the command line, checked, connected to, and left again."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruning.errors import ClusterError, UsageError
from pruning.experiment import Experiment
from pruning.files import make_folder, training_environment
from pruning.formatting import counted
from pruning.records import RunPlan

if TYPE_CHECKING:
    from pruning.training.cluster import Pool

logger = logging.getLogger(__name__)

HERE = "here"
"""Value of --on for this machine."""

RAY = "ray"
"""Value of --on for the cluster that RAY_ADDRESS names, or that this machine is a node of."""

OPEN = "WINNOW_RAY_OPEN"
"""Environment variable: 1 accepts a cluster that anyone who reaches it may run code on."""

RETRIES = "4"
"""Attempts to connect, a second each; Ray's default of 20 takes longer than a person waits for a sentence. Read when Ray is imported."""

ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):[0-9]{1,5}")
"""HOST:PORT; an IPv6 host in brackets."""

NOT_SENT = ("**/__pycache__", "ui", "cli", "dashboard")
"""Parts of the package that training does not need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster as asked for."""

    on: str
    """HOST:PORT of its head, or `RAY`."""
    workers: int | None = None
    """Most workers at once; None = as many as there are runs."""
    shared: str | None = None
    """A folder that every machine sees, for checkpoints."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the `started` event."""
        return asdict(self)


def cluster(on: str | None, workers: str | None = None, shared: str | Path | None = None) -> Cluster | None:
    """Return the cluster that --on, --workers and --shared name; None for this machine.

    Raises UsageError for values that make no sense, ClusterError if Ray is not installed or the cluster would be open to everyone.

    >>> cluster(None) is cluster("here") is None
    True
    """
    if on in (None, HERE):
        for name, value in (("workers", workers), ("shared", shared)):
            if value is not None:
                raise UsageError(f"{name} needs --on ray or --on HOST:PORT.", name)
        return None
    assert on is not None
    if on.startswith("ray://"):
        raise UsageError(
            f"on is {on!r}: over Ray's client protocol a job ends when the connection breaks. Run winnow on a machine of the cluster, "
            "with --on ray.",
            "on",
        )
    if on != RAY and not ADDRESS.fullmatch(on):
        raise UsageError(f"on must be here, ray or HOST:PORT, got {on!r}.", "on")
    most = None if workers in (None, "auto") else int(workers) if str(workers).isdecimal() else 0
    if most == 0:
        raise UsageError(f"workers must be auto or at least 1, got {workers!r}.", "workers")
    if shared is not None and not Path(shared).is_dir():
        raise UsageError(f"shared is {str(shared)!r}, which is not a folder; name one that every machine of the cluster sees.", "shared")
    return Cluster(on=on, workers=most, shared=None if shared is None else str(Path(shared).absolute()))


def remembered(experiment: Experiment) -> Cluster | None:
    """Return the cluster that the latest job of an experiment was started on; None for this machine."""
    started = experiment.started()
    values = started[-1].get("cluster") if started else None
    if not isinstance(values, dict):
        return None
    workers = values.get("workers")
    return cluster(str(values.get("on")), None if workers is None else str(workers), values.get("shared"))


@dataclass(frozen=True, slots=True, eq=False)
class Connection:
    """An open connection, for one job."""

    cluster: Cluster
    gpu: bool
    """True to train on its GPUs, False on its cores."""
    total: int
    """GPUs or cores that it has now."""

    @contextmanager
    def pool(self, experiment: Experiment) -> Iterator[Pool]:
        """Open the workers of a job. When it has succeeded, its folder for checkpoints is removed."""
        from pruning.training.cluster import Pool

        folder = self._checkpoints(experiment)
        witness = None
        if folder is not None:
            witness = (str(folder / f"witness-{secrets.token_hex(8)}"), secrets.token_hex(8))
            make_folder(folder)
            Path(witness[0]).write_text(witness[1], encoding="ascii")
        pool = Pool(self.gpu, self.cluster.workers or 10**6, witness, accept_open=os.environ.get(OPEN) == "1")
        try:
            yield pool
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            pool.close()
            if witness is not None:
                Path(witness[0]).unlink(missing_ok=True)
                with suppress(OSError):  # checkpoints of unfinished runs stay
                    Path(witness[0]).parent.rmdir()

    def with_checkpoints(self, experiment: Experiment, plans: Sequence[RunPlan]) -> list[RunPlan]:
        """Return the plans with their checkpoints where every machine sees them, or without any."""
        folder = self._checkpoints(experiment)
        if folder is None:
            return [replace(plan, checkpoint=None) for plan in plans]
        return [replace(plan, checkpoint=plan.checkpoint and str(folder / Path(plan.checkpoint).name)) for plan in plans]

    def _checkpoints(self, experiment: Experiment) -> Path | None:
        """Return the experiment's own folder in the shared one: named by its place and data, since two may share both."""
        if self.cluster.shared is None:
            return None
        words = f"{socket.gethostname()}:{experiment.folder.root.resolve()} {experiment.info['data']['fingerprint']} {experiment.model}"
        return Path(self.cluster.shared) / f"winnow-{hashlib.sha256(words.encode()).hexdigest()[:16]}"


@contextmanager
def connected(cluster: Cluster | None, device: str = "auto") -> Iterator[Connection | None]:
    """Be connected to a cluster while the block runs; do nothing without one.

    Raises ClusterError, in one sentence and within seconds, if the cluster is not there, not protected or not usable from here, and
    UsageError for a device or a number of workers that it does not have.
    """
    if cluster is None:
        yield None
        return
    _check_installed()
    _check_protected()
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device must be auto, cpu or cuda on a cluster, whose GPUs Ray assigns, got {device!r}.", "device")
    address = _address(cluster)
    ray = _connect(address)
    try:
        resources = ray.cluster_resources()
        gpu = device == "cuda" or (device == "auto" and resources.get("GPU", 0) > 0)
        total, name = int(resources.get("GPU" if gpu else "CPU", 0)), "GPU" if gpu else "core"
        if total == 0:
            raise ClusterError(f"The cluster at {address} has no {name} for a worker; start a machine that has one.")
        if cluster.workers is not None and cluster.workers > total:
            raise UsageError(f"workers is {cluster.workers}, but the cluster has {counted(total, name)}; auto uses all.", "workers")
        logger.info("connected to %s: %d of kind %s", address, total, name)
        yield Connection(cluster, gpu, total)
    finally:
        ray.shutdown()


def _check_installed() -> None:
    """Raise ClusterError if Ray is not installed; prepare its import."""
    if importlib.util.find_spec("ray") is None:
        raise ClusterError("--on needs the package ray, in the same version on every machine: pip install 'winnow-pruning[cluster]'.")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", RETRIES)


def _check_protected() -> None:
    if os.environ.get("RAY_AUTH_MODE") == "token":
        path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
        if not os.environ.get("RAY_AUTH_TOKEN") and not path.is_file():
            raise ClusterError(f"There is no token at {path}; RAY_AUTH_TOKEN_PATH must name the file that the cluster was started with.")
    elif os.environ.get(OPEN) != "1":
        raise ClusterError(
            "Without token authentication, everyone who reaches the cluster may run code on it. Start Ray with RAY_AUTH_MODE=token on "
            f"every machine and set it here too (docs/cluster.md); {OPEN}=1 accepts an open cluster in a network that nobody else reaches."
        )


def _address(cluster: Cluster) -> str:
    """Return HOST:PORT of the cluster that this machine is a node of. Nothing is sent to an address that is not of such a one."""
    from ray._private.services import find_gcs_addresses

    named = os.environ.get("RAY_ADDRESS", "") if cluster.on == RAY else cluster.on
    own = sorted(find_gcs_addresses())
    if named in ("", "auto"):
        if len(own) == 1:
            return own[0]
        if own:
            raise ClusterError(f"This machine is a node of {len(own)} clusters ({', '.join(own)}); name one with --on HOST:PORT.")
        raise ClusterError("This machine is not a node of a Ray cluster; join one with ray start, or run winnow on one of its machines.")
    if not ADDRESS.fullmatch(named):
        raise ClusterError(f"RAY_ADDRESS is {named!r}; --on ray needs HOST:PORT there, or nothing.")
    for address in own:
        if address == named or _resolved(address) & _resolved(named):
            return address
    host, _, port = named.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            pass
    except (OSError, OverflowError) as error:
        raise ClusterError(f"Nothing answers at {named} ({str(error).lower()}); is the head of the cluster running there?") from None
    raise ClusterError(f"This machine is not a node of the cluster at {named}; run winnow on one that is, or join it with ray start.")


def _resolved(address: str) -> set[tuple[str, int]]:
    host, _, port = address.rpartition(":")
    with suppress(OSError, ValueError, UnicodeError):
        return {(str(found[4][0]), int(port)) for found in socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)}
    return set()


def _connect(address: str) -> Any:
    """Return Ray's module, connected; signals are handled as before. Raises ClusterError."""
    import ray

    import pruning

    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    environment = {
        "py_modules": [str(Path(pruning.__file__).parent)],
        "excludes": list(NOT_SENT),
        "env_vars": training_environment(),
    }
    # Ray prints what it notices, such as a lost machine, where a command prints its result, and has no setting for that.
    ray._private.worker.print_to_stdstream = lambda data, ignore_prefix: logger.info("Ray: %s", " ".join(data["lines"]))
    with tempfile.TemporaryFile() as said:
        try:
            with _standard_error_to(said.fileno()):
                ray.init(
                    address=address,
                    namespace="winnow",
                    runtime_env=environment,
                    logging_level=logging.ERROR,
                    configure_logging=False,
                    log_to_driver=False,
                )
        except Exception as error:
            said.seek(0)
            raise _in_words(address, error, said.read().decode(errors="replace")) from None
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return ray


@contextmanager
def _standard_error_to(file: int) -> Iterator[None]:
    """Send what Ray's C++ part prints to a file: only there it says why it could not connect."""
    before = os.dup(2)
    os.dup2(file, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _in_words(address: str, error: Exception, printed: str) -> ClusterError:
    """Return the error of a connection that failed."""
    text = " ".join(f"{error} {error.__cause__ or ''}".split())
    logger.info("connecting to %s failed: %s; %s", address, text, printed[-2000:])
    if "Version mismatch" in text or "version mismatch" in text:
        return ClusterError(f"Ray or Python here differ from those of the cluster at {address}: {text[-400:]}")
    if "InvalidAuthToken" in printed or "InvalidAuthToken" in text or "Unauthenticated" in printed:
        if os.environ.get("RAY_AUTH_MODE") != "token":
            return ClusterError(f"The cluster at {address} asks for a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH here too.")
        return ClusterError(f"The cluster at {address} refused the token; RAY_AUTH_TOKEN_PATH must name the file it was started with.")
    return ClusterError(f"The cluster at {address} could not be joined: {text[-400:]}")
