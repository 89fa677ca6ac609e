"""Pass rates of tasks whose difficulty is known exactly: a tiny model whose next-token probabilities can be computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pruning.analysis.looks import looks
from pruning.analysis.rates import jeffreys
from pruning.sampling import verifiers
from pruning.sampling.asking import Asked
from pruning.sampling.job import Request, sample
from pruning.training.answering import Loaded, load
from tests.support.generative import tiny_causal

pytestmark = pytest.mark.process

TASKS, SAMPLES = 100, 8


def test_estimated_rates_are_those_of_the_model_and_their_intervals_hold(tmp_path: Path) -> None:
    """Answers of one token to tasks that accept more and more of them, so that a task's true rate is a sum over the softmax."""
    model = tiny_causal(tmp_path / "model")
    loaded, accepts, random = load(model, "cpu"), verifiers.make("exact"), np.random.default_rng(0)
    texts = [loaded.tokenizer.decode([token], skip_special_tokens=True).strip() for token in range(len(loaded.tokenizer))]
    usable = sorted({text for text in texts if text.isascii() and text.isprintable() and text})
    rows, rates = [], []
    for number in range(TASKS):
        accepted = random.permutation(usable)[: 1 + number * len(usable) // TASKS].tolist()
        rows.append({"question": f"Task {number}?", "answer": json.dumps(accepted)})
        right = np.array([accepts(text, rows[-1]["answer"]) for text in texts])
        rates.append(chances(loaded, rows[-1]["question"])[right].sum())
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = Asked(model=model, temperature=1.0, max_tokens=1)
    experiment = sample(Request(data=str(tmp_path / "tasks.jsonl"), asked=asked, verify="exact", stages=(SAMPLES,)), tmp_path / "x")
    passed, attempts = looks(experiment.dynamics)
    low, high = jeffreys(passed, attempts)
    assert (attempts == SAMPLES).all() and ((low <= rates) & (rates <= high)).mean() >= 0.9
    assert np.corrcoef(passed / attempts, rates)[0, 1] > 0.5
    error = np.sqrt((np.array(rates) * (1 - np.array(rates)) / SAMPLES).sum()) / TASKS
    assert abs((passed / attempts).mean() - np.mean(rates)) < 3 * error


def chances(loaded: Loaded, question: str) -> NDArray[np.float64]:
    """[V] probability of each token as the first of the answer."""
    prompt = loaded.tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True)
    ids = loaded.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        return np.asarray(loaded.model(ids).logits[0, -1].double().softmax(dim=-1))
