"""A subset's name as a tree: words, rules applied to what follows an @, and what or, and, minus put together. Pure.

Which words there are, and what they mean, is known to `pruning.subsets.rules`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pruning.errors import SubsetError

JOINS = ("or", "and", "minus")
"""Words between two names of subsets."""

LONGEST = 500
DEEPEST = 30


@dataclass(frozen=True, slots=True)
class Name:
    """Parsed name: a word; `word` applied to `parts[0]` (an @); or two parts joined by `word` (or, and, minus)."""

    text: str
    """The name in its one form: no spaces or parentheses that are not needed."""
    word: str
    parts: tuple[Name, ...] = ()


def parse(name: str, there_is: str) -> Name:
    """The tree of a name; `there_is` says in a sentence what could be written instead.

    Raises SubsetError for a name that makes no sense, is not complete, or is too long or too deep.

    >>> parse("random @ (drop-easy or full)", "use full").text
    'random@drop-easy or full'
    """
    if len(name) > LONGEST:
        raise SubsetError(f"A subset name of {len(name):,} characters is too long; {LONGEST} are enough.")
    if name.count("(") > DEEPEST:
        raise SubsetError(f"A subset name with {name.count('(')} parentheses is too deep; {DEEPEST} are enough.")
    tokens = re.findall(r"[()@]|[^\s()@]+", name)
    tree = _expression(tokens, name, there_is)
    if tokens:
        raise SubsetError(f"The subset name {name!r} makes no sense from {tokens[0]!r} on; {there_is}.")
    return tree


def _expression(tokens: list[str], name: str, there_is: str) -> Name:
    left = _operand(tokens, name, there_is)
    while tokens and tokens[0] in JOINS:
        how = tokens.pop(0)
        right = _operand(tokens, name, there_is)
        apart = len(left.parts) == 1, bool(right.parts)  # or the text would say something else
        texts = (f"({part.text})" if within else part.text for part, within in zip((left, right), apart, strict=True))
        left = Name(f" {how} ".join(texts), how, (left, right))
    return left


def _operand(tokens: list[str], name: str, there_is: str) -> Name:
    if not tokens or tokens[0] in (")", "@"):
        raise SubsetError(f"The subset name {name!r} is not complete; {there_is}.")
    word = tokens.pop(0)
    if word == "(":
        inside = _expression(tokens, name, there_is)
        if not tokens or tokens.pop(0) != ")":
            raise SubsetError(f"The subset name {name!r} lacks a closing parenthesis.")
        if not tokens or tokens[0] != "@":
            return inside
        word = f"({inside.text})" if inside.parts else inside.text
    if tokens and tokens[0] == "@":
        del tokens[0]
        of = _expression(tokens, name, there_is)
        return Name(f"{word}@{of.text}", word, (of,))
    return Name(word, word)
