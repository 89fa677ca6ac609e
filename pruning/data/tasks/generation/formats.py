"""The formats of fine-tuning data, each read into conversations: chat, prompt and completion, pairs, segments, token ids, text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pruning.data.readers import Source
from pruning.data.readers.source import JSON_TEXT
from pruning.data.tasks.generation.turns import PLAIN, ROLES, Conversation, Turn, WrongRow, checked

ROLE_KEYS, CONTENT_KEYS = ("role", "from"), ("content", "value")
UNUSED_KEYS = {*ROLE_KEYS, *CONTENT_KEYS, "weight", "label"}
"""Keys of a message that are not handed on to the template."""

Row = Mapping[str, Any]
"""Field -> value of one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write fine-tuning data."""

    name: str
    """In words, e.g. "chat messages"."""
    needs: tuple[str, ...]
    """Fields that must have a column."""
    read: Callable[[Row], Conversation]
    """Row -> conversation; raises WrongRow."""
    learned: str
    """The text that is learned, in words."""


def format_of(columns: Mapping[str, str]) -> Format | None:
    """Return the format that these fields make up; None where none is complete."""
    return next((one for one in FORMATS if set(one.needs) <= columns.keys()), None)


def read_rows(source: Source, columns: Mapping[str, str]) -> tuple[list[Conversation | None], dict[int, str]]:
    """Return each row as a conversation, None where it cannot be one, and why it cannot, by row."""
    format = format_of(columns)
    assert format is not None
    values = {field: plain_values(source, column) for field, column in columns.items()}
    named = " and ".join(repr(columns[field]) for field in format.needs)
    found: list[Conversation | None] = []
    wrong: dict[int, str] = {}
    for row in range(source.table.num_rows):
        try:
            found.append(checked(format.read({field: held[row] for field, held in values.items()}), named))
        except WrongRow as error:
            wrong[row] = str(error) if str(error).startswith(("has ", "is ")) else f"has {error} in {named}"
            found.append(None)
    return found, wrong


def plain_values(source: Source, column: str) -> list[Any]:
    """Return a column as Python values, JSON text decoded, and without the nulls that Arrow adds to objects of different keys."""
    values = source.table[column].to_pylist()
    encoded = column in source.mixed or (source.table.schema.field(column).metadata or {}) == JSON_TEXT
    return [_without_nulls(json.loads(value) if encoded and value is not None else value) for value in values]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def listed(value: Any) -> Any:
    """Return a list that is written as JSON text as a list; any other value as it is."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _turns(value: Any) -> list[Turn]:
    """Return the turns of a list of messages, in the words of chat data or of ShareGPT."""
    messages = listed(value)
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise WrongRow("no list of messages")
    return [_turn(one, place) for place, one in enumerate(messages, 1)]


def _turn(message: Mapping[str, Any], place: int) -> Turn:
    said = next((message[key] for key in ROLE_KEYS if key in message), None)
    role = ROLES.get(str(said).lower()) if said is not None else None
    if role is None:
        raise WrongRow(f"the role {said!r} at place {place} (roles are {', '.join(ROLES)})")
    more = {key: value for key, value in message.items() if key not in UNUSED_KEYS}
    content = _text(next((message[key] for key in CONTENT_KEYS if key in message), None), place)
    if said == "function_call" and (call := _call(content)):
        more["tool_calls"], content = [call], None
    if content is None and not more:
        raise WrongRow(f"no content at place {place}")
    weight = message.get("weight", 1)
    if weight not in (0, 1):
        raise WrongRow(f"the weight {weight!r} at place {place}, which must be 0 or 1")
    return Turn(role=role, content=content, trained=role == "assistant" and bool(weight), more=more)


def _text(content: Any, place: int) -> str | None:
    """Return a message's text; a list of parts of text becomes one text."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        kinds = {str(part.get("type", "text")) for part in content}
        if other := sorted(kinds - {"text"}):
            raise WrongRow(f"a part of type {other[0]!r} at place {place}, where only text can be trained on")
        return "".join(str(part.get("text", "")) for part in content)
    raise WrongRow(f"{str(content)[:60]!r} as content at place {place}, which must be text")


def _call(content: str | None) -> dict[str, Any] | None:
    """Return ShareGPT's function call, one object as JSON text, as a tool call."""
    try:
        value = json.loads(content or "")
    except ValueError:
        return None
    return {"type": "function", "function": value} if isinstance(value, dict) and "name" in value else None


def _whole(turns: Sequence[Turn], row: Row) -> Conversation:
    """Return turns with the row's system text, tools and template values."""
    system = _optional(row, "system")
    if system and not (turns and turns[0].role == "system"):
        turns = [Turn(role="system", content=system, trained=False), *turns]
    values = row.get("template_values")
    tools = listed(row.get("tools"))
    if tools is not None and tools != "" and not isinstance(tools, list):
        raise WrongRow("tools that are not a list")
    return Conversation(turns=tuple(turns), tools=tools or None, values=values if isinstance(values, dict) else {})


def _chat(row: Row) -> Conversation:
    return _whole(_turns(row["messages"]), row)


def _optional(row: Row, field: str) -> str:
    value = row.get(field)
    if value is not None and not isinstance(value, str):
        raise WrongRow(f"has {str(value)[:60]!r} as its {field}, which must be text")
    return value or ""


def _required(row: Row, field: str) -> str:
    value = row[field]
    if not isinstance(value, str) or not value.strip():
        raise WrongRow(f"has no text as its {field}")
    return value


def _completion(row: Row) -> Conversation:
    """Return prompt and completion: two lists of messages are one chat, two texts are joined as they are."""
    prompt, completion = listed(row["prompt"]), listed(row["completion"])
    if isinstance(prompt, list):
        learned = completion if isinstance(completion, list) else [{"role": "assistant", "content": completion}]
        read = [replace(one, trained=False) for one in _turns(prompt)]
        return _whole([*read, *_turns(learned)], row)
    pieces = (Turn(role=PLAIN, content=_required(row, "prompt"), trained=False),)
    return Conversation(turns=(*pieces, Turn(role=PLAIN, content=_required(row, "completion"), trained=True)))


def _pair(row: Row) -> Conversation:
    """Return an instruction, with its input on a line of its own, and its answer; earlier answers of a history are learned too."""
    turns: list[Turn] = []
    history = listed(row.get("history")) or []
    if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        raise WrongRow("has a history that is not a list of pairs of texts")
    for user, answer in [*history, [_asked(row), _required(row, "answer")]]:
        turns += [Turn(role="user", content=str(user), trained=False), Turn(role="assistant", content=str(answer), trained=True)]
    return _whole(turns, row)


def _asked(row: Row) -> str:
    extra = _optional(row, "input")
    return _required(row, "instruction") + (f"\n{extra}" if extra.strip() else "")


def _segments(row: Row) -> Conversation:
    pieces = listed(row["segments"])
    if not isinstance(pieces, list) or not all(isinstance(one, dict) and isinstance(one.get("text"), str) for one in pieces):
        raise WrongRow("no list of segments, each with text and label")
    turns = tuple(Turn(role=PLAIN, content=one["text"], trained=bool(one.get("label"))) for one in pieces)
    return Conversation(turns=turns, ends=False)


def _text_only(row: Row) -> Conversation:
    return Conversation(turns=(Turn(role=PLAIN, content=_required(row, "full_text"), trained=True),))


def _tokenised(row: Row) -> Conversation:
    ids, mask = row["input_ids"], row["mask"]
    if not isinstance(ids, list) or not isinstance(mask, list) or len(ids) != len(mask) or not ids:
        raise WrongRow("has a mask that is not as long as its token ids")
    if not all(type(one) is int and 0 <= one < 2**31 for one in ids):
        raise WrongRow("has token ids that are not whole numbers from 0")
    zero_one = set(mask) <= {0, 1}
    learned = tuple(bool(one) if zero_one else one != -100 for one in mask)
    return Conversation(ids=tuple(ids), learned=learned)


FORMATS = (
    Format(name="chat messages", needs=("messages",), read=_chat, learned="every assistant turn"),
    Format(name="prompt and completion", needs=("prompt", "completion"), read=_completion, learned="the completion"),
    Format(name="instruction and answer", needs=("instruction", "answer"), read=_pair, learned="the answer"),
    Format(name="segments", needs=("segments",), read=_segments, learned="every segment whose label is true"),
    Format(name="token ids", needs=("input_ids", "mask"), read=_tokenised, learned="every token that the mask does not leave out"),
    Format(name="text", needs=("full_text",), read=_text_only, learned="the whole text"),
)
"""Every format, in the order in which they are detected."""

MESSAGE_NAMES = ("messages", "conversations", "conversation", "dialogue", "dialog")

PAIR_NAMES = (
    *(("instruction", "output"), ("instruction", "response"), ("question", "answer"), ("question", "response"), ("query", "response")),
    *(("query", "answer"), ("input", "output"), ("problem", "solution"), ("article", "summary"), ("document", "summary")),
    *(("source", "target"), ("prompt", "response"), ("prompt", "answer"), ("prompt", "output")),
)
"""Columns of a question and its answer, the most specific first."""

EXTRA_NAMES = {
    "system": ("system", "system_prompt"),
    "tools": ("tools",),
    "template_values": ("chat_template_kwargs",),
    "input": ("input", "context"),
    "history": ("history",),
}
"""Fields that a format may have beside those it needs -> names of their columns."""

PREFERENCES = ("chosen", "rejected")
"""Columns of preference data, which is never guessed to be fine-tuning data."""


def is_messages(source: Source, column: str) -> bool:
    """Return True for a column of lists of objects, or of JSON text of such lists."""
    kind = source.table.schema.field(column).type
    if pa.types.is_list(kind):
        return bool(pa.types.is_struct(kind.value_type))
    head = [value for value in source.table[column].slice(0, 8).to_pylist() if value is not None]
    return pa.types.is_string(kind) and bool(head) and all(str(value).lstrip().startswith("[{") for value in head)
