"""A synthetic experiment of any size, written straight into the folder's public format: no training, every file real.

python -m benchmarks.big DIR [EXAMPLES]

It prints what writing an epoch's record took, as the process that scores does, and what is on disk.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pruning.analysis.frontier import of_subset
from pruning.data.examples import Examples
from pruning.data.readers import Origin
from pruning.data.readers.files import opened
from pruning.experiment import Experiment
from pruning.fine_tunings import FineTuning
from pruning.records import EpochRecord
from pruning.settings import Settings

RUNS, EPOCHS, WORDS = 6, 3, 12
LABELS = ("contradiction", "entailment", "neutral")
TOPICS = ("travel", "fiction", "government", "slate", "telephone")


def make(directory: Path, examples: int, seed: int = 0, tell: Callable[[str], object] = lambda line: None) -> Experiment:
    """Write the experiment (6 runs x 3 epochs, three classes, one slice, the ladder's frontier) and open it; say what writing took."""
    random = np.random.default_rng(seed)
    directory.mkdir(parents=True)
    source = directory.with_name(directory.name + ".jsonl")
    train, evaluation = _examples(random, examples, source), _examples(random, 2000, None)
    settings = Settings(data=str(source), task="classification", model="sample", max_length=128)
    experiment = Experiment.create(directory, settings, train, evaluation, "synthetic")
    source.unlink()
    ease, labels = random.normal(1.2, 1.4, size=examples), train.labels
    del train
    spent = []
    for run in range(RUNS):
        for epoch in range(EPOCHS):
            record = _record(random, run, epoch, ease, labels)
            wall, cpu = time.perf_counter(), time.process_time()
            experiment.write_epoch(run, record)
            spent.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = (median(each) for each in zip(*spent, strict=True))
    file = experiment.folder.epoch(0, 0).stat().st_size
    texts = experiment.folder.examples.stat().st_size
    tell(f"{examples:,} examples: an epoch's record takes {wall:.2f} s ({cpu:.2f} CPU s) to write, {file / examples:.1f} bytes an example.")
    tell(f"Texts and labels: {texts / examples:.1f} bytes an example; {RUNS} runs x {EPOCHS} epochs: {RUNS * EPOCHS * file / 1e9:.2f} GB.")
    _frontier(experiment, random)
    return experiment


def _examples(random: np.random.Generator, examples: int, source: Path | None) -> Examples:
    """Sentences of random words; one in fifty repeats an earlier one."""
    vocabulary = np.array(["".join(random.choice(list("abcdefghiklmnoprstuvwy"), size=n)) for n in random.integers(3, 9, size=20_000)])
    picked = vocabulary[(random.pareto(0.8, size=(examples, WORDS)) * 20).astype(np.int64) % len(vocabulary)]
    texts = [" ".join(row) for row in picked]
    for repeat in np.flatnonzero(random.random(examples) < 0.02)[1:]:
        texts[repeat] = texts[repeat // 2]
    labels = random.integers(0, len(LABELS), size=examples)
    topics = np.array(TOPICS, dtype=object)[random.integers(0, len(TOPICS), size=examples)]
    names = np.array(LABELS, dtype=object)[labels]
    if source is not None:
        with source.open("w", encoding="utf-8") as file:
            file.writelines(
                json.dumps({"sentence": t, "label": n, "topic": k}) + "\n" for t, n, k in zip(texts, names, topics, strict=True)
            )
    columns = {"id": np.arange(examples), "row": np.arange(examples), "label": labels, "text": pa.array(texts)}
    own = {"source.sentence": pa.array(texts), "source.label": pa.array(names), "source.topic": pa.array(topics)}
    return Examples(
        table=pa.table({**columns, **own}),
        task="classification",
        columns={"text": "sentence", "label": "label"},
        label_names=LABELS,
        source=str(source),
        origin=None if source is None else Origin(files=(opened(source),), lines=True),
    )


def _record(random: np.random.Generator, run: int, epoch: int, ease: NDArray[np.float64], labels: NDArray[np.int64]) -> EpochRecord:
    """One epoch: a margin that grows with ease and epoch, everything else follows from it."""
    size = len(ease)
    margin = (ease * (0.6 + 0.5 * epoch) + random.normal(0, 0.8, size=size)).astype(np.float32)
    gold = (1 / (1 + np.exp(-margin))).astype(np.float32)
    correct = margin > 0
    other = (labels + random.integers(1, len(LABELS), size=size)) % len(LABELS)
    return EpochRecord(
        key=f"run {run}",
        epoch=epoch,
        correct=correct,
        gold_prob=gold,
        gold_margin=margin,
        error_norm=(np.sqrt(2) * (1 - gold)).astype(np.float32),
        loss=(-np.log(gold)).astype(np.float32),
        predicted=np.where(correct, labels, other).astype(np.int64),
        position=random.permutation(size).astype(np.int32),
    )


def _frontier(experiment: Experiment, random: np.random.Generator) -> None:
    """Made-up accuracies of three seeds, so that the frontier has its points."""
    names = ["full", *(subset.name for subset in experiment.subsets())]
    names += [f"random@{name}" for name in names[1:]]
    for name in names:
        for seed in (1, 2, 3):
            subset = experiment.subset(name, seed=seed)
            accuracy = 0.9 - 0.1 * (1 - subset.kept_fraction) ** 2 + float(random.normal(0, 0.002))
            done = FineTuning(
                **of_subset(subset, "epochs", burn_in=0),
                seed=seed,
                epochs=EPOCHS,
                seconds=600 * subset.kept_fraction,
                steps=subset.size * EPOCHS // 32,
                finished=time.time(),
                metrics={"accuracy": accuracy},
                class_accuracy={label: accuracy + 0.03 * (place - 1) * subset.kept_fraction for place, label in enumerate(LABELS)},
            )
            experiment.add_finished(done.row)


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000, tell=print)
