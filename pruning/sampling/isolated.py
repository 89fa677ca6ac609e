"""Run an answer's code in a process of its own: limits on time, memory and files, no network where the system allows it.

This does not make a sandbox: the code has the rights of the user and can read what the user can read. See SECURITY.md.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache

SECONDS = 10
MEMORY = 1 << 30
FILE = 1 << 24
PASSED = "winnow: all assertions passed"
"""Printed after the last test, so that an exit inside the answer does not look like success."""


def passes(code: str) -> bool:
    """Return True if the code runs to its end without an error within the limits."""
    with tempfile.TemporaryDirectory(prefix="winnow-tests-") as folder:
        marked = f"{code}\nimport sys as _sys\n_sys.stderr.write({PASSED!r})\n"
        process = subprocess.Popen(
            [*_without_network(), sys.executable, "-I", "-c", marked],
            cwd=folder,
            env={"PATH": os.environ.get("PATH", ""), "HOME": folder, "TMPDIR": folder, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=_limit,
            start_new_session=True,
        )
        try:
            _, said = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return False
        finally:  # with whatever it started
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return process.returncode == 0 and said.decode(errors="replace").endswith(PASSED)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform.startswith("linux"):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@cache
def _without_network() -> tuple[str, ...]:
    """Return the words before a command that take its network away (a namespace of its own); none where the system refuses."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    words = (unshare, "--net", "--map-root-user")
    tried = subprocess.run([*words, "true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return words if tried.returncode == 0 else ()
