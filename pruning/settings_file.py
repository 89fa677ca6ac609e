"""Settings files: everything that decides a scoring, as JSON. The Score page writes one for each job; `score --settings FILE` reads it.

    {
      "settings": {
        "data": "reviews.jsonl",
        "columns": {"text": "sentence", "label": "label"},
        "evaluation": null,
        "seeds": [342, 4827, 1215],
        "train": {"epochs": 3, "batch_size": 32, "learning_rate": 2e-5}
      }
    }

"settings" holds fields of `pruning.settings.Settings`, "train" those of `TrainSettings`, under the names they have there. Only "data" is
required; a field left out has its default. Relative paths start at the folder that the command runs in. A field that does not exist, a
value of the wrong type and a value out of its range are refused. Other names beside "settings" are reserved.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pruning.errors import UsageError
from pruning.files import write_json
from pruning.options import from_values
from pruning.settings import Settings

STANDARD_INPUT = "-"
"""Path that stands for standard input."""


def read_settings(path: str | Path) -> Settings:
    """Read a settings file; "-" reads standard input. Raises UsageError naming the file, and the field and value that are wrong."""
    try:
        content = sys.stdin.read() if str(path) == STANDARD_INPUT else Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"Settings file {path} does not exist.", "settings") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Settings file {path} cannot be read: {error}.", "settings") from None
    try:
        return parse_settings(content)
    except UsageError as error:
        where = "standard input" if str(path) == STANDARD_INPUT else path
        raise UsageError(f"{str(error).rstrip('.')} (in {where}).", error.field) from None


def parse_settings(content: str) -> Settings:
    """Return the settings that the text of a settings file holds. Raises UsageError as `read_settings` does.

    >>> parse_settings('{"settings": {"data": "x.jsonl", "train": {"epochs": 5}}}').train.epochs
    5
    """
    try:
        values = json.loads(content)
    except ValueError as error:
        raise UsageError(f"Settings must be JSON, got {content[:40]!r} ({error}).", "settings") from None
    if not isinstance(values, dict) or set(values) != {"settings"}:
        got = ", ".join(values) if isinstance(values, dict) else content[:40]
        raise UsageError(f'Settings must be an object with one name, "settings", got {got!r}.', "settings")
    settings: Settings = from_values(Settings, values["settings"])
    return settings


def as_file(settings: Settings) -> dict[str, object]:
    """Return the content of a settings file."""
    return {"settings": settings.to_dict()}


def write_settings(path: str | Path, settings: Settings) -> None:
    """Write a settings file, whole or not at all."""
    write_json(path, as_file(settings))
