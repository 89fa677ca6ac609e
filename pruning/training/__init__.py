"""Training engine: takes a list of runs, yields recordings and results. The only package that imports torch and transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pruning.records import Encoded, RunPlan
from pruning.settings import TrainSettings
from pruning.training.cost import Cost, probe
from pruning.training.devices import pick_devices, places, slots
from pruning.training.dispatch import discarding_checkpoints
from pruning.training.embedding import embed
from pruning.training.interleaved import train_in_rounds
from pruning.training.loop import Report
from pruning.training.process_pool import kept_processes, train_side_by_side

__all__ = ["Cost", "embed", "kept_processes", "probe", "train"]


def train(
    plans: Sequence[RunPlan],
    data: Encoded,
    evaluation: Encoded | None,
    model: str,
    settings: TrainSettings,
    *,
    workers: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    enough: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Train every plan; yield progress, one record per epoch and one result per run, as they occur.

    `enough` is asked before each further run starts: once it is true, the runs in progress are the last ones.

    `model` is a folder or a hub name. On the CPU the runs train in parallel in `workers` single-threaded processes (default:
    one per usable core, at most one per plan; 0 trains in this process, one run after another), and a run's recording does
    not depend on how many there are: it is bit-identical for the same plan, data, settings and versions. Runs on a GPU train
    in this process, on several GPUs in a process for each (0 trains on the first of them in this process); several at once while its
    memory lasts; a run's dropout then depends on the runs that train at the same time, unless `settings.deterministic` trains them one
    by one.

    A run whose loss becomes NaN ends with `RunDiverged`, and the others continue. One whose process is killed ends with `RunLost` and
    trains again (see `dispatch`). Raises `ModelError` when the model cannot be loaded,
    `TrainingError` with the run's key when one fails, `UsageError` for a device or precision this machine does not have, and
    `Cancelled` when `stop()` becomes true. No process outlives the iterator, except in `kept_processes`.
    """
    if not plans:
        return
    devices = pick_devices(settings.device)
    cpu = devices[0].type == "cpu"
    if workers != 0 and (cpu or len(devices) > 1):
        most = min(len(plans), (cpu and workers) or slots(settings.device))
        reports = train_side_by_side(plans, data, evaluation, model, settings, places(devices, most), stop, enough)
    else:
        reports = train_in_rounds(plans, data, evaluation, model, settings, stop, enough=enough)
    yield from discarding_checkpoints(plans, reports)
