"""Verifiers in their processes: what is right, what is wrong, and what nobody can know."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest

from pruning.analysis.looks import looks
from pruning.errors import DataError, UsageError
from pruning.interop.answers.importing import Options, import_answers
from pruning.sampling import verifiers
from pruning.sampling.judging import judge
from pruning.sampling.pool import Pool

pytestmark = pytest.mark.process

CASES = {
    "exact": [("The answer is Paris.", "paris", True), ("Lyon", '["Paris", "Lyon"]', True), ("Rome", "Paris", False)],
    "choice": [("I choose (B).", "B", True), ("\\boxed{C}", "C", True), ("A", "D", False), ("A", "the first", None)],
    "number": [("It costs $1,234.50 in all.", "1234.5", True), ("about 7", "8", False), ("7", "seven", None)],
    "regex:ANSWER: *(.*)": [("Hm.\nANSWER: 4", "4", True), ("ANSWER: 5", "4", False), ("4", "4", False)],
    "math": [("so \\boxed{\\frac{1}{2}}", "0.5", True), ("\\boxed{3}", "4", False), ("$x = 2$", "x=2", True)],
    "tests": [
        ("```python\ndef double(x):\n    return 2 * x\n```", "assert double(3) == 6", True),
        ("def double(x):\n    return x", "assert double(3) == 6", False),
        ("import sys\nsys.exit(0)", "assert double(3) == 6", False),
        ("import os\nos._exit(0)", "assert double(3) == 6", False),
        ("x = 1", "assert (", None),
    ],
}


@pytest.mark.parametrize("spec", CASES)
def test_a_verifier_tells_right_from_wrong_from_unknown(spec: str) -> None:
    if spec == "math":
        pytest.importorskip("math_verify")
    with Pool(spec) as pool:
        verdicts = pool.verify([(answer, key) for answer, key, _ in CASES[spec]])
    assert [verdict.right for verdict in verdicts] == [right for _, _, right in CASES[spec]]
    assert all(verdict.why.startswith("key: ") for verdict in verdicts if verdict.right is None)


def test_sql_compares_rows_and_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table orders (id integer, total real)")
        connection.executemany("insert into orders values (?, ?)", [(1, 5.0), (2, 9.0), (3, 9.0)])
    before = path.read_bytes()
    key = "select id from orders where total > 6"
    pairs = [
        ("```sql\nselect id from orders where total = 9 order by id desc\n```", key),
        ("select id from orders", key),
        ("drop table orders", key),
        ("select 1 from nowhere", key),
        ("select id from orders order by id desc", "select id from orders order by id"),
        ("select 1", "select from"),
    ]
    with Pool(f"sql:{path}") as pool:
        assert [verdict.right for verdict in pool.verify(pairs)] == [True, False, False, False, False, None]
    assert path.read_bytes() == before


def test_a_function_of_a_file_verifies_and_its_crash_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import os\n\ndef judge(answer, key):\n    print('noise')\n    if answer == 'raise':\n        raise ValueError('no')\n"
        "    if answer == 'die':\n        os._exit(3)\n    return len(answer) == int(key)\n"
    )
    with Pool(f"python:{tmp_path / 'mine.py'}:judge", processes=1) as pool:
        verdicts = pool.verify([("abc", "3"), ("raise", "3"), ("die", "3"), ("abcd", "4"), ("ab", "3")])
    assert [verdict.right for verdict in verdicts] == [True, None, None, True, False]
    assert verdicts[1].why == "verifier: ValueError no"
    assert verdicts[2].why == "verifier: its process died"


def test_a_verifier_that_hangs_is_killed_and_the_next_answer_is_judged() -> None:
    started = time.monotonic()
    with Pool("regex:(a+)+$", processes=1, seconds=1) as pool:
        verdicts = pool.verify([("a" * 50 + "b", ""), ("aaa", "")])
    assert [verdict.right for verdict in verdicts] == [None, True]
    assert verdicts[0].why == "verifier: no verdict within 1 s"
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("magic", "There is no verifier 'magic'; use exact"),
        ("regex", "needs a pattern"),
        ("regex:(", "is not a regular expression"),
        ("python:file.py", "needs a file and a function"),
        ("exact:x", "takes nothing after a colon"),
        ("python:file.py:judge", "runs code without a sandbox, with your rights; allow it with --allow-code"),
        ("tests", "runs code without a sandbox"),
    ],
)
def test_a_specification_that_cannot_be_is_named(spec: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        verifiers.check(spec, allow_code=False)


def test_several_answers_to_a_document_of_lm_eval_are_judged_one_by_one(tmp_path: Path) -> None:
    row = {"doc_id": 0, "target": "4", "arguments": {"gen_args_0": {"arg_0": "2 + 2?"}}, "filter": "none", "metrics": ["exact_match"]}
    row |= {"resps": [["It is 4.", "It is 5.", "4"]], "filtered_resps": ["4"], "exact_match": 1.0}
    (tmp_path / "samples_sums.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"nothing says which are right; name the reward \(--reward\), or verify the answers \(--verify\)"):
        import_answers([tmp_path / "samples_sums.jsonl"], tmp_path / "x", Options())
    experiment = import_answers([tmp_path / "samples_sums.jsonl"], tmp_path / "x", Options(), lambda log: judge(log, "number"))
    assert looks(experiment.dynamics)[0].tolist() == [2] and experiment.dynamics.correct[:, 0, 0].tolist() == [True, False, True]
    with pytest.raises(DataError, match="line 1 has the key '4', which the verifier choice cannot read"):
        import_answers([tmp_path / "samples_sums.jsonl"], tmp_path / "y", Options(), lambda log: judge(log, "choice"))
