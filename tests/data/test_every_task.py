"""Each task from a file to an export, with a real tiny encoder and a decoder: the same path, nothing special on the way."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from pruning.analysis.frontier import headline_of
from pruning.jobs import worker
from pruning.reports.audit_report import findings
from pruning.reports.browse import contains
from pruning.settings import Settings, TrainSettings
from tests.support.tasks import CASES
from tests.support.tiny import tiny_model

pytestmark = pytest.mark.process


@pytest.mark.parametrize("family", ["bert", pytest.param("opt", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES)
def test_a_task_scores_prunes_measures_and_exports(tmp_path: Path, case: str, family: str) -> None:
    make, task = CASES[case]
    draw = random.Random(0)
    lines = [json.dumps(make(draw)) + "\n" for _ in range(24)]
    for name, part in (("train", lines[:16]), ("eval", lines[16:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(part))
    settings = Settings(
        data=str(tmp_path / "train.jsonl"),
        evaluation=str(tmp_path / "eval.jsonl"),
        model=tiny_model(tmp_path / "model", family),
        seeds=(1, 2),
        max_length=16,
        train=TrainSettings(epochs=1, batch_size=8, learning_rate=1e-3, device="cpu"),
    )
    experiment = worker.score(settings, tmp_path / "experiment")
    assert experiment.settings.task == task and experiment.dynamics.correct.shape == (2, 1, 16)
    assert np.isfinite(experiment.dynamics.loss).all() and experiment.h_score().max() <= 2
    experiment = worker.frontier(tmp_path / "experiment", ["random@0.5"], seeds=1)
    points = {point.subset: point.metrics for point in experiment.frontier()}
    assert points.keys() == {"full", "random@0.5"} and next(iter(points["full"])) == headline_of(points["full"])
    found = findings(experiment, experiment.subset("random@0.5"))
    assert (found.kept, found.total) == (8, 16) and json.loads(json.dumps(found.to_dict(), allow_nan=False))["shares"]
    rows = [json.loads(line) for line in lines[:16]]
    words = [[word for value in row.values() if isinstance(value, list) for word in value] for row in rows]
    assert not any(words) or np.array_equal(contains(experiment.texts, words[0][0]), [words[0][0] in json.dumps(row) for row in rows])
    manifest = experiment.export("random@0.5", tmp_path / "out.jsonl")
    kept = manifest["ids"]
    assert len(kept) == 8
    assert (tmp_path / "out.jsonl").read_text() == "".join(lines[index] for index in kept), "whole questions, byte for byte"
