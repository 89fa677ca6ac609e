"""Training sets of the study: four real sources, and seeded changes made to them on purpose.

Sources: movie sentences, short posts and editorial sentences (Hutto & Gilbert, ICWSM 2014, in the sample's own archive), and the one-line
descriptions of Debian packages with their section as label (`apt-cache dumpavail`; run `apt-get update` first). Each cell is a training
file and an evaluation file. Evaluation rows are never changed, and what belongs together (one editorial, one source) is in one of both.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pruning.data.sample import DATA_ARCHIVE, RATED_SETS, download, lines
from pruning.files import atomic_write

Row = dict[str, Any]

SECTIONS = ("admin", "database", "editors", "games", "graphics", "mail", "net", "science", "sound", "text", "web", "x11")
"""Sections of Debian whose names say what a package is for."""

NEUTRAL = 0.5
"""Posts and editorials whose mean rating (-4 to 4) lies within this of 0 are neutral; movie sentences are never neutral."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One training set of the study."""

    name: str
    source: str
    train: int
    change: Callable[[list[Row], np.random.Generator], list[Row]] | None = None
    """Made to the training rows; None leaves them as they are."""
    kind: str = "plain"
    """plain, noisy (labels changed), redundant (copies) or unbalanced."""


def files(cell: Cell, evaluation: int, folder: Path) -> tuple[Path, Path]:
    """Write the cell's training and evaluation files (JSON lines: text, label, true_label, group) where they are missing."""
    paths = folder / f"{cell.name}.jsonl", folder / f"{cell.name}-evaluation.jsonl"
    if not all(path.exists() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        rows = source(cell.source)
        random = np.random.default_rng(0)
        groups = sorted({row["group"] for row in rows})
        place = dict(zip(groups, random.permutation(len(groups)).tolist(), strict=True))
        rows = sorted(rows, key=lambda row: place[row["group"]])
        last = place[rows[evaluation - 1]["group"]]
        held_out = rows[:evaluation]
        rest = [row for row in rows if place[row["group"]] > last]
        train = [rest[i] for i in random.permutation(len(rest))[: cell.train]]
        if cell.change:
            train = cell.change(train, np.random.default_rng(1))
        for path, chosen in zip(paths, (train, held_out), strict=True):
            with atomic_write(path) as temporary:
                temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen), encoding="utf-8")
    return paths


@cache
def source(name: str) -> list[Row]:
    """All rows of a source, every text once: text, label, true_label, group, and one rater's label where there are ratings."""
    rows = _packages() if name == "packages" else _rated(name)
    return list({row["text"]: row for row in rows}.values())


def flipped(share: float) -> Callable[[list[Row], np.random.Generator], list[Row]]:
    """Return a change that gives this share of the rows another label, drawn at random among the others."""

    def change(rows: list[Row], random: np.random.Generator) -> list[Row]:
        labels = sorted({row["label"] for row in rows})
        chosen = set(random.permutation(len(rows))[: round(share * len(rows))].tolist())
        return [
            {**row, "label": _any_of([label for label in labels if label != row["label"]], random)} if i in chosen else row
            for i, row in enumerate(rows)
        ]

    return change


def one_rater(rows: list[Row], random: np.random.Generator) -> list[Row]:
    """Each sentence labelled by one of its raters, drawn at random, in place of the mean of all."""
    return [{**row, "label": _any_of(row["raters"], random)} for row in rows]


def copied(rows: list[Row], random: np.random.Generator) -> list[Row]:
    """Each of the first third of the rows three times, with small edits: a word left out, a word doubled, another ending."""
    return [{**row, "text": edited} for row in rows[: len(rows) // 3] for edited in _edits(row["text"], random)]


def one_rare(rows: list[Row], random: np.random.Generator) -> list[Row]:
    """The first class (by name) ten times rarer than it was."""
    rare = min(row["label"] for row in rows)
    members = random.permutation([i for i, row in enumerate(rows) if row["label"] == rare])
    dropped = set(members[len(members) // 10 :].tolist())
    return [row for i, row in enumerate(rows) if i not in dropped]


CELLS = (
    Cell("movies-2000", "movies", 2000),
    Cell("movies-2000-flipped-20", "movies", 2000, flipped(0.2), "noisy"),
    Cell("posts-2000", "posts", 2000),
    Cell("packages-2000", "packages", 2000),
    Cell("movies-2000-copied", "movies", 2000, copied, "redundant"),
    Cell("posts-2000-flipped-20", "posts", 2000, flipped(0.2), "noisy"),
    Cell("movies-2000-one-rater", "movies", 2000, one_rater, "noisy"),
    Cell("editorials-2000", "editorials", 2000),
    Cell("movies-2000-flipped-10", "movies", 2000, flipped(0.1), "noisy"),
    Cell("packages-2000-flipped-20", "packages", 2000, flipped(0.2), "noisy"),
    Cell("movies-1000", "movies", 1000),
    Cell("posts-1000", "posts", 1000),
    Cell("movies-2000-one-rare", "movies", 2000, one_rare, "unbalanced"),
    Cell("movies-4000", "movies", 4000),
    Cell("movies-4000-flipped-20", "movies", 4000, flipped(0.2), "noisy"),
)
"""In the order in which they are measured: what differs most first."""


def _any_of(values: list[str], random: np.random.Generator) -> str:
    return values[int(random.integers(len(values)))]


def _edits(text: str, random: np.random.Generator) -> list[str]:
    words = text.split()
    place = int(random.integers(len(words)))
    shorter = " ".join(words[:place] + words[place + 1 :]) or text
    doubled = " ".join([*words[: place + 1], *words[place:]])
    return [text, shorter, f"{doubled} ..."]


_SETS = {"movies": "movieReviewSnippets", "posts": "tweets", "editorials": "nytEditorialSnippets"}


def _rated(name: str) -> list[Row]:
    neutral = 0.0 if name == "movies" else NEUTRAL
    with tempfile.TemporaryDirectory() as folder:
        archive = download(*DATA_ARCHIVE, Path(folder))
        with tarfile.open(archive) as outer, tarfile.open(fileobj=outer.extractfile(RATED_SETS)) as inner:
            texts, ratings = (lines(inner, f"hutto_ICWSM_2014/{_SETS[name]}_{kind}.txt") for kind in ("GroundTruth", "anonDataRatings"))
    text = {number: sentence for number, _, sentence in texts}
    rows = []
    for number, mean, _, each in ratings:
        raters = [_sign(rating, neutral) for rating in ast.literal_eval(each)]
        raters = [rater for rater in raters if rater != "neutral"] if name == "movies" else raters
        label = _sign(float(mean), neutral)
        if raters and not (name == "movies" and label == "neutral"):
            rows.append({"text": text[number], "label": label, "true_label": label, "raters": raters, "group": number.partition("_")[0]})
    return rows


def _sign(rating: float, neutral: float) -> str:
    return "neutral" if abs(rating) <= neutral else "positive" if rating > 0 else "negative"


def _packages() -> list[Row]:
    listed = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    rows = []
    for stanza in listed.split("\n\n"):
        fields = dict(re.findall(r"^(Section|Description|Source|Package): (.+)$", stanza, re.MULTILINE))
        if fields.get("Section") in SECTIONS and "Description" in fields:
            group = (fields.get("Source") or fields["Package"]).partition(" ")[0]
            label = fields["Section"]
            rows.append({"text": fields["Description"], "label": label, "true_label": label, "group": group})
    return rows
