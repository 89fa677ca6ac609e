"""Settings: one place for each, and what a settings file says of what is wrong with it."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from pruning.errors import UsageError
from pruning.jobs import worker
from pruning.options import settings_of
from pruning.settings import GROUPS, Settings, TrainSettings
from pruning.settings_file import as_file, parse_settings, read_settings, write_settings
from tests.support.commands import winnow

MEANT = Settings(
    data="rows.jsonl",
    task="pair",
    id_column="key",
    missing_label="none",
    header=False,
    columns={"text": "a", "text_pair": "b=c"},
    evaluation="held out.jsonl",
    evaluation_fraction=0.3,
    evaluation_seed=1,
    drop_invalid=True,
    model="a folder/with spaces",
    max_length=9,
    seeds=(3, 4),
    burn_in=1,
    success="tokens>=0.9",
    template="chatml",
    checkpoints=False,
    look=False,
    one_of_each=True,
    stop_when_stable=0.9,
    limit=10,
    approximate="epochs",
    frontier_learning_rate=1e-4,
    train=TrainSettings(
        epochs=4,
        batch_size=5,
        learning_rate=1e-3,
        weight_decay=0.1,
        warmup_ratio=0.15,
        max_grad_norm=2.5,
        fixed_order=True,
        deterministic=True,
        precision="fp32",
        device="cuda:1",
        lora_rank=4,
        load_in_4bit=True,
    ),
)
"""Settings of which none with a flag has its default."""


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Settings that the command line would score with."""
    asked: list[Settings] = []

    def score(settings: Settings, directory: Path, *_: object, **__: object) -> None:
        asked.append(settings)
        raise UsageError("read")

    monkeypatch.setattr(worker, "score", score)
    return asked


def test_every_setting_has_help_and_those_with_a_flag_a_heading() -> None:
    for kind in (Settings, TrainSettings):
        settings = settings_of(kind)
        assert set(settings) == {field.name for field in fields(kind)} - {"train"}, "a field without an Option"
        assert all(setting.option.help.endswith((".", "'sample'.")) for setting in settings.values())
        assert all(setting.option.group in GROUPS for setting in settings.values() if setting.flag)


def test_a_settings_file_carries_every_setting(tmp_path: Path, read: list[Settings]) -> None:
    write_settings(tmp_path / "job.json", MEANT)
    winnow("score", "--settings", tmp_path / "job.json", "--experiment", tmp_path / "x")
    winnow("score", "--settings", "-", "--experiment", tmp_path / "x", standard_input=json.dumps(as_file(MEANT)))
    assert read == [MEANT, MEANT]
    for kind, meant in ((Settings, MEANT), (TrainSettings, MEANT.train)):
        same = [name for name, setting in settings_of(kind).items() if setting.flag and getattr(meant, name) == setting.default]
        assert not same, "a setting that this test leaves at its default"


def test_every_setting_has_its_flag(tmp_path: Path, read: list[Settings]) -> None:
    flags = ["--task", "pair", "--column", "text=a", "--text-pair", "b=c", "--eval", "held out.jsonl", "--eval-fraction", "0.3"]
    flags += ["--id", "key", "--missing-label", "none", "--no-header"]
    flags += ["--eval-seed", "1", "--drop-invalid", "--model", "a folder/with spaces", "--max-length", "9", "--seed-list", "3, 4"]
    flags += [
        "--burn-in",
        "1",
        "--no-checkpoints",
        "--stop-when-stable",
        "0.9",
        "--no-look",
        "--one-of-each",
        "--limit",
        "10",
        "--approximate",
        "epochs",
    ]
    flags += ["--lora", "4", "--load-in-4bit", "--success", "tokens>=0.9", "--template", "chatml"]
    flags += ["--frontier-learning-rate", "1e-4", "--epochs", "4", "--batch-size", "5", "--learning-rate", "1e-3", "--weight-decay", "0.1"]
    flags += ["--warmup-ratio", "0.15", "--max-grad-norm", "2.5", "--fixed-order", "--deterministic", "--precision", "fp32"]
    winnow("score", "rows.jsonl", "--experiment", tmp_path / "x", *flags, "--device", "cuda:1")
    assert read == [MEANT]
    typed = {flag.removeprefix("--no-").removeprefix("--") for flag in flags if flag.startswith("--")} | {"device"}
    every = {
        setting.flag[2:].partition("/")[0] for kind in (Settings, TrainSettings) for setting in settings_of(kind).values() if setting.flag
    }
    assert typed - {"text-pair"} == every, "a flag that this test leaves out"


def test_options_change_a_settings_file(tmp_path: Path, read: list[Settings]) -> None:
    write_settings(tmp_path / "job.json", MEANT)
    winnow("score", "--settings", tmp_path / "job.json", "--experiment", tmp_path / "x", "--epochs", "7", "--limit", "20")
    assert read == [MEANT.with_changes(epochs=7, limit=20)]
    winnow("score", "rows.jsonl", "--settings", tmp_path / "job.json", "--experiment", tmp_path / "x")
    assert len(read) == 1


@pytest.mark.parametrize(
    ("content", "sentence", "field"),
    [
        ({"data": "x", "epohs": 1}, "Unknown setting epohs = 1.", "epohs"),
        ({"data": "x", "train": {"epoch": 5}}, "Unknown setting train.epoch = 5; did you mean epochs?", "train.epoch"),
        ({"data": "x", "train": {"epochs": "5"}}, "train.epochs must be a whole number, got '5'.", "epochs"),
        ({"data": "x", "train": {"epochs": 0}}, "epochs must be at least 1, got 0.", "epochs"),
        ({"data": "x", "train": {"learning_rate": "fast"}}, "train.learning_rate must be a number or auto, got 'fast'.", "learning_rate"),
        ({"data": "x", "train": {"learning_rate": float("nan")}}, "learning_rate must be greater than 0, got nan.", "learning_rate"),
        ({"data": "x", "train": {"precision": "int8"}}, "precision must be one of auto, fp32, bf16, fp16, got 'int8'.", "precision"),
        ({"data": "x", "train": 3}, "train must be an object of settings, got 3.", "train"),
        ({"data": 1}, "data must be text, got 1.", "data"),
        ({"data": "x", "limit": True}, "limit must be a whole number, got True.", "limit"),
        ({"data": "x", "seeds": [1, "a"]}, "seeds must be a whole number, got 'a'.", "seeds"),
        ({"data": "x", "seeds": [1, 1]}, "seeds must differ, got 1, 1.", "seeds"),
        ({"data": "x", "seeds": []}, "seeds must not be empty", "seeds"),
        ({"data": "x", "columns": {"text": 1}}, "columns must be an object of texts, got {'text': 1}.", "columns"),
        ({"data": "x", "burn_in": 3}, "burn_in must be 0 to 2 with 3 epochs, got 3.", "burn_in"),
        ({}, "data is missing.", "data"),
    ],
)
def test_a_wrong_field_of_a_settings_file_is_named_with_its_value(content: dict[str, object], sentence: str, field: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_settings(json.dumps({"settings": content}))
    assert str(caught.value).startswith(sentence) and caught.value.field == field


def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for content, says in (
        (b"{", "must be JSON, got '{'"),
        (b"[]", "one name"),
        (b'{"data": "x"}', "got 'data'"),
        (b"\xff", "cannot be read"),
    ):
        (tmp_path / "job.json").write_bytes(content)
        with pytest.raises(UsageError, match=says) as caught:
            read_settings(tmp_path / "job.json")
        assert str(tmp_path / "job.json") in str(caught.value)
    failed = winnow("score", "--settings", tmp_path / "nowhere.json", "--experiment", tmp_path / "x")
    assert failed.returncode == 2
    assert failed.stderr == f"Error: Settings file {tmp_path / 'nowhere.json'} does not exist (--settings).\n"


def test_only_what_is_left_out_has_its_default() -> None:
    settings = parse_settings('{"settings": {"data": "x.jsonl", "burn_in": 1, "train": {"learning_rate": 1, "epochs": 2}}}')
    assert settings == Settings(data="x.jsonl", burn_in=1, train=TrainSettings(learning_rate=1.0, epochs=2))


def test_auto_stands_for_a_learning_rate_that_is_fitted(tmp_path: Path, read: list[Settings]) -> None:
    for content in ('{"learning_rate": "auto"}', '{"learning_rate": null}', "{}"):
        assert parse_settings(f'{{"settings": {{"data": "x", "train": {content}}}}}').train.learning_rate is None
    winnow("score", "--settings", "-", "--experiment", tmp_path, "--learning-rate", "auto", standard_input=json.dumps(as_file(MEANT)))
    assert read == [MEANT.with_changes(learning_rate=None)]
