"""Options: help, flag and range of each field of a settings dataclass, stated once, in the field's annotation.

The command line offers an option for each of these fields, the pages label their widgets with them, a settings file is read by them, and
`check` holds every value to its range. A field is added in one place:

    batch_size: Annotated[int, Option("Examples per optimizer step.", at_least=1)] = 32
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from math import isfinite
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pruning.errors import UsageError


@dataclass(frozen=True, slots=True)
class Option:
    """Help, flag and range of one field."""

    help: str
    """One line for `--help`."""
    _: KW_ONLY
    flag: str | None = ""
    """Flag on the command line; "" = the field's name with dashes, None = no flag."""
    label: str = ""
    """Label of the page's widget; "" = the field's name in words."""
    group: str = ""
    """Heading in `--help`."""
    metavar: str | None = None
    """Placeholder of the value in `--help`."""
    none: str = ""
    """Word for None on the command line and in a settings file, such as auto."""
    default: str = ""
    """Default in words, where the value itself says too little."""
    choices: Sequence[str] = ()
    """Values that are allowed; of a Literal they are taken from the type."""
    above: float | None = None
    """Values must be greater than this."""
    at_least: float | None = None
    """Values must be this or more."""
    below: float | None = None
    """Values must be less than this."""
    at_most: float | None = None
    """Values must be this or less."""

    @property
    def range(self) -> str:
        """The allowed range in words.

        >>> Option("Share of steps.", at_least=0, below=1).range
        'at least 0 and below 1'
        """
        ends = (("greater than", self.above), ("at least", self.at_least), ("below", self.below), ("at most", self.at_most))
        return " and ".join(f"{words} {end:g}" for words, end in ends if end is not None and isfinite(end))

    def allows(self, value: float) -> bool:
        """Return True for a number in the allowed range; NaN is in none."""
        return not (
            (self.above is not None and not value > self.above)
            or (self.at_least is not None and not value >= self.at_least)
            or (self.below is not None and not value < self.below)
            or (self.at_most is not None and not value <= self.at_most)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A field of a settings dataclass with its option."""

    name: str
    type: Any
    """The field's type without None."""
    optional: bool
    """True where the field may be None."""
    option: Option
    default: Any
    """The field's default, or MISSING."""

    @property
    def flag(self) -> str:
        """The flag on the command line; empty where the field has none."""
        return "" if self.option.flag is None else self.option.flag or "--" + self.name.replace("_", "-")

    @property
    def label(self) -> str:
        """The label of the page's widget."""
        return self.option.label or self.name.replace("_", " ").capitalize()

    @property
    def choices(self) -> tuple[str, ...]:
        """Values that are allowed; empty where the type alone decides."""
        return get_args(self.type) if get_origin(self.type) is Literal else tuple(self.option.choices)


def settings_of(kind: Any) -> Mapping[str, Setting]:
    """Return every field of a dataclass that has an `Option`, by name."""
    return _settings_of(kind)


@cache
def _settings_of(kind: Any) -> Mapping[str, Setting]:
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for field in fields(kind):
        option = next((extra for extra in getattr(hints[field.name], "__metadata__", ()) if isinstance(extra, Option)), None)
        if option is not None:
            plain, optional = _without_none(get_args(hints[field.name])[0])
            default = field.default if field.default_factory is MISSING else field.default_factory()
            found[field.name] = Setting(name=field.name, type=plain, optional=optional, option=option, default=default)
    return found


def check(instance: Any) -> None:
    """Hold every field to its range and choices. Raises UsageError naming the field and its value."""
    for setting in settings_of(type(instance)).values():
        value = getattr(instance, setting.name)
        if value is None:
            continue
        if setting.choices and value not in setting.choices:
            raise UsageError(f"{setting.name} must be one of {', '.join(filter(None, setting.choices))}, got {value!r}.", setting.name)
        if setting.option.range and not setting.option.allows(value):
            raise UsageError(f"{setting.name} must be {setting.option.range}, got {value}.", setting.name)


def parse(setting: Setting, text: Any) -> Any:
    """Return the value of a setting that was typed: the words of a list are separated by commas, a mapping is a list of KEY=VALUE."""
    if isinstance(text, str) and setting.option.none and text.strip().lower() == setting.option.none:
        return None
    if get_origin(setting.type) is tuple:
        return _from_words(setting, text)
    if _is_mapping(setting.type):
        pairs = [pair.partition("=") for pair in text]
        if wrong := [pair for pair, (_, equals, _) in zip(text, pairs, strict=True) if not equals]:
            raise UsageError(f"{setting.name} must be {setting.option.metavar or 'KEY=VALUE'}, got {wrong[0]!r}.", setting.name)
        return {key: value for key, _, value in pairs}
    if isinstance(text, str) and setting.type in (int, float):
        try:
            return setting.type(text)
        except ValueError:
            raise _wrong(setting.name, setting, text) from None
    return text


def from_values(kind: type, values: Any, where: str = "") -> Any:
    """Return an instance of a settings dataclass from the values of a JSON object.

    Raises UsageError naming the field and its value: unknown, missing, of the wrong type, or out of its range.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"{where or 'settings'} must be an object of settings, got {values!r}.", where)
    known = {field.name: field for field in fields(kind)}
    hints = get_type_hints(kind)
    given = {}
    for name, value in values.items():
        full = f"{where}.{name}" if where else str(name)
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            raise UsageError(f"Unknown setting {full} = {value!r}{f'; did you mean {near[0]}?' if near else '.'}", full)
        given[name] = _converted(full, settings_of(kind).get(name), hints[name], value)
    for name, field in known.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise UsageError(f"{where + '.' if where else ''}{name} is missing.", name)
    return kind(**given)


def _converted(name: str, setting: Setting | None, hint: Any, value: Any) -> Any:
    plain, optional = _without_none(hint)
    if optional and (value is None or (setting is not None and setting.option.none and value == setting.option.none)):
        return None
    if is_dataclass(plain) and isinstance(plain, type):
        return from_values(plain, value, name)
    if get_origin(plain) is tuple and isinstance(value, (list, tuple)):
        return tuple(_converted(name, setting, get_args(plain)[0], item) for item in value)
    if _is_mapping(plain) and isinstance(value, Mapping) and all(isinstance(item, str) for item in value.values()):
        return dict(value)
    if plain is float and type(value) in (int, float):
        return float(value)
    if (plain in (int, bool, str) and type(value) is plain) or (get_origin(plain) is Literal and isinstance(value, str)):
        return value
    raise _wrong(name, setting, value, plain)


def _wrong(name: str, setting: Setting | None, value: Any, kind: Any = None) -> UsageError:
    kind = kind or (setting.type if setting else None)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(kind)
    if words is None:
        words = "a list of whole numbers" if get_origin(kind) is tuple else "an object of texts" if _is_mapping(kind) else "text"
    also = f" or {setting.option.none}" if setting and setting.option.none else ""
    return UsageError(f"{name} must be {words}{also}, got {value!r}.", setting.name if setting else name)


def _from_words(setting: Setting, text: str) -> tuple[Any, ...]:
    kind = get_args(setting.type)[0]
    try:
        return tuple(kind(word.strip()) for word in text.split(",") if word.strip())
    except ValueError:
        raise UsageError(f"{setting.name} must be whole numbers separated by commas, got {text!r}.", setting.name) from None


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) in (Union, types.UnionType):
        rest = [kind for kind in get_args(hint) if kind is not type(None)]
        return rest[0], len(rest) < len(get_args(hint))
    return hint, False


def _is_mapping(kind: Any) -> bool:
    return isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Mapping)
