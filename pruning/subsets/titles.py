"""Titles of subsets for people; links and commands use the grammar's names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pruning.records import DECISIONS, DISTINCT
from pruning.subsets.findings import CHOICE, SUSPECTS
from pruning.subsets.ladder import TICKET
from pruning.subsets.looks import BAND, SOMETIMES

_TITLES = {
    "full": "Full data",
    TICKET: "Winning ticket (drop always and never right)",
    "drop-easy": "Drop always right",
    "drop-hard": "Drop never right",
    SUSPECTS: "Drop suspected labels",
    CHOICE: "Winnow's choice",
    DISTINCT: "One of each meaning (drop near-duplicates)",
    SOMETIMES: "Sometimes right (drop right at every look and at none)",
}
_RULES = {
    "random": "Random",
    "stratified": "Random by class and H",
    "ambiguous": "Most ambiguous",
    "ccs": "All difficulties (CCS)",
    "mixed": "Half ambiguous, half random",
    "anchored": "Half surest, half random",
    "s2l": "Spread over loss trajectories (S2L)",
    "length-matched": "Random of equal answer length",
}


def title(name: str) -> str:
    """Return a subset's title; names without one are returned unchanged.

    >>> title("winning-ticket"), title("remove-0-1-6"), title("random@0.3"), title("random@winning-ticket")
    ('Winning ticket (drop always and never right)', 'Drop H = 0, 1, 6', 'Random, 30%', 'Random, as many as Winning ticket')
    >>> title("mine"), title("drop-hard+decisions"), title("ccs@500")
    ('mine', 'Drop never right, as decided', 'All difficulties (CCS), 500')
    >>> title("looks-2-6"), title("looks-0.2-0.8"), title("sometimes-right-0.1")
    ('Right at 2 to 6 looks', 'Right at 20 to 80% of the looks', 'Sometimes right, and 10% of the always right')
    """
    if name.endswith(DECISIONS):
        return f"{title(name.removesuffix(DECISIONS))}, as decided"
    if re.fullmatch(r"remove(-\d+)+", name):
        return f"Drop H = {', '.join(name.split('-')[1:])}"
    if re.fullmatch(rf"{BAND}[\d.]+-[\d.]+", name):
        return _band(*name.removeprefix(BAND).split("-"))
    if re.fullmatch(rf"{SOMETIMES}-[\d.]+", name):
        return f"{short(SOMETIMES)}, and {_percent(name.removeprefix(f'{SOMETIMES}-'))}% of the always right"
    rule, at, of = name.partition("@")
    if at and rule in _RULES and " " not in of:
        return f"{_RULES[rule]}, {_size(of)}"
    return _TITLES.get(name, name)


def short(name: str) -> str:
    """Return the title without its explanation.

    >>> short("winning-ticket")
    'Winning ticket'
    """
    return title(name).partition(" (drop")[0]


def _band(low: str, high: str) -> str:
    if "." in low + high:
        return f"Right at {_percent(low)} to {_percent(high)}% of the looks"
    return f"Right at {low} to {high} looks"


def _percent(share: str) -> str:
    return f"{100 * float(share):.3g}" if re.fullmatch(r"\d*\.?\d+|\d+\.", share) else share


def _size(of: str) -> str:
    if re.fullmatch(r"\d+", of):
        return f"{int(of):,}"
    if re.fullmatch(r"0?\.\d+", of):
        return f"{float(of):.3g}" if float(of) < 0.01 else f"{100 * float(of):.3g}%"
    return f"as many as {short(of)}"


def spoken(sentence: str, names: Iterable[str]) -> str:
    """Return the sentence with these subsets' titles in place of the grammar's names.

    >>> spoken("winning-ticket is 1.1 pp behind full data, random@winning-ticket 2.", ["winning-ticket", "random@winning-ticket", "full"])
    'Winning ticket is 1.1 pp behind full data, Random, as many as Winning ticket 2.'
    """
    known = sorted((name for name in names if short(name) != name and name != "full"), key=len, reverse=True)
    if not known:
        return sentence
    return re.sub(rf"(?<![\w@-])({'|'.join(map(re.escape, known))})(?![\w@-])", lambda found: short(found[1]), sentence)
