"""Sampling from a real HTTP server and from a tiny model: resumable, judged again without sampling, sequential, never losing an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pruning.analysis.looks import looks
from pruning.errors import DataError, UsageError
from pruning.sampling import asking
from pruning.sampling.asking import Asked
from pruning.sampling.job import Request, sample
from tests.support.chat_server import ChatServer, chat_server
from tests.support.commands import winnow

pytestmark = pytest.mark.process


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"question": f"What is {i} + {i}?", "answer": 2 * i}) + "\n" for i in range(6)))
    return path


def reply(request: dict[str, Any], index: int) -> str:
    """Right for 0 and 1 always, for 2 and 3 half of the time, never for 4 and 5."""
    number = int(request["messages"][-1]["content"].split()[2])
    right = number < 2 or (number < 4 and (request["seed"] + index) % 2 == 0)
    return f"It is {2 * number if right else 99}."


def request(prompts: Path, server: ChatServer, **changes: Any) -> Request:
    asked = Asked(model="tiny", temperature=1.0, max_tokens=16)
    return Request(**{"data": str(prompts), "asked": asked, "verify": "number", "stages": (4,), "endpoint": server.url, **changes})


def test_every_parameter_is_sent_and_the_answers_become_an_experiment(prompts: Path, tmp_path: Path) -> None:
    with chat_server(reply) as server:
        experiment = sample(request(prompts, server), tmp_path / "x")
    assert {"n": 4, "temperature": 1.0, "top_p": 1.0, "max_tokens": 16, "model": "tiny"}.items() <= server.requests[0].items()
    right, every = looks(experiment.dynamics)
    assert every.tolist() == [4] * 6
    assert right.tolist() == [4, 4, 2, 2, 0, 0]
    assert experiment.subset("sometimes-right").kept.tolist() == [2, 3]
    assert experiment.info["rollouts"]["sampling"]["temperature"] == 1.0 and experiment.info["rollouts"]["verifier"] == "number"
    assert experiment.verify() == 6
    experiment.export("sometimes-right", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "".join(prompts.read_text().splitlines(keepends=True)[2:4])


def test_a_server_that_ignores_n_gets_a_request_for_each_sample(prompts: Path, tmp_path: Path) -> None:
    with chat_server(reply) as server:
        server.takes_n = False
        experiment = sample(request(prompts, server), tmp_path / "x")
        assert len({(r["messages"][-1]["content"], r["seed"]) for r in server.requests}) == len(server.requests) == 24
    assert looks(experiment.dynamics)[1].tolist() == [4] * 6


def test_a_server_that_goes_away_loses_no_answer_and_the_same_command_continues(
    prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PAUSE", 0.01)
    with chat_server(reply) as server:
        server.after = 3
        with pytest.raises(DataError, match=r"answered 503; the answers so far are kept, run the same command again to continue"):
            sample(request(prompts, server), tmp_path / "x")
        lines = (tmp_path / "x.answers.jsonl").read_text().splitlines()
        assert len(lines) == 1 + 3 * 4
        with (tmp_path / "x.answers.jsonl").open("a") as file:
            file.write('{"row": 5, "sam')  # killed while it wrote
        server.after, before = None, len(server.requests)
        sample(request(prompts, server), tmp_path / "x")
        assert len(server.requests) - before == 3, "three prompts were left"
        assert len((tmp_path / "x.answers.jsonl").read_text().splitlines()) == 25
        again = len(server.requests)
        sample(request(prompts, server), tmp_path / "x")
        assert len(server.requests) == again, "nothing is sampled twice"


def test_busy_and_slow_servers_are_asked_again(prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAUSE", 0.01)
    with chat_server(reply) as server:
        server.failures = 2
        assert looks(sample(request(prompts, server), tmp_path / "x").dynamics)[1].sum() == 24
        server.pause = 0.5
        slow = asking.Endpoint(server.url, Asked(model="tiny"), timeout=0.05)
        with pytest.raises(DataError, match=r"gave no answer within 0.05 s; the answers so far are kept"):
            slow.answer("What is 1 + 1?", 1, 0)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [(b"<html>", "answered something that is not JSON"), (b"[]", "not a JSON object"), (b'{"choices": []}', "answered without choices")],
)
def test_what_is_not_a_chat_server_is_named(body: bytes, sentence: str, prompts: Path, tmp_path: Path) -> None:
    with chat_server(reply) as server:
        server.body = body
        with pytest.raises(DataError, match=sentence):
            sample(request(prompts, server), tmp_path / "x")


def test_a_server_that_is_not_there_is_named(prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAUSE", 0.01)
    with chat_server(reply) as server:
        gone = request(prompts, server)
    with pytest.raises(DataError, match=r"http://127.0.0.1:\d+/v1 cannot be reached"):
        sample(gone, tmp_path / "x")


def test_later_stages_sample_only_where_all_or_none_are_right(prompts: Path, tmp_path: Path) -> None:
    with chat_server(reply) as server:
        experiment = sample(request(prompts, server, stages=(2, 6)), tmp_path / "x")
    assert looks(experiment.dynamics)[1].tolist() == [8, 8, 2, 2, 8, 8]
    assert experiment.h_score()[[0, 4]].tolist() == [experiment.dynamics.runs, 0]


def test_answers_are_judged_again_without_sampling(prompts: Path, tmp_path: Path) -> None:
    with chat_server(reply) as server:
        sample(request(prompts, server), tmp_path / "x")
        asked = len(server.requests)
        strict = sample(request(prompts, server, verify="regex:It is (.*)\\.$", verify_again=True), tmp_path / "x")
        assert looks(strict.dynamics)[0].tolist() == [4, 4, 2, 2, 0, 0]
        none = sample(request(prompts, server, verify="regex:never", verify_again=True), tmp_path / "x")
        assert len(server.requests) == asked
    assert looks(none.dynamics)[0].sum() == 0 and none.info["rollouts"]["verifier"] == "regex:never"
    assert none.verify() == 6


def test_other_settings_are_another_recording(prompts: Path, tmp_path: Path) -> None:
    with chat_server(reply) as server:
        sample(request(prompts, server), tmp_path / "x")
        with pytest.raises(UsageError, match=r"were sampled with temperature = 1.0, not 0.5; other settings are another recording"):
            sample(request(prompts, server, asked=Asked(model="tiny", temperature=0.5, max_tokens=16)), tmp_path / "x")


def test_a_key_that_cannot_be_read_is_named_with_its_row(prompts: Path, tmp_path: Path) -> None:
    prompts.write_text(prompts.read_text() + json.dumps({"question": "Who?", "answer": "Ada"}) + "\n")
    with chat_server(reply) as server:
        with pytest.raises(DataError, match=r"row 7 has the key 'Ada', which the verifier number cannot check \(key: not a number\)"):
            sample(request(prompts, server), tmp_path / "x")
        assert not server.requests, "nothing was sampled for a key that cannot be read"


def test_a_server_that_does_not_sample_is_noticed(prompts: Path, tmp_path: Path) -> None:
    with chat_server(lambda request, index: "It is 4.") as server:
        experiment = sample(request(prompts, server), tmp_path / "x")
    assert "the server seems not to sample" in " ".join(experiment.warnings())


def test_the_key_of_a_server_is_read_from_the_environment_and_written_nowhere(
    prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_API_KEY", "secret-of-mine")
    with chat_server(reply) as server:
        sample(request(prompts, server), tmp_path / "x")
        assert server.headers[0]["Authorization"] == "Bearer secret-of-mine"
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"secret-of-mine" in content for content in written)


def test_a_tiny_model_in_this_process_samples_and_the_command_continues(prompts: Path, tmp_path: Path) -> None:
    from tests.support.generative import tiny_causal

    model = tiny_causal(tmp_path / "model")
    words = ["sample", str(prompts), "--model", str(model), "--verify", "number", "--max-tokens", "8", "--experiment", str(tmp_path / "x")]
    done = winnow(*words, "--samples", "2")
    assert done.returncode == 0, done.stderr
    assert "0 of 12 right" in done.stdout and "0 of 2: under 78% with 95% confidence" in done.stdout
    first = (tmp_path / "x.answers.jsonl").read_text().splitlines()
    assert winnow(*words, "--samples", "3").returncode == 0
    longer = (tmp_path / "x.answers.jsonl").read_text().splitlines()
    assert longer[: len(first)] == first and len(longer) == len(first) + 6
    lines = [json.loads(line) for line in longer[1:]]
    assert {line["tokens"] for line in lines} <= set(range(1, 9)) and len({line["answer"] for line in lines}) > 6
    assert "must be whole numbers such as 8" in winnow(*words, "--samples", "many").stderr
