"""Start the dashboard's server: on this machine only, unless a password is set and it is told otherwise."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from starlette.middleware import Middleware

from pruning.data import access
from pruning.errors import UsageError
from pruning.files import keep_private
from pruning.paths import PACKAGE, cache_folder, dashboard_folder
from pruning.ui.server.guard import PASSWORD, Guard, is_loopback, refusal_to_start

APP = dashboard_folder() / "app.py"
MAIN = PACKAGE / "ui" / "main.py"
"""The main script, apart from pages/: with a folder of that name beside it, Streamlit would serve a deep link without the shell."""

EXPERIMENTS = "WINNOW_EXPERIMENTS"
LOOPBACK = "127.0.0.1"
NAMES = ("localhost", "127.0.0.1", "[::1]")
"""Names under which a browser on this machine reaches the server."""


def main(experiments: Path, port: int, address: str = LOOPBACK, hosts: Sequence[str] = ()) -> None:
    """Become the server of the experiments below `experiments`, until Ctrl-C. Does not return.

    `address` is bound, `hosts` are further names it is reached under. Raises UsageError for an address beyond this machine
    without a password, or without a name.
    """
    if problem := refusal_to_start(address, os.environ.get(PASSWORD)):
        raise UsageError(problem)
    if not is_loopback(address) and not hosts:
        raise UsageError(f"--address is {address}; say with --host under which name browsers reach it, e.g. --host winnow.example.org.")
    experiments.mkdir(parents=True, exist_ok=True)
    os.environ[EXPERIMENTS] = str(experiments.resolve())
    print(f"Winnow shows the experiments in {experiments.resolve()} at http://{hosts[0] if hosts else 'localhost'}:{port}", flush=True)
    print("Ctrl-C stops the dashboard; scoring goes on.", flush=True)
    words = ["--server.address", address, "--server.port", str(port)]
    for name in (*NAMES, *hosts):
        words += ["--server.allowedHosts", name]
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", str(APP), *words])


def middleware() -> list[Middleware]:
    """What stands in front of the server that is just starting, and which files it and its workers may read.

    However it was started (`streamlit run app.py` too): ends the process with a sentence when it must not start so.
    """
    import streamlit as st

    password = os.environ.get(PASSWORD)
    try:
        keep_private()
        problem = refusal_to_start(st.get_option("server.address"), password)
    except UsageError as error:
        problem = str(error)
    if problem:
        print(f"Error: {problem}", file=sys.stderr)
        sys.exit(2)
    os.environ[access.ROOTS] = access.join(
        [Path.cwd(), os.environ.get(EXPERIMENTS, "experiments"), cache_folder(), *(access.allowed() or ())]
    )
    return [Middleware(Guard, hosts=st.get_option("server.allowedHosts") or NAMES, password=password)]
