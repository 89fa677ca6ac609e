"""Small experiments of other kinds, for pages: many classes, right-to-left text, scores that hardly differ, and every task."""

import json
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pruning.data import models
from pruning.data.examples import load_pair
from pruning.data.tasks import TASKS
from pruning.experiment import Experiment
from pruning.interop.answers.importing import Options, import_answers
from pruning.interop.recorder import Recorder
from pruning.records import EpochRecord, RunPlan
from pruning.settings import Settings, TrainSettings
from tests.support.tasks import CASES

LONG = [f"a class with quite a long name, number {number}" for number in range(30)]
ARABIC = ("فيلم رائع جدا", "فيلم سيئ")


def recorded(folder: Path, rows: list[dict[str, str]], spread: float = 2.0, wrong: int = 0) -> Experiment:
    """An experiment recorded from logits that lean towards the label by `spread`; the first `wrong` rows' lean towards another one."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    recorder = Recorder(folder / "experiments" / "made", folder / "rows.jsonl", epochs=2, runs=3)
    classes, random = int(recorder.labels.max()) + 1, np.random.default_rng(0)
    leaning = np.where(np.arange(len(rows)) < wrong, (recorder.labels + 1) % classes, recorder.labels)
    for seed in recorder.seeds:
        run = recorder.run(seed)
        for _ in range(2):
            run.add(np.arange(len(rows)), spread * (np.eye(classes)[leaning] + random.normal(size=(len(rows), classes))))
    return Experiment(folder / "experiments" / "made")


def many_classes(folder: Path) -> Experiment:
    return recorded(folder, [{"text": f"text {index}", "label": LONG[index % 30]} for index in range(90)])


def right_to_left(folder: Path) -> Experiment:
    return recorded(folder, [{"text": f"{ARABIC[index % 2]} {index}", "label": ("جيد", "سيئ")[index % 2]} for index in range(20)])


def mislabelled(folder: Path) -> Experiment:
    """Two classes; 30 of 200 labels look wrong."""
    rows = [{"text": f"a text of some words, number {index}", "label": ("bad", "good")[index % 2]} for index in range(200)]
    return recorded(folder, rows, spread=4.0, wrong=30)


def all_alike(folder: Path) -> Experiment:
    """As the sample's probabilities after a short fine-tuning: all between 0.496 and 0.504."""
    return recorded(folder, [{"text": f"text {index}", "label": ("bad", "good")[index % 2]} for index in range(20)], spread=0.008)


def demo_of(folder: Path, model: str) -> Experiment:
    """The demo's own experiment, made by the demo's own code from its own sentences; fewer of them, and with a tiny model."""
    from pruning.jobs import demo

    asked = demo._settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "_settings", lambda *sizes: replace(asked(*sizes), model=model, max_length=32))
        demo.demo(folder / "experiments" / "demo", train=80, evaluation=40, runs=2, seeds=2)
    return Experiment(folder / "experiments" / "demo")


def answered(folder: Path, equal: bool = True) -> Experiment:
    """Sampled answers to 24 prompts, 8 each or, where not `equal`, 4 to each third; markup is among them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for prompt in range(24):
        attempts = 8 if equal or prompt % 3 else 4
        for sample in range(attempts):
            right = sample < prompt // 3
            said = str(2 * prompt) if right else "99" if prompt < 6 else str(sample + 100)
            text = f"<b>So</b> it is \\boxed{{{said}}}"
            rows.append({"prompt": f"What is {prompt} + {prompt}?", "answer": str(2 * prompt), "response": text, "reward": right})
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    import_answers([folder / "log.jsonl"], folder / "experiments" / "sampled", Options())
    return Experiment(folder / "experiments" / "sampled")


def left(experiment: Experiment, state: str, message: str = "") -> None:
    """Leave a scored experiment as its job may: damaged, no run yet, running (the caller holds its lock), cancelled or failed."""
    if state == "damaged":
        experiment.folder.epoch(0, 0).write_bytes(b"PAR1 but not really")
    elif state == "no-run-yet":
        shutil.rmtree(experiment.folder.root / "dynamics")
    else:
        experiment.log("started", verb="score", state="running", pid=os.getpid(), started=1.0)
        if state != "running":
            experiment.log("ended", verb="score", state=state, message=message, started=1.0)


def of_task(case: str, model: str, folder: Path, name: str = "") -> Experiment:
    """A pair, choice or question experiment, really trained, in `folder/experiments`; what is hostile in HTML is among its rows."""
    rows = [CASES[case][0](random.Random(seed)) for seed in range(EXAMPLES + 8)]
    for row in rows:
        row.update({name: f"{row[name]} <b>&" for name in ("hypothesis", "question", "context", "article") if name in row})
    for part, those in (("train", rows[:EXAMPLES]), ("eval", rows[EXAMPLES:])):
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in those))
    settings = Settings(
        data=str(folder / "train.jsonl"),
        evaluation=str(folder / "eval.jsonl"),
        model=model,
        seeds=(1, 2),
        max_length=32,
        train=TrainSettings(epochs=1, batch_size=8, learning_rate=1e-3, device="cpu"),
    )
    return _trained(settings, folder / "experiments" / (name or case))


def _trained(settings: Settings, directory: Path) -> Experiment:
    """What the worker does, in this process: three times as fast for runs as short as these."""
    from pruning.training import train as trained

    examples, evaluation = load_pair(settings)
    experiment = Experiment.create(
        directory, settings.with_changes(task=examples.task), examples, evaluation, models.fingerprint(models.locate(settings.model))
    )
    data = TASKS[examples.task].encode(examples.table, models.load_tokenizer(models.locate(settings.model)), 32)
    plans = [RunPlan(key=str(run), seed=seed, rows=np.arange(EXAMPLES), epochs=1) for run, seed in enumerate(settings.seeds)]
    for item in trained(plans, data, None, settings.model, settings.train, workers=0):
        if isinstance(item, EpochRecord):
            experiment.write_epoch(int(item.key), item)
    return experiment


EXAMPLES = 16
"""Training rows of a task's experiment."""
