"""Windows of consecutive epochs, and means over runs, for the scores that look at how predictions change. Pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pruning.errors import ScoreError

Floats = NDArray[np.float64]


def mean_over_runs(values: NDArray[np.float32], of: Callable[[NDArray[np.float32]], Floats]) -> Floats:
    """Return the mean over runs of `of(values[run])`, [E, N] -> [N], without copying all runs."""
    total = np.zeros(values.shape[-1])
    for run in values:
        total += of(run)
    return total / len(values)


def usual_window(gold_prob: NDArray[np.float32]) -> int:
    """Return the papers' window of 10 epochs, or 2 if there are fewer than 11."""
    return 10 if gold_prob.shape[1] > 10 else 2


def windows(values: NDArray[np.floating], window: int) -> NDArray[np.floating]:
    """[E, N] -> [windows, N, window]."""
    if len(values) < window:
        raise ScoreError(f"A window of {window} epochs needs at least {window}; this recording has {len(values)}.")
    return sliding_window_view(values, window, axis=0)


def surprise(new: Floats, old: Floats) -> Floats:
    """|p_new log(p_new / p_old)| of each entry, as in the code of TDDS."""
    return np.abs(new * (np.log(new + 1e-8) - np.log(old + 1e-8)))
