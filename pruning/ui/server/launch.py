"""Start the dashboard's server, by default for this machine only; other addresses need a password."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from starlette.middleware import Middleware

from pruning.data import access
from pruning.data.readers.files import KINDS
from pruning.errors import UsageError
from pruning.files import keep_private
from pruning.formatting import one_line
from pruning.paths import PACKAGE, cache_folder, dashboard_folder
from pruning.ui.server.guard import PASSWORD, Guard, is_loopback, refusal_to_start
from pruning.ui.server.help_key import HelpKey

APP = dashboard_folder() / "app.py"
MAIN = PACKAGE / "ui" / "main.py"
"""The main script. It is not beside pages/, because Streamlit would then serve deep links without the shell."""

EXPERIMENTS = "WINNOW_EXPERIMENTS"
LOOPBACK = "127.0.0.1"
NAMES = ("localhost", "127.0.0.1", "[::1]")
"""Host names of the server for a browser on this machine."""


def main(experiments: Path, port: int, address: str = LOOPBACK, hosts: Sequence[str] = (), data: str | None = None) -> None:
    """Serve the experiments in `experiments` until Ctrl-C. Does not return.

    `address` is bound, `hosts` are additional host names. The printed link opens the form of a
    new experiment with `data`, if given. Raises UsageError for an address other than this machine's
    without a password, or without a host name, and for a data file that does not exist.
    """
    if problem := refusal_to_start(address, os.environ.get(PASSWORD)):
        raise UsageError(problem)
    if not is_loopback(address) and not hosts:
        raise UsageError(f"--address is {address}; add the host name in the browser's address with --host, e.g. --host winnow.example.org.")
    if data is not None and Path(data).suffix in KINDS and not Path(data).exists():
        raise UsageError(f"{data} does not exist; check the path.", "data")
    experiments.mkdir(parents=True, exist_ok=True)
    os.environ[EXPERIMENTS] = str(experiments.resolve())
    place = f"http://{hosts[0] if hosts else 'localhost'}:{port}"
    print(one_line(f"Winnow shows the experiments in {experiments.resolve()} at {place}"), flush=True)
    if data is not None:
        print(one_line(f"New experiment from {data}: {place}/score?{urlencode({'new': 'true', 'data': _readable(data)})}"), flush=True)
    print("Ctrl-C stops the dashboard; running jobs continue.", flush=True)
    words = ["--server.address", address, "--server.port", str(port)]
    for name in (*NAMES, *hosts):
        words += ["--server.allowedHosts", name]
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", str(APP), *words])


def _readable(data: str) -> str:
    """Return the data as the server finds it; the folder of a file that the person named may be read."""
    path = Path(data)
    if not path.exists():
        return data
    os.environ[access.ROOTS] = access.join([*(access.allowed() or ()), path.resolve().parent])
    return str(path.resolve())


def middleware() -> list[Middleware]:
    """Return the middleware of the starting server, and limit the files that it and its workers may read.

    Also for `streamlit run app.py`: ends the process with a sentence if it must not start with these settings.
    """
    import streamlit as st

    password = os.environ.get(PASSWORD)
    try:
        keep_private()
        problem = refusal_to_start(st.get_option("server.address"), password)
    except UsageError as error:
        problem = str(error)
    if problem:
        print(one_line(f"Error: {problem}"), file=sys.stderr)
        sys.exit(2)
    os.environ[access.ROOTS] = access.join(
        [Path.cwd(), os.environ.get(EXPERIMENTS, "experiments"), cache_folder(), *(access.allowed() or ())]
    )
    return [Middleware(Guard, hosts=st.get_option("server.allowedHosts") or NAMES, password=password), Middleware(HelpKey)]
