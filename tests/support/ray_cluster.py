"""A Ray cluster of this machine alone: its nodes have addresses of their own on a loopback that nothing else reaches."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil

HEAD = "127.0.0.2"
PORT = 6399
STORE = 100_000_000
"""Bytes of each node's object store."""

SANDBOX = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
ENTER = ("--user", "--preserve-credentials", "--net", "--pid", "--mount")


def missing() -> str:
    """Return why no cluster can be started here, a sentence; empty if one can."""
    if importlib.util.find_spec("ray") is None:
        return "Ray is not installed: pip install -r requirements-cluster.txt."
    if any(shutil.which(tool) is None for tool in ("unshare", "nsenter", "ip")):
        return "A cluster of this machine alone needs the commands unshare, nsenter and ip."
    if subprocess.run([*SANDBOX, "true"], capture_output=True, check=False).returncode:
        return "This machine allows no network namespaces, without which Ray would listen on all its addresses."
    return ""


class RayCluster:
    """A head without cores, and nodes that come and go; whatever still runs ends with the context."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="wr"))  # sockets lie in it, whose paths must be short
        (self.folder / "token").write_text(secrets.token_hex(32), encoding="ascii")
        self.init = subprocess.Popen([*SANDBOX, "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"], stdout=subprocess.PIPE)
        assert self.init.stdout is not None and self.init.stdout.readline() == b"up\n"
        [self.inside] = psutil.Process(self.init.pid).children()
        self.add(HEAD, "--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={self.folder}", cores=0)
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(psutil.NoSuchProcess):
            self.inside.kill()  # and with the first process of its namespace all others
        for node in self.nodes.values():
            node.kill()  # nsenter stops with a node that is stopped, and the namespace ends only when it has
            node.wait()
        self.init.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of whoever uses the cluster."""
        ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"), "RAY_worker_niceness": "0"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WINNOW_"))}
        return {**inherited, **ours, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}

    def start(self, command: Sequence[str], env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command inside, where the cluster can be reached. Its process is the child of the one returned."""
        enter = ["nsenter", f"--target={self.inside.pid}", *ENTER, f"--wdns={options.pop('cwd', '/')}", "--"]
        return subprocess.Popen([*enter, *command], env={**self.environment, **(env or {})}, stdin=subprocess.DEVNULL, **options)

    def add(self, address: str, *options: str, cores: int = 1, env: Mapping[str, str] | None = None, wait: bool = True) -> None:
        """Start a node, and wait until it has joined."""
        where = options or (f"--address={HEAD}:{PORT}",)
        size = [f"--num-cpus={cores}", "--num-gpus=0", f"--object-store-memory={STORE}", "--disable-usage-stats"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={address}", *where, *size]
        with (self.log / f"{address}.log").open("wb") as log:
            self.nodes[address] = self.start(command, env, stdout=log, stderr=subprocess.STDOUT)
        if wait:
            self.wait_for(address)

    def wait_for(self, address: str, seconds: float = 90.0) -> None:
        """Wait until a node has joined."""
        end = time.monotonic() + seconds
        while b"Ray runtime started" not in (said := (self.log / f"{address}.log").read_bytes()):
            assert time.monotonic() < end and self.nodes[address].poll() is None, said.decode()
            time.sleep(0.1)

    def signal(self, address: str, number: int) -> None:
        """Send a signal to all processes of a node."""
        for process in psutil.Process(self.nodes[address].pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill(self, address: str) -> None:
        """End a node as if its machine had lost its power."""
        self.signal(address, signal.SIGKILL)
        node = self.nodes.pop(address)
        node.kill()
        node.wait()

    def processes(self, address: str, name: str) -> list[psutil.Process]:
        """Return the processes of a node whose command line has that text."""
        found = []
        for process in psutil.Process(self.nodes[address].pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # or one that has ended just now
                if name in " ".join(process.cmdline()):
                    found.append(process)
        return found
