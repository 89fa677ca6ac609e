"""A run's state after a complete epoch, or within a long one; a resumed run is bit-identical to one that was not interrupted."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from pruning.errors import TrainingError, system_words
from pruning.records import Encoded, EpochRecord, RunPlan
from pruning.settings import TrainSettings

logger = logging.getLogger(__name__)

PART = ".part"
"""File suffix while a checkpoint is being written; eight hexadecimal digits of its writer are before it."""

DIGITS = 64
"""Length of the sha256 in hexadecimal digits that ends a checkpoint and covers the bytes before it."""


def fingerprint(plan: RunPlan, data: Encoded, network: nn.Module, settings: TrainSettings, dtype: torch.dtype) -> str:
    """Hash of everything that determines a run's numbers: seed, rows, data, initial weights, settings, precision, library versions."""
    words = {"seed": plan.seed, "epochs": plan.epochs, "record": plan.record, "dtype": str(dtype), "kind": data.kind}
    if settings.lora_rank:
        words["order"] = "first factors first"  # of what AdamW's moments belong to
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    if settings.load_in_4bit:
        versions["bitsandbytes"] = version("bitsandbytes")
    digest = hashlib.sha256(json.dumps({**words, **versions, **settings.to_dict()}, sort_keys=True).encode())
    for array in (plan.rows, data.tokens, data.offsets, data.unit_offsets, data.labels, data.token_types, data.answer):
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save(path: str, state: dict[str, Any], records: Sequence[EpochRecord]) -> None:
    """Write `state` (tensors and plain values), the finished records, and a sha256; the file appears whole or not at all.

    Raises TrainingError if the system cannot write it, usually because the disk is full.
    """
    part = Path(f"{path}.{secrets.token_hex(4)}{PART}")  # a machine thought lost may still be writing the same checkpoint
    try:
        part.parent.mkdir(exist_ok=True)  # without its parents: a folder that was moved must not be recreated empty
        with part.open("w+b") as file:
            torch.save({**state, "records": [_to_tensors(record) for record in records]}, file)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # leaves the file position at the end
            file.write(digest.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except FileNotFoundError as error:
        raise TrainingError(f"{part.parent.parent} was moved or deleted during the job; resume it where it is now.") from error
    except (OSError, RuntimeError) as error:  # torch.save wraps the system's error in a RuntimeError
        part.unlink(missing_ok=True)
        reason = system_words(error) if isinstance(error, OSError) else "the disk is full or not writable"
        raise TrainingError(f"{path} could not be written: {reason}; free some disk space and resume, or use --no-checkpoints.") from error


def load(path: str, expected: str) -> tuple[dict[str, Any], list[EpochRecord]] | None:
    """Return the state that `save` wrote for the run with this fingerprint; None if the file is missing, damaged, or of another run."""
    if not Path(path).is_file() or not whole(path):
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["fingerprint"] != expected:
            logger.info("%s is of another run, other settings or another version, and is not used", path)
            return None
        return state, [_from_tensors(record) for record in state.pop("records")]
    except Exception:  # torch.load has no error class of its own; whatever is wrong with the file, the run can start over
        return None


def whole(path: str | Path) -> bool:
    """Return True if a checkpoint matches its sha256."""
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
    """Remove a damaged checkpoint and return a sentence about it; an empty string if it is missing or undamaged."""
    if not Path(path).is_file() or whole(path):
        return ""
    Path(path).unlink(missing_ok=True)
    return f"The checkpoint {path} is damaged and was removed; its epochs are trained again."


def discard(paths: Iterable[str | None]) -> None:
    """Remove these checkpoints and partly written ones."""
    for path in map(Path, filter(None, paths)):
        path.unlink(missing_ok=True)
        discard_parts(path)


def discard_parts(path: Path) -> None:
    """Remove what was written of a checkpoint by processes that were killed."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*{PART}"):
        part.unlink(missing_ok=True)


def generators(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the states of the generators that dropout draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def restore_generators(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Restore the states that `generators` returned."""
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
