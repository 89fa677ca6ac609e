"""Files of torch.save, read as arrays without running anything in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pruning.errors import DataError


def load(path: Path) -> Any:
    """What the file holds, every tensor as an array; lists, tuples and dictionaries stay what they are.

    Raises DataError when it cannot be read, or holds anything but tensors and plain values.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(
            f"{path} holds more than tensors and plain values, which is not read: it could run code; save the tensors alone."
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    except Exception:  # a file of another kind, or a damaged one, makes torch stumble in any way
        raise DataError(f"{path} cannot be read as a file of torch.save; it is another kind of file, or damaged.") from None
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
        raise DataError(f"{path} holds {kind} that is no plain array of numbers; save tensor.detach().to_dense().clone().")
    return plain
