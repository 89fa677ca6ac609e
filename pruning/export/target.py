"""Where an export may be written: never over anything but what an earlier export wrote and lists in its manifest."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pruning.data import readers
from pruning.errors import ExportError
from pruning.files import atomic_write, sha256

MANIFEST = "manifest.json"

_LEFTOVER = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})-(?P<pid>[0-9]+)-(?P<born>[0-9]*)\.export\.tmp")
"""Names of files and folders that an export has not finished: machine, process and when that process started."""


def manifest_path(output: Path) -> Path:
    """Return where the manifest of an output is: OUTPUT.manifest.json, or manifest.json in an experiment's exports/<name>/.

    An output there whose folder has the manifest.json of another output has its own beside it.
    """
    named, shared = output.with_name(output.name + ".manifest.json"), output.with_name(MANIFEST)
    if named.exists() or output.parent.parent.name != "exports":
        return named
    if shared.exists():
        return shared if _named_in(shared) == output.name else named
    return shared if (output.parent.parent.parent / "experiment.json").exists() else named


def _named_in(path: Path) -> str | None:
    found = read_manifest(path)
    return None if found is None else str(found["output"]["name"])


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Return a manifest that Winnow wrote; None for any other file."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        _ = manifest["output"]["name"], manifest["output"]["sha256"], manifest["subset"]["name"], manifest["ids"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(manifest)


def check(data: list[str | None], output: Path, force: bool, as_folder: bool) -> str | None:
    """Return the sha256 of the earlier export that `output` replaces, or None where nothing is there.

    Raises ExportError, and changes nothing, where anything else would be replaced: a file or folder that no manifest lists, one
    that changed since, a link, an experiment's own files, the data (under any of its names), or another manifest.
    """
    real = output.parent.resolve() / output.name
    if output.name == MANIFEST or output.name.endswith(".manifest.json"):
        raise ExportError(f"{output} is a name for manifests; choose another name.")
    _check_experiment(real, output)
    for source in (one for name in data if name for one in readers.paths(name)):
        if _same(source, real) or (source.is_dir() and source.resolve() in (real, *real.parents)):
            raise ExportError(f"{output} is the data itself ({source}); choose another name.")
    path = manifest_path(output)
    if os.path.lexists(path) and (path.is_symlink() or _named_in(path) != output.name):
        raise ExportError(f"{path} exists and is not the manifest of an earlier export to {output}; choose another name.")
    if not os.path.lexists(output):
        return None
    if output.is_dir() and not as_folder and not path.exists():
        raise ExportError(f"{output} is a folder; name a file in it, such as {output / 'data.jsonl'}.")
    if not force:
        raise ExportError(f"{output} exists; choose another name or add --force to replace it.")
    return _owned(output, path)


def _check_experiment(real: Path, output: Path) -> None:
    inside = next((parent for parent in (real, *real.parents) if (parent / "experiment.json").exists()), None)
    if inside is not None and (inside / "exports") not in real.parents:
        raise ExportError(f"{output} is part of the experiment {inside}; there, only {inside / 'exports'} takes exports.")


def _same(source: Path, real: Path) -> bool:
    with suppress(OSError):
        return source.resolve() == real or os.path.samefile(source, real)
    return False


def _owned(output: Path, path: Path) -> str:
    """Return the sha256 of what is at `output` if Winnow wrote it and nothing was added or changed since."""
    manifest = read_manifest(path) if path.exists() else None
    if manifest is None or output.is_symlink():
        raise ExportError(f"{output} was not written by an export (no manifest lists it), so --force does not replace it.")
    if output.is_dir():
        names = manifest["output"].get("files")
        listed = {output / str(name) for name in names} if isinstance(names, list) else set(files_of(output))
        folders = {parent for file in listed for parent in file.parents}
        foreign = [inner for inner in output.rglob("*") if inner.is_symlink() or (inner not in listed and inner not in folders)]
        if foreign:
            raise ExportError(f"{output} holds {foreign[0].relative_to(output)}, which no export wrote, so --force does not replace it.")
    found = digest(output)
    if found not in (manifest["output"]["sha256"], manifest.get("replaces")):
        raise ExportError(
            f"{output} was changed since it was exported, so --force does not replace it; choose another name, or move it away."
        )
    return found


def files_of(output: Path) -> list[Path]:
    """The files that an export is made of, its manifest aside: itself, or all that its folder holds, in a fixed order."""
    return [output] if output.is_file() else sorted(path for path in output.rglob("*") if path.is_file())


def digest(output: Path) -> str:
    """sha256 of a file; of a folder, over the names and digests of all its files."""
    if output.is_file():
        return sha256(output)
    found = hashlib.sha256()
    for path in files_of(output):
        found.update(f"{path.relative_to(output).as_posix()} {sha256(path)}\n".encode())
    return found.hexdigest()


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """`atomic_write` whose temporary name says which process writes, so that `sweep` can tell when that process is dead."""
    name = f".{path.name}.{_host()}-{os.getpid()}-{_born(os.getpid())}.export.tmp"
    with atomic_write(path, path.with_name(name)) as temporary:
        yield temporary


def sweep(folder: Path) -> None:
    """Remove what exports left unfinished in that folder when their process died on this machine."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        found = _LEFTOVER.fullmatch(path.name)
        if not found or found["host"] != _host() or path.is_symlink():
            continue
        pid = int(found["pid"])
        if _alive(pid) and _born(pid) == found["born"]:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _born(pid: int) -> str:
    """When a process started, in the kernel's count; empty where that is unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
