"""One conversation: its turns in order, which of them are trained, and the checks that name what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

PLAIN = "text"
"""Role of a piece of plain text: pieces are joined as they are, without a template."""

PAIR_BREAK = "\n"
"""Between the turns of a conversation where the model has no chat template."""

ROLES = {
    **{role: role for role in ("system", "developer", "user", "assistant", "tool")},
    **{"human": "user", "gpt": "assistant", "bing": "assistant", "chatgpt": "assistant", "model": "assistant"},
    **{"observation": "tool", "function": "tool", "function_call": "assistant"},
}
"""Names of roles in chat and ShareGPT data -> the role that chat templates know."""

STARTS = ("system", "developer")
"""Roles of a turn that may only come first."""


class WrongRow(Exception):
    """A row that cannot be a conversation: why, in words that follow the row's line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn, or one piece of plain text."""

    role: str
    """One of `ROLES`' values, or `PLAIN`."""
    content: str | None
    """Its text; None where it only calls tools."""
    trained: bool
    """True where its tokens are learned."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Other keys of the message, such as tool_calls and reasoning_content, for the template."""

    def message(self) -> dict[str, Any]:
        """Return the turn as a chat template reads it."""
        return {"role": self.role, "content": self.content or "", **self.more}

    @property
    def text(self) -> str:
        """The turn as a person reads it, its tool calls and reasoning included."""
        extras = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in self.more.values()]
        return "\n".join([*extras, *([self.content] if self.content else [])])


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One example: turns, or token ids that are already there, and what the template needs beside the turns."""

    turns: tuple[Turn, ...] = ()
    tools: Any = None
    """Tools that the model may call, as the data lists them."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Further values for the chat template (the data's `chat_template_kwargs`)."""
    ends: bool = True
    """True where an end-of-text token follows each answer of plain text; False where the data has its own."""
    ids: tuple[int, ...] = ()
    """Token ids of data that is tokenised already."""
    learned: tuple[bool, ...] = ()
    """Which of these ids are learned."""

    @property
    def plain(self) -> bool:
        """True for pieces of plain text, which no chat template is applied to."""
        return bool(self.turns) and self.turns[0].role == PLAIN

    @property
    def prompt(self) -> str:
        """The text that is read and not learned, up to the last learned turn."""
        last = max((place for place, turn in enumerate(self.turns) if turn.trained), default=len(self.turns))
        return "\n".join(turn.text for turn in self.turns[:last] if not turn.trained)

    @property
    def answer(self) -> str:
        """The text that is learned."""
        return "\n".join(turn.text for turn in self.turns if turn.trained)


def checked(conversation: Conversation, columns: str) -> Conversation:
    """Return the conversation. Raises WrongRow, naming `columns`, where the turns are out of order or nothing is learned."""
    turns = conversation.turns
    if conversation.ids:
        if not any(conversation.learned[1:]):
            raise WrongRow(f"has no token to learn in {columns}: every one after the first is masked")
        return conversation
    if not any(turn.trained and turn.text.strip() for turn in turns):
        assistant = any(turn.role == "assistant" for turn in turns)
        reason = "every answer is empty or marked with weight 0" if assistant else "it has no assistant turn"
        reason = "it is empty" if not turns or turns[0].role == PLAIN else reason
        raise WrongRow(f"has nothing to learn in {columns}: {reason}")
    for place, turn in enumerate(turns):
        before = turns[place - 1].role if place else ""
        if turn.role in STARTS and place:
            raise WrongRow(f"has a {turn.role} turn in {columns} at place {place + 1}; it may only come first")
        if turn.role == "assistant" and before not in ("user", "tool"):
            found = f"follows {'an' if before == 'assistant' else 'the'} {before} turn" if before else "comes first"
            raise WrongRow(f"has turns out of order in {columns}: the assistant's at place {place + 1} {found}, not a user's or a tool's")
        if turn.role == "tool" and before not in ("assistant", "tool"):
            raise WrongRow(f"has turns out of order in {columns}: the tool's at place {place + 1} follows no call of the assistant's")
    return conversation


TURN = pa.struct([("role", pa.string()), ("content", pa.string()), ("trained", pa.bool_()), ("more", pa.string())])
MESSAGES = pa.list_(TURN)
"""Type of the column of turns; `more` is JSON."""
RENDER = pa.struct([("tools", pa.string()), ("values", pa.string()), ("ends", pa.bool_())])
"""Type of the column with what belongs to the whole conversation; tools and values are JSON."""
TOKENS = pa.list_(pa.int32())
LEARNED = pa.list_(pa.bool_())


def columns_of(conversations: Sequence[Conversation | None]) -> dict[str, pa.ChunkedArray]:
    """Return conversations as the fields of the examples' table; null where there is none. `conversations_of` is the inverse."""
    turns = [None if one is None else [_turn_row(turn) for turn in one.turns] for one in conversations]
    render = [None if one is None else {"tools": _json(one.tools), "values": _json(one.values), "ends": one.ends} for one in conversations]
    fields = {
        "prompt": pa.array([None if one is None else one.prompt for one in conversations], pa.string()),
        "answer": pa.array([None if one is None else one.answer for one in conversations], pa.string()),
        "messages": pa.array(turns, MESSAGES),
        "render": pa.array(render, RENDER),
    }
    if any(one is not None and one.ids for one in conversations):
        fields["tokens"] = pa.array([None if one is None else one.ids for one in conversations], TOKENS)
        fields["learned"] = pa.array([None if one is None else one.learned for one in conversations], LEARNED)
    return {name: pa.chunked_array([values]) for name, values in fields.items()}


def conversations_of(table: pa.Table) -> Iterable[Conversation]:
    """Yield the conversations of the examples' table, in order."""
    tokenised = "tokens" in table.column_names
    names = ["messages", "render", *(["tokens", "learned"] if tokenised else [])]
    for batch in table.select(names).to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            yield conversation_of(row)


def conversation_of(row: Mapping[str, Any]) -> Conversation:
    """Return the conversation of one row of the examples' table."""
    return Conversation(
        turns=tuple(Turn(**{**turn, "more": json.loads(turn["more"]) if turn["more"] else {}}) for turn in row["messages"]),
        tools=json.loads(row["render"]["tools"]) if row["render"]["tools"] else None,
        values=json.loads(row["render"]["values"]) if row["render"]["values"] else {},
        ends=row["render"]["ends"],
        ids=tuple(row.get("tokens") or ()),
        learned=tuple(row.get("learned") or ()),
    )


def _turn_row(turn: Turn) -> dict[str, Any]:
    return {"role": turn.role, "content": turn.content, "trained": turn.trained, "more": _json(turn.more)}


def _json(value: Any) -> str | None:
    return json.dumps(value, ensure_ascii=False) if value else None
