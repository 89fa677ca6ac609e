"""Every importer of sampled answers against a small file in its tool's exact shape: the same outcomes in each, so the same counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pruning.analysis.looks import looks
from pruning.errors import DataError, ExperimentError, UsageError, WinnowError
from pruning.experiment import Experiment
from pruning.interop.answers.counting import successes_of
from pruning.interop.answers.importing import Options, import_answers
from pruning.interop.answers.log import Wanted, files_of, rows_of
from pruning.interop.answers.reading import read_log
from pruning.interop.answers.tools import TOOLS
from pruning.reports import answers as reports
from pruning.store import sampled
from tests.support.recordings import flip

OUTCOMES = np.array([[0, 0, 0, 0], [1, 0, 0, 1], [1, 1, 1, 1]], dtype=bool)
"""[prompts, samples]"""

QUESTIONS = ["What is 2 + 2?", "What is 3 + 3?", "What is 4 + 4?"]
KEYS = ["4", "6", "8"]


def said(prompt: int, sample: int) -> str:
    return f"It is \\boxed{{{KEYS[prompt] if OUTCOMES[prompt, sample] else '99'}}}."


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def each() -> list[tuple[int, int, float]]:
    return [(prompt, sample, float(OUTCOMES[prompt, sample])) for prompt in range(3) for sample in range(4)]


def verl(folder: Path) -> Path:
    """trainer.rollout_data_dir/{step}.jsonl; the prompt is decoded without special tokens."""
    rows = [
        {
            "input": f"system\nYou are a helpful assistant.\nuser\n{QUESTIONS[p]}\nassistant\n",
            "output": said(p, s),
            "gts": KEYS[p],
            "score": reward,
            "step": 1,
            "acc": bool(reward),
            "pred": "4",
            "request_id": f"{p}-{s}",
        }
        for p, s, reward in each()
    ]
    return lines(folder / "rollouts" / "1.jsonl", rows).parent


def trl(folder: Path) -> Path:
    """output_dir/completions/completions_{step:05d}.parquet with a column for each reward function."""
    rows = [
        {
            "step": 10,
            "prompt": f"<|im_start|>user\n{QUESTIONS[p]}<|im_end|>\n<|im_start|>assistant\n",
            "completion": said(p, s),
            "accuracy_reward": reward,
            "advantage": 0.5,
            "solution": KEYS[p],
        }
        for p, s, reward in each()
    ]
    path = folder / "completions" / "completions_00010.parquet"
    path.parent.mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(path)
    return path.parent


def nemo(folder: Path) -> Path:
    """log_dir/train_data_step{N}.jsonl: one answer a line, every value in a list of one."""
    rows = [
        {
            "content": [[f"<|im_start|>user\n{QUESTIONS[p]}<|im_end|>\n<|im_start|>assistant\n", said(p, s)]],
            "rewards": [reward],
            "input_lengths": [20],
            "token_ids": [[1, 2, 3]],
            "advantages": [[0.0]],
            "idx": index,
        }
        for index, (p, s, reward) in enumerate(each())
    ]
    return lines(folder / "train_data_step5.jsonl", rows)


def prime(folder: Path) -> Path:
    """rollouts/step_N/train/{all,effective}/traces.jsonl: an episode a line; effective is filtered and must be left out."""
    rows = [
        {
            "id": f"e{p}{s}",
            "group": {"id": f"g{p}"},
            "env": {"name": "math"},
            "ok": True,
            "traces": [
                {
                    "id": f"t{p}{s}",
                    "rewards": {"correct": {"score": reward, "weight": 1.0}},
                    "task": {"id": f"task-{p}", "answer": KEYS[p]},
                    "nodes": [
                        {"message": {"role": "user", "content": QUESTIONS[p]}, "sampled": False, "token_ids": [1, 2]},
                        {"message": {"role": "assistant", "content": said(p, s)}, "sampled": True, "token_ids": [3, 4, 5]},
                    ],
                    "stop_condition": "stop",
                },
                {"id": "judge", "nodes": []},
            ],
        }
        for p, s, reward in each()
    ]
    lines(folder / "rollouts" / "step_3" / "train" / "effective" / "traces.jsonl", rows[4:8])
    return lines(folder / "rollouts" / "step_3" / "train" / "all" / "traces.jsonl", rows).parents[3]


def lm_eval(folder: Path) -> Path:
    """samples_{task}_{date}.jsonl of four repeats that were run one by one."""
    rows = [
        {
            "doc_id": p,
            "doc": {"question": QUESTIONS[p]},
            "target": KEYS[p],
            "arguments": {"gen_args_0": {"arg_0": QUESTIONS[p], "arg_1": {"until": []}}},
            "resps": [[said(p, s)]],
            "filtered_resps": [KEYS[p]],
            "filter": "strict-match",
            "metrics": ["exact_match"],
            "doc_hash": "a",
            "prompt_hash": "b",
            "target_hash": "c",
            "exact_match": reward,
        }
        for p, s, reward in each()
    ]
    return lines(folder / "samples_sums_2026-01-01T00-00-00.jsonl", rows)


def lighteval(folder: Path) -> Path:
    """details_{task}_{time}.parquet with one answer a document."""
    rows = [
        {
            "__doc__": {"id": str(p), "query": QUESTIONS[p], "choices": [KEYS[p]], "gold_index": [0]},
            "__model_response__": {"text": [said(p, s)], "input": QUESTIONS[p]},
            "__metric__": {"extractive_match": reward},
        }
        for p, s, reward in each()
    ]
    folder.mkdir()
    path = folder / "details_sums_2026.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def table(folder: Path) -> Path:
    rows = [{"question": QUESTIONS[p], "answer": KEYS[p], "response": said(p, s), "reward": 2 * reward - 1} for p, s, reward in each()]
    return lines(folder / "long.jsonl", rows)


SHAPES: dict[str, Callable[[Path], Path]] = {
    "verl": verl,
    "trl": trl,
    "nemo-rl": nemo,
    "prime-rl": prime,
    "lm-eval": lm_eval,
    "lighteval": lighteval,
    "table": table,
}


def data(folder: Path) -> Path:
    rows = [{"id": 10 + p, "problem": QUESTIONS[p], "answer": KEYS[p], "source": "sums"} for p in (2, 0, 1)]
    return lines(folder / "prompts.jsonl", rows)


def test_every_tool_has_a_file_of_its_shape() -> None:
    assert SHAPES.keys() == TOOLS.keys()


@pytest.mark.parametrize("tool", SHAPES)
def test_a_tool_gives_the_same_recording_from_its_own_file(tool: str, tmp_path: Path) -> None:
    log = SHAPES[tool](tmp_path / "log")
    experiment = import_answers([log], tmp_path / "experiments" / "x", Options())
    assert experiment.settings.recorded_by == experiment.info["rollouts"]["tool"] == tool
    right, every = looks(experiment.dynamics)
    assert right.tolist() == [0, 2, 4]
    assert every.tolist() == [4, 4, 4]
    assert np.array_equal(experiment.dynamics.correct[:, 0].T, OUTCOMES), "a run is a sample, in the log's order"
    assert experiment.subset("sometimes-right").kept.tolist() == [1] == experiment.subset("winning-ticket").kept.tolist()
    answers = sampled.read_answers(experiment.folder, 1)
    assert answers["answer"].tolist() == [said(1, s) for s in range(4)]
    assert answers["right"].tolist() == [True, False, False, True]
    assert experiment.verify() == 9, "examples, evaluation, source, 4 samples, answers, extras"


@pytest.mark.parametrize("tool", SHAPES)
def test_a_log_is_joined_with_the_data_and_exported_as_its_rows(tool: str, tmp_path: Path) -> None:
    log, prompts = SHAPES[tool](tmp_path / "log"), data(tmp_path)
    experiment = import_answers([log], tmp_path / "x", Options(data=str(prompts)))
    assert experiment.ids.tolist() == [12, 10, 11]
    assert looks(experiment.dynamics)[0].tolist() == [4, 0, 2]
    manifest = experiment.export("sometimes-right", tmp_path / "out.jsonl")
    assert "is not measured here: compare a run on it with one on random@1" in " ".join(manifest["warnings"])
    assert (tmp_path / "out.jsonl").read_text() == prompts.read_text().splitlines(keepends=True)[2]


def openr1(folder: Path) -> Path:
    rows = [
        {
            "problem": QUESTIONS[p],
            "answer": KEYS[p],
            "uuid": f"u{p}",
            "generations": [said(p, s) for s in range(4)],
            "correctness_math_verify": OUTCOMES[p].tolist(),
            "correctness_llama": None,
            "finish_reasons": ["stop", "length", "stop", "stop"],
            "is_reasoning_complete": [True] * 4,
        }
        for p in range(3)
    ]
    path = folder / "train.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def test_lists_of_correctness_are_the_samples_of_their_row(tmp_path: Path) -> None:
    experiment = import_answers([openr1(tmp_path)], tmp_path / "x", Options())
    assert np.array_equal(experiment.dynamics.correct[:, 0].T, OUTCOMES)
    assert experiment.scores()["share-cut"].tolist() == [0.25, 0.25, 0.25]
    assert experiment.scores()["key-disagrees"].tolist() == [1.0, 0.0, 0.0], "all answers to the first agree on another number"
    experiment.export("sometimes-right", tmp_path / "out.parquet")
    assert pd.read_parquet(tmp_path / "out.parquet")["uuid"].tolist() == ["u1"]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([0.0, 0.5, 1.0], {"pass_rate": "llama8b_solve_rate", "attempts": "4"}),
        ([0.0, 50.0, 100.0], {"pass_rate": "llama8b_solve_rate", "attempts": "4"}),
        ([4, 2, 0], {"failures": "llama8b_solve_rate", "attempts": "4"}),
        ([0, 2, 4], {"successes": "llama8b_solve_rate", "attempts": "n"}),
    ],
)
def test_rates_and_counts_are_successes_of_attempts(rows: list[float], wanted: dict[str, str], tmp_path: Path) -> None:
    log = lines(
        tmp_path / "rates.jsonl",
        [{"problem": QUESTIONS[p], "answer": KEYS[p], "llama8b_solve_rate": value, "n": 4} for p, value in enumerate(rows)],
    )
    experiment = import_answers([log], tmp_path / "x", Options(wanted=Wanted(**wanted)))
    assert [values.tolist() for values in looks(experiment.dynamics)] == [[0, 2, 4], [4, 4, 4]]
    assert experiment.h_histogram().tolist() == [1, 0, 1, 0, 1], "H is the pass count where all have as many attempts"
    assert "correctness" not in experiment.scores() and "expected-success" not in experiment.scores()


def test_a_count_within_an_object_is_named_by_its_path(tmp_path: Path) -> None:
    """Skywork-OR1-RL-Data: verl's columns with extra_info.model_difficulty, a count for each model."""
    rows = [
        {
            "prompt": [{"role": "user", "content": QUESTIONS[p]}],
            "reward_model": {"style": "rule", "ground_truth": KEYS[p]},
            "extra_info": {"index": p, "model_difficulty": {"Qwen-7B": failed, "Qwen-1.5B": 16}},
        }
        for p, failed in enumerate([16, 5, 0])
    ]
    wanted = Wanted(failures="extra_info.model_difficulty.Qwen-7B", attempts="16")
    experiment = import_answers([lines(tmp_path / "d.jsonl", rows)], tmp_path / "x", Options(wanted=wanted))
    assert looks(experiment.dynamics)[0].tolist() == [0, 11, 16]
    assert experiment.examples(["key"])["key"].to_pylist() == KEYS


def test_ragged_counts_stay_counts_and_what_was_not_sampled_is_no_failure(tmp_path: Path) -> None:
    rewards = {0: [0, 0], 1: [0, 1, 0, 1, 1, 0], 2: [1, 1, 1]}
    rows = [{"prompt": QUESTIONS[p], "reward": reward} for p, own in rewards.items() for reward in own]
    rows.append({"prompt": QUESTIONS[1], "reward": None})
    prompts = lines(tmp_path / "prompts.jsonl", [{"prompt": text} for text in [*QUESTIONS, "What is 5 + 5?"]])
    experiment = import_answers([lines(tmp_path / "log.jsonl", rows)], tmp_path / "x", Options(data=str(prompts)))
    assert [values.tolist() for values in looks(experiment.dynamics)] == [[0, 3, 3, 0], [2, 6, 3, 0]]
    h = experiment.h_score()
    assert (h[0], h[2]) == (0, experiment.dynamics.runs)
    assert 0 < h[3] < experiment.dynamics.runs, "never sampled is neither never right nor always right"
    assert experiment.subset("sometimes-right").kept.tolist() == [1, 3]
    warnings = " ".join(experiment.warnings())
    assert "1 answer without a verdict (the first at" in warnings and "log.jsonl line 12) count as unknown, not as wrong" in warnings
    assert "1 prompt of the data was not sampled (ids 3)" in warnings
    assert experiment.verify() == 4
    assert experiment.scores()["pass-rate-high"][0] == pytest.approx(0.667, abs=0.01)
    assert "0 of 2: under 78% with 95% confidence" in reports.sentences(reports.rates(experiment))[0]


def test_steps_are_windows_and_gain_is_what_was_learned_between_them(tmp_path: Path) -> None:
    rows = [
        {"prompt": QUESTIONS[p], "reward": float(p == 2 or (p == 1 and step > 2)), "step": step}
        for step in (1, 2, 3, 4)
        for p in range(3)
        for _ in range(2)
    ]
    log = lines(tmp_path / "log.jsonl", rows)
    by_step = import_answers([log], tmp_path / "a", Options())
    assert by_step.dynamics.correct.shape == (2, 4, 3)
    halves = import_answers([log], tmp_path / "b", Options(windows=2))
    assert halves.dynamics.correct.shape == (4, 2, 3)
    assert halves.info["rollouts"]["windows"] == [[1, 2], [3, 4]]
    assert halves.scores()["gain"].tolist() == [0.0, 1.0, 0.0]
    with pytest.raises(UsageError, match="The log has 4 steps; windows must be between 1 and that, got 9"):
        import_answers([log], tmp_path / "c", Options(windows=9))


def test_chance_makes_never_mean_not_above_guessing(tmp_path: Path) -> None:
    rows = [{"prompt": QUESTIONS[p], "reward": float(k < hits)} for p, hits in enumerate([1, 3, 8]) for k in range(8)]
    experiment = import_answers([lines(tmp_path / "log.jsonl", rows)], tmp_path / "x", Options(chance=0.25))
    found = reports.rates(experiment)
    assert found.never.tolist() == [True, True, False]
    assert "2 prompts not above a chance of 0.25" in " ".join(reports.sentences(found))


def test_a_log_that_was_filtered_is_said_to_be(tmp_path: Path) -> None:
    rows = [{"prompt": f"What is {p} + {p}?", "reward": float(k < 2)} for p in range(30) for k in range(4)]
    assert "looks filtered already" in " ".join(import_answers([lines(tmp_path / "a.jsonl", rows)], tmp_path / "x", Options()).warnings())
    filtered = [{"content": [[QUESTIONS[0], "4"]], "rewards": [0.0], "filtered_rewards": [1.0], "input_lengths": [3], "idx": 0}]
    experiment = import_answers([lines(tmp_path / "train_data_step1.jsonl", filtered)], tmp_path / "y", Options())
    assert "filtered by dynamic sampling" in " ".join(experiment.warnings())
    assert looks(experiment.dynamics)[0].tolist() == [1], "filtered_rewards are those of the contents"


@pytest.mark.parametrize(
    ("rows", "options", "error", "sentence"),
    [
        ([{"prompt": "a b", "reward": 0.3}], Options(), DataError, "line 1 has the reward 0.3, so rewards are not success or failure"),
        ([{"prompt": "a b", "reward": "yes"}], Options(), DataError, "line 1 has reward 'yes', which is not a number"),
        ([{"prompt": "a b", "reward": nan}], Options(), DataError, "have no reward, so nothing says which are right"),
        ([{"prompt": "a b"}], Options(), UsageError, "line 1 has no reward by name; its columns are prompt"),
        ([{"prompt": "a", "reward": 1}], Options(wanted=Wanted(reward="acc")), UsageError, "line 1 has no column 'acc'"),
        (
            [{"prompt": "a", "reward": 1, "answer": "x"}, {"prompt": "a", "reward": 1, "answer": "y"}],
            Options(),
            DataError,
            "line 2 has the key 'y' to a prompt that had 'x' before",
        ),
        (
            [{"prompt": "a", "completion": "b", "step": 1, "advantage": 0, "format_reward": 1, "accuracy_reward": 0}],
            Options(),
            UsageError,
            "has the rewards format_reward, accuracy_reward; name the one that means success",
        ),
        ([{"prompt": "a", "rate": 0.5}], Options(wanted=Wanted(pass_rate="rate")), UsageError, "need the number of samples behind them"),
        ([{"prompt": "a", "k": 9}], Options(wanted=Wanted(successes="k", attempts="8")), DataError, "line 1 has 9 right of 8 attempts"),
        ([{"prompt": "a", "reward": 1}], Options(tool="verl"), DataError, "line 1 is not a row of verl"),
        ([{"prompt": "a", "reward": 1}], Options(tool="mine"), UsageError, "tool must be auto, wide or one of"),
        ([{"prompt": "a", "reward": 1}], Options(chance=1.5), UsageError, "chance must be between 0 and 1, got 1.5"),
    ],
)
def test_bad_logs_are_named(rows: list[dict[str, Any]], options: Options, error: type[Exception], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=sentence.replace("(", "\\(")):
        import_answers([lines(tmp_path / "log.jsonl", rows)], tmp_path / "x", options)
    assert not (tmp_path / "x" / "experiment.json").exists()


def test_a_line_that_was_cut_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"prompt": "a", "reward": 1}\n{"prompt": "b", "rew')
    with pytest.raises(DataError, match=r"log.jsonl line 2 is not JSON: .*cut while it was written"):
        import_answers([tmp_path / "log.jsonl"], tmp_path / "x", Options())


def test_prompts_that_match_nothing_or_two_rows_are_named(tmp_path: Path) -> None:
    rows = [{"prompt": text, "reward": 1} for text in (QUESTIONS[0], "Who wrote Ulysses?")]
    log = lines(tmp_path / "log.jsonl", rows)
    prompts = lines(tmp_path / "prompts.jsonl", [{"prompt": QUESTIONS[0]}, {"prompt": QUESTIONS[1]}])
    experiment = import_answers([log], tmp_path / "x", Options(data=str(prompts)))
    assert "1 answer to 1 prompt of the log matches no row of" in " ".join(experiment.warnings())
    assert "log.jsonl line 2: 'Who wrote Ulysses?'" in " ".join(experiment.warnings())
    other = lines(tmp_path / "other.jsonl", [{"prompt": "Nothing of it"}, {"prompt": "at all"}])
    with pytest.raises(DataError, match="2 answers to 2 prompts of the log match no row of"):
        import_answers([log], tmp_path / "y", Options(data=str(other)))
    double = lines(tmp_path / "double.jsonl", [{"prompt": QUESTIONS[0]}, {"prompt": f" {QUESTIONS[0]}"}])
    with pytest.raises(DataError, match=r"Rows 1 and 2 of .* have the same prompt"):
        import_answers([log], tmp_path / "z", Options(data=str(double)))


def test_an_id_of_the_log_joins_prompts_that_are_written_alike(tmp_path: Path) -> None:
    rows = [{"uid": uid, "prompt": "Solve it.", "reward": reward} for uid, reward in ((7, 1), (7, 0), (9, 0), (9, 0))]
    prompts = lines(tmp_path / "prompts.jsonl", [{"key_of": 9, "prompt": "Solve it."}, {"key_of": 7, "prompt": "Solve it."}])
    options = Options(data=str(prompts), wanted=Wanted(name="uid"), settings={"id_column": "key_of"})
    experiment = import_answers([lines(tmp_path / "log.jsonl", rows)], tmp_path / "x", options)
    assert experiment.ids.tolist() == [9, 7]
    assert looks(experiment.dynamics)[0].tolist() == [0, 1]


def test_a_folder_with_a_recording_is_not_replaced(tmp_path: Path) -> None:
    log = lines(tmp_path / "log.jsonl", [{"prompt": "a", "reward": 1}, {"prompt": "b", "reward": 0}])
    import_answers([log], tmp_path / "x", Options())
    with pytest.raises(ExperimentError, match="has a recording already; choose a new folder"):
        import_answers([log], tmp_path / "x", Options())
    assert Experiment(tmp_path / "x").h_histogram().tolist() == [1, 1]


def test_the_filters_of_lm_eval_do_not_count_an_answer_twice(tmp_path: Path) -> None:
    row = {"doc_id": 0, "target": "4", "arguments": [["2 + 2?"]], "resps": [["4"]], "filtered_resps": ["4"], "metrics": ["exact_match"]}
    rows = [{**row, "filter": name, "exact_match": right} for name, right in (("strict-match", 0.0), ("flexible-extract", 1.0))]
    log = lines(tmp_path / "samples_sums.jsonl", rows)
    with pytest.raises(UsageError, match="has each answer with the filters flexible-extract, strict-match; choose one as METRIC,FILTER"):
        import_answers([log], tmp_path / "x", Options())
    chosen = import_answers([log], tmp_path / "x", Options(wanted=Wanted(reward="exact_match,flexible-extract")))
    assert [values.tolist() for values in looks(chosen.dynamics)] == [[1], [1]]


def test_verls_own_data_is_exported_with_every_column(tmp_path: Path) -> None:
    """The prompt is a list of messages with a system turn; the dump has it rendered and decoded."""
    rows = [
        {
            "data_source": "sums",
            "prompt": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": QUESTIONS[p]}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": KEYS[p]},
            "extra_info": {"split": "train", "index": p},
        }
        for p in range(3)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "train.parquet")
    experiment = import_answers([verl(tmp_path)], tmp_path / "x", Options(data=str(tmp_path / "train.parquet")))
    assert looks(experiment.dynamics)[0].tolist() == [0, 2, 4]
    assert experiment.examples(["key"])["key"].to_pylist() == KEYS
    experiment.export("sometimes-right", tmp_path / "out.parquet")
    [kept] = pd.read_parquet(tmp_path / "out.parquet").to_dict("records")
    assert [dict(message) for message in kept["prompt"]] == rows[1]["prompt"]
    assert kept["reward_model"] == rows[1]["reward_model"] and kept["extra_info"] == rows[1]["extra_info"]


STRANGE: list[Any] = [None, "", "text", -1, 1e308, True, [], {}, [None], [[]], {"a": None}, [{"role": "user"}], ["a", 1], "\x00", nan]


def mutated(row: Any, random: np.random.Generator) -> Any:
    """The row with one value somewhere in it replaced or removed."""
    if isinstance(row, dict) and row and random.random() < 0.9:
        name = str(random.choice(list(row)))
        rest = {key: value for key, value in row.items() if key != name}
        return rest if random.random() < 0.2 else {**row, name: mutated(row[name], random)}
    if isinstance(row, list) and row and random.random() < 0.7:
        place = int(random.integers(len(row)))
        return [*row[:place], mutated(row[place], random), *row[place + 1 :]]
    return STRANGE[int(random.integers(len(STRANGE)))]


@pytest.mark.process
@pytest.mark.parametrize("tool", [*SHAPES, "openr1"])
def test_broken_logs_end_in_one_sentence_or_are_read(tool: str, tmp_path: Path) -> None:
    made = SHAPES[tool](tmp_path / "log") if tool in SHAPES else openr1(tmp_path)
    [path] = [file for file in files_of([made]) if "effective" not in file.parts]
    rows = [row for _, row in rows_of(path)]
    random = np.random.default_rng(len(tool))
    ended = 0
    for round_ in range(150):
        broken = [mutated(row, random) if random.random() < 0.4 else row for row in rows]
        text = "".join(json.dumps(row, default=str) + "\n" for row in broken)
        (tmp_path / "broken.jsonl").write_text(text)
        try:
            log = read_log([tmp_path / "broken.jsonl"], "auto", Wanted())
            right, _ = successes_of(log.samples, None)
            assert len(right) == len(log.samples)
            if round_ % 4 == 0:
                assert import_answers([tmp_path / "broken.jsonl"], tmp_path / f"x{round_}", Options()).verify()
        except WinnowError as error:
            ended += 1
            assert str(error).count("\n") == 0 and str(error).rstrip().endswith((".", "?", ")", "}", "]")), (round_, str(error))
    assert ended > 20


@pytest.mark.parametrize("name", ["successes.parquet", "answers.parquet", "extras.parquet"])
@pytest.mark.parametrize("how", ["flip", "remove"])
def test_damage_of_the_answers_is_noticed(name: str, how: str, tmp_path: Path) -> None:
    rows = [{"prompt": QUESTIONS[p], "answer": "4", "response": "4", "reward": 1} for p in (0, 0, 1)]
    experiment = import_answers([lines(tmp_path / "log.jsonl", rows)], tmp_path / "x", Options())
    path = experiment.folder.root / name
    if how == "flip":
        flip(path)
    else:
        path.unlink()
    with pytest.raises(ExperimentError, match=name):
        Experiment(tmp_path / "x").verify()
