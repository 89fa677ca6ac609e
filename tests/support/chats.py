"""Chat data with short answers that a tiny Llama can learn, and settings to score it with."""

from __future__ import annotations

import json
from pathlib import Path

from pruning.settings import Settings, TrainSettings
from tests.support.generative import tiny_causal

NUMBERS = ("zero", "one", "two", "three", "four", "five")


def rows(count: int) -> list[str]:
    """Lines of chat data: short answers that can be learned, and some longer ones."""
    made = []
    for number in range(count):
        word = NUMBERS[number % 6]
        turns = [{"role": "user", "content": f"{number} mod 6?"}, {"role": "assistant", "content": word * (1 + number % 3)}]
        made.append(json.dumps({"messages": turns, "source": number}) + "\n")
    return made


def settings_of(folder: Path, **changes: object) -> Settings:
    lines = rows(24)
    for name, part in (("train", lines[:16]), ("eval", lines[16:])):
        (folder / f"{name}.jsonl").write_text("".join(part))
    settings = Settings(
        data=str(folder / "train.jsonl"),
        evaluation=str(folder / "eval.jsonl"),
        model=tiny_causal(folder / "model"),
        seeds=(1, 2),
        max_length=128,
        train=TrainSettings(epochs=3, batch_size=8, learning_rate=1e-2, device="cpu", precision="fp32"),
    )
    return settings.with_changes(**changes)
