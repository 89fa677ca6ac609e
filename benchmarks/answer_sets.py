"""Prompts with answers for the study of generation: film sentences, trivia questions, and the standard library's functions.

- films: the sample's sentences; the answer is positive or negative.
- trivia: questions of the source archive Red-Trivia 1.1.1 (GPL-3; fetched by name and sha256, kept nowhere) that need no picture; the first
  accepted answer is the answer.
- code: functions of the running Python's standard library; name, arguments and first line of the docstring are the prompt, the body is the
  answer.
"""

from __future__ import annotations

import ast
import json
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import yaml

from pruning.data.sample import download
from pruning.data.sample_chats import chat_split
from pruning.files import atomic_write

TRIVIA_ARCHIVE = ("Red-Trivia==1.1.1", "39413b9fb3f9b9362d6de1dcf69a4bf635b0f3518243f7178299b96d26cbb6a7")

Pair = tuple[str, str]


def split(name: str, train: int, evaluation: int, folder: Path) -> tuple[Path, Path]:
    """Return the training and the evaluation file of a set, written as conversations where they are missing."""
    if name == "films":
        return chat_split(train, evaluation)
    paths = folder / f"{name}-{train}.jsonl", folder / f"{name}-{evaluation}-evaluation.jsonl"
    if not all(path.exists() for path in paths):
        pairs = sorted(dict(SETS[name]()).items())
        order = np.random.default_rng(0).permutation(len(pairs))[: train + evaluation]
        for path, rows in zip(paths, (order[:train], order[train:]), strict=True):
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                temporary.write_text("".join(_line(*pairs[row]) for row in rows), encoding="utf-8")
    return paths


def _line(prompt: str, answer: str) -> str:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns}, ensure_ascii=False) + "\n"


def trivia() -> Iterator[Pair]:
    """Questions and their first accepted answer."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(download(*TRIVIA_ARCHIVE, Path(folder))) as archive:
        for member in archive:
            if member.name.endswith(".yaml") and (file := archive.extractfile(member)) is not None:
                for question, answers in yaml.safe_load(file).items():
                    if isinstance(answers, list) and answers and "http" not in str(question):
                        yield str(question).strip(), str(answers[0]).strip()


def functions() -> Iterator[Pair]:
    """Heads and bodies of documented functions of the standard library, 3 to 12 lines long."""
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        source = path.read_text(encoding="utf-8", errors="replace")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and len(node.body) > 1 and (about := ast.get_docstring(node)):
                body = "\n".join(ast.unparse(statement) for statement in node.body[1:])
                if 2 < len(body.splitlines()) <= 12:
                    head = f"def {node.name}({ast.unparse(node.args)}):  # {about.splitlines()[0]}"
                    yield f"Write the body of this Python function.\n{head}", body


SETS: dict[str, Callable[[], Iterator[Pair]]] = {"trivia": trivia, "code": functions}
"""The sets beside films, by name."""
