"""Which row of the data each prompt of a log is: by the log's own id, or by the prompt's text after templates are taken off."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pruning.errors import DataError
from pruning.formatting import counted
from pruning.interop.answers.log import Sample

_TURNS = (
    re.compile(r"<\|im_start\|>user\s*(.*?)(?:<\|im_end\|>|\Z)", re.DOTALL),
    re.compile(r"<\|start_header_id\|>user<\|end_header_id\|>\s*(.*?)(?:<\|eot_id\|>|\Z)", re.DOTALL),
    re.compile(r"<start_of_turn>user\s*(.*?)(?:<end_of_turn>|\Z)", re.DOTALL),
    re.compile(r"\[INST\]\s*(.*?)\s*\[/INST\]", re.DOTALL),
    re.compile(r"<\|user\|>\s*(.*?)(?:<\|end\|>|<\|assistant\|>|</s>|\Z)", re.DOTALL),
    re.compile(r"(?:\A|\n)\s*user\n(.*?)(?:\n\s*assistant(?:\n|\Z)|\Z)", re.DOTALL),
)

MOST_COMPARED = 4_000_000
"""Pairs of prompts compared by search within a text; beyond it only prompts that are equal are matched."""


def forms(prompt: str) -> list[str]:
    """Return the texts that a prompt may be known by, whitespace made one space: the whole, and the last user turn of a template.

    >>> forms("system\\nBe brief.\\nuser\\nWhat is 2 + 2?\\nassistant\\n")
    ['system Be brief. user What is 2 + 2? assistant', 'What is 2 + 2?', 'system Be brief. user What is 2 + 2?']
    """
    whole = _plain(prompt)
    found = [whole]
    for turn in _TURNS:
        if matches := turn.findall(prompt):
            found.append(_plain(matches[-1]))
    found.append(re.sub(r" assistant\Z", "", whole))
    return [form for form in dict.fromkeys(found) if form]


def _plain(text: str) -> str:
    return " ".join(text.split())


def rows_of_samples(samples: Sequence[Sample], prompts: Sequence[str], names: Sequence[str] | None, data: str) -> tuple[list[int], str]:
    """Return each sample's position in the data (-1 = none), and a sentence that names what did not match; empty where all did.

    `names` are the data's values of the log's own ids; None joins by prompt. Raises DataError where nothing matches, and where a prompt
    that was sampled is there twice in the data.
    """
    keys = [[sample.name] for sample in samples] if names is not None else [forms(sample.prompt) for sample in samples]
    known = [[name] for name in names] if names is not None else [forms(prompt) for prompt in prompts]
    places: dict[str, int] = {}
    double: dict[str, tuple[int, int]] = {}
    for place, own in enumerate(known):
        for form in own:
            if places.setdefault(form, place) != place:
                double[form] = (places[form], place)
    found: dict[str, int] = {}
    for own in keys:
        if own and own[0] not in found:
            found[own[0]] = _place(own, places, double, data)
    if names is None:
        _search(found, [own[0] for own in known if own])
    positions = [found.get(own[0], -1) if own else -1 for own in keys]
    return positions, _unmatched(samples, positions, data, by_name=names is not None)


def _place(own: Iterable[str], places: dict[str, int], double: dict[str, tuple[int, int]], data: str) -> int:
    for form in own:
        if form in double:
            first, second = double[form]
            raise DataError(
                f"Rows {first + 1} and {second + 1} of {data} have the same prompt ({form[:60]!r}), so its answers could be of either; "
                "remove one, or join by an id that the log has (--id COLUMN)."
            )
        if form in places:
            return places[form]
    return -1


def _search(found: dict[str, int], known: Sequence[str]) -> None:
    """Match the rest where exactly one prompt of the data, the longest, occurs within the log's."""
    left = [form for form, place in found.items() if place < 0]
    if len(left) * len(known) > MOST_COMPARED:
        return
    for form in left:
        within = sorted(((len(text), place) for place, text in enumerate(known) if len(text) > 8 and text in form), reverse=True)
        if within and (len(within) == 1 or within[0][0] > within[1][0]):
            found[form] = within[0][1]


def _unmatched(samples: Sequence[Sample], positions: Sequence[int], data: str, by_name: bool) -> str:
    lost = [sample for sample, position in zip(samples, positions, strict=True) if position < 0]
    if not lost:
        return ""
    first = lost[0].name if by_name else lost[0].prompt
    prompts = len({sample.name if by_name else _plain(sample.prompt) for sample in lost})
    sentence = (
        f"{counted(len(lost), 'answer')} to {counted(prompts, 'prompt')} of the log {'matches' if len(lost) == 1 else 'match'} no row of "
        f"{data}; the first is at {lost[0].where}: {first[:80]!r}."
    )
    if len(lost) == len(samples):
        raise DataError(f"{sentence} Name the data that was sampled, or leave --data out to make the rows from the log.")
    return sentence
