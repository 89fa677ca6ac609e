"""Which files a name typed on the web may reach: those below a few folders, and nothing else.

The dashboard sets WINNOW_ROOTS, and the workers it starts inherit it, so pages and workers obey the same rule. Without it (the
command line, a notebook) the rights of the user are the limit.

A name is resolved once, to a path without links, and that path is both checked and opened. `held` guards the time in between: it
opens every file first, asks the system where each opened file lies, and hands on a private folder that leads to the opened files.
A link that is exchanged after the check is never followed.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from pruning.errors import DataError, WinnowError, system_words

ROOTS = "WINNOW_ROOTS"
"""Environment variable: folders, separated like those of PATH."""

PRIVATE = "winnow-held-"
"""Start of the name of a private folder."""

_TYPED: dict[str, str] = {}
"""Private path of a model -> its name as typed."""

MOST_INSIDE = 1_000
"""Most files within a folder, those that its links lead to included; each is opened to see where it lies."""


def join(folders: Iterable[str | Path]) -> str:
    """Return the value of WINNOW_ROOTS that allows these folders."""
    return os.pathsep.join(dict.fromkeys(os.path.realpath(folder) for folder in folders))


def allowed() -> list[str] | None:
    """Return the folders that may be read, links resolved; None where there is no rule."""
    named = os.environ.get(ROOTS)
    return None if named is None else [os.path.realpath(folder) for folder in named.split(os.pathsep) if folder]


def resolve(name: str) -> Path | None:
    """Return the file or folder that a name stands for, links resolved under a rule; None for a hub name, or where nothing is.

    Raises DataError for a name that may not be read, in one sentence that does not reveal if there is such a file.
    """
    roots = allowed()
    if roots is None:
        with suppress(OSError, ValueError, RuntimeError):
            path = Path(name).expanduser()
            return path if path.exists() else None
        return None
    if problem := refusal(name):
        raise DataError(problem)
    return Path(os.path.realpath(name)) if os.path.lexists(name) and os.path.exists(name) else None


def refusal(name: str) -> str | None:
    """Return why a file, folder or hub name may not be read, in one sentence that does not reveal if it exists; None when it may.

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
        return "The name has a NUL character; file names cannot have one."
    if name.startswith("~") or "://" in name or "\\" in name or re.match(r"[A-Za-z]:", name):
        return f"{name} is not a path that the dashboard reads; write it out, from {os.sep} or from the folder it was started in."
    plain = name.rpartition("#")[0] if "#" in name and not os.path.lexists(name) else name
    path = Path(plain)
    if not (path.is_absolute() or ".." in path.parts or os.path.lexists(path)):
        return None  # a name of the hub, or nothing
    outside = _outside(name, roots)
    if not _inside(os.path.realpath(path), roots):
        return outside
    try:
        for count, (_, file) in enumerate(_below(os.path.realpath(path))):
            if count >= MOST_INSIDE:
                return f"{name} holds more than {MOST_INSIDE:,} files, too many to see that none leads elsewhere; name a smaller folder."
            if not _inside(os.path.realpath(file), roots):
                return outside
    except OSError as error:
        return f"{name} cannot be searched for links that lead elsewhere: {system_words(error)}."
    return None


@contextmanager
def held(path: Path, typed: str | None = None) -> Iterator[Path]:
    """Open a resolved file or folder, and yield a path that leads to exactly the opened files, whatever is exchanged meanwhile.

    The path ends like `path`. Without a rule, or where the system has no /proc, it is `path` itself. Errors raised in the block
    have `typed` (None: `path`) in place of the private path. Raises DataError when an opened file lies outside the folders that may
    be read.
    """
    roots = allowed()
    if roots is None or not os.path.isdir("/proc/self/fd"):
        yield path
        return
    with ExitStack() as stack:
        private = stack.enter_context(tempfile.TemporaryDirectory(prefix=PRIVATE, ignore_cleanup_errors=True))
        top = Path(private, *path.parts[1:])
        _raise_limit()
        try:
            files = [("", str(path))] if not path.is_dir() else _below(str(path))
            top.mkdir(parents=True) if path.is_dir() else top.parent.mkdir(parents=True, exist_ok=True)
            for name, file in files:
                if os.path.isdir(file):
                    continue
                handle = open_inside(file, roots)
                stack.callback(os.close, handle)
                link = top / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(f"/proc/{os.getpid()}/fd/{handle}")
        except OSError as error:
            raise DataError(f"{typed or path} cannot be read: {system_words(error)}.") from None
        try:
            yield top
        except WinnowError as error:
            error.args = tuple(
                as_typed(part.replace(str(top), typed or str(path))) if isinstance(part, str) else part for part in error.args
            )
            raise


@cache
def kept(path: Path, name: str) -> Path:
    """Return what `held` yields, until this process ends: a model is read again and again, by its child processes too.

    `as_typed` has `name` in place of its path from then on.
    """
    import atexit

    stack = ExitStack()
    atexit.register(stack.close)
    private = stack.enter_context(held(path, name))
    _TYPED[str(private)] = name
    return private


def as_typed(text: str | Path) -> str:
    """Return a text with paths as the user typed them in place of the private ones of `held`, or resolved where that is unknown."""
    text = str(text)
    for private, name in _TYPED.items():
        text = text.replace(private, name)
    return re.sub(re.escape(tempfile.gettempdir()) + rf"/{PRIVATE}\w{{8}}(?=/)", "", text)


def open_inside(path: str | Path, roots: Iterable[str]) -> int:
    """Open a regular file to read and return its handle. Raises DataError when what was opened lies outside `roots`."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        if not _inside(_place(handle, path), roots):
            raise DataError(_outside(str(path), roots))
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise DataError(f"{path} is not a regular file.")
    except BaseException:
        os.close(handle)
        raise
    return handle


def _place(handle: int, path: str | Path) -> str:
    """Return where an opened file lies, as the system knows it; where that cannot be asked, what its path leads to if it is that file."""
    try:
        return os.readlink(f"/proc/self/fd/{handle}")
    except OSError:
        real = os.path.realpath(path)
        return real if os.path.samestat(os.stat(real), os.fstat(handle)) else ""


def _outside(name: str, roots: Iterable[str]) -> str:
    return f"{name} lies outside the folders that the dashboard may read ({', '.join(roots)}); add its folder to {ROOTS}."


def _inside(real: str, roots: Iterable[str]) -> bool:
    return any(real == root or real.startswith(root.rstrip(os.sep) + os.sep) for root in roots)


def _below(folder: str) -> Iterator[tuple[str, str]]:
    """Yield everything but folders below a folder, as (name within it, path); each folder that links lead to once."""
    waiting, seen = [("", folder)], set()
    while waiting:
        name, inner = waiting.pop()
        real = os.path.realpath(inner)
        if real in seen or not os.path.isdir(real):
            continue
        seen.add(real)
        with os.scandir(real) as entries:
            for entry in entries:
                place = f"{name}/{entry.name}" if name else entry.name
                if entry.is_dir():
                    waiting.append((place, entry.path))
                    if entry.is_symlink():
                        yield place, entry.path
                else:
                    yield place, entry.path


def _raise_limit() -> None:
    """Allow this process as many open files as the system lets it: `held` opens up to MOST_INSIDE at once."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8 * MOST_INSIDE)), hard))
