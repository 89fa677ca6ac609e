"""Encoded data in anonymous memory that several processes map; nothing is left behind if they are killed."""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import fields, replace
from typing import Any

import numpy as np

from pruning.records import Encoded

ALIGNMENT = 64


class SharedMemory:
    """An anonymous file in memory, freed when the last process closes it."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("winnow")
        else:
            with tempfile.TemporaryFile() as file:
                self.fd = os.dup(file.fileno())
        self.size = 0

    def add(self, data: Encoded) -> tuple[Encoded, dict[str, tuple[int, str, tuple[int, ...]]]]:
        """Copy the arrays of `data` into it; return what `attach` needs in another process: the record without arrays and their offsets."""
        arrays = {f.name: value for f in fields(data) if isinstance(value := getattr(data, f.name), np.ndarray)}
        places = {}
        for name, array in arrays.items():
            start = -(-self.size // ALIGNMENT) * ALIGNMENT
            with os.fdopen(os.dup(self.fd), "r+b") as file:
                file.seek(start)
                file.write(np.ascontiguousarray(array).data)
            places[name] = (start, array.dtype.str, array.shape)
            self.size = start + array.nbytes
        empty: dict[str, Any] = {name: array[:0] for name, array in arrays.items()}
        return replace(data, **empty), places

    def close(self) -> None:
        """Close this process's handle."""
        os.close(self.fd)


def attach(fd: int, size: int, bare: Encoded, places: dict[str, tuple[int, str, tuple[int, ...]]]) -> Encoded:
    """Return the data that another process added to the memory behind `fd`; read-only, not copied."""
    view = mmap.mmap(fd, max(size, 1), prot=mmap.PROT_READ)
    arrays: dict[str, Any] = {
        name: np.frombuffer(view, dtype, count=int(np.prod(shape)), offset=start).reshape(shape)
        for name, (start, dtype, shape) in places.items()
    }
    return replace(bare, **arrays)
