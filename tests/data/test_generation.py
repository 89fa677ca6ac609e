"""Fine-tuning data: every format is detected, its mask is the one written by hand, and what cannot be learned is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pruning.data.examples import Examples, load
from pruning.data.preview import preview
from pruning.data.tasks import TASKS
from pruning.data.tasks.generation.render import with_template
from pruning.errors import DataError, UsageError
from tests.support.generative import CHATML, TAGGED, THINKING, TOOLS, byte_tokenizer, learned_text, whole_text

USER, ASSISTANT = {"role": "user", "content": "Capital of France?"}, {"role": "assistant", "content": "Paris"}
NEXT, ROME = {"role": "user", "content": "Italy?"}, {"role": "assistant", "content": "Rome"}
GENERATION = TASKS["generation"]


def load_rows(folder: Path, rows: list[dict[str, Any]], **options: Any) -> Examples:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load(path, **options)


FORMATS: dict[str, tuple[dict[str, Any], dict[str, Any], list[str], list[str]]] = {
    "messages": ({"messages": [USER, ASSISTANT]}, {}, ["Paris<|im_end|>"], ["Paris</s>"]),
    "system and two answers": (
        {"messages": [{"role": "system", "content": "Be brief."}, USER, ASSISTANT, NEXT, ROME]},
        {},
        ["Paris<|im_end|>", "Rome<|im_end|>"],
        ["Paris</s>", "Rome</s>"],
    ),
    "weights": (
        {"messages": [USER, {**ASSISTANT, "weight": 0}, NEXT, {**ROME, "weight": 1}]},
        {},
        ["Rome<|im_end|>"],
        ["Rome</s>"],
    ),
    "parts of text": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Capital?"}]}, ASSISTANT]},
        {},
        ["Paris<|im_end|>"],
        ["Paris</s>"],
    ),
    "messages as text": ({"messages": json.dumps([USER, ASSISTANT])}, {}, ["Paris<|im_end|>"], ["Paris</s>"]),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "Capital?"}, {"from": "gpt", "value": "Paris"}], "system": "Be brief."},
        {},
        ["Paris<|im_end|>"],
        ["Paris</s>"],
    ),
    "completion of texts": ({"prompt": "Q: Capital?\nA:", "completion": " Paris"}, {}, [" Paris</s>"], [" Paris</s>"]),
    "completion of messages": ({"prompt": [USER], "completion": [ASSISTANT]}, {}, ["Paris<|im_end|>"], ["Paris</s>"]),
    "alpaca": (
        {"instruction": "Name the capital.", "input": "France", "output": "Paris", "history": [["Hi", "Hello"]]},
        {},
        ["Hello<|im_end|>", "Paris<|im_end|>"],
        ["Hello</s>", "Paris</s>"],
    ),
    "pair": ({"question": "Capital of France?", "answer": "Paris"}, {}, ["Paris<|im_end|>"], ["Paris</s>"]),
    "segments": (
        {"segments": [{"text": "Q: Capital? A:", "label": False}, {"text": " Paris</s>", "label": True}]},
        {},
        [" Paris</s>"],
        [" Paris</s>"],
    ),
    "text": (
        {"text": "Paris is big.", "year": 1},
        {"task": "generation", "columns": {"full_text": "text"}},
        ["Paris is big.</s>"],
        ["Paris is big.</s>"],
    ),
}


@pytest.mark.parametrize("case", FORMATS)
def test_each_format_is_detected_and_its_mask_is_the_one_written_by_hand(tmp_path: Path, case: str) -> None:
    row, options, templated, plain = FORMATS[case]
    other = {**row, "answer": "Lyon"} if case == "pair" else row
    examples = load_rows(tmp_path, [row, row, other], **options)
    assert examples.task == "generation" and len(examples) == 3 and "learned" in examples.notes[0]
    for template, wanted in ((CHATML, templated), (None, plain)):
        tokenizer = byte_tokenizer(template)
        encoded = GENERATION.encode(examples.table, tokenizer, 4096)
        assert learned_text(encoded, tokenizer) == wanted
        assert learned_text(encoded, tokenizer, 1) == wanted
        assert encoded.answer is not None and not encoded.answer[encoded.offsets[:-1]].any(), "nothing predicts a first token"


def test_what_the_model_reads_is_written_once(tmp_path: Path) -> None:
    """One BOS where the tokenizer adds it and none beside a template; each answer with its end; nothing else."""
    examples = load_rows(tmp_path, [{"messages": [{"role": "system", "content": "Be brief."}, USER, ASSISTANT]}] * 2)
    plain, chat = byte_tokenizer(None), byte_tokenizer(CHATML)
    assert whole_text(GENERATION.encode(examples.table, plain, 4096), plain) == "<s>Be brief.\nCapital of France?\nParis</s>"
    assert whole_text(GENERATION.encode(examples.table, chat, 4096), chat) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nCapital of France?<|im_end|>\n<|im_start|>assistant\nParis<|im_end|>\n"
    )
    asked = with_template(plain, "chatml")
    assert whole_text(GENERATION.encode(examples.table, asked, 4096), asked).startswith("<|im_start|>system")
    assert with_template(chat, "plain").chat_template is None and chat.chat_template == CHATML
    with pytest.raises(UsageError, match="template must be auto"):
        with_template(chat, str(tmp_path / "none.jinja"))


def test_generation_tags_decide_where_the_template_has_them(tmp_path: Path) -> None:
    turns = [USER, {**ASSISTANT, "weight": 0}, NEXT, ROME]
    examples, tokenizer = load_rows(tmp_path, [{"messages": turns}]), byte_tokenizer(TAGGED)
    encoded = GENERATION.encode(examples.table, tokenizer, 4096)
    assert learned_text(encoded, tokenizer) == ["Rome<|im_end|>"] and "generation tags" in encoded.notes[0]


def test_reasoning_is_learned_where_the_template_keeps_it_and_refused_where_it_cannot_be_found(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(THINKING)
    thought = {**ASSISTANT, "reasoning_content": "It is Paris."}
    one = load_rows(tmp_path, [{"messages": [USER, thought]}])
    assert learned_text(GENERATION.encode(one.table, tokenizer, 4096), tokenizer) == ["<think>\nIt is Paris.\n</think>\n\nParis<|im_end|>"]
    none = load_rows(tmp_path, [{"messages": [USER, ASSISTANT]}])
    assert learned_text(GENERATION.encode(none.table, tokenizer, 4096), tokenizer) == ["Paris<|im_end|>"], "an empty thought is boilerplate"
    two = load_rows(tmp_path, [{"messages": [USER, thought, USER, ASSISTANT]}])
    with pytest.raises(DataError, match=r"Example 0 has a turn at place 2 that the chat template renders differently .*--template chatml"):
        GENERATION.encode(two.table, tokenizer, 4096)
    with pytest.raises(DataError, match="Example 0 has tools or reasoning, which only a chat template can render"):
        GENERATION.encode(one.table, byte_tokenizer(None), 4096)


def test_tools_and_their_calls_reach_the_template(tmp_path: Path) -> None:
    """With other arguments in other rows, to which Arrow adds nulls that were never in the data."""
    call = {"type": "function", "function": {"name": "look", "arguments": {"city": "Paris"}}}
    other = {"type": "function", "function": {"name": "date", "arguments": {"day": 3}}}
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    rows = [
        {"messages": [USER, {"role": "assistant", "tool_calls": [one]}, {"role": "tool", "content": "2 M"}, ASSISTANT], "tools": [tool]}
        for one in (call, other)
    ]
    examples, tokenizer = load_rows(tmp_path, rows), byte_tokenizer(TOOLS)
    encoded = GENERATION.encode(examples.table, tokenizer, 4096)
    said = '<call>[{"function": {"arguments": {"city": "Paris"}, "name": "look"}, "type": "function"}]</call><|im_end|>'
    first = learned_text(encoded, tokenizer)
    assert json.loads(first[0].removeprefix("<call>").removesuffix("</call><|im_end|>")) == [call] and len(first[0]) == len(said)
    assert first[1:] == ["Paris<|im_end|>"]
    assert whole_text(encoded, tokenizer).startswith('<|im_start|>tools\n[{"type": "function"')
    spoken = load_rows(
        tmp_path, [{"conversations": [{"from": "human", "value": "?"}, {"from": "function_call", "value": json.dumps(call["function"])}]}]
    )
    assert "Paris" in learned_text(GENERATION.encode(spoken.table, tokenizer, 4096), tokenizer)[0]  # fmt: skip


def test_tokens_that_are_there_are_used_as_they_are(tmp_path: Path) -> None:
    rows = [{"input_ids": [0, 7, 8, 9], "labels": [-100, -100, 8, 9]}, {"input_ids": [0, 7], "labels": [0, 7]}]
    encoded = GENERATION.encode(load_rows(tmp_path, rows).table, byte_tokenizer(), 4096)
    assert encoded.tokens.tolist() == [0, 7, 8, 9, 0, 7]
    assert encoded.answer is not None and encoded.answer.tolist() == [False, False, True, True, False, True]
    masked = load_rows(tmp_path, [{"input_ids": [0, 7, 8], "completion_mask": [0, 0, 1]}])
    answer = GENERATION.encode(masked.table, byte_tokenizer(), 4096).answer
    assert answer is not None and answer.tolist() == [False, False, True]


def test_an_answer_that_begins_inside_a_token_is_learned_whole_and_counted(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(None, merges=((":", "P"),))
    examples = load_rows(tmp_path, [{"prompt": "A:", "completion": "Paris"}, {"prompt": "A: ", "completion": "Paris"}])
    encoded = GENERATION.encode(examples.table, tokenizer, 4096)
    assert learned_text(encoded, tokenizer) == [":Paris</s>"] and learned_text(encoded, tokenizer, 1) == ["Paris</s>"]
    assert "In 1 example an answer begins inside a token" in encoded.notes[-1]


def test_prompts_are_cut_before_answers_and_lost_ends_are_named(tmp_path: Path) -> None:
    examples = load_rows(tmp_path, [{"prompt": "p" * 60, "completion": "short"}, {"prompt": "p" * 20, "completion": "long" * 20}])
    tokenizer = byte_tokenizer(None)
    encoded = GENERATION.encode(examples.table, tokenizer, 32)
    assert np.diff(encoded.offsets).tolist() == [32, 32] and encoded.truncated == 2
    assert learned_text(encoded, tokenizer) == ["short</s>"], "the middle of the prompt was cut"
    assert whole_text(encoded, tokenizer).startswith("<s>p")
    assert learned_text(encoded, tokenizer, 1) == ["long" * 7], "no end-of-text token at a cut end"
    assert encoded.cut is not None and encoded.cut.tolist() == [False, True]
    assert encoded.notes[-1] == "1 answer lost its end at 32 tokens (example 1); --max-length 102 fits 99% of the examples."


WRONG = {
    "no assistant turn": ({"messages": [USER]}, "has nothing to learn in 'messages': it has no assistant turn"),
    "weights of 0": ({"messages": [USER, {**ASSISTANT, "weight": 0}]}, "every answer is empty or marked with weight 0"),
    "empty answer": ({"messages": [USER, {**ASSISTANT, "content": " "}]}, "every answer is empty"),
    "assistant first": ({"messages": [ASSISTANT, USER]}, "turns out of order in 'messages': the assistant's at place 1 comes first"),
    "two assistants": ({"messages": [USER, ASSISTANT, ASSISTANT]}, "at place 3 follows an assistant turn"),
    "late system": ({"messages": [USER, {"role": "system", "content": "x"}, ASSISTANT]}, "has a system turn in 'messages' at place 2"),
    "tool unasked": ({"messages": [USER, {"role": "tool", "content": "x"}, ASSISTANT]}, "the tool's at place 2 follows no call"),
    "picture": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ASSISTANT]}, "a part of type 'image_url' at place 1"),
    "strange role": ({"messages": [{"role": "narrator", "content": "x"}, ASSISTANT]}, "the role 'narrator' at place 1"),
    "strange weight": ({"messages": [USER, {**ASSISTANT, "weight": 2}]}, "the weight 2 at place 2"),
    "empty list": ({"messages": []}, "no list of messages in 'messages'"),
    "missing": ({"messages": None}, "no list of messages in 'messages'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_row_that_cannot_be_learned_is_named_with_the_reason_and_may_be_dropped(tmp_path: Path, case: str) -> None:
    row, reason = WRONG[case]
    rows = [{"messages": [USER, ASSISTANT]}, row]
    with pytest.raises(DataError, match="line 2 has ") as caught:
        load_rows(tmp_path, rows)
    assert reason in str(caught.value) and "--drop-invalid" in str(caught.value)
    assert len(load_rows(tmp_path, rows, drop_invalid=True)) == 1


def test_pairs_with_few_answers_remain_classes_and_preferences_are_never_guessed(tmp_path: Path) -> None:
    few = [{"question": f"Is {number} even?", "answer": "yes" if number % 2 else "no"} for number in range(8)]
    assert load_rows(tmp_path, few).task == "classification"
    asked = load_rows(tmp_path, few, task="generation", columns={"instruction": "question", "answer": "answer"})
    assert asked.task == "generation" and asked.table["answer"].to_pylist()[:2] == ["no", "yes"]
    short = [{"instruction": f"Is {number} even?", "output": "yes" if number % 2 else "no"} for number in range(8)]
    assert "--task classification may fit" in load_rows(tmp_path, short).notes[0]
    preference = [{"prompt": f"p{number}", "chosen": f"a{number}", "rejected": f"b{number}"} for number in range(8)]
    with pytest.raises(DataError, match="Cannot detect"):
        load_rows(tmp_path, preference)
    chosen = load_rows(tmp_path, preference, task="generation", columns={"prompt": "prompt", "completion": "chosen"})
    assert chosen.table["answer"].to_pylist() == [f"a{number}" for number in range(8)]


def test_the_table_is_kept_and_read_back_and_the_preview_shows_the_turns(tmp_path: Path) -> None:
    row = {"messages": [{"role": "system", "content": "Be brief."}, USER, ASSISTANT]}
    examples = load_rows(tmp_path, [row, row])
    pq.write_table(examples.table, tmp_path / "t.parquet")
    again = pq.read_table(tmp_path / "t.parquet")
    parts = GENERATION.display(again.to_pylist()[0])
    assert [(part.name, part.text, part.right) for part in parts] == [
        ("system", "Be brief.", None),
        ("user", "Capital of France?", None),
        ("assistant", "Paris", True),
    ]
    assert again["prompt"].to_pylist()[0] == "Be brief.\nCapital of France?" and again["answer"].to_pylist() == ["Paris"] * 2
    shown = preview(tmp_path / "a.jsonl")
    assert (shown.task, shown.problem) == ("generation", None) and shown.mapping == {"messages": "messages"}


def test_metrics_weigh_tokens_and_count_whole_answers() -> None:
    outputs = np.asarray([[0.0, 0, 1], [1.0, 2, 3]], dtype=np.float32)
    metrics = GENERATION.metrics(None, outputs, None)  # type: ignore[arg-type]
    assert metrics == pytest.approx({"token_accuracy": 0.5, "exact_match": 0.5, "loss": 0.75, "perplexity": np.exp(0.75)})
