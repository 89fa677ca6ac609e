"""What every committed result begins with."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path


def heading(title: str, command: str) -> str:
    """Markdown heading with the command, the date and the kind of machine (never its name)."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return f"# {title}\n\n`{command}`\n\n{today()}, Python {platform.python_version()}, {libraries}.\n"


def today() -> str:
    """The date and the kind of machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{date.today()}, {cores} cores of {processor()}"


def processor() -> str:
    """The processor's model as the system names it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
