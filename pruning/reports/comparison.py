"""Two experiments compared: the examples that both have, found by id where the data is the same, else by text."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np
import pyarrow as pa

from pruning.analysis import comparison
from pruning.analysis.comparison import Comparison, Side
from pruning.data.texts import joined
from pruning.reading import Reading
from pruning.subsets.rules import TICKET

MOST = 20
"""Examples that changed most, in a report."""


def compare(first: Reading, second: Reading) -> Comparison:
    """Compare two readings, each with its own burn-in.

    Raises UsageError where they have no example in common, ExperimentError where one has no complete run.
    """
    sides = side_of(first), side_of(second)
    if first.info["data"]["fingerprint"] == second.info["data"]["fingerprint"]:
        everything = np.arange(len(first.ids))
        return comparison.compare(*sides, (everything, everything))
    return comparison.compare(*sides, comparison.matched(*(joined(reading.texts).to_pylist() for reading in (first, second))))


def changed(first: Reading, found: Comparison, most: int = MOST) -> list[dict[str, Any]]:
    """Return the examples whose H changed most: id in the first experiment, text, and H in both; none that did not change."""
    order = found.most_changed[:most]
    order = order[found.change[order] != 0]
    mine, theirs = (places[order] for places in found.places)
    texts = joined(first.texts.take(pa.array(mine))).to_pylist()
    both = np.stack([found.first.h[mine], found.second.h[theirs]], axis=1).tolist()
    return [{"id": int(first.ids[place]), "text": text, "h": h} for place, text, h in zip(mine, texts, both, strict=True)]


def plain(first: Reading, found: Comparison) -> dict[str, Any]:
    """Return plain values for JSON, as `compare --json` prints them; null where a number does not exist."""
    return {
        "experiments": [side.name for side in (found.first, found.second)],
        "examples": [len(side.h) for side in (found.first, found.second)],
        "common": len(found.change),
        "runs": [side.runs for side in (found.first, found.second)],
        "h_against_h": found.counts.tolist(),
        "rank_agreement": None if isnan(found.rank_agreement) else found.rank_agreement,
        "ticket_overlap": None if isnan(found.overlap) else found.overlap,
        "most_changed": changed(first, found),
    }


def side_of(reading: Reading) -> Side:
    """Return H and the winning ticket of a reading."""
    ticket = reading.rule(TICKET).mask(reading.ids)
    return Side(name=reading.name, h=reading.h_score(), runs=reading.dynamics.runs, ticket=ticket)
