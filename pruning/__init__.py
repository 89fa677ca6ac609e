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
    from pruning.analysis.recommendation import Recommendation as Recommendation
    from pruning.analysis.stability import Stability as Stability
    from pruning.data.examples import Examples as Examples
    from pruning.data.examples import load as load
    from pruning.errors import BusyError as BusyError
    from pruning.errors import Cancelled as Cancelled
    from pruning.errors import ClusterError as ClusterError
    from pruning.errors import DataError as DataError
    from pruning.errors import Diverged as Diverged
    from pruning.errors import DownloadError as DownloadError
    from pruning.errors import ExperimentError as ExperimentError
    from pruning.errors import ExportError as ExportError
    from pruning.errors import ModelError as ModelError
    from pruning.errors import ScoreError as ScoreError
    from pruning.errors import SubsetError as SubsetError
    from pruning.errors import TrainingError as TrainingError
    from pruning.errors import UsageError as UsageError
    from pruning.errors import WinnowError as WinnowError
    from pruning.experiment import Experiment as Experiment
    from pruning.export.writer import verify as verify
    from pruning.interop.recorder import Recorder as Recorder
    from pruning.interop.trainer import RecorderMixin as RecorderMixin
    from pruning.jobs.worker import frontier as measure
    from pruning.jobs.worker import score as score
    from pruning.records import DecisionKind as DecisionKind
    from pruning.records import Dynamics as Dynamics
    from pruning.records import FrontierPoint as FrontierPoint
    from pruning.records import Progress as Progress
    from pruning.records import Subset as Subset
    from pruning.settings import Settings as Settings
    from pruning.settings import TrainSettings as TrainSettings
    from pruning.store.job_status import JobStatus as JobStatus
    from pruning.subsets.decisions import Decision as Decision

__version__ = "0.1.0"
"""Version of the package, of the wheel, and as recorded in experiments and exports."""

_HOMES = {
    "BusyError": ("pruning.errors", "BusyError"),
    "Cancelled": ("pruning.errors", "Cancelled"),
    "ClusterError": ("pruning.errors", "ClusterError"),
    "DataError": ("pruning.errors", "DataError"),
    "Decision": ("pruning.subsets.decisions", "Decision"),
    "DecisionKind": ("pruning.records", "DecisionKind"),
    "Diverged": ("pruning.errors", "Diverged"),
    "DownloadError": ("pruning.errors", "DownloadError"),
    "Dynamics": ("pruning.records", "Dynamics"),
    "Examples": ("pruning.data.examples", "Examples"),
    "Experiment": ("pruning.experiment", "Experiment"),
    "ExperimentError": ("pruning.errors", "ExperimentError"),
    "ExportError": ("pruning.errors", "ExportError"),
    "FrontierPoint": ("pruning.records", "FrontierPoint"),
    "JobStatus": ("pruning.store.job_status", "JobStatus"),
    "ModelError": ("pruning.errors", "ModelError"),
    "Progress": ("pruning.records", "Progress"),
    "Recommendation": ("pruning.analysis.recommendation", "Recommendation"),
    "Recorder": ("pruning.interop.recorder", "Recorder"),
    "RecorderMixin": ("pruning.interop.trainer", "RecorderMixin"),
    "ScoreError": ("pruning.errors", "ScoreError"),
    "Settings": ("pruning.settings", "Settings"),
    "Stability": ("pruning.analysis.stability", "Stability"),
    "Subset": ("pruning.records", "Subset"),
    "SubsetError": ("pruning.errors", "SubsetError"),
    "TrainSettings": ("pruning.settings", "TrainSettings"),
    "TrainingError": ("pruning.errors", "TrainingError"),
    "UsageError": ("pruning.errors", "UsageError"),
    "WinnowError": ("pruning.errors", "WinnowError"),
    "load": ("pruning.data.examples", "load"),
    "measure": ("pruning.jobs.worker", "frontier"),
    "score": ("pruning.jobs.worker", "score"),
    "verify": ("pruning.export.writer", "verify"),
}

__all__ = [
    "BusyError",
    "Cancelled",
    "ClusterError",
    "DataError",
    "Decision",
    "DecisionKind",
    "Diverged",
    "DownloadError",
    "Dynamics",
    "Examples",
    "Experiment",
    "ExperimentError",
    "ExportError",
    "FrontierPoint",
    "JobStatus",
    "ModelError",
    "Progress",
    "Recommendation",
    "Recorder",
    "RecorderMixin",
    "ScoreError",
    "Settings",
    "Stability",
    "Subset",
    "SubsetError",
    "TrainSettings",
    "TrainingError",
    "UsageError",
    "WinnowError",
    "load",
    "measure",
    "score",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import pruning` is instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pruning' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    """Return all names for completion, including those not imported yet."""
    return sorted({*globals(), *__all__})
