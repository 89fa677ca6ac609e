"""Who is at an experiment, and where its job stands: a lock that the system frees when its holder dies, and a list of events."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pruning.errors import BusyError, ExperimentError
from pruning.files import LEFTOVER, make_folder, remove_leftovers
from pruning.logs import last_words
from pruning.paths import cache_folder
from pruning.records import JobState, JobStatus, Progress
from pruning.store import lines, manifest
from pruning.store.layout import Folder

EXPORTING = 3600.0
"""Seconds after which half an export or derived file is taken for a left-over: they are written without the lock."""

SILENT = "The worker exited without an error message."
"""Message of a job that was killed; its log follows where there is one."""

SILENT_AFTER = 60.0
"""Seconds without an event after which a job under way counts as silent; it writes one every few seconds."""


@dataclass(slots=True)
class _Hold:
    """A folder that this process works in: which folder and lock file it began with, and what it wrote into the lock file."""

    root: tuple[int, int]
    lock: tuple[int, int]
    text: str
    alone: bool
    """The folder itself is locked too, so a lock file that somebody deleted lets nobody in."""


_HELD: dict[str, _Hold] = {}


@contextmanager
def own(folder: Folder, wait: float = 2.0, named: bool = True) -> Iterator[None]:
    """Be the one worker that may write; what a killed one left half-written is removed first.

    While it is held the lock names this process, which `cancel` may then stop, unless not `named`. Raises BusyError when there is
    a worker already, ExperimentError when the folder cannot be written, or holds something other than an experiment.
    """
    lock = FileLock(folder.lock)
    try:
        refuse_strange(folder)
        make_folder(folder.root)
        lock.acquire(timeout=wait)
        handle = _lock_folder(folder, wait)
    except Timeout:
        lock.release()
        raise in_use(folder) from None
    except OSError as error:
        lock.release()
        raise ExperimentError(f"{folder.root} could not be written: {(error.strerror or str(error)).lower()}.") from None
    place = os.path.abspath(folder.root)
    try:
        text = json.dumps({"pid": os.getpid(), "born": _born(os.getpid())}) if named else ""
        _HELD[place] = _Hold(_identity(folder.root), _identity(folder.lock), text, alone=handle is not None)
        _sign(folder, text)
        sweep(folder)
        yield
    finally:
        with suppress(ExperimentError, OSError):  # the folder may be elsewhere, and another one in its place
            check_place(folder)
            _sign(folder, "")
        _HELD.pop(place, None)
        if handle is not None:
            os.close(handle)
        lock.release()


def check_place(folder: Folder) -> None:
    """Raise ExperimentError when the folder that this process works in, or its lock, is not the one that it began with.

    Asked before each write, so that a folder that was moved, replaced or deleted is never written beside.
    """
    began = _HELD.get(os.path.abspath(folder.root))
    if began is None:
        return
    if _identity(folder.root) != began.root:
        raise ExperimentError(f"{folder.root} was moved, replaced or deleted during the job, which ends here; resume it where it is now.")
    if _identity(folder.lock) != began.lock:
        if not began.alone:
            raise ExperimentError(f"{folder.lock} was deleted or replaced during the job, which ends here; resume it.")
        _sign(folder, began.text)
        began.lock = _identity(folder.lock)


def _identity(path: Path) -> tuple[int, int]:
    """Return which file or folder is at a path; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _lock_folder(folder: Folder, wait: float) -> int | None:
    """Lock the folder itself too, so that nobody gets in when the lock file is deleted; None where the system cannot."""
    handle, end = os.open(folder.root, os.O_RDONLY | os.O_CLOEXEC), time.monotonic() + wait
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(handle)
                raise Timeout(str(folder.root)) from None
            time.sleep(0.05)
        except OSError:  # a network file system that locks files only
            os.close(handle)
            return None


def in_use(folder: Folder) -> BusyError:
    """Return the error of a folder that another job holds, naming its process and start where they are known."""
    pid, last = owner(folder), lines.last(folder.events, _tells_state) or {}
    since = f", started {time.strftime('%H:%M', time.localtime(last['started']))}" if last.get("pid") == pid and last.get("started") else ""
    who = f" (process {pid}{since})" if pid is not None else ""
    return BusyError(f"{folder.root} is in use by another job{who}; wait for it to finish, or cancel it.")


def refuse_strange(folder: Folder) -> None:
    """Raise ExperimentError where something else lies than an experiment that this Winnow can open, or the beginning of one."""
    if folder.manifest.exists():
        manifest.read(folder.manifest)
    elif folder.root.exists() and not all(_begun(folder, path) for path in folder.root.iterdir()) and not folder.manifest.exists():
        raise ExperimentError(f"{folder.root} is not empty and holds no experiment; choose a new folder.")


def _begun(folder: Folder, path: Path) -> bool:
    """Whether a worker that was killed before its experiment.json was there may have left this."""
    half = LEFTOVER.fullmatch(path.name)
    return path in (folder.lock, folder.jobs, folder.events, folder.checksums) or bool(half and half["name"] == folder.manifest.name)


def owner(folder: Folder) -> int | None:
    """The process that holds the experiment, as the lock names it; None where nobody does, or it is not known who."""
    try:
        named = json.loads(folder.lock.read_bytes())
        pid, born = int(named["pid"]), named["born"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return pid if owned(folder) and born == _born(pid) else None


def _sign(folder: Folder, text: str) -> None:
    with suppress(OSError):  # without a name there the work goes on; it only cannot be cancelled from elsewhere
        folder.lock.write_text(text, encoding="utf-8")


def _born(pid: int) -> str:
    """When a process started, in the kernel's own count, so that another one that got its number later is not taken for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):  # not Linux, or there is no such process
        return ""


def queue_folder() -> Path:
    """Where devices are queued for: WINNOW_QUEUE, else a part of the user's cache. Who has another one waits for nobody."""
    named = os.environ.get("WINNOW_QUEUE")
    return Path(named) if named else cache_folder() / "queue"


@contextmanager
def turn(device: str, waiting: Callable[[str], None], name: str = "") -> Iterator[None]:
    """Train on a device when no other experiment of this user does on this machine; until then `waiting` is called every second.

    It is given the `name` of the job that trains there, empty where that is unknown. The lock lies in the user's cache, so that nothing
    is written beside the experiments; without a cache nobody waits.
    """
    place = queue_folder() / re.sub(r"[^\w.-]", "-", f"{platform.node()}-{_as_the_machine_counts(device)}")
    lock, holder = FileLock(f"{place}.lock"), Path(f"{place}.holder")
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=1.0)
            except Timeout:
                waiting(_text(holder))
        holder.write_text(name, encoding="utf-8")
    except OSError:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):  # while it is held: who waits for it looks again at what lies there
            holder.unlink(missing_ok=True)
            os.unlink(lock.lock_file)
        lock.release()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _as_the_machine_counts(device: str) -> str:
    """The device by what CUDA_VISIBLE_DEVICES calls it, so that processes that see different devices are no rivals."""
    kind, _, place = device.partition(":")
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return f"cuda:{visible[int(place)]}" if kind == "cuda" and place.isdigit() and any(visible[int(place) : int(place) + 1]) else device


def sweep(folder: Folder) -> None:
    """Remove what killed writers left half-written. For the owner only."""
    for place in (folder.root, folder.checkpoints, *folder.dynamics.glob("run=*"), *folder.searches.glob("*")):
        remove_leftovers(place)
    for place in (folder.cache("any").parent, folder.subsets, *folder.exports.glob("*")):
        remove_leftovers(place, older_than=EXPORTING)


def owned(folder: Folder) -> bool:
    """Whether a living worker holds the experiment. Nothing is written for it, and two who ask do not disturb each other."""
    if not folder.root.is_dir():
        return False
    return any(_locked(path) for path in (folder.lock, folder.root))


def _locked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # there is none, or it is another user's
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a network file system that locks files only
        return False
    finally:
        os.close(handle)
    return False


def log(folder: Folder, event: str, **values: Any) -> None:
    """Append one event."""
    check_place(folder)
    lines.append(folder, folder.events, {"time": round(time.time(), 3), "event": event, **values})


def status(folder: Folder) -> JobStatus:
    """The latest job as it really stands: under way only while its worker holds the lock."""
    last = lines.last(folder.events, _tells_state)
    if last is None:
        return JobStatus(state=JobState.RUNNING if owned(folder) else JobState.NEW)
    state = JobState(last["state"])
    message = last.get("message", "")
    if state.under_way and not owned(folder):
        state, message = JobState.INTERRUPTED, _cause(folder, last.get("log") or "")
    age = time.time() - last["time"]
    return JobStatus(
        state=state,
        silent=age if state.under_way and age > SILENT_AFTER else None,
        verb=last.get("verb", ""),
        pid=last.get("pid"),
        message=message,
        log=last.get("log") or "",
        started=last.get("started"),
        updated=last["time"],
        done=last.get("done", 0),
        total=last.get("total", 0),
        rate=last.get("rate", 0.0),
        runs={key: Progress(**values) for key, values in last.get("runs", {}).items()},
    )


def _tells_state(event: dict[str, Any]) -> bool:
    """Return True for an event that a status can be made of: what another tool wrote may have other values."""
    try:
        _ = [Progress(**values) for values in event.get("runs", {}).values()], JobState(event["state"])
        numbers = [event.get("done", 0), event.get("total", 0), event.get("rate", 0.0), event.get("started") or 0.0, event.get("pid") or 0]
        return all(isinstance(number, Real) for number in numbers) and isinstance(event.get("message", ""), str)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _cause(folder: Folder, log_name: str) -> str:
    """Return what a killed job's log ends with, or where that log is."""
    if not log_name:
        return SILENT
    path = folder.job_log(log_name)
    return last_words(path) or f"{SILENT.removesuffix('.')}; see its log: {path}"
