"""Start the dashboard's server, on this machine only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

APP = Path(__file__).resolve().parents[2] / "app.py"


def main(experiments: Path, port: int) -> None:
    """Serve the dashboard on the experiments below `experiments` until Ctrl-C."""
    experiments.mkdir(parents=True, exist_ok=True)
    print(
        f"Winnow shows the experiments in {experiments.resolve()} at http://localhost:{port} (Ctrl-C stops it; scoring goes on).",
        flush=True,
    )
    environment = {**os.environ, "WINNOW_EXPERIMENTS": str(experiments.resolve())}
    command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(port)]
    process = subprocess.Popen(command, cwd=APP.parent, env=environment, stdout=subprocess.DEVNULL)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        code = process.wait()
    if code not in (0, -15, 130):
        raise SystemExit(code)
