"""Files of torch.save, read as arrays without running anything in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from pruning.errors import DataError


def load(path: Path) -> Any:
    """What the file holds, every tensor as an array; lists, tuples and dictionaries stay what they are.

    Raises DataError when it cannot be read, or holds anything but tensors and plain values.
    """
    try:
        return _plain(torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError:
        raise DataError(
            f"{path} holds more than tensors and plain values, which is not read: it could run code; save the tensors alone."
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a file of torch.save: {str(error).splitlines()[0]}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return (value.float() if value.is_floating_point() else value).numpy()
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value
