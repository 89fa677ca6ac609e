"""Data made of texts of many lengths."""

import json
from pathlib import Path

import numpy as np


def pairs(folder: Path, rows: int = 300) -> Path:
    """Pairs of texts of 1 to 60 words."""
    random = np.random.default_rng(0)
    path = folder / "pairs.jsonl"
    words = ["film", "plot", "marvellously", "the", "unbelievable", "it's"]
    found = [[" ".join(random.choice(words, size=random.integers(1, 31))) for _ in range(2)] for _ in range(rows)]
    lines = [{"premise": one, "hypothesis": two, "label": ["yes", "no"][i % 2]} for i, (one, two) in enumerate(found)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
