"""The report on an experiment's sensitivity, from the variations in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import nan

import numpy as np

from pruning.analysis import comparison
from pruning.analysis.comparison import Comparison, Side
from pruning.analysis.scores import h_score
from pruning.analysis.sensitivity import SEEDS, Moved, Sensitivity, by_chance, interval, ordered
from pruning.errors import WinnowError
from pruning.formatting import scientific
from pruning.reading import Reading
from pruning.reports.comparison import compare, side_of
from pruning.settings import Settings

RUNS = "runs-half"
"""Variation with half of the runs, which is read from the noise floor's recording."""

COMPARED = {
    "learning_rate": "learning rate",
    "batch_size": "batch size",
    "epochs": "epochs",
}
"""Settings of the recipe that a variation may change, in words."""


def report(base: Reading, problems: Mapping[str, str] | None = None) -> Sensitivity:
    """Compare every variation in the folder with the experiment; `problems` are sentences about variations that could not be scored.

    A variation that is not complete says so. Half of the runs are read from the noise floor's recording.
    """
    return ordered([*_rows(base, problems or {})])


def _rows(base: Reading, problems: Mapping[str, str]) -> Iterator[Moved]:
    for path in base.folder.variations:
        name = path.name
        try:
            other = Reading(path)
            if name in problems:
                yield Moved(name=name, words=in_words(base.settings, other.settings), problem=problems[name])
            elif len(other.finished_runs()) < other.settings.runs:
                problem = f"{len(other.finished_runs())} of {other.settings.runs} runs are complete; repeat the command to finish it."
                yield Moved(name=name, words=in_words(base.settings, other.settings), problem=problem)
            else:
                yield moved(base, other, name)
                if name == SEEDS and other.settings.runs > 1:
                    yield _half(base, other)
        except WinnowError as error:
            yield Moved(name=name, words=name, problem=str(error))
    there = {path.name for path in base.folder.variations}
    yield from (Moved(name=name, words=name, problem=problem) for name, problem in problems.items() if name not in there)


def moved(base: Reading, other: Reading, name: str) -> Moved:
    """Compare one complete variation with the experiment. Raises what `comparison.compare` raises."""
    other = other.reading(min(base.burn_in, other.settings.scoring.epochs - 1))
    accuracy = other.evidence.accuracy
    mean = float(accuracy.mean()) if len(accuracy) else nan
    return _moved(name, in_words(base.settings, other.settings), compare(base, other), mean)


def _half(base: Reading, other: Reading) -> Moved:
    """Return the comparison with the first half of the other seeds' runs."""
    other = other.reading(base.burn_in)
    runs = other.dynamics.runs // 2
    h = h_score(other.dynamics.correct[:runs], other.burn_in)
    side = Side(name=RUNS, h=h, runs=runs, ticket=(h > 0) & (h < runs))
    everything = np.arange(len(base.ids))
    found = comparison.compare(side_of(base), side, (everything, everything))
    return _moved(RUNS, f"runs {base.dynamics.runs} to {runs}", found, nan)


def _moved(name: str, words: str, found: Comparison, accuracy: float) -> Moved:
    shares = [float(side.ticket.mean()) for side in (found.first, found.second)]
    return Moved(
        name=name,
        words=words,
        runs=found.second.runs,
        examples=len(found.change),
        rank_agreement=found.rank_agreement,
        interval=interval(found.rank_agreement, len(found.change)),
        overlap=found.overlap,
        by_chance=by_chance(*shares),
        kept_fraction=shares[1],
        accuracy=accuracy,
    )


def in_words(base: Settings, other: Settings) -> str:
    """Return what differs between two experiments' scoring, seeds aside.

    >>> one = Settings(data="x.jsonl").with_changes(learning_rate=2e-4)
    >>> in_words(one, one.with_changes(learning_rate=4e-4)), in_words(one, one.with_changes(seeds=(1, 2, 3, 4, 5, 7)))
    ('learning rate 2e-4 to 4e-4', 'other seeds')
    """
    said = [] if base.model == other.model else [f"model {base.model} to {other.model}"]
    for name, words in COMPARED.items():
        before, after = (getattr(settings.scoring, name) for settings in (base, other))
        if before != after and not (name == "learning_rate" and said):
            shown = [scientific(value) if name == "learning_rate" and value is not None else str(value) for value in (before, after)]
            said.append(f"{words} {shown[0]} to {shown[1]}")
    return ", ".join(said) or "other seeds"
