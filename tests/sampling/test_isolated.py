"""Code of answers: limits hold, the environment is empty, and nothing it starts is left."""

from __future__ import annotations

import os
import time

import psutil
import pytest

from pruning.sampling import isolated

pytestmark = pytest.mark.process


def test_code_sees_no_environment_and_an_empty_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_API_KEY", "secret")
    assert isolated.passes("import os\nassert 'WINNOW_API_KEY' not in os.environ and os.listdir() == []")
    assert not isolated.passes("open('large', 'wb').write(b'0' * (1 << 25))")
    assert not isolated.passes("held = bytearray(1 << 31)")


def test_what_hangs_is_killed_with_what_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "SECONDS", 2)
    started = time.monotonic()
    mark = f"winnow-test-{os.getpid()}"
    assert not isolated.passes(
        f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', '{mark}']).wait()"
    )
    assert time.monotonic() - started < 10
    time.sleep(0.2)
    assert not [process for process in psutil.process_iter(["cmdline"]) if mark in (process.info["cmdline"] or []) and process.is_running()]


def test_the_network_is_away_where_the_system_allows_it() -> None:
    if not isolated._without_network():
        pytest.skip("this system does not let users make network namespaces")
    assert not isolated.passes("import socket\nsocket.create_connection(('127.0.0.1', 22), 1)")
    assert isolated.passes("import socket\nassert [name for _, name in socket.if_nameindex()] == ['lo']")
