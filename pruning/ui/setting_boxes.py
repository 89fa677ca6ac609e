"""A box for every setting of a new experiment, drawn from the setting's own Option: help, range, choices and theme are stated there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_origin

import streamlit as st

from pruning.data.tasks import TASKS
from pruning.data.tasks.generation import GENERATION
from pruning.errors import UsageError
from pruning.formatting import scientific
from pruning.options import Setting, parse, settings_of
from pruning.settings import DATA, GROUPS, MODEL, Settings, TrainSettings, default_seeds
from pruning.ui import address

FORM: Mapping[str, Setting] = {**settings_of(Settings), **settings_of(TrainSettings)}
"""Every setting, by name."""

ELSEWHERE = ("data", "task", "columns", "model")
"""Settings that have a place of their own in the form."""

OF_GENERATION = ("template", "success", "load_in_4bit")
"""Settings that only generated answers have."""

OF_CLASSES = ("one_of_each",)
"""Settings that generated answers do not have."""

TABS = {DATA: "Data details", MODEL: "Model details"}
"""Titles of tabs that would have the name of a box of the form."""

RUNS = f"{address.SETTING}runs"
"""Key of the number of runs: their seeds follow from it."""

RUNS_HELP = (
    "Fine-tunings, each with its own seed. The paper uses 6; for generation 2 are usual, because runs that start from the same weights "
    "agree, and epochs tell examples apart."
)


def themes(task: str) -> dict[str, list[Setting]]:
    """Return the settings that a task has, under the headings of `--help`.

    >>> [setting.label for setting in themes("classification")["Model"]]
    ['Tokens per text']
    """
    hidden = (*ELSEWHERE, *OF_CLASSES) if task == GENERATION else (*ELSEWHERE, *OF_GENERATION)
    shown = [setting for setting in FORM.values() if setting.option.flag is not None and setting.name not in hidden]
    return {group: [setting for setting in shown if setting.option.group == group] for group in GROUPS}


def show(task: str, but: str = "") -> dict[str, Any]:
    """Draw a tab for each theme, without the box `but`. Returns the values by name.

    Raises UsageError naming the field of a value that cannot be read.
    """
    found: dict[str, Any] = {}
    for tab, (group, settings) in zip(st.tabs([TABS.get(group, group) for group in GROUPS]), themes(task).items(), strict=True):
        with tab:
            places = st.columns(2)
            if group == FORM["seeds"].option.group:
                with places[0]:
                    runs = int(_runs(task))
            boxes = [setting for setting in settings if setting.name != but]
            for number, setting in enumerate(boxes, group == FORM["seeds"].option.group):
                with places[number % 2]:
                    found[setting.name] = _value(setting, box(setting, task))
    return {**found, "seeds": found["seeds"] or default_seeds(runs)}


def _runs(task: str) -> int:
    usual = 2 if task == GENERATION else Settings(data="").runs
    return st.number_input(
        "Runs", 1, 100, usual, key=runs_key(task), help=RUNS_HELP, persist_state="page", disabled=typed("seeds") is not None
    )


def runs_key(task: str) -> str:
    """The session's key of the number of runs, whose usual value depends on the task."""
    return f"{RUNS}-generation" if task == GENERATION else RUNS


def key(name: str) -> str:
    """The session's key of a setting's box; other pages have keys of the same names."""
    return f"{address.SETTING}{name}"


def typed(name: str) -> Any:
    """Return what a box holds, before or after it is drawn; None where it is empty or was never drawn."""
    return st.session_state.get(key(name)) or None


def box(setting: Setting, task: str) -> Any:
    """Draw the box of a setting; returns what it holds: text for decimals and lists, None where it is left empty."""
    option, label, usual = setting.option, setting.label, setting.default
    common: dict[str, Any] = {"key": key(setting.name), "help": option.help, "persist_state": "page"}
    empty = str(TASKS[task].max_length) if setting.name == "max_length" else option.default or option.none
    if setting.type is bool and setting.optional:
        return st.selectbox(label, [True, False], None, placeholder=empty, format_func=_yes, **common)
    if setting.type is bool:
        return st.toggle(label, usual, **common)
    if setting.choices:
        return st.selectbox(label, setting.choices, setting.choices.index(usual), format_func=lambda name: name or empty, **common)
    if setting.type is int:
        least = None if option.at_least is None else int(option.at_least)
        return st.number_input(label, least, None, usual, 1, placeholder=empty, **common)
    return st.text_input(label, as_text(setting, usual), placeholder=empty, **common)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _value(setting: Setting, typed: Any) -> Any:
    if setting.type in (bool, int) or setting.choices:
        return typed
    if typed is None or not str(typed).strip():
        if setting.optional or get_origin(setting.type) is tuple:
            return None
        return setting.default
    return parse(setting, str(typed))


def as_text(setting: Setting, value: Any) -> Any:
    """Return a value as its box holds it.

    >>> as_text(FORM["learning_rate"], 2e-05), as_text(FORM["learning_rate"], None), as_text(FORM["epochs"], 3)
    ('2e-5', 'auto', 3)
    """
    if setting.type is float:
        return setting.option.none if value is None else _decimal(value)
    if get_origin(setting.type) is tuple:
        return "" if tuple(value) == default_seeds(len(value)) else ", ".join(map(str, value))
    return "" if value is None and setting.type is str else value


def _decimal(value: float) -> str:
    return scientific(value) if 0 < value < 0.001 else f"{value:g}"


def fill(settings: Settings) -> None:
    """Put an experiment's settings into the boxes; for callbacks."""
    for name, setting in FORM.items():
        if setting.option.flag is not None and name not in ELSEWHERE:
            value = getattr(settings if name in settings_of(Settings) else settings.train, name)
            st.session_state[key(name)] = as_text(setting, value)
    st.session_state[runs_key(settings.task)] = settings.runs


def clear() -> None:
    """Put every box back to its default; for callbacks."""
    for name in [*map(key, FORM), runs_key(GENERATION), RUNS]:
        st.session_state.pop(name, None)


def changed(settings: Settings, shown: Sequence[str] = ELSEWHERE) -> dict[str, str]:
    """Return the settings that differ from their defaults, by label, as text, those left out that are `shown` already.

    >>> changed(Settings(data="x.jsonl", burn_in=1, seeds=(1, 2), checkpoints=False))
    {'seeds': '1, 2', 'burn-in': '1', 'checkpoints': 'off'}
    """
    values = {name: getattr(settings if name in settings_of(Settings) else settings.train, name) for name in FORM}
    usual = {name: default_seeds(settings.runs) if name == "seeds" else setting.default for name, setting in FORM.items()}
    hidden = [name for name in FORM if name not in (*shown, "recorded_by") and values[name] != usual[name]]
    return {_lower(FORM[name].label): _as_words(values[name]) for name in hidden}


def _lower(label: str) -> str:
    return label[0].lower() + label[1:]


def _as_words(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def in_boxes(sentence: str) -> str:
    """Return a sentence with the boxes of this page in place of the flags of the command line.

    >>> in_boxes("Each run saves its state; --no-checkpoints turns this off.")
    'Each run saves its state; the setting Checkpoints turns this off.'
    """
    labels = {setting.flag.lstrip("-"): f"the setting {setting.label}" for setting in FORM.values() if setting.flag}
    return re.sub(r"(?<!\S)--(?:no-)?([a-z][a-z-]*)", lambda found: labels.get(found[1], found[0]), sentence)


def without_flags(sentence: str) -> str:
    """Return a sentence without the flags of the command line that stand in brackets.

    >>> without_flags("Train longer (--epochs), or use another model (--model).")
    'Train longer, or use another model.'
    """
    return re.sub(r" \(--[a-z][a-z -]*\)", "", sentence)


def pointed_out(error: UsageError) -> str:
    """Return the error with the name of its box."""
    return f"{error} See {FORM[error.field].label} under More settings." if error.field in FORM else str(error)
