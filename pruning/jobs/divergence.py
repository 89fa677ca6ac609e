"""Replace the seed of a run that diverged, and move what it recorded out of the way."""

from __future__ import annotations

from itertools import count

from pruning.analysis.divergence import DivergedRun
from pruning.experiment import Experiment
from pruning.files import writing
from pruning.settings import PAPER_SEEDS, default_seeds
from pruning.store import manifest
from pruning.store.checksums import write_manifest


def set_aside(experiment: Experiment, diverged: DivergedRun) -> None:
    """Put the next unused seed in a diverged run's place; its recording moves to diverged/. For the owner of the lock only.

    The recording moves first: after a kill in between, the run is missing and no other run has its seed. `Experiment.diverged` still
    names it, and again once `resume` has trained it once more; that recording then moves beside the first.
    """
    info = manifest.read(experiment.folder.manifest)
    used = {*info["settings"]["seeds"], *(entry["seed"] for entry in info.get("redone", ()))}
    seed = next(seed for seed in default_seeds(len(used) + len(PAPER_SEEDS) + 1) if seed not in used)
    recording = experiment.folder.epoch(diverged.run, 0).parent
    if recording.exists():
        with writing(experiment.folder.diverged):
            experiment.folder.diverged.mkdir(exist_ok=True)
            places = (experiment.folder.aside(diverged.seed, again) for again in count(1))
            recording.rename(next(place for place in places if not place.exists()))
    experiment.folder.checkpoint(f"run={diverged.run}").unlink(missing_ok=True)
    info["settings"]["seeds"][diverged.run] = seed
    times = sum(event["key"] == f"run {diverged.run}" for event in experiment.nan_events())
    entry = {"run": diverged.run, "seed": diverged.seed, "with": seed, "reason": diverged.sentence, "diverged": times}
    write_manifest(experiment.folder, {**info, "redone": [*info.get("redone", ()), entry]})
