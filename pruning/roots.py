"""Which files a name typed on the web may reach: those below a few folders, and nothing else.

The dashboard sets WINNOW_ROOTS, and the workers it starts inherit it, so that what it shows and what they read obey the same
rule. Without it (the command line, a notebook) the rights of the person at the keyboard are the limit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

ROOTS = "WINNOW_ROOTS"
"""Environment variable: folders, separated like those of PATH."""

MOST_INSIDE = 10_000
"""Files of a folder that are looked at for links that lead out of it."""


def join(folders: Iterable[str | Path]) -> str:
    """The value of WINNOW_ROOTS that allows these folders."""
    return os.pathsep.join(dict.fromkeys(os.path.realpath(folder) for folder in folders))


def allowed() -> list[str] | None:
    """The folders that may be read, links resolved; None where there is no rule."""
    named = os.environ.get(ROOTS)
    return None if named is None else [os.path.realpath(folder) for folder in named.split(os.pathsep) if folder]


def refusal(name: str) -> str | None:
    """Why a file, folder or hub name may not be read, in one sentence that does not tell whether it exists; None when it may.

    >>> os.environ[ROOTS] = "/srv/data"
    >>> refusal("/srv/data/../keys.jsonl")
    '/srv/data/../keys.jsonl lies outside the folders that the dashboard may read (/srv/data); add its folder to WINNOW_ROOTS.'
    >>> refusal("/srv/data/reviews.jsonl"), refusal("glue:sst2")
    (None, None)
    >>> del os.environ[ROOTS]
    """
    roots = allowed()
    if roots is None:
        return None
    if "\0" in name:
        return "The name has a NUL character; no file has one."
    if name.startswith("~") or "://" in name or (os.name != "nt" and ("\\" in name or re.match(r"[A-Za-z]:", name))):
        return f"{name} is no path that the dashboard reads; write it out, from {os.sep} or from the folder it was started in."
    plain = name.rpartition("#")[0] if "#" in name and not os.path.lexists(name) else name
    path = Path(plain)
    if not (path.is_absolute() or ".." in path.parts or os.path.lexists(path)):
        return None  # a name of the hub, or nothing
    if not all(_inside(place, roots) for place in (path, *_links(path))):
        return f"{name} lies outside the folders that the dashboard may read ({', '.join(roots)}); add its folder to {ROOTS}."
    return None


def _inside(path: Path, roots: Iterable[str]) -> bool:
    real = os.path.realpath(path)
    return any(real == root or real.startswith(root.rstrip(os.sep) + os.sep) for root in roots)


def _links(folder: Path) -> Iterable[Path]:
    """Links below a folder: a saved dataset or model whose files lie elsewhere."""
    if not folder.is_dir():
        return ()
    return [path for path in islice(folder.rglob("*"), MOST_INSIDE) if path.is_symlink()]
