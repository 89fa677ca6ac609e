"""Device, precision, threads and cores of a run."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import torch

from pruning.errors import UsageError
from pruning.files import visible_gpu

NAME = re.compile(r"(cpu|cuda|mps)(?::(\d+(?:,\d+)*))?", re.ASCII)
"""Names of devices; only cuda may have several numbers."""

ONLY_GPU = "cuda:0"
"""Name of its GPU in a process that sees one."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Environment variable for cuBLAS's workspace; with :4096:8 the same matrix product gives the same numbers each time."""


def pick_devices(name: str) -> list[torch.device]:
    """Return the devices that `--device` names: cuda = every GPU, cuda:0,2 = these two; auto = cuda, else mps, else cpu.

    Raises `UsageError` for a malformed name, or a device that this machine does not have.
    """
    wanted = name
    if name == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    found = NAME.fullmatch(wanted)
    numbers = [int(number) for number in (found[2] or "").split(",") if number] if found else []
    if found is None or len(set(numbers)) < len(numbers) or (len(numbers) > 1 and found[1] != "cuda"):
        raise UsageError(f"device must be auto, cpu, cuda, cuda:N, cuda:N,N or mps, got {name!r}.", "device")
    kind = found[1]
    present = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if max(numbers, default=0) >= present:
        many = "1 device" if present == 1 else f"{present or 'no'} devices"
        first = f"; the first is {kind}:0" if present else ""
        raise UsageError(f"device is {name!r}, but PyTorch finds {many} of this type{first}.", "device")
    return [torch.device("cuda", number) for number in numbers or range(present)] if kind == "cuda" else [torch.device(kind)]


def pick_device(name: str) -> torch.device:
    """Return the first of the devices that `--device` names, for work that uses one."""
    return pick_devices(name)[0]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process trains."""

    where: str = ""
    """Name for people; empty = the process itself."""
    device: str = "cpu"
    """Name of the device in that process."""
    core: int | None = None
    """Number of the core to run on; None = any."""
    gpu: str = ""
    """The GPU that it sees, as CUDA_VISIBLE_DEVICES names it; empty = all."""


def places(devices: Sequence[torch.device], most: int) -> list[Place]:
    """Return places for at most `most` processes: one for each GPU; on the CPU a core each where there is one for every process."""
    if devices[0].type == "cuda":
        return [Place(str(device), ONLY_GPU, gpu=visible_gpu(device.index)) for device in devices[:most]]
    usable = cores()
    if most != len(usable) or not hasattr(os, "sched_setaffinity"):
        return [Place()] * most
    return [Place(f"core {core}", core=core) for core in usable]


def pick_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return the type of matrix products; weights are always fp32. auto = bf16 if the device supports it in hardware.

    Raises `UsageError` for fp16 without CUDA: gradients underflow without loss scaling, which is only available on CUDA.
    """
    if precision == "fp16" and device.type != "cuda":
        raise UsageError(f"precision fp16 needs a CUDA device, got {device.type}; use bf16, fp32 or auto.", "precision")
    if precision == "auto":
        return torch.bfloat16 if _computes_bf16(device) else torch.float32
    return DTYPES[precision]


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Return a context in which matrix products run in `dtype`; it does nothing for fp32."""
    return nullcontext() if dtype is torch.float32 else torch.autocast(device.type, dtype=dtype)


def cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def slots(name: str) -> int:
    """Return how many processes train in parallel on the devices that `--device` names: one per GPU; one per usable core within a
    container's CPU quota.
    """
    devices = pick_devices(name)
    if devices[0].type != "cpu":
        return len(devices)
    quota = Path("/sys/fs/cgroup/cpu.max")
    share, period = quota.read_text(encoding="ascii").split() if quota.is_file() else ("max", "100000")
    return len(cores()) if share == "max" else max(1, min(len(cores()), round(int(share) / int(period))))


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: of the device on CUDA, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def clock(device: torch.device) -> float:
    """Return seconds to take differences of: this process's CPU time on the CPU, which other jobs do not change, else wall clock."""
    return process_time() if device.type == "cpu" else perf_counter()


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = Path("/proc/cpuinfo")
    if device.type != "cpu" or platform.system() != "Linux" or not flags.is_file():
        return False
    words = set(flags.read_text(encoding="utf-8", errors="replace").split())
    return bool(words & {"avx512_bf16", "amx_bf16"})


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one CPU thread, so that a run gives the same numbers on any number of cores; restore the setting afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """If `wanted`, make PyTorch use deterministic algorithms only and raise for others; restore the setting afterwards.

    cuBLAS reads its setting at start-up, so on CUDA this must enclose a process's first operation.
    """
    if not wanted:
        yield
        return
    before, workspace = torch.are_deterministic_algorithms_enabled(), os.environ.get(WORKSPACE)
    os.environ[WORKSPACE] = workspace or ":4096:8"
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        if workspace is None:
            del os.environ[WORKSPACE]
