"""The owner of an experiment and the state of its job: a lock that the system frees when its process dies, and a list of events."""

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

from pruning.errors import BusyError, ExperimentError, system_words
from pruning.files import LEFTOVER, make_folder, remove_leftovers, visible_gpu
from pruning.logs import last_words
from pruning.paths import cache_folder
from pruning.records import JobState, Progress
from pruning.store import lines, manifest
from pruning.store.job_status import JobStatus
from pruning.store.layout import Folder

EXPORTING = 3600.0
"""Seconds after which an unfinished export or derived file counts as a left-over: they are written without the lock."""

SILENT = "The worker exited without an error message."
"""Message of a job that was killed; the path of its log follows where there is one."""

SILENT_AFTER = 60.0
"""Seconds without an event after which a job under way counts as silent; it writes one every few seconds."""


@dataclass(slots=True)
class _Hold:
    """A folder that this process owns: the identities of its folder and lock file at the start, and the text in the lock file."""

    root: tuple[int, int]
    lock: tuple[int, int]
    text: str
    alone: bool
    """True when the folder itself is locked too, so that deleting the lock file does not admit another job."""


_HELD: dict[str, _Hold] = {}


@contextmanager
def own(folder: Folder, wait: float = 2.0, named: bool = True) -> Iterator[None]:
    """Own the experiment while the block runs: only the owner may write. Files left half-written by a killed job are removed first.

    With `named`, the lock names this process, so that `cancel` can stop it. Raises BusyError when another job owns the experiment,
    ExperimentError when the folder cannot be written, or holds something other than an experiment.
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
        raise ExperimentError(f"{folder.root} could not be written: {system_words(error)}.") from None
    place = os.path.abspath(folder.root)
    try:
        text = json.dumps({"pid": os.getpid(), "born": _born(os.getpid())}) if named else ""
        _HELD[place] = _Hold(_identity(folder.root), _identity(folder.lock), text, alone=handle is not None)
        _sign(folder, text)
        sweep(folder)
        yield
    finally:
        with suppress(ExperimentError, OSError):  # the folder may have been moved and replaced
            check_place(folder)
            _sign(folder, "")
        _HELD.pop(place, None)
        if handle is not None:
            os.close(handle)
        lock.release()


def check_place(folder: Folder) -> None:
    """Raise ExperimentError when the folder that this process owns, or its lock file, was replaced since the start.

    Called before each write, so that nothing is written in place of a folder that was moved, replaced or deleted.
    """
    began = _HELD.get(os.path.abspath(folder.root))
    if began is None:
        return
    if _identity(folder.root) != began.root:
        raise ExperimentError(f"{folder.root} was moved, replaced or deleted during the job, which stops; resume it at its new place.")
    if _identity(folder.lock) != began.lock:
        if not began.alone:
            raise ExperimentError(f"{folder.lock} was deleted or replaced during the job, which stops; resume it.")
        _sign(folder, began.text)
        began.lock = _identity(folder.lock)


def _identity(path: Path) -> tuple[int, int]:
    """Return device and inode of a path; zeros where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _lock_folder(folder: Folder, wait: float) -> int | None:
    """Lock the folder itself too, in case the lock file is deleted, and return its handle; None where the system cannot."""
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
    """Return the error for a folder that another job owns, naming its process and start where they are known."""
    pid, last = owner(folder), lines.last(folder.events, _tells_state) or {}
    since = f", started {time.strftime('%H:%M', time.localtime(last['started']))}" if last.get("pid") == pid and last.get("started") else ""
    who = f" (process {pid}{since})" if pid is not None else ""
    return BusyError(f"{folder.root} is in use by another job{who}; wait for it to finish, or cancel it.")


def refuse_strange(folder: Folder) -> None:
    """Raise ExperimentError where the folder holds something other than an experiment that this Winnow can open, or the start of one."""
    if folder.manifest.exists():
        manifest.read(folder.manifest)
    elif folder.root.exists() and not all(_begun(folder, path) for path in folder.root.iterdir()) and not folder.manifest.exists():
        raise ExperimentError(f"{folder.root} is not empty and is not an experiment; choose a new folder.", "experiment")


def _begun(folder: Folder, path: Path) -> bool:
    """Return True for a file that a job killed before it wrote experiment.json may have left."""
    half = LEFTOVER.fullmatch(path.name)
    return path in (folder.lock, folder.jobs, folder.events, folder.checksums) or bool(half and half["name"] == folder.manifest.name)


def owner(folder: Folder) -> int | None:
    """Return the process that owns the experiment, as named in the lock; None where there is none, or it is unknown."""
    try:
        named = json.loads(folder.lock.read_bytes())
        pid, born = int(named["pid"]), named["born"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return pid if owned(folder) and born == _born(pid) else None


def _sign(folder: Folder, text: str) -> None:
    with suppress(OSError):  # without a name the job works, but cannot be cancelled from elsewhere
        folder.lock.write_text(text, encoding="utf-8")


def _born(pid: int) -> str:
    """Return when a process started, in clock ticks since boot, so that a later process with the same number is not mistaken for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):  # not Linux, or there is no such process
        return ""


def queue_folder() -> Path:
    """Return the folder of the queues for devices: WINNOW_QUEUE, else in the user's cache. Jobs with different folders do not wait."""
    named = os.environ.get("WINNOW_QUEUE")
    return Path(named) if named else cache_folder() / "queue"


@contextmanager
def turn(device: str, waiting: Callable[[str], None], name: str = "") -> Iterator[None]:
    """Hold a device while the block runs; until no other job of this user on this machine holds it, call `waiting` every second.

    `waiting` gets the `name` of the job that holds the device, empty where it is unknown. The lock is in the user's cache; without a
    cache no job waits.
    """
    kind, _, number = device.partition(":")
    device = f"cuda:{visible_gpu(int(number))}" if kind == "cuda" and number.isdigit() else device
    place = queue_folder() / re.sub(r"[^\w.-]", "-", f"{platform.node()}-{device}")
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
        with suppress(OSError):  # while held: a waiting job opens the path again
            holder.unlink(missing_ok=True)
            os.unlink(lock.lock_file)
        lock.release()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def sweep(folder: Folder) -> None:
    """Remove files that killed jobs left half-written. For the owner only."""
    for place in (folder.root, folder.checkpoints, *folder.dynamics.glob("run=*"), *folder.searches.glob("*")):
        remove_leftovers(place)
    for place in (folder.cache("any").parent, folder.subsets, *folder.exports.glob("*")):
        remove_leftovers(place, older_than=EXPORTING)


def owned(folder: Folder) -> bool:
    """Return True when a running job owns the experiment. Writes nothing; concurrent calls do not affect each other."""
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
    try:
        lines.append(folder, folder.events, {"time": round(time.time(), 3), "event": event, **values})
    except ExperimentError:
        check_place(folder)  # moved since
        raise


def status(folder: Folder) -> JobStatus:
    """Return the state of the latest job: under way only while its process holds the lock."""
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
    """Return True for an event with the values of a status: events of other tools may have others."""
    try:
        _ = [Progress(**values) for values in event.get("runs", {}).values()], JobState(event["state"])
        numbers = [event.get("done", 0), event.get("total", 0), event.get("rate", 0.0), event.get("started") or 0.0, event.get("pid") or 0]
        return all(isinstance(number, Real) for number in numbers) and isinstance(event.get("message", ""), str)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _cause(folder: Folder, log_name: str) -> str:
    """Return the end of a killed job's log, or the path of the log."""
    if not log_name:
        return SILENT
    path = folder.job_log(log_name)
    return last_words(path) or f"{SILENT.removesuffix('.')}; see its log: {path}"
