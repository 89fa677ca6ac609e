"""Parser of subset names: words, rules applied to what follows an @, and combinations with or, and, minus. Pure.

`pruning.subsets.rules` defines the words and their meaning.
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
    """Normalised name, without unnecessary spaces and parentheses."""
    word: str
    parts: tuple[Name, ...] = ()


def parse(name: str, there_is: str) -> Name:
    """Parse a name; `there_is` is a sentence for error messages that lists the possible names.

    Raises SubsetError for a name that is malformed, incomplete, too long or too deeply nested.

    >>> parse("random @ (drop-easy or full)", "use full").text
    'random@drop-easy or full'
    """
    if len(name) > LONGEST:
        raise SubsetError(f"A subset name of {len(name):,} characters is too long; at most {LONGEST} are allowed.")
    if name.count("(") > DEEPEST:
        raise SubsetError(f"A subset name with {name.count('(')} parentheses is too deep; at most {DEEPEST} are allowed.")
    tokens = re.findall(r"[()@]|[^\s()@]+", name)
    tree = _expression(tokens, name, there_is)
    if tokens:
        raise SubsetError(f"The subset name {name!r} has an unexpected {tokens[0]!r}; {there_is}.")
    return tree


def _expression(tokens: list[str], name: str, there_is: str) -> Name:
    left = _operand(tokens, name, there_is)
    while tokens and tokens[0] in JOINS:
        how = tokens.pop(0)
        right = _operand(tokens, name, there_is)
        apart = len(left.parts) == 1, bool(right.parts)  # otherwise the text would parse differently
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
