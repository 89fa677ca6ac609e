"""Values as text: JSON values, CSV cells, and cells that no spreadsheet runs as a formula."""

from __future__ import annotations

import datetime
import json
import math
import re
from decimal import Decimal
from typing import Any

import pandas as pd

from pruning.export.rows import Numeral

FORMULA = re.compile(r"^(?=[\t\r\n])|(?:^|(?<=[;|\t\r\n]))(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Places in a cell before which an apostrophe keeps a spreadsheet from running a formula.

They are the start of the cell and, because some spreadsheets cut cells there, each semicolon, bar, tab and line break. Full-width
signs count.
"""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_QUOTED = re.compile(r'[",\r\n\ufeff]')
_LIKE_JSON = re.compile(r'\s*([-0-9\[{"]|true\b|false\b|null\b|NaN\b|Infinity\b)')


class Unwritable(ValueError):
    """A value that text cannot hold; its message says which."""


def escaped(text: str) -> str:
    """Return a cell with an apostrophe wherever a formula could start; plain numbers are left alone.

    >>> escaped("=1+1"), escaped("a;=1+1"), escaped("-1.5")
    ("'=1+1", "a;'=1+1", '-1.5')
    """
    return text if _NUMBER.fullmatch(text) else FORMULA.sub("'", text)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: dates and times in ISO 8601, decimals as text of their digits.

    Raises Unwritable for NaN, infinities, bytes and whatever else JSON lacks.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Unwritable(f"JSON has no {'NaN' if math.isnan(value) else 'Infinity'}")
        return value
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise Unwritable(f"text cannot hold values of type {type(value).__name__}")


def cell(value: Any) -> str | None:
    """Return a value as the text of a CSV cell, lists and objects as JSON; None for null. Raises Unwritable as `plain` does."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Numeral):
        return value.digits
    if isinstance(value, float) and not isinstance(value, bool):
        return repr(value)
    if isinstance(value, Decimal):
        return str(value)
    found = plain(value)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def looks_like_json(text: str) -> bool:
    """Return True for a text that reads like a number, truth value, null, list or object in a cell."""
    if not _LIKE_JSON.match(text):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def quoted(text: str | None) -> str:
    """Return a cell as it stands in a CSV file: empty for null, two quotes for an empty text."""
    if text is None:
        return ""
    return '"' + text.replace('"', '""') + '"' if not text or _QUOTED.search(text) else text


def csv_text(table: pd.DataFrame) -> bytes:
    """Return a small table as CSV that no spreadsheet runs; see `escaped`."""
    shown = table.rename(columns=lambda name: escaped(name) if isinstance(name, str) else name)
    for name in shown.columns:
        if not pd.api.types.is_numeric_dtype(shown[name].dtype):
            shown[name] = shown[name].astype(object).map(_shown)
    return shown.to_csv(index=False).encode()


def _shown(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return escaped(value) if isinstance(value, str) else value
