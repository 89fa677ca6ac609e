"""Winnow: find the part of a fine-tuning set that matters.

The verbs of the command line as functions, for notebooks:

    import pruning

    examples = pruning.load("reviews.jsonl")
    experiment = pruning.score(pruning.Settings(data="reviews.jsonl"), "experiments/reviews")
    experiment.scores()
    experiment.subsets()
    pruning.measure("experiments/reviews", seeds=3).frontier()
    experiment.export("winning-ticket", "reviews.ticket.jsonl")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pruning.data.examples import load as load
    from pruning.experiment import Experiment as Experiment
    from pruning.export.writer import verify as verify
    from pruning.interop.recorder import Recorder as Recorder
    from pruning.interop.recorder import RecorderMixin as RecorderMixin
    from pruning.jobs.worker import frontier as measure
    from pruning.jobs.worker import score as score
    from pruning.settings import Settings as Settings
    from pruning.settings import TrainSettings as TrainSettings

__version__ = "0.1.0"

__all__ = ["Experiment", "Recorder", "RecorderMixin", "Settings", "TrainSettings", "load", "measure", "score", "verify"]

_HOMES = {
    "Experiment": ("pruning.experiment", "Experiment"),
    "Recorder": ("pruning.interop.recorder", "Recorder"),
    "RecorderMixin": ("pruning.interop.recorder", "RecorderMixin"),
    "Settings": ("pruning.settings", "Settings"),
    "TrainSettings": ("pruning.settings", "TrainSettings"),
    "load": ("pruning.data.examples", "load"),
    "measure": ("pruning.jobs.worker", "frontier"),
    "score": ("pruning.jobs.worker", "score"),
    "verify": ("pruning.export.writer", "verify"),
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import pruning` stays instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pruning' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
