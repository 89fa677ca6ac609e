"""Which files a name typed on the web may reach: those below a few folders, and nothing else.

The dashboard sets WINNOW_ROOTS, and the workers it starts inherit it, so that what it shows and what they read obey the same
rule. Without it (the command line, a notebook) the rights of the person at the keyboard are the limit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOTS = "WINNOW_ROOTS"
"""Environment variable: folders, separated like those of PATH."""

MOST_INSIDE = 10_000
"""Files and folders within a folder, those that its links lead to included; one with more is refused, because each is looked at."""


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
    outside = f"{name} lies outside the folders that the dashboard may read ({', '.join(roots)}); add its folder to {ROOTS}."
    if not _inside(path, roots):
        return outside
    try:
        for count, place in enumerate(_below(path)):
            if count >= MOST_INSIDE:
                return f"{name} holds more than {MOST_INSIDE:,} files, too many to see that none leads elsewhere; name a smaller folder."
            if os.path.islink(place) and not _inside(place, roots):
                return outside
    except OSError as error:
        return f"{name} cannot be looked through for links that lead elsewhere: {(error.strerror or str(error)).lower()}."
    return None


def _inside(path: str | Path, roots: Iterable[str]) -> bool:
    real = os.path.realpath(path)
    return any(real == root or real.startswith(root.rstrip(os.sep) + os.sep) for root in roots)


def _below(folder: str | Path) -> Iterator[str]:
    """Everything that can be opened by a path below a folder (a saved dataset or model); each folder that links lead to once."""
    waiting, seen = [os.path.realpath(folder)], set()
    while waiting:
        inner = waiting.pop()
        if inner in seen or not os.path.isdir(inner):
            continue
        seen.add(inner)
        with os.scandir(inner) as entries:
            for entry in entries:
                yield entry.path
                waiting.append(os.path.realpath(entry.path) if entry.is_symlink() else entry.path)
