"""Tables with a row for each prompt: lists of rewards, solve rates, counts of successes or failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isnan
from typing import Any

from pruning.data.tasks.rollouts import KEYS, PROMPTS, key_text, prompt_text
from pruning.errors import DataError, UsageError
from pruning.interop.answers.log import Sample, Wanted, number

LISTS = ("correctness_math_verify", "correctness", "rewards")
"""Names of columns with a list of rewards (OpenR1-Math and others), the likelier first."""

ANSWERS = ("generations", "completions", "responses", "answers")

MOST_ATTEMPTS = 100_000


def detected(row: Mapping[str, Any], wanted: Wanted) -> Wanted | None:
    """Return what is wanted with the column of rewards that this table has; None for a table of another kind."""
    if wanted.table:
        return wanted
    named = next((name for name in LISTS if isinstance(row.get(name), list) and not isinstance(row.get("content"), list)), "")
    return Wanted(**{name: getattr(wanted, name) for name in wanted.__slots__} | {"rewards": named}) if named else None


def samples_of(row: Mapping[str, Any], where: str, wanted: Wanted, percent: bool) -> Iterator[Sample]:
    """Yield the samples of one prompt; of a rate or a count as many right ones first, their real order being unknown.

    `percent` says that rates are percent. Raises DataError naming a row whose values contradict each other.
    """
    prompt = wanted.prompt or next((name for name in PROMPTS if name in row), "")
    key = wanted.key or next((name for name in KEYS if name in row and name != prompt), "")
    base: dict[str, Any] = {
        "where": where,
        "prompt": prompt_text(_at(row, prompt, where)) or "" if prompt else "",
        "name": str(_at(row, wanted.name, where)) if wanted.name else "",
        "key": key_text(_at(row, key, where)) if key else None,
    }
    if not wanted.rewards:
        right, attempts = _counted(row, where, wanted, percent)
        yield from (Sample(**base, reward=float(place < right)) for place in range(attempts))
        return
    rewards = _at(row, wanted.rewards, where)
    if rewards is None:
        return
    if not isinstance(rewards, list):
        raise DataError(f"{where} has {str(rewards)[:40]!r} in {wanted.rewards!r}, which is not a list of rewards.")
    answers = _listed(row, wanted.answers or next((name for name in ANSWERS if isinstance(row.get(name), list)), ""), len(rewards), where)
    reasons = row.get("finish_reasons")
    cuts = (
        [reason == "length" for reason in reasons] if isinstance(reasons, list) and len(reasons) == len(rewards) else [None] * len(rewards)
    )
    for reward, answer, cut in zip(rewards, answers, cuts, strict=True):
        yield Sample(**base, reward=number(reward, where, "the reward"), answer=answer, cut=cut)


def rates_are_percent(rates: list[float]) -> bool:
    """Return True where rates go beyond 1, so that they are percent.

    >>> rates_are_percent([0.0, 0.4, 1.0]), rates_are_percent([0.0, 3.125, 1.0])
    (False, True)
    """
    return any(rate > 1 for rate in rates if not isnan(rate))


def rate_of(row: Mapping[str, Any], where: str, wanted: Wanted) -> float:
    """Return a row's rate as written; nan where it has none."""
    return number(_at(row, wanted.pass_rate, where), where, wanted.pass_rate)


def _counted(row: Mapping[str, Any], where: str, wanted: Wanted, percent: bool) -> tuple[int, int]:
    attempts = _attempts(row, where, wanted)
    if wanted.pass_rate:
        rate = rate_of(row, where, wanted) / (100 if percent else 1)
        if isnan(rate):
            return 0, 0
        right = rate * attempts
    else:
        name = wanted.successes or wanted.failures
        right = number(_at(row, name, where), where, name)
        if isnan(right):
            return 0, 0
        right = attempts - right if wanted.failures else right
    if not -1e-9 <= right <= attempts + 1e-9:
        raise DataError(f"{where} has {right:g} right of {attempts} attempts; check the columns and --attempts.")
    return round(right), attempts


def _attempts(row: Mapping[str, Any], where: str, wanted: Wanted) -> int:
    if not wanted.attempts:
        raise UsageError("Rates and counts need the number of samples behind them: a number, or the column that has it.", "attempts")
    value = float(wanted.attempts) if wanted.attempts.isdigit() else number(_at(row, wanted.attempts, where), where, wanted.attempts)
    if isnan(value):
        return 0
    if value != int(value) or not 0 <= value <= MOST_ATTEMPTS:
        raise DataError(f"{where} has {value:g} attempts; a whole number up to {MOST_ATTEMPTS:,} is needed.")
    return int(value)


def _listed(row: Mapping[str, Any], name: str, size: int, where: str) -> list[str | None]:
    if not name:
        return [None] * size
    answers = _at(row, name, where)
    if not isinstance(answers, list) or len(answers) != size:
        raise DataError(f"{where} has {len(answers) if isinstance(answers, list) else 'no'} answers in {name!r} for {size} rewards.")
    return [answer if isinstance(answer, str) else None for answer in answers]


def _at(row: Mapping[str, Any], name: str, where: str) -> Any:
    """Return a value by its column, or by a path such as extra_info.model_difficulty.NAME."""
    if name in row:
        return row[name]
    value: Any = row
    rest = name
    while rest:
        part = next((one for one in sorted(value, key=len, reverse=True) if rest == one or rest.startswith(f"{one}.")), None)
        if part is None:
            raise UsageError(f"{where} has no column {name!r}; it has {', '.join(map(str, row))}.")
        value, rest = value[part], rest[len(part) + 1 :]
        if rest and not isinstance(value, Mapping):
            raise UsageError(f"{where} has no {name!r}: {part!r} is not an object.")
    return value
