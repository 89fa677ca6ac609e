"""The map by meaning: made once from a look's embeddings, by the verb look or when a page first shows it."""

from __future__ import annotations

from pruning.analysis import meaning_map
from pruning.data.texts import joined
from pruning.errors import ExperimentError
from pruning.experiment import Experiment
from pruning.jobs.progress import JobProgress, Listener
from pruning.store.meaning_map import write_map


def ensure(experiment: Experiment, tick: meaning_map.Tick | None = None) -> Experiment:
    """Return the experiment with its map; nothing to do where it has the one of its look. The folder need not be owned.

    The file is the same whoever makes it, so that two makers at once do no harm. Raises ExperimentError without a look.
    """
    look = experiment.look
    if look is None:
        raise ExperimentError(experiment.look_problem or f"{experiment.folder.root} has no look to draw a map of.")
    if experiment.map is not None:
        return experiment
    places = meaning_map.places(look.embeddings, tick)
    rows = meaning_map.drawn_rows(len(places), meaning_map.NAMED_ON)
    regions = meaning_map.regions(places[rows], joined(experiment.texts.take(rows)).to_pylist())
    write_map(experiment.folder, experiment.ids, look.recipe, places, min(len(places), meaning_map.FITTED), regions)
    return Experiment(experiment.folder.root)


def step(experiment: Experiment, progress: JobProgress, listen: Listener) -> Experiment:
    """Return the experiment with its map, made as the last step of a job that looks."""

    def tick(done: int, total: int) -> None:
        progress.step = f"drawing the map, step {done:,} of {total:,}"
        progress.beat()
        listen(progress)

    try:
        return ensure(experiment, tick)
    finally:
        progress.step = ""
