"""Folders that Winnow uses outside of experiments: the user's cache, and the dashboard's own files."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

PACKAGE = Path(__file__).resolve().parent


def cache_folder() -> Path:
    """Return the folder of downloads and queues: WINNOW_CACHE, or the user's cache folder (~/.cache/winnow on Linux).

    >>> os.environ["WINNOW_CACHE"] = "/srv/winnow"
    >>> cache_folder()
    PosixPath('/srv/winnow')
    >>> del os.environ["WINNOW_CACHE"]
    """
    named = os.environ.get("WINNOW_CACHE")
    return Path(named) if named else user_cache_path("winnow")


def dashboard_folder() -> Path:
    """Return the folder with app.py, pages/, assets/ and .streamlit/: inside the installed package, or a checkout's root."""
    installed = PACKAGE / "dashboard"
    return installed if installed.is_dir() else PACKAGE.parent
