"""Objects that all runs on a cluster share, in its object store: each machine fetches them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from pruning.data import models
from pruning.errors import ClusterError
from pruning.records import Encoded
from pruning.training.cluster_worker import Model

WEIGHTS = ("*.json", "*.safetensors")
"""Files of a model's folder that training reads."""


def files_to_send(folder: Path, shared: Path | None) -> list[Path]:
    """Return the files of a model that have to be sent: none where it is in the folder that every machine sees."""
    if shared is not None and folder.resolve().is_relative_to(shared.resolve()):
        return []
    return sorted(path for pattern in WEIGHTS for path in folder.glob(pattern))


def put_model(ray: Any, folder: Path, files: Sequence[Path]) -> Model:
    """Put these files of a model into the object store, or return its folder if there are none."""
    if not files:
        return str(folder.resolve())
    # One file at a time, and straight from the system's cache: the bytes are never all in this process.
    return models.fingerprint(folder), [(path.name, ray.put(np.asarray(np.memmap(path, np.uint8, "r")))) for path in files]


def check_store(ray: Any, size: int) -> None:
    """Raise ClusterError where the object store of a machine is too small for so many bytes."""
    for node in ray.nodes():
        store = node["Resources"].get("object_store_memory", 0)
        if node["Alive"] and size > store:
            raise ClusterError(
                f"The object store of {node['NodeManagerAddress']} holds {store / 1e6:,.0f} MB, but the model and the data take "
                f"{size / 1e6:,.0f}; start Ray there with a larger --object-store-memory, and a container with a larger --shm-size."
            )


def bytes_of(data: Encoded) -> int:
    """Bytes of the arrays."""
    return sum(value.nbytes for each in fields(data) if isinstance(value := getattr(data, each.name), np.ndarray))
