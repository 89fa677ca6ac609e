"""A run's state after its last whole epoch, on disk: enough to go on bit by bit as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from pruning.errors import TrainingError
from pruning.records import Encoded, EpochRecord, RunPlan
from pruning.settings import TrainSettings

PART = ".part"
"""Suffix of a checkpoint that is being written."""

DIGITS = 64
"""A checkpoint ends with so many hexadecimal digits: the sha256 of the bytes before them."""


def fingerprint(plan: RunPlan, data: Encoded, network: nn.Module, settings: TrainSettings, dtype: torch.dtype) -> str:
    """What a run's numbers follow from: seed, rows, data, initial weights, settings, precision and library versions."""
    words = {"seed": plan.seed, "epochs": plan.epochs, "record": plan.record, "dtype": str(dtype), "kind": data.kind}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    digest = hashlib.sha256(json.dumps({**words, **versions, **asdict(settings)}, sort_keys=True).encode())
    for array in (plan.rows, data.tokens, data.offsets, data.unit_offsets, data.labels, data.token_types):
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def save(path: str, state: dict[str, Any], records: Sequence[EpochRecord]) -> None:
    """Write `state` (tensors and plain values), the finished records, and a sha256; the file appears whole or not at all.

    Raises TrainingError when the system refuses, most often because the disk is full.
    """
    part = Path(path + PART)
    try:
        part.parent.mkdir(exist_ok=True)  # without its parents: a folder that was moved must not come back empty
        with part.open("w+b") as file:
            torch.save({**state, "records": [_to_tensors(record) for record in records]}, file)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # leaves the file at its end
            file.write(digest.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except FileNotFoundError as error:
        raise TrainingError(f"{part.parent.parent} was moved or deleted during the job; resume it where it is now.") from error
    except (OSError, RuntimeError) as error:  # torch.save hides the system's own error in a RuntimeError
        part.unlink(missing_ok=True)
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "the disk is full, or refused it"
        raise TrainingError(
            f"{path} could not be written: {reason}; free some space and resume, or go on with --no-checkpoints."
        ) from error


def load(path: str, expected: str) -> tuple[dict[str, Any], list[EpochRecord]] | None:
    """Return what `save` wrote for the run with this fingerprint; None where there is nothing, something damaged, or another run's."""
    if not Path(path).is_file() or not whole(path):
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["fingerprint"] != expected:
            return None
        return state, [_from_tensors(record) for record in state.pop("records")]
    except Exception:  # torch.load names no errors of its own: whatever is wrong with the file, the run can start again
        return None


def whole(path: str | Path) -> bool:
    """Return True when every byte of a checkpoint is what `save` wrote."""
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            left = os.fstat(file.fileno()).st_size - DIGITS
            while left > 0 and (piece := file.read(min(left, 1 << 20))):
                digest.update(piece)
                left -= len(piece)
            return left == 0 and file.read() == digest.hexdigest().encode()
    except OSError:
        return False


def discard_damaged(path: str | Path) -> str:
    """Remove a checkpoint that is damaged, and say so in a sentence; empty when there is none, or it is whole."""
    if not Path(path).is_file() or whole(path):
        return ""
    Path(path).unlink(missing_ok=True)
    return f"The checkpoint {path} was damaged and is discarded; its epochs are trained again."


def discard(paths: Iterable[str | None]) -> None:
    """Removes what is left of these checkpoints."""
    for path in filter(None, paths):
        Path(path).unlink(missing_ok=True)


def generators(device: torch.device) -> dict[str, torch.Tensor]:
    """States of the generators that dropout draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_generators(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Puts the generators where `generators` found them."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    if device.type == "mps":
        torch.mps.set_rng_state(states["mps"])


def _to_tensors(record: EpochRecord) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in values.items()}


def _from_tensors(values: dict[str, Any]) -> EpochRecord:
    plain: dict[str, Any] = {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in values.items()}
    return EpochRecord(**plain)
