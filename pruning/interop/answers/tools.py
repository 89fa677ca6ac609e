"""Logs of one answer a row: verl, TRL, NeMo-RL, prime-rl, lm-eval, lighteval, and any table with a prompt and a reward.

Each reader takes one row of its tool's file and returns the samples in it. `TOOLS` lists them in the order of detection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

from pruning.data.tasks.rollouts import KEYS, PROMPTS, key_text, prompt_text
from pruning.errors import DataError, UsageError
from pruning.interop.answers.log import Sample, Wanted, number, one_of

Row = dict[str, Any]

TABLE = "table"
"""Name of what no tool wrote: any table of answers."""

_NO_ANSWER: list[str | None] = [None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool's format."""

    name: str
    fits: Callable[[Row], bool]
    """True for a row of its files."""
    read: Callable[[Row, str, Path, Wanted], Iterator[Sample]]
    """Yield the samples of a row, given its place, its file and what the user says."""


def step_in(path: Path) -> int:
    """Return the step that a file's or folder's name ends in; 0 without one.

    >>> step_in(Path("rollouts/step_12/train/all/traces.jsonl")), step_in(Path("train_data_step7.jsonl")), step_in(Path("40.jsonl"))
    (12, 7, 40)
    """
    for part in (path.stem, *reversed(path.parent.parts)):
        if found := re.fullmatch(r"(?:.*step_?|completions_)?(\d+)", part):
            return int(found[1])
    return 0


def _verl(row: Row, where: str, path: Path, wanted: Wanted) -> Iterator[Sample]:
    usual = "acc" if "acc" in row and not isinstance(row["acc"], str) else "score"
    named = wanted.reward or usual
    if named not in row:
        raise UsageError(f"{where} has no {named!r}; it has {', '.join(row)}.", "reward")
    yield Sample(
        where=where,
        prompt=row["input"],
        step=int(row["step"]) if isinstance(row.get("step"), int | float) else step_in(path),
        answer=row["output"],
        reward=number(row[named], where, named),
        key=key_text(row.get("gts")),
    )


def _trl(row: Row, where: str, path: Path, wanted: Wanted) -> Iterator[Sample]:
    own = ("step", "prompt", "completion", "advantage", "advantages")
    rewards = [name for name, value in row.items() if name not in own and (value is None or isinstance(value, float | int))]
    named = one_of(rewards, wanted, where)
    yield Sample(
        where=where,
        prompt=prompt_text(row["prompt"]) or "",
        step=int(row["step"]),
        answer=_said(row["completion"]),
        reward=number(row[named], where, named),
        key=key_text(row.get(wanted.key)) if wanted.key else next((key_text(row[name]) for name in KEYS if name in row), None),
    )


def _nemo(row: Row, where: str, path: Path, wanted: Wanted) -> Iterator[Sample]:
    """Read a row of train_data_stepN.jsonl: every value is a list, with an entry for each answer.

    With dynamic sampling `rewards` is of the batch before the filter, in another order than `content`: `filtered_rewards` fits.
    """
    rewards = row.get("filtered_rewards", row["rewards"])
    contents = row["content"] if isinstance(row["content"], list) else [row["content"]]
    if not isinstance(rewards, list) or len(rewards) != len(contents):
        raise DataError(f"{where} has {len(contents)} contents for another number of rewards.")
    for content, reward in zip(contents, rewards, strict=True):
        parts = [str(part) for part in content] if isinstance(content, list) else re.split(r"(?=assistant\n)", str(content), maxsplit=1)
        yield Sample(
            where=where,
            prompt="".join(parts[:-1]) or parts[0],
            step=step_in(path),
            answer=parts[-1] if len(parts) > 1 else None,
            reward=number(reward, where, "the reward"),
        )


def _prime(row: Row, where: str, path: Path, wanted: Wanted) -> Iterator[Sample]:
    """Read an episode: each trace that has rewards is a sample; its reward is the weighted sum, as prime-rl trains on it."""
    for trace in row["traces"]:
        rewards = trace.get("rewards") or {}
        if not rewards and row.get("ok", True):
            continue
        nodes = [node for node in trace.get("nodes") or [] if isinstance(node.get("message"), dict)]
        asked = [node["message"] for node in nodes if not node.get("sampled")]
        said = [node for node in nodes if node.get("sampled")]
        if wanted.reward and rewards and wanted.reward not in rewards:
            raise UsageError(f"{where} has no reward {wanted.reward!r}; it has {', '.join(rewards)}.", "reward")
        parts = {name: value for name, value in rewards.items() if not wanted.reward or name == wanted.reward}
        task = trace.get("task") or {}
        yield Sample(
            where=where,
            prompt=prompt_text([message for message in asked if message.get("role") != "assistant"]) or "",
            name=str(task.get("id", "")) if isinstance(task, dict) else "",
            step=step_in(path.parent),
            answer=_said([node["message"] for node in said]) if said else None,
            reward=sum(_part(value, where, name) for name, value in parts.items()) if parts else nan,
            key=key_text(task.get("answer")) if isinstance(task, dict) else None,
            tokens=sum(len(node.get("token_ids") or []) for node in said) or None,
            cut=_cut(trace.get("stop_condition")),
        )


def _part(value: Any, where: str, name: str) -> float:
    if not isinstance(value, Mapping):
        return number(value, where, name)
    weight = value.get("weight")
    return number(value.get("score"), where, name) * (1.0 if weight is None else number(weight, where, "the weight"))


def _lm_eval(row: Row, where: str, path: Path, wanted: Wanted) -> Iterator[Sample]:
    """Read a document's answers. The metric is of the filtered answer: with several answers it is not theirs, so they are unscored."""
    metric, _, chosen = wanted.reward.partition(",")
    if chosen and row.get("filter") != chosen:
        return
    named = one_of([name for name in row.get("metrics") or [] if name in row], Wanted(reward=metric), where)
    answers = [answer for answer in _flat(row["resps"]) if isinstance(answer, str)]
    scored = row[named] if len(answers) <= 1 else None
    for answer in answers or _NO_ANSWER:
        yield Sample(
            where=where,
            prompt=_asked(row),
            name=f"{row['doc_id']}",
            answer=answer,
            reward=number(scored, where, named),
            key=key_text(row.get("target")),
        )


def _asked(row: Row) -> str:
    arguments = row.get("arguments")
    first = arguments.get("gen_args_0", {}).get("arg_0") if isinstance(arguments, dict) else (_flat(arguments) or [None])[0]
    if isinstance(first, str) and first.startswith("[{"):
        try:
            return prompt_text(json.loads(first)) or first
        except ValueError:
            return first
    return prompt_text(first) or ""


def _flat(value: Any) -> list[Any]:
    return [inner for one in value for inner in _flat(one)] if isinstance(value, list | tuple) else [value]


def _lighteval(row: Row, where: str, path: Path, wanted: Wanted) -> Iterator[Sample]:
    doc, response, metrics = row["__doc__"], row["__model_response__"], row["__metric__"]
    answers = [text for text in response.get("text") or [] if isinstance(text, str)]
    numbers = {name: value for name, value in metrics.items() if value is None or isinstance(value, float | int)}
    named = one_of([*numbers], wanted, where) if len(answers) <= 1 or wanted.reward else ""
    gold = doc.get("gold_index")
    choices, golds = doc.get("choices") or [], gold if isinstance(gold, list) else [gold]
    keys = [choices[place] for place in golds if isinstance(place, int) and place < len(choices)]
    for answer in answers or _NO_ANSWER:
        yield Sample(
            where=where,
            prompt=str(doc.get("query") or ""),
            name=str(doc.get("id") or ""),
            answer=answer,
            reward=number(numbers[named], where, named) if named and len(answers) <= 1 else nan,
            key=key_text(keys),
        )


def _plain(row: Row, where: str, path: Path, wanted: Wanted) -> Iterator[Sample]:
    """Read a row of any table with a prompt (or its id) and a reward."""
    prompt = wanted.prompt or next((name for name in PROMPTS if name in row), "")
    reward = wanted.reward or next((name for name in ("reward", "score", "correct", "success", "is_correct") if name in row), "")
    for name in filter(None, (prompt, reward, wanted.name, wanted.answer, wanted.step, wanted.key)):
        if name not in row:
            raise UsageError(f"{where} has no column {name!r}; it has {', '.join(map(str, row))}.")
    if not reward or not (prompt or wanted.name):
        raise UsageError(f"{where} has no {'reward' if not reward else 'prompt'} by name; its columns are {', '.join(map(str, row))}.")
    answer = wanted.answer or next((name for name in ("completion", "response", "output", "generation") if name in row), "")
    step = wanted.step or ("step" if "step" in row else "")
    key = wanted.key or next((name for name in KEYS if name in row and name not in (answer, prompt, reward)), "")
    yield Sample(
        where=where,
        prompt=prompt_text(row[prompt]) or "" if prompt else "",
        name=str(row[wanted.name]) if wanted.name else "",
        step=int(number(row[step], where, step)) if step else step_in(path),
        answer=_said(row[answer]) if answer else None,
        reward=number(row[reward], where, reward),
        key=key_text(row[key]) if key else None,
        cut=_cut(row.get("finish_reason")),
    )


def _said(value: Any) -> str | None:
    """Return an answer as text: text as it is, of messages the last one's content."""
    if isinstance(value, list) and value and isinstance(value[-1], Mapping):
        content = value[-1].get("content")
        return content if isinstance(content, str) else None
    return value if isinstance(value, str) or value is None else str(value)


def _cut(reason: Any) -> bool | None:
    return reason in ("length", "max_tokens", "max_length") if isinstance(reason, str) else None


def _has(*names: str) -> Callable[[Row], bool]:
    return lambda row: set(names) <= row.keys()


TOOLS = {
    tool.name: tool
    for tool in (
        Tool(name="lighteval", fits=_has("__doc__", "__model_response__", "__metric__"), read=_lighteval),
        Tool(name="lm-eval", fits=_has("doc_id", "resps", "filtered_resps"), read=_lm_eval),
        Tool(name="prime-rl", fits=_has("traces"), read=_prime),
        Tool(name="nemo-rl", fits=_has("content", "rewards", "input_lengths"), read=_nemo),
        Tool(name="verl", fits=_has("input", "output", "score"), read=_verl),
        Tool(name="trl", fits=_has("step", "prompt", "completion", "advantage"), read=_trl),
        Tool(name=TABLE, fits=lambda row: True, read=_plain),
    )
}
"""Name -> tool, the most specific first."""
