"""Answers token by token: the counts are those of greedy decoding, kept together by character, and absent where nothing is recorded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pruning.data import models
from pruning.experiment import Experiment
from pruning.interop.recorder import Recorder
from pruning.reports.answer_tokens import AnswerToken, answer_tokens, where_it_goes_wrong
from pruning.reports.browse import View
from tests.support.generative import tiny_causal

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def scored(chats_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return Experiment(shutil.copytree(chats_once / "experiments" / "chats", tmp_path_factory.mktemp("tokens") / "experiment"))


def of(experiment: Experiment, position: int) -> list[list[AnswerToken]]:
    tokenizer = models.load_tokenizer(Path(experiment.settings.model))
    return answer_tokens(experiment, position, View(experiment, 0).row(position), tokenizer)


def test_the_counts_are_those_of_the_recorded_first_errors(scored: Experiment) -> None:
    first, wrong = scored.dynamics.predicted, scored.recorded.wrong
    assert wrong is not None
    seen = set()
    for position in range(16):
        [stretch] = of(scored, position)
        answer = json.loads((Path(scored.settings.data)).read_text().splitlines()[position])["messages"][1]["content"]
        assert "".join(token.text for token in stretch) == answer + "<|im_end|>"
        expected = [
            sum(int(first[run, epoch, position]) > place for run in range(2) for epoch in range(3)) for place in range(len(stretch))
        ]
        assert [token.reached for token in stretch] == expected and expected == sorted(expected, reverse=True)
        assert expected[-1] == int((wrong[:, :, position] == 0).sum()), "the last token is reached where the look is exact"
        seen |= set(expected)
    assert len(seen) > 2, "they differ"


def test_characters_of_several_tokens_are_one_and_counts_are_of_the_last(tmp_path: Path) -> None:
    data = tmp_path / "a.jsonl"
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "é!"}]
    data.write_text(json.dumps({"messages": turns}) + "\n" + json.dumps({"messages": turns}) + "\n")
    model = tiny_causal(tmp_path / "model")
    recorder = Recorder(tmp_path / "mine", data, model=model, epochs=1, seeds=(1, 2))
    for seed, first in ((1, 1), (2, 4)):
        recorder.answers(seed).add([0, 1], [1.0, 1.0], [4 - first, 0], [4, 4], [first, 4])
    [stretch] = of(recorder.experiment, 0)
    assert [(token.text, token.reached) for token in stretch] == [("é", 1), ("!", 1), ("<|im_end|>", 1)]
    assert where_it_goes_wrong([stretch], 2) == "Written whole in 1 of 2 looks; most often first wrong at 'é' (1 looks)."
    assert where_it_goes_wrong(of(recorder.experiment, 1), 2) == "Written whole in 2 of 2 looks."


def test_nothing_is_coloured_where_first_errors_are_unknown_or_the_tokens_are_others(scored: Experiment, tmp_path: Path) -> None:
    data = tmp_path / "a.jsonl"
    data.write_text(Path(scored.settings.data).read_text())
    recorder = Recorder(tmp_path / "mine", data, model=scored.settings.model, epochs=1, seeds=(1,))
    recorder.answers(1).add(np.arange(16), torch.ones(16), np.zeros(16, int), scored.extras["answer_length"].astype(int))
    assert of(recorder.experiment, 0) == [] and where_it_goes_wrong([], 1) == ""
    row: dict[str, Any] = dict(View(scored, 0).row(0))
    longer = {**row, "messages": [row["messages"][0], {**row["messages"][1], "content": "zero and more"}]}
    assert answer_tokens(scored, 0, longer, models.load_tokenizer(Path(scored.settings.model))) == []
