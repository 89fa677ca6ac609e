"""The words of every text that a person reads: string literals, docstrings and Markdown."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WORDS = [
    line.split("\t")
    for line in (ROOT / "tests" / "support" / "words.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PATTERN = re.compile("|".join(rf"(?P<w{place}>\b(?:{word})(?<=\s)|\b(?:{word})\b)" for place, (word, _) in enumerate(WORDS)), re.IGNORECASE)
"""One named group for each word."""

SOURCES = [path for folder in ("pruning", "pages") for path in sorted((ROOT / folder).rglob("*.py"))] + [ROOT / "app.py"]
PAGES = [path for pattern in ("*.md", "docs/**/*.md") for path in sorted(ROOT.glob(pattern)) if path.name != "LICENSE.md"]


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string literal of a module, docstrings and parts of f-strings included, or of every line of Markdown."""
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from enumerate(content.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Every string that stands alone as a statement: docstrings of modules, classes, functions, fields and constants."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def findings(path: Path) -> list[str]:
    """What the word list, or the rule for the first word of a docstring, has against a file."""
    name = path.relative_to(ROOT).as_posix()
    found = []
    for line, text in texts(path):
        for match in PATTERN.finditer(text):
            better = WORDS[int((match.lastgroup or "w0")[1:])][1]
            found.append(f"{name}:{line}: {match.group()!r}; write: {better}")
    if path.suffix == ".py":
        for line, text in docstrings(path):
            if text.split(maxsplit=1)[0] in ("What", "Whether"):
                found.append(f"{name}:{line}: the docstring starts with {text.split()[0]}; use an imperative or a noun phrase")
    return found


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_text_uses_a_word_of_the_list(path: Path) -> None:
    assert not findings(path), "\n".join(findings(path))


def test_the_list_finds_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a docstring, a plain string and an f-string; not inside other words, and not in names of the code."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    module = tmp_path / "module.py"
    module.write_text(
        '"""Whether a person can mend it."""\nanew = f"{1} is no file"\nunmended = "the mendacious categoes are no longer there"\n'
    )
    assert [found.partition(": ")[0] + " " + found.partition(": ")[2] for found in sorted(findings(module))] == [
        "module.py:1 'mend'; write: fix",
        "module.py:1 the docstring starts with Whether; use an imperative or a noun phrase",
        "module.py:2 'is no '; write: is not a",
    ]
    page = tmp_path / "page.md"
    page.write_text("It goes on.\n")
    assert [found.split(":")[1] for found in findings(page)] == ["1"]
