"""Made-up rows of every task that a small model can learn."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

WORDS = ["film", "movie", "story", "plot", "cast", "good", "bad", "great", "awful", "fine", "dull", "fun", "slow", "moving"]


def pair(draw: random.Random) -> dict[str, Any]:
    first, second = draw.choices(WORDS, k=2)
    return {"premise": f"the film is {first}", "hypothesis": f"a {second} film", "label": int(WORDS.index(first) > WORDS.index(second))}


def choice(draw: random.Random) -> dict[str, Any]:
    options, right = draw.sample(WORDS, 3), draw.randrange(3)
    return {"article": f"the plot was {options[right]}", "question": "the plot was _", "options": options, "answer": "ABC"[right]}


def question(draw: random.Random) -> dict[str, Any]:
    context = " ".join(draw.choices(WORDS, k=24))
    word = draw.choice(WORDS)
    here = [context.index(word)] if word in context else []
    return {"title": "T", "question": f"the {word}", "context": context, "answers": {"text": [word] * len(here), "answer_start": here}}


CASES: dict[str, tuple[Callable[[random.Random], dict[str, Any]], str]] = {
    "pair": (pair, "classification"),
    "choice": (choice, "multiple-choice"),
    "question": (question, "question-answering"),
}
