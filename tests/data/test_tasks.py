"""Each task: its columns are recognised, its units whole, its tokens the tokenizer's own, its success worked by hand."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruning.data.examples import Examples, load, load_pair
from pruning.data.preview import preview
from pruning.data.tasks import TASKS, squad
from pruning.data.tasks.classification import correlation
from pruning.errors import DataError
from pruning.records import Encoded
from pruning.settings import Settings
from tests.support.tiny import FAMILIES, tiny_tokenizer


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def load_rows(folder: Path, rows: list[dict[str, Any]], **options: Any) -> Examples:
    return load(write(folder / "a.jsonl", rows), **options)


# -- what is recognised ---------------------------------------------------------------------------------------------

SQUAD_ROW = {"id": "x1", "title": "T", "context": "The cat sat.", "question": "Who sat?", "answers": {"text": ["cat"], "answer_start": [4]}}

RECOGNISED: dict[str, tuple[dict[str, Any], str, dict[str, str]]] = {
    "sst2": ({"idx": 0, "sentence": "fine", "label": 1}, "classification", {"text": "sentence", "label": "label"}),
    "imdb": ({"text": "fine", "label": 1}, "classification", {"text": "text", "label": "label"}),
    "yelp": ({"review": "fine", "stars": 1}, "classification", {"text": "review", "label": "stars"}),
    "capitals": ({"Text": "fine", "Label": "x"}, "classification", {"text": "Text", "label": "Label"}),
    "mnli": (
        {"premise": "a", "hypothesis": "b", "label": 1, "idx": 3},
        "classification",
        {"text": "premise", "text_pair": "hypothesis", "label": "label"},
    ),
    "mrpc": (
        {"sentence1": "a", "sentence2": "b", "label": 1},
        "classification",
        {"text": "sentence1", "text_pair": "sentence2", "label": "label"},
    ),
    "qnli": (
        {"question": "a", "sentence": "b", "label": 1},
        "classification",
        {"text": "question", "text_pair": "sentence", "label": "label"},
    ),
    "boolq": (
        {"question": "a", "passage": "b", "answer": True},
        "classification",
        {"text": "question", "text_pair": "passage", "label": "answer"},
    ),
    "trec": ({"text": "a", "coarse_label": 1}, "classification", {"text": "text", "label": "coarse_label"}),
    "race": (
        {"example_id": "h1.txt", "article": "a", "answer": "A", "question": "q", "options": ["x", "y", "z", "w"]},
        "multiple-choice",
        {"context": "article", "question": "question", "options": "options", "label": "answer"},
    ),
    "swag": (
        {"sent1": "a", "sent2": "b", "ending0": "w", "ending1": "x", "ending2": "y", "ending3": "z", "label": 2},
        "multiple-choice",
        {
            **{"context": "sent1", "question": "sent2", "label": "label"},
            **{"option_1": "ending0", "option_2": "ending1", "option_3": "ending2", "option_4": "ending3"},
        },
    ),
    "hellaswag": (
        {"ctx": "a", "endings": ["x", "y"], "label": "1"},
        "multiple-choice",
        {"context": "ctx", "options": "endings", "label": "label"},
    ),
    "commonsense_qa": (
        {"question": "q", "choices": {"label": ["A", "B"], "text": ["x", "y"]}, "answerKey": "B"},
        "multiple-choice",
        {"question": "question", "options": "choices", "label": "answerKey"},
    ),
    "copa": (
        {"premise": "a", "choice1": "x", "choice2": "y", "question": "cause", "label": 0},
        "multiple-choice",
        {"question": "question", "option_1": "choice1", "option_2": "choice2", "label": "label"},
    ),
    "squad_v2": (SQUAD_ROW, "question-answering", {"question": "question", "context": "context", "answers": "answers"}),
}


@pytest.mark.parametrize("name", RECOGNISED)
def test_the_columns_of_well_known_sets_are_recognised(tmp_path: Path, name: str) -> None:
    row, task, columns = RECOGNISED[name]
    seen = preview(write(tmp_path / "a.jsonl", [row]))
    assert (seen.task, dict(seen.mapping)) == (task, columns)
    assert all(column in seen.notes[0] for column in columns.values())


def test_the_task_can_be_overruled(tmp_path: Path) -> None:
    rows = [{**SQUAD_ROW, "id": i, "label": i % 2} for i in range(2)]
    assert load_rows(tmp_path, rows).task == "question-answering"
    assert load_rows(tmp_path, rows, task="classification", columns={"text": "question"}).task == "classification"
    assert load_rows(tmp_path, rows, columns={"text": "question", "label": "label"}).task == "classification"


def test_a_missing_column_of_a_pair_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'hypothesis' for text_pair; its columns are premise, label"):
        load_rows(tmp_path, [{"premise": "a", "label": 0}], columns={"text": "premise", "text_pair": "hypothesis"})


# -- classification -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pair", [False, True])
def test_sequences_are_the_tokenizers_own(tmp_path: Path, family: str, pair: bool) -> None:
    texts = ["a good film", "bad", "the plot was not very moving, the cast awful"]
    rows = [{"premise": text, "label": i % 2} | ({"hypothesis": texts[-i]} if pair else {}) for i, text in enumerate(texts)]
    tokenizer = tiny_tokenizer(family)
    encoded = TASKS["classification"].encode(load_rows(tmp_path, rows).table, tokenizer, max_length=8)
    assert encoded.units == 3 and encoded.labels.tolist() == [0, 1, 0] and encoded.classes == 2 and encoded.token_types is None
    whole = 0
    for index, row in enumerate(rows):
        own = [row[name] for name in ("premise", "hypothesis") if name in row]
        assert sequence(encoded, index).tolist() == tokenizer(*own, truncation=True, max_length=8)["input_ids"]
        whole += len(tokenizer(*own)["input_ids"]) <= 8
    assert encoded.truncated == 3 - whole > 0


def sequence(encoded: Encoded, index: int, name: str = "tokens") -> np.ndarray:
    """One sequence's part of a flat array."""
    return getattr(encoded, name)[slice(*encoded.offsets[index : index + 2])]


def test_segments_are_there_when_the_tokenizer_gives_them(tmp_path: Path) -> None:
    table = load_rows(tmp_path, [{"premise": "a film", "hypothesis": "bad", "label": 1}]).table
    assert sequence(TASKS["classification"].encode(table, segmented(), 8), 0, "token_types").tolist() == [0, 0, 0, 0, 1, 1]


def segmented() -> Any:
    """BERT's tokenizer as it comes with its own class: with segment ids."""
    tokenizer = tiny_tokenizer()
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def test_the_models_own_length_is_a_limit(tmp_path: Path) -> None:
    encoded = TASKS["classification"].encode(load_rows(tmp_path, [{"text": "film " * 500, "label": 1}]).table, tiny_tokenizer(), 512)
    assert encoded.offsets.tolist() == [0, 64] and encoded.truncated == 1


def test_text_without_a_known_token_still_has_one(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer("llama")
    tokenizer.backend_tokenizer.post_processor = None
    encoded = TASKS["classification"].encode(load_rows(tmp_path, [{"text": "\u200b\u200b", "label": 1}]).table, tokenizer, 8)
    assert encoded.offsets.tolist() == [0, 1]


def test_classification_metrics_by_hand(tmp_path: Path) -> None:
    """Confusion matrix [[1, 1], [0, 2]]: accuracy 3/4, F1 2/3 and 4/5, MCC (1*2 - 1*0) / sqrt(3*2*2*1)."""
    table = load_rows(tmp_path, [{"text": "t", "label": label} for label in (0, 0, 1, 1)]).table
    task = TASKS["classification"]
    outputs = np.asarray([[2, 1], [0, 1], [0, 3], [-1, 0]], np.float32)
    metrics = task.metrics(table, outputs, task.encode(table, tiny_tokenizer(), 8))
    assert list(metrics) == ["accuracy", "macro_f1", "mcc"] and metrics["accuracy"] == 0.75
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2) and metrics["mcc"] == pytest.approx(2 / np.sqrt(12))


def test_a_pair_is_shown_as_two_texts(tmp_path: Path) -> None:
    row = load_rows(tmp_path, [{"premise": "a", "hypothesis": "<b>", "label": 1}]).table.to_pylist()[0]
    assert [(part.name, part.text) for part in TASKS["classification"].display(row)] == [("text 1", "a"), ("text 2", "<b>")]


# -- multiple choice ------------------------------------------------------------------------------------------------


def race(**changes: Any) -> dict[str, Any]:
    return {"article": "a good film", "question": "the film is", "options": ["bad", "good", "slow"], "answer": "B", **changes}


@pytest.mark.parametrize(
    ("rows", "answers"),
    [
        ([race(answer=letter) for letter in "ABC"], [0, 1, 2]),
        ([race(answer=letter) for letter in "cba"], [2, 1, 0]),
        ([race(answer=number) for number in (0, 2, 1)], [0, 2, 1]),
        ([race(answer=number) for number in ("3", "1", "2")], [2, 0, 1]),
        ([race(answer=text) for text in ("slow", "good")], [2, 1]),
        ([race(options={"label": ["1", "2"], "text": ["x", "y"]}, answer=key) for key in "21"], [1, 0]),
        ([race(options=["4", "2", "1"], answer="2"), race(options=["2", "3", "1"], answer="1")], [1, 2]),
        ([race(options=["b", "a", "c"], answer="a"), race(options=["c", "b", "a"], answer="b")], [1, 1]),
        ([race(options=["3", "5", "7"], answer=answer) for answer in ("5", "7")], [1, 2]),
        ([race(options=["3", "5", "7"], answer=answer) for answer in (5, 7)], [1, 2]),
        ([race(options=["b", "a", "x"], answer="a"), race(answer="C")], [0, 2]),
        ([race(options=["1", "0", "x"], answer=0), race(options=["0", "1", "2"], answer=1)], [0, 1]),
    ],
)
def test_answers_are_letters_numbers_keys_or_the_options_text(tmp_path: Path, rows: list[dict[str, Any]], answers: list[int]) -> None:
    examples = load_rows(tmp_path, rows)
    assert examples.labels.tolist() == answers and examples.label_names == ()


def test_numbers_from_one_are_said(tmp_path: Path) -> None:
    assert "Answers in 'answer' count from 1." in load_rows(tmp_path, [race(answer=number) for number in (3, 1)]).notes


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        ([race(options=["b", "a", "c"], answer="a")], "could be letters or texts of the options; they are read as texts of the options."),
        (
            [race(options=["2", "1", "0"], answer="1")],
            "could be numbers from 1 or texts of the options; they are read as texts of the options.",
        ),
        ([race(answer="1"), race(answer="2")], "could be numbers from 0 or numbers from 1; they are read as numbers from 0."),
        ([race(options=["A", "B", "C"], answer="B")], None),
        ([race(answer="good")], None),
    ],
)
def test_answers_that_could_mean_two_things_are_said(tmp_path: Path, rows: list[dict[str, Any]], note: str | None) -> None:
    said = [own for own in load_rows(tmp_path, rows).notes if own.startswith("Answers")]
    assert said == ([] if note is None else [f"Answers in 'answer' {note}"])


def pair(folder: Path, train: list[Any], evaluation: list[Any], **options: Any) -> list[int]:
    """What evaluation answers mean beside these training answers."""
    written = [
        write(folder / f"{name}.jsonl", [race(answer=answer, **options) for answer in answers])
        for name, answers in (("train", train), ("eval", evaluation))
    ]
    labels: list[int] = load_pair(Settings(data=str(written[0]), evaluation=str(written[1])))[1].labels.tolist()
    return labels


def test_evaluation_answers_are_counted_as_the_training_datas(tmp_path: Path) -> None:
    assert pair(tmp_path, [1, 2, 3], [1, 2]) == [0, 1]
    assert pair(tmp_path, [0, 1, 2], [1, 2]) == [1, 2]
    assert pair(tmp_path, ["1", "0", "2"], ["1", "2"], options=["2", "1", "x"]) == [1, 2]
    assert pair(tmp_path, ["A", "B", "C"], ["B"], options=["B", "C", "x"]) == [1]


@pytest.mark.parametrize(
    ("train", "evaluation", "message"),
    [
        ([1, 2, 3], [0, 1, 2], r"Answers in 'answer' of .*eval.jsonl are numbers from 0, those of the training data numbers from 1; write"),
        ([0, 1, 2], [3, 1, 2], "are numbers from 1, those of the training data numbers from 0"),
        (["A", "B"], ["good", "slow"], "are texts of the options, those of the training data letters"),
        ([1, 2, 3], [1, 2, 3, 0], "eval.jsonl line 4 has the answer '0' in 'answer', which is none of its 3 options counted from 1"),
    ],
)
def test_evaluation_answers_written_otherwise_are_refused(tmp_path: Path, train: list[Any], evaluation: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        pair(tmp_path, train, evaluation)


def test_a_withheld_answer_is_none_of_the_options_but_minus_one_may_be_one(tmp_path: Path) -> None:
    rows = [race(options=["-1", "0", "1"], answer=answer) for answer in ("-1", "1")]
    assert load_rows(tmp_path, rows).labels.tolist() == [0, 2]


def test_hidden_answers_are_dropped_and_counted(tmp_path: Path) -> None:
    examples = load_rows(tmp_path, [race(answer=0), race(answer=-1), race(answer=2)])
    assert examples.dropped == 1 and examples.ids.tolist() == [0, 2] and examples.labels.tolist() == [0, 2]


BAD_CHOICES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a letter outside": ([race(), race(answer="D")], "line 2 has the answer 'D' in 'answer', which is none of its 3 options"),
    "a number outside": ([race(answer=0), race(answer=3)], "line 2 has the answer '3' in 'answer', which is none of its 3 options"),
    "unequal count": ([race(), race(), race(options=["x", "y"])], "line 3 has 2 options where most have 3"),
    "an empty option": ([race(), race(options=["x", " ", "z"])], "line 2 has an option without text"),
    "no answer": ([race(), race(answer=None)], "line 2 has no answer in 'answer'"),
    "no question": ([race(), race(question="")], "line 2 has no text in 'question'"),
    "one option": ([race(options=["x"], answer="A")], "have 1 options; Winnow takes 2 to 8"),
    "nine options": ([race(options=list("abcdefghi"))], "have 9 options; Winnow takes 2 to 8"),
}


@pytest.mark.parametrize("case", BAD_CHOICES)
def test_bad_questions_are_refused_with_their_row(tmp_path: Path, case: str) -> None:
    rows, message = BAD_CHOICES[case]
    with pytest.raises(DataError, match=message):
        load_rows(tmp_path, rows)


def test_bad_questions_are_dropped_when_asked(tmp_path: Path) -> None:
    examples = load_rows(tmp_path, [race(), race(answer="D"), race(options=["x"]), race(answer="A")], drop_invalid=True)
    assert examples.ids.tolist() == [0, 3] and examples.dropped == 2


def test_a_question_and_its_options_are_one_unit(tmp_path: Path) -> None:
    tokenizer = segmented()
    table = load_rows(tmp_path, [race(), race(question="a _ film", answer="C")]).table
    encoded = TASKS["multiple-choice"].encode(table, tokenizer, 32)
    assert encoded.unit_offsets.tolist() == [0, 3, 6] and encoded.labels.tolist() == [1, 2]
    seconds = ["the film is bad", "the film is good", "the film is slow", "a bad film", "a good film", "a slow film"]
    for index, second in enumerate(seconds):
        expected = tokenizer("a good film", second)
        assert sequence(encoded, index).tolist() == expected["input_ids"]
        assert sequence(encoded, index, "token_types").tolist() == expected["token_type_ids"]


def test_one_cut_option_is_one_truncated_question(tmp_path: Path) -> None:
    table = load_rows(tmp_path, [race(), race(options=["bad", "good", "slow " * 20])]).table
    assert TASKS["multiple-choice"].encode(table, tiny_tokenizer(), 16).truncated == 1


def test_options_in_columns_of_their_own_and_without_a_context(tmp_path: Path) -> None:
    rows = [{"goal": "the film", "sol1": "good", "sol2": "bad", "label": 1}]
    examples = load_rows(tmp_path, rows)
    assert examples.table["options"].to_pylist() == [["good", "bad"]]
    encoded = TASKS["multiple-choice"].encode(examples.table, tiny_tokenizer(), 32)
    assert encoded.tokens[: encoded.offsets[1]].tolist() == tiny_tokenizer()("the film", "good")["input_ids"]


def test_accuracy_counts_questions_and_the_first_of_equal_options(tmp_path: Path) -> None:
    rows = [race(answer="B"), race(answer="C"), race(answer="A")]
    table, task = load_rows(tmp_path, rows).table, TASKS["multiple-choice"]
    encoded = task.encode(table, tiny_tokenizer(), 32)
    assert task.metrics(table, np.asarray([0, 2, 1, 5, 4, 3, 1, 1, 1], np.float32), encoded) == {"accuracy": pytest.approx(2 / 3)}


def test_options_are_shown_with_the_right_one_marked(tmp_path: Path) -> None:
    row = load_rows(tmp_path, [race()]).table.to_pylist()[0]
    parts = TASKS["multiple-choice"].display(row)
    assert [(part.name, part.right) for part in parts] == [
        ("context", None),
        ("question", None),
        ("option A", False),
        ("option B", True),
        ("option C", False),
    ]


# -- extractive question answering ------------------------------------------------------------------------------------

CONTEXT = "a good film is a good story and the plot was slow and the cast was moving"


def asked(*answers: str, context: str = CONTEXT, question: str = "the plot was", **changes: Any) -> dict[str, Any]:
    starts = [context.index(answer) for answer in answers]
    return {"question": question, "context": context, "answers": {"text": list(answers), "answer_start": starts}, **changes}


def test_answers_in_either_shape_and_squads_own_files_are_the_same(tmp_path: Path) -> None:
    rows = [asked("slow"), asked(), asked("cast", "the cast")]
    whole = load_rows(tmp_path, rows)
    lists = [
        {**row, "answers": [dict(zip(("text", "answer_start"), pair, strict=True)) for pair in zip(*row["answers"].values(), strict=True)]}
        for row in rows
    ]
    assert load_rows(tmp_path, lists).fingerprint == whole.fingerprint and whole.labels.tolist() == [1, 0, 1]
    questions = [{"id": f"q{i}", "question": row["question"], "answers": row["answers"]} for i, row in enumerate(lists)]
    (tmp_path / "b.json").write_text(
        json.dumps({"version": "v2.0", "data": [{"title": "T", "paragraphs": [{"context": CONTEXT, "qas": questions}]}]})
    )
    official = load(tmp_path / "b.json")
    assert official.fingerprint == whole.fingerprint and official.table["source.id"].to_pylist() == ["q0", "q1", "q2"]


BAD_ANSWERS: dict[str, tuple[dict[str, Any], str]] = {
    "misplaced": (
        asked(answers={"text": ["slow"], "answer_start": [3]}),
        "line 2 has the answer 'slow' at character 3, where its context reads 'ood '",
    ),
    "past the end": (asked(answers={"text": ["slow"], "answer_start": [999]}), "at character 999, where its context reads ''"),
    "before the start": (asked(answers={"text": ["slow"], "answer_start": [-4]}), "at character -4"),
    "unequal lists": (asked(answers={"text": ["slow"], "answer_start": []}), "line 2 has no whole answers in 'answers'"),
    "an empty answer": (asked(answers={"text": [""], "answer_start": [0]}), "no whole answers"),
    "no answers": (asked(answers=None), "no whole answers in 'answers'"),
    "no context": (asked("slow") | {"context": None}, "line 2 has no text in 'context'"),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_bad_answers_are_refused_with_their_row(tmp_path: Path, case: str) -> None:
    row, message = BAD_ANSWERS[case]
    with pytest.raises(DataError, match=message):
        load_rows(tmp_path, [asked("slow"), row])
    assert len(load_rows(tmp_path, [asked("slow"), row], drop_invalid=True)) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_context_of_three_windows_is_one_unit_and_every_window_knows_its_answer(tmp_path: Path, family: str) -> None:
    tokenizer, rows = tiny_tokenizer(family), [asked("slow"), asked(), asked("a good", "cast"), asked(context="slow film", question="bad")]
    table = load_rows(tmp_path, rows).table
    encoded = TASKS["question-answering"].encode(table, tokenizer, 12)
    assert np.diff(encoded.unit_offsets).tolist()[0] >= 3 and np.diff(encoded.unit_offsets).tolist()[3] == 1
    assert np.diff(encoded.offsets).max() <= 12 and encoded.characters is not None
    for unit, row in enumerate(rows):
        seen = set()
        for window in range(*encoded.unit_offsets[unit : unit + 2]):
            ranges, (first, last) = sequence(encoded, window, "characters"), encoded.labels[window]
            inside = ranges[ranges[:, 0] >= 0]
            seen |= {character for start, end in inside for character in range(start, end)}
            answers = row["answers"]
            whole = bool(answers["text"]) and answers["answer_start"][0] >= inside[0, 0]
            whole = whole and answers["answer_start"][0] + len(answers["text"][0]) <= inside[-1, 1]
            assert (row["context"][ranges[first, 0] : ranges[last, 1]] == answers["text"][0]) if whole else (first, last) == (0, 0)
        assert seen >= {character for character, letter in enumerate(row["context"]) if letter != " "}


def test_windows_overlap_by_a_third(tmp_path: Path) -> None:
    """15 tokens: [CLS], 3 of the question, [SEP], 9 of the context, [SEP]; stride 5, so that windows begin 4 tokens apart."""
    encoded = TASKS["question-answering"].encode(load_rows(tmp_path, [asked("slow")]).table, tiny_tokenizer(), 15)
    starts = [sequence(encoded, window, "characters")[5, 0] for window in range(3)]
    assert [CONTEXT[start:].split(maxsplit=1)[0] for start in starts] == [CONTEXT.split()[index] for index in (0, 4, 8)]


def test_a_question_without_room_for_its_context_is_refused(tmp_path: Path) -> None:
    table = load_rows(tmp_path, [asked("slow"), asked("slow", question="the film " * 6)]).table
    with pytest.raises(DataError, match="question of example 1 has 12 tokens, too many for windows of 20"):
        TASKS["question-answering"].encode(table, tiny_tokenizer(), 20)


def perfect(encoded: Any, shift: int = 0) -> np.ndarray:
    """Outputs of a model that knows the labels, or always points `shift` tokens past them."""
    outputs = np.full((len(encoded.labels), int(np.diff(encoded.offsets).max()), 2), -5.0, np.float32)
    for window, (first, last) in enumerate(encoded.labels):
        outputs[window, first + shift, 0] = outputs[window, last + shift, 1] = 5.0 if first else 0.0
    return outputs


def test_a_model_that_knows_the_labels_is_perfect_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    table, task = load_rows(tmp_path, [asked("slow"), asked(), asked("a good film"), asked("moving")]).table, TASKS["question-answering"]
    encoded = task.encode(table, tiny_tokenizer(), 15)
    metrics = task.metrics(table, perfect(encoded), encoded)
    assert list(metrics) == ["f1", "exact_match", "answer_f1", "no_answer_f1"] and set(metrics.values()) == {1.0}
    nothing = task.metrics(
        table, np.where(np.arange(15)[None, :, None] == 0, 1, -1) * np.ones((len(encoded.labels), 1, 2), np.float32), encoded
    )
    assert nothing == {"f1": 0.25, "exact_match": 0.25, "answer_f1": 0.0, "no_answer_f1": 1.0}


def test_the_answer_is_the_best_span_over_windows_unless_no_answer_beats_it() -> None:
    ranges = np.asarray([[-1, -1], [0, 3], [4, 7], [8, 11]], np.int32)
    low, high = np.zeros((4, 2), np.float32), np.zeros((4, 2), np.float32)
    low[2, 0] = low[3, 1] = 1.0
    high[1, 0] = high[1, 1] = 2.0
    assert squad.best_span([low, high], [ranges, ranges + 20]) == (20, 23)
    assert squad.best_span([low], [ranges]) == (4, 11)
    low[0] = 1.5
    assert squad.best_span([low], [ranges]) is None and squad.best_span([low], [ranges], threshold=1.0) == (4, 11)
    assert squad.best_span([low, high], [ranges, ranges + 20]) == (20, 23), "no answer counts where it is least likely"


def test_a_span_never_ends_before_it_starts_and_is_at_most_thirty_tokens() -> None:
    ranges = np.stack([np.arange(50), np.arange(50) + 1], axis=1).astype(np.int32)
    logits = np.zeros((50, 2), np.float32)
    logits[40, 0] = logits[5, 1] = 3.0
    span = squad.best_span([logits], [ranges])
    assert span is not None and 0 < span[1] - span[0] <= squad.LONGEST_ANSWER
    logits[:] = 0
    logits[1, 0] = logits[45, 1] = 3.0
    span = squad.best_span([logits], [ranges])
    assert span is not None and span[1] - span[0] <= squad.LONGEST_ANSWER


@pytest.mark.parametrize(
    ("predicted", "gold", "exact", "f1"),
    [
        ("the Cat!", ["cat"], 1.0, 1.0),
        ("a cat", ["an cat", "dog"], 1.0, 1.0),
        ("black cat", ["cat"], 0.0, 2 / 3),
        ("cat sat on mat", ["the cat sat", "mat"], 0.0, 2 * (2 / 4) * (2 / 2) / (2 / 4 + 2 / 2)),
        ("cat cat", ["cat"], 0.0, 2 / 3),
        ("dog", ["cat", "mouse"], 0.0, 0.0),
        ("", [], 1.0, 1.0),
        ("cat", [], 0.0, 0.0),
        ("", ["cat"], 0.0, 0.0),
        ("the", [], 1.0, 1.0),
        ("", ["the"], 1.0, 1.0),
        ("U.S.", ["us"], 1.0, 1.0),
        ("well-known", ["wellknown"], 1.0, 1.0),
        ("theatre", ["atre"], 0.0, 0.0),
        ("1,000", ["1000"], 1.0, 1.0),
    ],
)
def test_squad_rules_by_hand(predicted: str, gold: list[str], exact: float, f1: float) -> None:
    assert squad.exact_match(predicted, gold) == exact and squad.f1(predicted, gold) == pytest.approx(f1)


def test_an_answer_is_marked_in_its_context(tmp_path: Path) -> None:
    rows = load_rows(tmp_path, [asked("slow", "slow", "was slow"), asked()]).table.to_pylist()
    question, context, *answers = TASKS["question-answering"].display(rows[0])
    assert (question.name, context.name) == ("question", "context") and [part.text for part in answers] == ["slow", "was slow"]
    assert [context.text[slice(*span)] for span in context.spans] == ["was slow", "slow"]
    assert TASKS["question-answering"].display(rows[1])[-1].text == "(none in this context)"


def test_the_correlation_is_scikit_learns() -> None:
    """Without its table of classes x classes, so that 100,000 classes take a few megabytes."""
    from sklearn.metrics import matthews_corrcoef

    random = np.random.default_rng(0)
    for classes in (1, 2, 3, 50):
        for size in (1, 10, 400):
            gold, predicted = random.integers(classes, size=size), random.integers(classes, size=size)
            for said in (predicted, gold, np.where(random.random(size) < 0.5, gold, predicted), np.zeros_like(gold)):
                assert correlation(gold, said) == pytest.approx(matthews_corrcoef(gold, said), abs=1e-12)
    many = random.permutation(100_000)
    tracemalloc.start()
    assert correlation(many, many) == pytest.approx(1) and correlation(many, (many + 1) % 100_000) == pytest.approx(-1e-5, rel=0.01)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
