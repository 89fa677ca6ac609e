"""Verifiers: is an answer right, given the prompt's key? Run in a process of their own (`pruning.sampling.worker`), never in threads.

A specification is a name, with what it needs after a colon:

    exact               the final answer, or the whole text, equals a key (case, articles and punctuation aside, as in SQuAD)
    choice              the letter chosen
    number              the last number, to six digits
    regex:PATTERN       the last match (its first group, if it has one) equals the key; without a key a match is right
    math                math-verify: \\boxed{}, fractions, sets ... (needs `pip install math-verify`)
    sql:DATABASE        the rows that a query returns on an SQLite file, which is opened read-only
    python:FILE:FUNC    FUNC(answer, key) of your own file                                  (needs --allow-code)
    tests               the answer's code passes the key, a piece of Python that asserts    (needs --allow-code)
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sqlite3
from collections.abc import Callable
from typing import Any

from pruning.analysis.answers import final_answer, normalise
from pruning.errors import UsageError

Verify = Callable[[str, str], bool]
"""(answer, key) -> right."""

RUNS_CODE = ("python", "tests")
"""Verifiers that run somebody's code."""

_NEEDS_NO_KEY = ("regex", "python")

_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?%?")
_FENCED = re.compile(r"```(?:\w+)?\s*\n(.*?)```", re.DOTALL)

MOST_ROWS = 100_000
"""Rows of a query's result that are compared."""


class UnreadableKey(Exception):
    """A key that its verifier cannot read, so that every answer would be wrong."""


def check(spec: str, allow_code: bool) -> None:
    """Raise UsageError for a specification that does not exist or lacks a part, or that runs code which is not allowed."""
    name, _, rest = spec.partition(":")
    if name not in _MAKERS:
        raise UsageError(f"There is no verifier {name!r}; use {', '.join(_MAKERS)}.", "verify")
    wanted = {"regex": "a pattern, such as regex:ANSWER: (.*)", "sql": "a database, such as sql:shop.db", "python": "a file and a function"}
    if (name in wanted and not rest) or (name == "python" and ":" not in rest):
        raise UsageError(f"The verifier {name} needs {wanted[name]} after a colon.", "verify")
    if name not in wanted and rest:
        raise UsageError(f"The verifier {name} takes nothing after a colon, got {rest!r}.", "verify")
    if name == "regex":
        try:
            re.compile(rest)
        except re.error as error:
            raise UsageError(f"{rest!r} is not a regular expression: {error}.", "verify") from None
    if name == "math" and importlib.util.find_spec("math_verify") is None:
        raise UsageError("The verifier math needs math-verify; install it (pip install 'winnow-pruning[math]').", "verify")
    if name in RUNS_CODE and not allow_code:
        raise UsageError(f"The verifier {name} runs code without a sandbox, with your rights; allow it with --allow-code.", "allow_code")


def make(spec: str) -> Verify:
    """Return the verifier of a specification that `check` accepts."""
    name, _, rest = spec.partition(":")
    return _MAKERS[name](rest)


def own_answer(spec: str, key: str) -> str:
    """Return an answer that is right if the key can be read at all: each key is checked against itself."""
    name = spec.partition(":")[0]
    if name == "math":
        return f"\\boxed{{{key}}}"
    return accepted(key)[0]


def needs_key(spec: str) -> bool:
    """Return True for verifiers that compare an answer with a key."""
    return spec.partition(":")[0] not in _NEEDS_NO_KEY


def checks_itself(spec: str) -> bool:
    """Return True for verifiers whose keys are answers too."""
    return spec.partition(":")[0] in ("exact", "choice", "number", "math", "sql")


def accepted(key: str) -> list[str]:
    """Return the answers that a key accepts: a JSON list has several.

    >>> accepted('["Paris", "paris, france"]'), accepted("[1, 2)")
    (['Paris', 'paris, france'], ['[1, 2)'])
    """
    if key.startswith("["):
        try:
            several = json.loads(key)
        except ValueError:
            return [key]
        if isinstance(several, list) and several:
            return [one if isinstance(one, str) else json.dumps(one) for one in several]
    return [key]


def _exact(rest: str) -> Verify:
    def verify(answer: str, key: str) -> bool:
        said = {normalise(answer), normalise(final_answer(answer))}
        wanted = {normalise(one) or one.strip() for one in accepted(key)}
        return bool((said | {answer.strip()}) & wanted)

    return verify


def _choice(rest: str) -> Verify:
    def verify(answer: str, key: str) -> bool:
        wanted = _letter(key)
        if not wanted:
            raise UnreadableKey("not a letter")
        return _letter(answer) == wanted

    return verify


def _letter(text: str) -> str:
    """Return the option's letter that a text ends up with; empty without one.

    >>> _letter("B"), _letter("The answer is (C)."), _letter("A is tempting, but it is \\\\boxed{D}"), _letter("none")
    ('B', 'C', 'D', '')
    """
    final = final_answer(text).upper()
    if found := re.fullmatch(r"\W*([A-Z])\W*(?:[.):].*)?", final, re.DOTALL):
        return found[1]
    marked = re.findall(r"\(([A-Za-z])\)|(?:option|choice|answer)\s+(?:is\s+)?([A-Za-z])\b", text, re.IGNORECASE)
    return next((one or other for one, other in reversed(marked)), "").upper()


def _number_of(text: str) -> float | None:
    """Return the last number in the final answer, or else in the text.

    >>> _number_of("It costs $1,234.50."), _number_of("50%"), _number_of("#### -7"), _number_of("many")
    (1234.5, 0.5, -7.0, None)
    """
    for part in (final_answer(text), text):
        if found := _NUMBER.findall(part):
            last = found[-1].replace(",", "").rstrip(".")
            return float(last[:-1]) / 100 if last.endswith("%") else float(last)
    return None


def _number(rest: str) -> Verify:
    def verify(answer: str, key: str) -> bool:
        wanted = _number_of(key)
        if wanted is None:
            raise UnreadableKey("not a number")
        said = _number_of(answer)
        return said is not None and math.isclose(said, wanted, rel_tol=1e-6, abs_tol=1e-9)

    return verify


def _regex(rest: str) -> Verify:
    pattern = re.compile(rest, re.MULTILINE)

    def verify(answer: str, key: str) -> bool:
        found = list(pattern.finditer(answer))
        if not found:
            return False
        said = found[-1][1] if pattern.groups else found[-1][0]
        return not key or normalise(said or "") in {normalise(one) for one in accepted(key)} or (said or "").strip() == key.strip()

    return verify


def _math(rest: str) -> Verify:
    import logging

    from math_verify import parse  # type: ignore[import-untyped]
    from math_verify import verify as equal

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)

    def verify(answer: str, key: str) -> bool:
        gold: list[Any] = [parsed for one in accepted(key) if (parsed := parse(_in_dollars(one), parsing_timeout=None))]
        if not gold:
            raise UnreadableKey("not an expression that math-verify can read")
        said = parse(answer, parsing_timeout=None)
        return any(equal(one, said, timeout_seconds=None) for one in gold)

    return verify


def _in_dollars(key: str) -> str:
    return key if "$" in key or "\\boxed" in key else f"${key}$"


def _sql(rest: str) -> Verify:
    def rows(query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{rest}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchmany(MOST_ROWS)
        finally:
            connection.close()

    def verify(answer: str, key: str) -> bool:
        try:
            wanted = rows(key)
        except sqlite3.Error as error:
            raise UnreadableKey(f"a query that fails: {error}") from None
        try:
            found = rows(code_of(answer))
        except (sqlite3.Error, sqlite3.Warning):
            return False
        ordered = re.search(r"\border\s+by\b", key, re.IGNORECASE) is not None
        return found == wanted if ordered else sorted(map(repr, found)) == sorted(map(repr, wanted))

    return verify


def code_of(answer: str) -> str:
    """Return the last fenced block of an answer, or the whole of one without fences."""
    found = _FENCED.findall(answer)
    return found[-1] if found else answer


def _python(rest: str) -> Verify:
    file, _, name = rest.rpartition(":")
    spec = importlib.util.spec_from_file_location("winnow_verifier", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} is not a Python file.", "verify")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name)
    return lambda answer, key: bool(function(answer, key))


def _tests(rest: str) -> Verify:
    from pruning.sampling.isolated import passes

    def verify(answer: str, key: str) -> bool:
        try:
            compile(key, "<tests>", "exec")
        except (SyntaxError, ValueError) as error:
            raise UnreadableKey(f"not Python: {error}") from None
        return passes(f"{code_of(answer)}\n\n{key}\n")

    return verify


_MAKERS: dict[str, Callable[[str], Verify]] = {
    "exact": _exact,
    "choice": _choice,
    "number": _number,
    "regex": _regex,
    "math": _math,
    "sql": _sql,
    "python": _python,
    "tests": _tests,
}
