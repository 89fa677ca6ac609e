"""README and docs: every command and every piece of code in them runs, every path and link in them exists."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pruning.cli import app
from pruning.experiment import Experiment
from pruning.export.formats import FORMATS
from tests.conftest import write_reviews
from tests.support.commands import winnow
from tests.support.generative import tiny_causal
from tests.support.tiny import tiny_model

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
FETCHED = ("sample", "experiments/first", "first.jsonl", "demo", "winnow fit")
"""Words of commands that take long or need the model and the sentences from PyPI; those run in the slow tier, on fewer sentences."""


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def commands(document: Path, fetched: bool) -> list[str]:
    lines = [line for block in blocks(document, "sh") for line in block.splitlines()]
    return [line for line in lines if any(word in line for word in FETCHED) == fetched]


@pytest.fixture
def desk(reviews: tuple[Path, Path], scored: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the files that the documents name, small ones."""
    folder = tmp_path / "desk"
    folder.mkdir()
    shutil.copy(reviews[0], folder / "reviews.jsonl")
    shutil.copy(reviews[1], folder / "held-out.jsonl")
    rows = [json.loads(line) for line in (folder / "reviews.jsonl").read_text().splitlines()]
    with (folder / "reviews.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["sentence", "stars"], *([row["sentence"], int(row["label"] == "positive")] for row in rows)])
    pairs = [{"premise": row["sentence"], "hypothesis": "a good film", "label": row["label"]} for row in rows]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    asked = [f"What is {i} + {i}?" for i in range(4)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"problem": text, "answer": 2 * i}) + "\n" for i, text in enumerate(asked)))
    answers = [
        {"input": f"user\n{text}\nassistant\n", "output": "4", "gts": 2 * i, "score": i % 3 > k}
        for i, text in enumerate(asked)
        for k in (0, 1)
    ]
    (folder / "rollouts").mkdir()
    (folder / "rollouts" / "1.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    tiny_model(folder / "roberta-base")
    tiny_model(folder / "small-roberta", "roberta")
    tiny_causal(folder / "small-model")
    chats = [[{"role": "user", "content": text}, {"role": "assistant", "content": str(i % 3)}] for i, text in enumerate(asked * 6)]
    (folder / "chats.jsonl").write_text("".join(json.dumps({"messages": turns}) + "\n" for turns in chats))
    scored.export("full", folder / "recorded", format="cartography")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def pretrained(desk: Path) -> Path:
    """The desk's model with weights that know the reviews' words, as pretrained ones would: a fitted rate needs a model that learns."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder, random = desk / "roberta-base", np.random.default_rng(0)
    rows = [json.loads(line) for line in write_reviews(desk / "words.jsonl", 400, seed=2).read_text().splitlines()]
    torch.manual_seed(0)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(150):
        batch = [rows[place] for place in random.choice(len(rows), 16)]
        inputs = tokenizer([row["sentence"] for row in batch], padding=True, return_tensors="pt")
        model(**inputs, labels=torch.tensor([int(row["label"] == "positive") for row in batch])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return desk


def assert_runs(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = shlex.split(line)
    if words[0] == "score" and "--learning-rate" not in words:
        words += ["--learning-rate", "1e-3"]  # a fitted one takes minutes
    if words[0] == "prune":  # the tiny model learns in a second or two like this, and its smallest set passes
        words += [
            "--learning-rate",
            "5e-3",
            "--batch-size",
            "4",
            "--max-length",
            "32",
            "--give-up",
            "90",
            "--runs",
            "3",
            "--epochs",
            "6",
            "--burn-in",
            "3",
        ]
    if words[0] == "frontier":
        words += ["--subsets", "s2l@0.5" if "chats" in line else "winning-ticket", "--seeds", "1"]  # the last of an option counts
    assert program == "winnow"
    started: list[Any] = []
    monkeypatch.setattr("pruning.ui.server.launch.main", lambda *arguments: started.append(arguments))
    done = winnow(*words)
    nothing_to_cancel = words[0] == "cancel" and "Nothing runs" in done.stderr
    assert done.returncode == 0 or nothing_to_cancel, f"{line}\n{done.stdout}\n{done.stderr}"
    assert len(started) == (words[0] == "app")


@pytest.mark.process
@pytest.mark.parametrize("document", [document for document in DOCUMENTS if commands(document, fetched=False)], ids=lambda path: path.name)
def test_every_command_runs(document: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in commands(document, fetched=False):
        assert_runs(line, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("document", [document for document in DOCUMENTS if commands(document, fetched=True)], ids=lambda path: path.name)
def test_every_command_on_the_sample_runs(document: Path, pretrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in commands(document, fetched=True):
        assert_runs(line.replace("--limit 600", "--limit 80"), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("document", [document for document in DOCUMENTS if blocks(document, "python")], ids=lambda path: path.name)
def test_every_piece_of_code_runs(document: Path, pretrained: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    rows = [json.loads(line) for line in Path("reviews.jsonl").read_text().splitlines()]
    tokenizer = AutoTokenizer.from_pretrained("roberta-base")
    names = {
        "make_model": lambda: AutoModelForSequenceClassification.from_pretrained("roberta-base"),
        "tokenizer": tokenizer,
        "encoded": [{**tokenizer(row["sentence"]), "label": int(row["label"] == "positive")} for row in rows],
        "training": lambda seed: [(np.arange(len(rows)), torch.zeros(len(rows), 2))],
        "steps": lambda seed: [(np.arange(24), SimpleNamespace(logits=torch.zeros(24, 3, 5)), torch.ones(24, 3, dtype=torch.long))],
    }
    given = set(names)
    if "experiments/reviews" in document.read_text() and not Path("experiments/reviews").exists():
        winnow(
            "score",
            "reviews.jsonl",
            "--model",
            "roberta-base",
            "--experiment",
            "experiments/reviews",
            "--runs",
            "2",
            "--epochs",
            "1",
            "--learning-rate",
            "1e-3",
        )
    for block in blocks(document, "python"):
        exec(compile(block, str(document), "exec"), names)
    assert names.keys() - given - {"__builtins__"}, f"no code of {document.name} was executed"


@pytest.mark.parametrize("document", [*DOCUMENTS, *OTHERS], ids=lambda path: path.name)
def test_every_path_link_and_make_target_exists(document: Path) -> None:
    text = document.read_text()
    links = re.findall(r"\]\(([^)#]+)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    links += [link for link in re.findall(r"`([\w/.-]+\.(?:py|md|txt|toml))`", text) if "/" in link and document in OTHERS]
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not [link for link in missing if not (ROOT / "pruning" / link).exists()]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE)) <= targets


def test_every_verb_and_every_format_is_described() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    described = {line.split()[1] for document in DOCUMENTS for block in blocks(document, "sh") for line in block.splitlines()}
    assert verbs <= described | {"score"} and not {name for name in FORMATS if f"`{name}`" not in text}


def test_contributing_names_the_place_for_every_addition() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where to add a ...")[2].partition("\n\nA property")[0]
    rows = re.findall(r"^\| ([^|]+) \| `([^`]+)` \| `([^`]+)` \|$", table, re.MULTILINE)
    assert len(rows) == len(table.strip().splitlines()) - 2, "each row names one file and what to look for in it"
    assert not [row for row in rows if row[2] not in (ROOT / row[1]).read_text()]
    wanted = ("score", "rule", "task", "format", "setting", "preset", "page", "element", "verb", "message", "dependency")
    assert not [addition for addition in wanted if not any(addition in row[0].split() for row in rows)]


def test_no_test_module_imports_from_another() -> None:
    modules = (ROOT / "tests").rglob("*.py")
    assert not [path for path in modules if re.search(r"^\s*from tests\.(\w+\.)?test_\w+ import", path.read_text(), re.MULTILINE)]
