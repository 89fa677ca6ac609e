"""Start the dashboard's server, on this machine only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

APP = Path(__file__).resolve().parents[2] / "app.py"


def main(experiments: Path, port: int) -> None:
    """Become the server of the experiments below `experiments`, until Ctrl-C. Does not return."""
    experiments.mkdir(parents=True, exist_ok=True)
    print(f"Winnow shows the experiments in {experiments.resolve()} at http://localhost:{port}", flush=True)
    print("Ctrl-C stops the dashboard; scoring goes on.", flush=True)
    os.environ["WINNOW_EXPERIMENTS"] = str(experiments.resolve())
    os.chdir(APP.parent)
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(port)])
