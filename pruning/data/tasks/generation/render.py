"""A conversation as one text with the character ranges that are learned: by the chat template, or plainly."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pruning.data.tasks.generation.turns import PAIR_BREAK, Conversation
from pruning.errors import UsageError

AUTO, NO_TEMPLATE, CHATML = "auto", "plain", "chatml"
"""Words for the model's own template, for none, and for the ChatML template that follows."""

CHATML_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

PINNED_DAY = date(2024, 7, 26)
"""Day that a template which prints today's date is given, so that the same data has the same tokens tomorrow."""

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_EMPTY_THOUGHT = re.compile(r"\s*<think>\s*</think>\s*")
LONGEST_TEMPLATE = 1_000_000

ONLY_TEMPLATES = {"tool_calls", "reasoning_content", "reasoning", "thinking"}
"""Keys of a message that would be lost without a chat template."""


class CannotRender(Exception):
    """A conversation that the template cannot render, or not so that its answers can be found: why, in words that follow its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A conversation as the model reads it."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """Character ranges of `text` that are learned, in order."""
    specials: bool
    """True where the tokenizer adds its own special tokens; a chat template has written them already."""


def with_template(tokenizer: Any, template: str) -> Any:
    """Return a copy of the tokenizer that renders as asked: auto, plain, chatml, or a Jinja file. Raises UsageError for no such file."""
    if template == AUTO:
        return tokenizer
    own = copy.copy(tokenizer)
    own.chat_template = {NO_TEMPLATE: None, CHATML: CHATML_TEMPLATE}.get(template, "")
    if own.chat_template == "":
        try:
            with Path(template).open(encoding="utf-8") as file:
                own.chat_template = file.read(LONGEST_TEMPLATE)
        except (OSError, UnicodeDecodeError):
            raise UsageError(
                f"template must be {AUTO}, {NO_TEMPLATE}, {CHATML} or a file with a Jinja chat template, got {template!r}.", "template"
            ) from None
    return own


def way(tokenizer: Any) -> str:
    """Return how the learned tokens are found, in a sentence."""
    template = _template(tokenizer)
    if template is None:
        end = repr(tokenizer.eos_token) if tokenizer.eos_token else "no end token, because the tokenizer has none"
        return f"The model has no chat template: turns are joined by a line break, and each answer ends with {end}."
    if _GENERATION.search(template):
        return "The chat template marks with generation tags what is learned."
    return "The chat template has no generation tags: an answer is what rendering with it adds to rendering without it."


def render(conversation: Conversation, tokenizer: Any) -> Rendered:
    """Return the conversation as text, and what of it is learned. Raises CannotRender."""
    template = None if conversation.plain else _template(tokenizer)
    if template is None:
        return _plain(conversation, tokenizer)
    if _GENERATION.search(template):
        return _tagged(conversation, tokenizer, template)
    return _by_prefix(conversation, tokenizer)


def _template(tokenizer: Any) -> str | None:
    found = tokenizer.chat_template
    if isinstance(found, dict):
        found = found.get("default")
    return found or None


def _plain(conversation: Conversation, tokenizer: Any) -> Rendered:
    """Turns joined by a line break; pieces of plain text are joined as they are."""
    text, spans = "", []
    between = "" if conversation.plain else PAIR_BREAK
    for place, turn in enumerate(conversation.turns):
        if conversation.tools or turn.content is None or turn.more.keys() & ONLY_TEMPLATES:
            raise CannotRender("has tools or reasoning, which only a chat template can render; choose a model with one, or --template FILE")
        text += between if place else ""
        start = len(text)
        text += turn.content + ((tokenizer.eos_token or "") if turn.trained and conversation.ends else "")
        if turn.trained:
            spans.append((start, len(text)))
    return Rendered(text=text, spans=tuple(spans), specials=conversation.ends)


def _apply(conversation: Conversation, tokenizer: Any, messages: Sequence[Mapping[str, Any]], *, asks: bool = False) -> str:
    values = {"date_string": PINNED_DAY.strftime("%d %b %Y"), **conversation.values}
    try:
        return str(
            tokenizer.apply_chat_template(list(messages), tools=conversation.tools, tokenize=False, add_generation_prompt=asks, **values)
        )
    except Exception as error:  # templates raise any error, jinja2's own among them
        raise CannotRender(f"cannot be rendered by the chat template ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _by_prefix(conversation: Conversation, tokenizer: Any) -> Rendered:
    """Render up to each answer and with it: the difference is learned."""
    messages = [turn.message() for turn in conversation.turns]
    whole = _apply(conversation, tokenizer, messages)
    spans = []
    for place, turn in enumerate(conversation.turns):
        if not turn.trained:
            continue
        before = _apply(conversation, tokenizer, messages[:place], asks=True)
        after = whole if place + 1 == len(messages) else _apply(conversation, tokenizer, messages[: place + 1])
        if not (after.startswith(before) and whole.startswith(after)):
            raise CannotRender(
                f"has a turn at place {place + 1} that the chat template renders differently once more turns follow or an answer is asked "
                "for, so its tokens cannot be found; use --template chatml, or --template FILE with generation tags"
            )
        spans.append(_trimmed(whole, len(before), len(after), tokenizer))
    return Rendered(text=whole, spans=tuple(spans), specials=False)


def _trimmed(text: str, start: int, end: int, tokenizer: Any) -> tuple[int, int]:
    """Return a range without an empty thought at its start, and without the blanks that follow its end-of-turn token."""
    if thought := _EMPTY_THOUGHT.match(text, start, end):
        start = thought.end()
    stripped = start + len(text[start:end].rstrip())
    ends = tuple(tokenizer.get_added_vocab())
    return (start, stripped) if stripped > start and ends and text.endswith(ends, start, stripped) else (start, end)


def _tagged(conversation: Conversation, tokenizer: Any, template: str) -> Rendered:
    """Use the ranges between the template's generation tags; those of turns that are not learned are left out."""
    from transformers.utils.chat_template_utils import render_jinja_template

    values = {**tokenizer.special_tokens_map, "date_string": PINNED_DAY.strftime("%d %b %Y"), **conversation.values}
    try:
        texts, ranges = render_jinja_template(
            conversations=[[turn.message() for turn in conversation.turns]],
            tools=conversation.tools,
            chat_template=template,
            return_assistant_tokens_mask=True,
            **values,
        )
    except Exception as error:  # templates raise any error, jinja2's own among them
        raise CannotRender(f"cannot be rendered by the chat template ({_first_line(error)})") from None
    found = [(int(start), int(end)) for start, end in ranges[0]]
    answers = [turn.trained for turn in conversation.turns if turn.role == "assistant"]
    if not all(answers) and len(found) != len(answers):
        raise CannotRender("has answers with weight 0, which the chat template's generation tags do not tell apart; use --template chatml")
    spans = tuple(span for span, trained in zip(found, answers, strict=True) if trained) if len(found) == len(answers) else tuple(found)
    return Rendered(text=str(texts[0]), spans=spans, specials=False)
