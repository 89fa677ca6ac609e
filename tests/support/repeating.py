"""Experiment whose texts repeat."""

import json
from pathlib import Path

import numpy as np

from pruning.experiment import Experiment
from pruning.interop.recorder import Recorder

LONG = "the gorgeously elaborate continuation of the lord of the rings trilogy is so huge that a column of words cannot describe it"

TEXTS = [LONG, LONG.upper() + "!", "short and sweet", "another thing altogether", LONG.replace("huge", "vast"), "not at all like it"]

LABELS = ["good", "good", "good", "bad", "bad", "bad"]


def experiment(folder: Path) -> Experiment:
    """Six texts, of which three are nearly the same and one is evaluated on; the last is never right, and surely so."""
    rows = [{"review": text, "label": label, "source": f"s{i % 2}"} for i, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))]
    held_out = [{"review": "short and sweet!", "label": "good"}, {"review": "of its own kind", "label": "bad"}]
    for name, lines in (("train", rows), ("eval", held_out)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recorder = Recorder(folder / "x", folder / "train.jsonl", evaluation=folder / "eval.jsonl", epochs=1, runs=3)
    logits = 4 * np.eye(2)[recorder.labels]
    logits[5] = logits[5, ::-1]
    for seed in recorder.seeds:
        recorder.run(seed).add(np.arange(6), logits)
    return Experiment(folder / "x")
