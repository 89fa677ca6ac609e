"""Conversations tokenised for somebody else's trainer, and what a causal model says of each of them alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import pruning
from tests.support.chats import rows

COUNT = 11
"""Not a multiple of the batch size."""


def write(folder: Path) -> Path:
    """A file of short conversations."""
    path = folder / "chats.jsonl"
    path.write_text("".join(rows(COUNT)))
    return path


def tokenised(data: Path, model: str) -> list[dict[str, list[int]]]:
    """Each conversation as input_ids and labels, the answer and its end of turn learned."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    found = []
    for line in data.read_text().splitlines():
        turns = json.loads(line)["messages"]
        head = tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(turns, tokenize=False)
        ids, before = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (whole, head))
        found.append({"input_ids": ids, "labels": [-100] * len(before) + ids[len(before) :]})
    return found


def padded(batch: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Right-padded tensors; the padding is not learned."""
    longest = max(len(row["input_ids"]) for row in batch)
    fill = {"input_ids": 4, "labels": -100}
    tensors = {name: torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in batch]) for name, value in fill.items()}
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in batch])
    return {**tensors, "attention_mask": mask}


def said(model: Any, row: dict[str, list[int]]) -> tuple[float, int, int, int]:
    """Mean loss, wrong tokens, tokens and first wrong token of one conversation, one token at a time."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0].double()
    losses, wrong, first = [], 0, -1
    for place, label in enumerate(row["labels"]):
        if label == -100:
            continue
        losses.append(-float(logits[place - 1].log_softmax(-1)[label]))
        if int(logits[place - 1].argmax()) != label:
            first = len(losses) - 1 if first < 0 else first
            wrong += 1
    return sum(losses) / len(losses), wrong, len(losses), len(losses) if first < 0 else first


def assert_recorded(folder: Path, rows: list[dict[str, list[int]]], model: str, epochs: int = 2) -> None:
    """Compare a recording of a rate of 0 with each row of tokens alone."""
    experiment, network = pruning.Experiment(folder), AutoModelForCausalLM.from_pretrained(model).eval()
    assert experiment.finished_runs() == [0]
    expected = np.array([said(network, row) for row in rows])
    for epoch in range(epochs):
        found = pd.read_parquet(experiment.folder.epoch(0, epoch))
        assert np.allclose(found["loss"], expected[:, 0], atol=1e-5)
        assert found["wrong"].tolist() == expected[:, 1].tolist() and found["predicted"].tolist() == expected[:, 3].tolist()
        assert sorted(found["position"]) == list(range(COUNT))
    assert experiment.extras["answer_length"].tolist() == expected[:, 2].tolist()
    assert len({*expected[:, 1]}) > 1, "the rows differ"


def pretrain(data: Path, model: str, steps: int) -> None:
    """Train the model's folder a little on a file of conversations."""
    rows, network = tokenised(data, model), AutoModelForCausalLM.from_pretrained(model)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for step in range(steps):
        network(**padded([rows[(8 * step + place) % len(rows)] for place in range(8)])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    network.save_pretrained(model)
