"""Random recordings that hang together: every quantity follows from the same logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pruning.experiment import Experiment
from pruning.records import Dynamics, EpochRecord


def recording(runs: int, epochs: int, examples: int, classes: int, seed: int, skew: float = 1.0) -> Dynamics:
    """Dynamics of logits that grow towards the gold class at a pace of each example's own; `skew` > 1 makes classes unequal."""
    random = np.random.default_rng(seed)
    labels = gold_labels(examples, classes, seed, skew)
    logits = random.normal(size=(runs, epochs, examples, classes))
    pace = random.normal(0.7, 1, size=examples)
    logits[..., np.arange(examples), labels] += pace * np.arange(1, epochs + 1)[None, :, None]
    probs = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probs /= probs.sum(axis=-1, keepdims=True)
    gold = probs[..., np.arange(examples), labels]
    others = logits.copy()
    others[..., np.arange(examples), labels] = -np.inf
    one_hot = np.eye(classes)[labels]
    right = (logits.argmax(axis=-1) == labels).sum(axis=0)
    return Dynamics(
        ids=np.arange(examples, dtype=np.int64) * 3,
        seeds=tuple(range(runs)),
        correct=logits.argmax(axis=-1) == labels,
        gold_prob=gold.astype(np.float32),
        gold_margin=(logits[..., np.arange(examples), labels] - others.max(axis=-1)).astype(np.float32),
        error_norm=np.linalg.norm(probs - one_hot, axis=-1).astype(np.float32),
        loss=-np.log(gold).astype(np.float32),
        predicted=logits.argmax(axis=-1),
        position=np.argsort(random.random((runs, epochs, examples)), axis=-1).astype(np.int32),
        wrong=np.where(logits.argmax(axis=-1) == labels, 0, 1).astype(np.int32),
        probe=np.random.default_rng(seed + 2).random(examples, dtype=np.float32),
        successes=right,
        attempts=np.full_like(right, runs),
        extras={
            **{
                name: np.random.default_rng(seed + 3).random(examples)
                for name in ("consensus", "answer_tokens", "share_cut", "key_disagrees")
            },
            "answer_length": np.random.default_rng(seed + 4).integers(1, 30, examples).astype(np.float64),
            "loss0": np.random.default_rng(seed + 5).random(examples) * 4,
            "loss0_alone": np.random.default_rng(seed + 6).random(examples) * 4,
        },
    )


def gold_labels(examples: int, classes: int, seed: int, skew: float = 1.0) -> np.ndarray:
    """[examples] class indices, the later classes rarer the larger `skew`."""
    weights = 1.0 / np.arange(1, classes + 1) ** (skew - 1)
    return np.random.default_rng(seed + 1).choice(classes, size=examples, p=weights / weights.sum())


def record_of(experiment: Experiment, run: int, epoch: int) -> EpochRecord:
    dynamics = experiment.dynamics
    names = ("correct", "gold_prob", "gold_margin", "error_norm", "loss", "predicted", "position")
    return EpochRecord(key=f"run {run}", epoch=epoch, **{name: getattr(dynamics, name)[run, epoch] for name in names})


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
