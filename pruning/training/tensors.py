"""Read files of torch.save as arrays, without executing code in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pruning.errors import DataError, system_words


def load(path: Path) -> Any:
    """Return the file's content with every tensor as an array; lists, tuples and dictionaries are kept.

    Raises DataError if the file cannot be read, or holds anything but tensors and plain values.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(f"{path} holds more than tensors and plain values, which could run code; save the tensors alone.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {system_words(error)}.") from None
    except Exception:  # torch raises various errors for damaged files and other file types
        raise DataError(f"{path} is not a file of torch.save, or it is damaged.") from None
    return _plain(held, path)


def _plain(value: Any, path: Path) -> Any:
    if isinstance(value, torch.Tensor):
        return _array(value, path)
    if isinstance(value, (list, tuple)):
        return [_plain(one, path) for one in value]
    return {key: _plain(one, path) for key, one in value.items()} if isinstance(value, dict) else value


def _array(tensor: torch.Tensor, path: Path) -> NDArray[Any]:
    kind = f"a {str(tensor.layout).removeprefix('torch.')} tensor of {str(tensor.dtype).removeprefix('torch.')}"
    try:
        larger = tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
        plain = (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()
    except (RuntimeError, TypeError, NotImplementedError):
        larger, plain = True, np.empty(0)
    if larger or plain.dtype.kind not in "biuf":
        raise DataError(f"{path} holds {kind}, which is not a plain array of numbers; save tensor.detach().to_dense().clone().")
    return plain
