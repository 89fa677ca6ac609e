"""A plain training loop on prompts and answers records losses and wrong tokens; the folder is an ordinary experiment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pruning.analysis import scores
from pruning.errors import ScoreError, TrainingError, UsageError
from pruning.interop.recorder import Recorder

WRONG = [[[3, 2, 0], [1, 0, 0]], [[3, 3, 1], [0, 0, 0]]]
LENGTH = [3, 4, 2]


def recorder(folder: Path) -> Recorder:
    rows = [{"prompt": f"p{number}", "completion": f"c{number}"} for number in range(3)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Recorder(folder / "mine", folder / "a.jsonl", epochs=2, seeds=(5, 6))


def test_what_is_added_is_what_is_read(tmp_path: Path) -> None:
    made = recorder(tmp_path)
    for run, seed in enumerate(made.unfinished):
        with made.answers(seed) as answers:
            for epoch in range(2):
                order = [2, 0, 1]
                wrong = torch.tensor([WRONG[run][epoch][row] for row in order])
                answers.add(order[:2], torch.tensor([0.5, 1.0]), wrong[:2], [LENGTH[row] for row in order[:2]])
                answers.add(order[2:], np.asarray([2.0]), wrong[2:], [LENGTH[1]])
    experiment = made.experiment.reading(success="exact")
    assert experiment.recorded.wrong is not None and experiment.recorded.wrong.tolist() == WRONG
    assert experiment.h_score().tolist() == [0, 0, 1] and experiment.recorded.position[0, 0].tolist() == [1, 2, 0]
    assert made.experiment.reading(burn_in=1, success="tokens>=2/3").h_score().tolist() == [2, 2, 2]
    assert scores.compute("tokens", experiment.dynamics).tolist() == pytest.approx([1 - 7 / 12, 1 - 5 / 16, 1 - 1 / 8])
    with pytest.raises(ScoreError, match="AUM needs gold_margin"):
        scores.compute("aum", experiment.dynamics)


def test_numbers_that_cannot_be_are_refused(tmp_path: Path) -> None:
    made = recorder(tmp_path)
    with pytest.raises(UsageError, match=r"recorded by their losses, without packing: use Recorder\.answers"):
        made.run(5)
    answers = made.answers(5)
    with pytest.raises(TrainingError, match="wrong must be 1 finite numbers, one for each row"):
        answers.add([0], [0.5], [1, 2], [3])
    with pytest.raises(TrainingError, match="loss must be 1 finite"):
        answers.add([0], [float("nan")], [1], [3])
    with pytest.raises(TrainingError, match="no more wrong tokens than it has"):
        answers.add([0], [0.5], [4], [3])
    for _ in range(1):
        answers.add([0, 1, 2], [1, 1, 1], [0, 0, 0], LENGTH)
    with pytest.raises(TrainingError, match="answers of other lengths than before"):
        answers.add([0, 1, 2], [1, 1, 1], [0, 0, 0], [3, 4, 9])
    (tmp_path / "b.jsonl").write_text('{"text": "a", "label": 0}\n{"text": "b", "label": 1}\n')
    with pytest.raises(UsageError, match="recorded by its logits"):
        Recorder(tmp_path / "other", tmp_path / "b.jsonl", seeds=(1,)).answers(1)
